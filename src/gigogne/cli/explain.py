"""An explanation for people and for programs. Values are masked here, and nowhere shown whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gigogne.compose.airflow_layers import AIRFLOW_VARIABLES
from gigogne.compose.explanation import (
    Explanation,
    Feed,
    FeedKind,
    Form,
    Lost,
    MountPath,
    Setting,
    SettingKind,
    TaskSetting,
    Variable,
)
from gigogne.compose.locate import Location
from gigogne.core.masking import mask, oddities

__all__ = ["render", "to_dict"]

_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.S)
# In place of a template while the text around it is masked: no pattern of a secret has it.
_GAP = "\ufffc"


def to_dict(explanation: Explanation) -> dict[str, Any]:
    """The explanation in plain JSON types, values masked."""
    return {
        "service": explanation.service,
        "variables": [_variable_fact(variable) for variable in explanation.variables],
        "lost": [
            {"name": lost.name, "where": lost.place, "reason": lost.reason, "fix": lost.fix}
            | {"value": _masked(lost.name, lost.value)}
            for lost in explanation.lost
        ],
        "mounts": [_mount_fact(mount) for mount in explanation.mounts],
        "notes": list(explanation.notes),
        **({} if explanation.task is None else {"task": [_task_fact(setting) for setting in explanation.task]}),
    }


def _variable_fact(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "value": _masked(variable.name, variable.value, variable.settings[0].form),
        "remarks": list(oddities(variable.value or "")),
        "settings": [
            {
                "kind": str(setting.kind),
                "form": str(setting.form),
                **_place_fact(setting.where),
                "value": _masked(variable.name, setting.value, setting.form),
                "feeds": [_feed_fact(feed) for feed in setting.feeds],
            }
            for setting in variable.settings
        ],
    }


def _feed_fact(feed: Feed) -> dict[str, Any]:
    return {
        "name": feed.name,
        "from": str(feed.kind),
        **_place_fact(feed.where),
        "taken": feed.taken or "value",
        "hides": [_place_fact(where) for where in feed.hides],
    }


def _task_fact(setting: TaskSetting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "value": setting.value,
        "key": setting.key,
        **_place_fact(setting.where),
        "meaning": setting.meaning,
    }


def _mount_fact(mount: MountPath) -> dict[str, Any]:
    return {
        "kind": mount.kind,
        "written": mount.written,
        **_place_fact(mount.where),
        "source": mount.source,
        "outside": list(mount.outside),
        "place": None if mount.place is None else str(mount.place),
        "target": mount.target,
        "read_only": mount.read_only,
        "content": mount.content,
        "problem": mount.problem,
        "overrides": [_place_fact(where) for where in mount.overrides],
    }


def _place_fact(where: Location | None) -> dict[str, Any]:
    return {"file": None if where is None else str(where.file), "line": None if where is None else where.line}


def _masked(name: str, value: str | None, form: Form = Form.LITERAL) -> str | None:
    """The value as it may be shown. A template is no secret; what is written around it may be one."""
    if value is None or form is not Form.TEMPLATE:
        return None if value is None else mask(name, value)
    templates = _TEMPLATE.findall(value)
    around = mask(name, rest) if (rest := _TEMPLATE.sub(_GAP, value)).strip(_GAP + " ") else rest
    if around.count(_GAP) != len(templates):
        return around.replace(_GAP, "{{ … }}")
    return "".join(
        text + mask("", template) for text, template in zip(around.split(_GAP), [*templates, ""], strict=True)
    )


def render(explanation: Explanation) -> RenderableType:
    """The explanation for people. Paths below the project's directory are shown relative to it."""
    words = _Words(explanation.directory)
    parts: list[RenderableType] = [_head(f"{explanation.service}: variables", len(explanation.variables))]
    if explanation.variables:
        parts.append(words.variables(explanation.variables))
    if explanation.lost:
        parts += [Text(), _head("does not arrive", len(explanation.lost), "yellow")]
        parts.append(words.lost(explanation.lost))
    if explanation.task is not None:
        parts += [Text(), _head("its Airflow task", len(explanation.task)), words.task(explanation.task)]
    parts += [Text(), _head("mounts", len(explanation.mounts))]
    if explanation.mounts:
        parts.append(words.mounts(explanation.mounts))
    parts += [Text.assemble(("note: ", "yellow"), (words.short(note), "dim")) for note in explanation.notes]
    return Group(*parts)


def _head(text: str, count: int, colour: str = "") -> Text:
    return Text(f"{text} ({count})" if count else f"{text}: none", f"bold {colour}".strip())


class _Words:
    """The words and tables of an explanation, with paths relative to a directory."""

    def __init__(self, directory: Path) -> None:
        self._prefix = f"{directory}/"

    def short(self, text: object) -> str:
        """The text with paths below the directory made relative to it."""
        return str(text).replace("\\", "/").replace(self._prefix.replace("\\", "/"), "")

    def variables(self, variables: Sequence[Variable]) -> Table:
        """A row for each: name, masked value, origin, and what it overrides."""
        table = _table()
        for variable in variables:
            origin = Text(self._origin(variable.settings[0]))
            for hidden in variable.settings[1:]:
                origin.append(f"\noverrides {self._origin(hidden)}{_difference(variable, hidden)}", "dim")
            if variable.settings[0].kind is SettingKind.AIRFLOW:
                origin.append(f", {AIRFLOW_VARIABLES[variable.name]}")
            for remark in oddities(variable.value or ""):
                origin.append(f"\ncareful: {remark}", "yellow")
            table.add_row(Text(variable.name), _value(variable), origin)
        return table

    def task(self, settings: Sequence[TaskSetting]) -> Table:
        """A row for each: what is set, to what, by which line, and what it does."""
        table = _table()
        for setting in settings:
            origin = Text(f"{self.short(setting.where)}, {setting.key}" if setting.where else setting.key)
            origin.append(f"\n{setting.meaning}", "dim")
            table.add_row(Text(setting.name), Text(setting.value), origin)
        return table

    def lost(self, lost: Sequence[Lost]) -> Table:
        """A row for each: name, place, reason and cure. One reason that many share is said once."""
        table = _table()
        before: Lost | None = None
        for one in lost:
            same = before is not None and before.reason == one.reason
            reason = Text("the same" if same else self.short(one.reason), "dim" if same else "")
            if not same:
                reason.append(f"\nfix: {self.short(one.fix)}", "bold")
            table.add_row(Text(one.name), Text(self.short(one.place)), reason)
            before = one
        return table

    def mounts(self, mounts: Sequence[MountPath]) -> Table:
        """A row for each: target, the chain of paths, what is there."""
        table = _table()
        for mount in mounts:
            chain = [f"{self.short(mount.where)}  {mount.written}" if mount.where else mount.written]
            # From the daemon's host through this container to the module, on one line.
            through = [*mount.outside, mount.source, mount.target] if mount.outside else [mount.source]
            chain += [" → ".join(through)] if mount.source else []
            chain += [str(mount.place)] if mount.place and str(mount.place) != mount.source else []
            steps = Text("\n→ ".join(filter(None, chain)) or "no line names it")
            for where in mount.overrides:
                steps.append(f"\noverrides {self.short(where)}", "dim")
            bad = bool(mount.problem)
            content = Text(", ".join(filter(None, [mount.kind, "read-only" if mount.read_only else ""])))
            content.append(f"\n{mount.content}" if mount.content else "", "bold red" if bad else "")
            content.append(f"\n{mount.problem}" if bad else "", "red")
            table.add_row(Text(mount.target), content, steps)
        return table

    def _origin(self, setting: Setting) -> str:
        """Where a setting stands and what it reads: `docker-compose.yml:12, ${X} from .env:3`."""
        if setting.kind is SettingKind.AIRFLOW or (setting.kind is SettingKind.OPERATOR and not setting.where):
            return str(setting.kind)
        place = self.short(setting.where) if setting.where else "in the Compose files (the line is not known)"
        if setting.kind is not SettingKind.ENVIRONMENT:
            place = f"{setting.kind} {place}"
        elif setting.form is Form.LITERAL and setting.where and setting.where.line:
            return f"{place}, literal"
        if setting.form is Form.PASSED:
            feed = setting.feeds[0]
            return f"{place}, passed through{',' if feed.kind is FeedKind.UNSET else ''} {self._feed(feed)}"
        missing = [feed for feed in setting.feeds if feed.taken == "default" and feed.kind is FeedKind.UNSET]
        read = [f"${{{feed.name}}} {self._feed(feed)}" for feed in setting.feeds if feed not in missing]
        if missing:
            names = ", ".join(feed.name for feed in missing)
            read.append(f"the default, as {names} {'is' if len(missing) == 1 else 'are'} not set")
        return ", ".join([place, *read])

    def _feed(self, feed: Feed) -> str:
        if feed.kind is FeedKind.UNSET:
            return "not set in the shell, nor in an env file"
        way = "the shell outside → " if feed.kind is FeedKind.HOST_CONTAINER else ""
        found = f"from {way}{self.short(feed.where or feed.kind)}"
        if feed.taken:
            found += " is empty: the default" if feed.taken == "default" else ": the replacement"
        hides = ", ".join(self.short(where) for where in feed.hides)
        return f"{found} (hides {hides})" if hides else found


def _difference(variable: Variable, hidden: Setting) -> str:
    if hidden.form is Form.RUNTIME:
        return ""
    if hidden.value is None:
        return " (unset)"
    return " (the same value)" if hidden.value == variable.value else ""


def _value(variable: Variable) -> Text:
    form = variable.settings[0].form
    if form is Form.RUNTIME:
        return Text(form, "dim")
    shown = _masked(variable.name, variable.value, form)
    if shown is None:
        return Text("not set", "bold red")
    if not shown:
        return Text("empty", "yellow")
    return Text(shown.replace("\r", "␍").replace("\n", "⏎"))


def _table() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    return table
