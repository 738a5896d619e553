"""Explaining: of all places that set a variable, the claimed winner is held against what Docker Compose resolves."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path

import pytest
from tests.compose.answers import Answers, explain, service

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.explanation import FeedKind, SettingKind, Variable
from gigogne.compose.provenance import explanation
from gigogne.errors import ComposeError

# ----------------------------------------------------------------------------------------------------------- precedence

# How each place may set a variable, as a function of its name. A place's values name it, and so Compose's answer tells
# which place won, whatever we claim.
_ENTRIES = {
    "absent": None,
    "literal": "{name}: {place}-literal",
    "default": "{name}: '{place}-${{{name}:-default}}'",
    "passed": "{name}:",
}
_LINES = {"absent": None, "literal": "{name}={place}-literal", "passed": "{name}"}
_PLACES = {
    "override": _ENTRIES,
    "main": _ENTRIES,
    "base": {"absent": None, "literal": _ENTRIES["literal"]},
    "two": {"absent": None, "literal": _LINES["literal"]},
    "one": _LINES,
}
_FILES = {"override": "override.yml", "main": "main.yml", "base": "base.yml", "two": "two.env", "one": "one.env"}


@pytest.mark.parametrize("fed", [(), ("shell",), (".env",), ("shell", ".env")], ids=lambda fed: "+".join(fed) or "-")
def test_the_claimed_winner_gives_what_compose_resolves(fed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every combination of two -f files, extends, two env_files, shell and `.env`: 192 variables, four times.

    The winner's file must be the one that the value of Compose names; and each loser's value must be the one that
    Compose resolves in the project without the lines above it.
    """
    names = {forms: f"V{number}" for number, forms in enumerate(itertools.product(*_PLACES.values()))}
    _write_all_combinations(names, fed, monkeypatch)
    options = LoadOptions(files=("main.yml", "override.yml"))
    project = load_project(options)
    resolved = project.services["s"].raw["environment"]
    made = Answers(Path.cwd(), explanation(options, project, "s", lambda _: None))
    known = {variable.name: variable for variable in made.made.variables}
    assert len(names) == 192 and len(known) > 180, "almost every combination sets its variable"
    assert set(known) == set(resolved)
    for forms, name in names.items():
        if name in known:
            _check_winner(made, known[name], resolved[name])
            _check_losers(known[name], forms, {forms: resolved.get(name) for forms, name in names.items()})


def _write_all_combinations(
    names: dict[tuple[str, ...], str], fed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in which each variable is set by the forms that are its key."""
    texts = dict.fromkeys(_PLACES, "")
    for forms, name in names.items():
        for place, form in zip(_PLACES, forms, strict=True):
            entry = _PLACES[place][form]
            texts[place] += "" if entry is None else entry.format(name=name, place=place) + "\n"
    head = "services:\n  s:\n    image: x\n"
    more = "    extends: {file: base.yml, service: s}\n    env_file: [one.env, two.env]\n"
    for place, text in texts.items():
        if _FILES[place].endswith(".yml"):
            text = f"{head}{more if place == 'main' else ''}    environment:\n{textwrap.indent(text, ' ' * 6)}"
        Path(_FILES[place]).write_text(text, encoding="utf-8")
    if ".env" in fed:
        Path(".env").write_text("".join(f"{name}=dotenv\n" for name in names.values()), encoding="utf-8")
    if "shell" in fed:
        for name in names.values():
            monkeypatch.setenv(name, "shell")


def _check_winner(made: Answers, variable: Variable, value: str | None) -> None:
    """The winner gives Compose's value, stands in the file that the value names, and was fed as the value says."""
    winner = variable.settings[0]
    assert variable.value == value and winner.value == value, variable
    place, _, kind = (value or "").rpartition("-")
    if place in _FILES:
        assert made.short(winner.where).startswith(f"{_FILES[place]}:"), variable
    feeds = {"shell": [FeedKind.SHELL], "dotenv": [FeedKind.FILE], "default": [FeedKind.UNSET], "literal": []}
    assert [feed.kind for feed in winner.feeds] == feeds.get(kind, [FeedKind.UNSET]), variable


def _check_losers(variable: Variable, forms: tuple[str, ...], resolved: dict[tuple[str, ...], str | None]) -> None:
    """Each loser gives what Compose resolves where nothing stands above it."""
    without = list(forms)
    for setting in variable.settings[1:]:
        first = next(index for index, form in enumerate(without) if form != "absent")
        without[first] = "absent"
        assert setting.value == resolved[tuple(without)], (forms, without)


def test_lines_are_those_of_the_files() -> None:
    """The line that is named holds the name, for every place that sets the variable."""
    made = explain(
        {
            "docker-compose.yml": """
            x-common: &common
              A: anchor
              B: anchor
            services:
              base:
                image: x
                environment: {A: base, C: base}
              s:
                extends: base
                image: x
                env_file: one.env
                environment:
                  <<: *common
                  A: own
            """,
            "one.env": "# comment\n\nA=one\nC=one\nD=one\n",
        }
    )
    assert made.chain("A") == ["docker-compose.yml:14", "docker-compose.yml:2", "docker-compose.yml:7", "one.env:3"]
    assert made.chain("B") == ["docker-compose.yml:3"]
    assert made.chain("C") == ["docker-compose.yml:7", "one.env:4"] and made.value("C") == "base"
    assert made.chain("D") == ["one.env:5"]
    assert [setting.kind for setting in made.variable("A").settings] == [SettingKind.ENVIRONMENT] * 3 + [
        SettingKind.ENV_FILE
    ]


# -------------------------------------------------------------------------------------------------------- several files


def test_override_and_reset() -> None:
    """`!override` throws the layers below away, `!reset` removes one name."""
    files = {
        "one.yml": "services:\n  s:\n    image: x\n    environment:\n      A: one\n      B: one\n",
        "two.yml": "services:\n  s:\n    environment: {A: !reset null, C: two}\n",
        "three.yml": "services:\n  s:\n    environment: !override {D: three}\n",
    }
    made = explain(files, LoadOptions(files=("one.yml", "two.yml")))
    assert [variable.name for variable in made.made.variables] == ["B", "C"]
    assert made.chain("B") == ["one.yml:6"] and made.chain("C") == ["two.yml:3"]
    made = explain(files, LoadOptions(files=("one.yml", "two.yml", "three.yml")))
    assert [variable.name for variable in made.made.variables] == ["D"] and made.chain("D") == ["three.yml:3"]


def test_extends_across_files(here: Path) -> None:
    """A base in another folder, with an env_file of its own beside it."""
    made = explain(
        {
            **service("extends: {file: common/base.yml, service: b}\nenvironment: {A: own}\n"),
            "common/base.yml": "services:\n  b:\n    extends: c\n    image: y\n    env_file: b.env\n"
            "    environment: {A: b, B: b}\n  c:\n    image: z\n    environment: [B=c, C=c]\n",
            "common/b.env": "C=file\nD=file\n",
        }
    )
    assert made.chain("A") == ["docker-compose.yml:5", "common/base.yml:6"]
    assert made.chain("B") == ["common/base.yml:6", "common/base.yml:9"] and made.value("B") == "b"
    assert made.chain("C") == ["common/base.yml:9", "common/b.env:1"] and made.chain("D") == ["common/b.env:2"]


def test_an_included_file_has_its_own_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's `.env` wins over the include's; names that only the include's sets come from there."""
    for name in ("A", "B", "C"):
        monkeypatch.delenv(name, raising=False)
    made = explain(
        {
            "docker-compose.yml": "include:\n  - path: part/part.yml\n    env_file: part/own.env\n",
            "part/part.yml": "services:\n  s:\n    image: x\n    environment:\n      V: ${A}${B:-none}\n"
            "      C:\n    volumes: ['./data:/data']\n  listed:\n    image: x\n    environment: [C]\n",
            "part/own.env": "A=include\nB=include\nC=include\nIDLE=include\n",
            ".env": "A=project\n",
        }
    )
    assert made.value("V") == "projectinclude" and made.chain("V") == ["part/part.yml:5"]
    assert made.feeds("V") == ["A .env:1", "B part/own.env:2"]
    assert made.lost("IDLE") and made.value("C") is None, "in a map, Compose does not look there for a name alone"
    (lost,) = made.lost("C")
    assert "own.env:3 for a name alone" in lost.reason and "C: ${C}" in lost.fix
    listed = explain({}, service="listed")
    assert listed.value("C") == "include" and listed.feeds("C") == ["C part/own.env:3"] and not listed.lost("C")
    assert made.short(made.mount("/data").where) == "part/part.yml:7"
    assert made.short(made.mount("/data").source) == "part/data"


def test_a_file_included_twice_counts_once() -> None:
    """Two components that include the same server: its lines are named once."""
    files = dict.fromkeys(("a.yml", "b.yml"), "include: [server.yml]\n")
    files["server.yml"] = "services:\n  s:\n    image: x\n    environment:\n      A: server\n    volumes: ['data:/d']\n"
    files["server.yml"] += "volumes: {data: }\n"
    made = explain({**files, "docker-compose.yml": "include: [a.yml, b.yml]\n"})
    assert made.chain("A") == ["server.yml:5"]
    assert made.short(made.mount("/d").where) == "server.yml:6" and made.mount("/d").overrides == ()


def test_a_file_that_cannot_be_read_here_is_not_guessed() -> None:
    """Where no line accounts for Compose's value (here a name that is itself a variable), no line is claimed."""
    made = explain({**service("environment:\n  - ${N}=v\n"), ".env": "N=A\n", "part.yml": "services: {}\n"})
    setting = made.variable("A").settings[0]
    assert made.value("A") == "v" and setting.where is not None and setting.where.line is None
    files = {"one.yml": "services: {s: {image: x, environment: [A=old]}}", **service("environment:\n  - ${N}=v\n")}
    made = explain(files, LoadOptions(files=("one.yml", "docker-compose.yml")))
    assert made.value("A") == "v" and made.variable("A").settings[0].where is None, "the line of `old` is not named"


# ---------------------------------------------------------------------------------------------------------------- image


def test_the_image_env_is_the_last_in_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENV of the built stage and those below it, with lines over continuations; `environment:` overrides it."""
    monkeypatch.delenv("D", raising=False)
    dockerfile = """
        FROM python:3.12 AS base
        ENV A=base \\
            B="base two"
        ENV OLD old form
        FROM base AS final
        ENV A=$A-final D=image
        FROM base AS other
        ENV A=other
    """
    body = "build: {context: ., target: final}\nenvironment: {B: compose, D: }\n"
    made = explain({**service(body), "Dockerfile": dockerfile})
    assert made.value("A") == "base-final" and made.chain("A") == ["Dockerfile:6", "Dockerfile:2"]
    assert made.chain("B") == ["docker-compose.yml:5", "Dockerfile:3"] and made.value("B") == "compose"
    assert made.value("OLD") == "old form" and made.chain("OLD") == ["Dockerfile:4"]
    assert made.value("D") is None and made.chain("D")[1] == "Dockerfile:6", "a name alone removes the image's"


def test_an_inline_dockerfile_has_lines_too() -> None:
    """`dockerfile_inline` as a block: the line of the Compose file."""
    body = "build:\n  dockerfile_inline: |\n    FROM x\n    ENV A=1\n"
    assert explain(service(body)).chain("A") == ["docker-compose.yml:7"]


# --------------------------------------------------------------------------------------------------------------- others


def test_no_value_is_in_the_repr() -> None:
    """The data that reaches a log holds no value."""
    made = explain({**service("env_file: .env\nenvironment: {A: hunter2}\n"), ".env": "B=hunter3\nC=hunter2\n"})
    assert made.value("A") == "hunter2" and "hunter" not in repr(made.made)


def test_an_unknown_service_is_refused_with_the_known_ones() -> None:
    """The error lists what there is."""
    Path("docker-compose.yml").write_text("services: {a: {image: x}, b: {image: x}}", encoding="utf-8")
    project = load_project(LoadOptions())
    with pytest.raises(ComposeError, match="no service zz") as caught:
        explanation(LoadOptions(), project, "zz", lambda _: None)
    assert "a, b" in caught.value.hint


def test_a_service_behind_a_profile_is_explained() -> None:
    """Naming it is enough, as with `run`."""
    text = "services: {t: {image: x}, s: {image: x, profiles: [p], environment: {A: '1'}}}"
    assert explain({"docker-compose.yml": text}).chain("A") == ["docker-compose.yml:1"]


@pytest.mark.parametrize(
    ("copy", "ignored", "line"),
    [
        ("COPY app/ /srv/", "", 2),
        ("COPY . .", "", 2),
        ('COPY ["app/.env", "/srv/"]', "", 2),
        ("COPY main.py ./", "", None),
        ("COPY --from=other app/ /srv/", "", None),
        ("COPY . .", "**/.env\n", None),
        ("COPY . .", "*.md\n!app/.env\n", 2),
    ],
)
def test_an_env_file_that_is_in_the_image(copy: str, ignored: str, line: int | None) -> None:
    """Who has the image has the credentials: the line that takes them in is named, and where to keep them out."""
    files = {
        "docker-compose.yml": "services: {s: {build: ., env_file: app/.env}}",
        "Dockerfile": f"FROM x\n{copy}\n",
        "app/.env": "TOKEN=hunter2\n",
        ".dockerignore": ignored,
    }
    made = explain(files)
    found = [made.short(note) for note in made.made.notes if ".dockerignore" in note]
    assert len(found) == (line is not None)
    if found:
        assert found[0].startswith("app/.env is in the image too, by ") and f"Dockerfile:{line}:" in found[0]
