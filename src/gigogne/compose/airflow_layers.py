"""What reaches a service in Airflow beside what Compose gives it: the operator's environment, and Airflow's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gigogne.compose.explanation import Explanation, Form, Setting, SettingKind, TaskSetting, Variable
from gigogne.compose.locate import Location, Places
from gigogne.core.masking import mask
from gigogne.core.model import Service
from gigogne.core.suggestion import did_you_mean

__all__ = ["AIRFLOW_VARIABLES", "TASK_LABELS", "OperatorEnvironment", "with_airflow"]

RESULT = "GIGOGNE_RESULT"
# What each task gives the module that it runs.
AIRFLOW_VARIABLES: Mapping[str, str] = {
    "AIRFLOW_CTX_DAG_ID": "the id of the DAG",
    "AIRFLOW_CTX_DAG_RUN_ID": "the id of the DAG run",
    "AIRFLOW_CTX_TASK_ID": "the id of the task",
    "AIRFLOW_CTX_TRY_NUMBER": "the number of the try",
    "AIRFLOW_CTX_LOGICAL_DATE": "the DAG run's logical date, where it has one",
    "AIRFLOW_CTX_DAG_OWNER": "the owner of the task",
    "AIRFLOW_CTX_DAG_EMAIL": "the addresses of the task, where it has any",
    RESULT: "the path of a file: JSON that is written there is the task's XCom",
}
# What `gigogne.airflow.*` labels set of a service's task.
TASK_LABELS: Mapping[str, str] = {
    "retries": "how often a failed task is tried again",
    "retry_delay": "how long it waits before that",
    "execution_timeout": "after how long it is ended, and has failed",
    "pool": "the pool whose slots it takes",
    "pool_slots": "how many slots it takes",
    "queue": "which workers run it",
    "priority_weight": "which of several waiting tasks runs first",
    "trigger_rule": "which ends of the tasks before let it run",
    "skip_on_exit_code": "the exit codes with which it is skipped, and has not failed",
    "defer_after": "after how long it leaves its worker and waits in the triggerer",
}
_LABEL = "gigogne.airflow."
_ORDER = (SettingKind.OPERATOR, SettingKind.AIRFLOW, SettingKind.ENVIRONMENT, SettingKind.ENV_FILE, SettingKind.IMAGE)
_LAYERS = (
    "the operator's environment wins over Airflow's own variables, these over environment: and env_file of the Compose "
    "files, and these over the ENV of the image; templates are rendered when the task runs, and their values are kept "
    "nowhere",
    "the shell, .env and every env_file are read where the task runs: shown are those of this machine",
)


@dataclass(frozen=True, slots=True)
class OperatorEnvironment:
    """The environment that an operator gives a service: names, and the text that the DAG file has for each.

    Attributes:
        templates: The text of each; None where only the name is known.
        lines: Where the DAG file sets them.
        file: The DAG file.
        task: Whose it is: `dag_id.task_id`.
        remarks: What should be known of it, in sentences.
    """

    templates: Mapping[str, str | None] = field(repr=False)
    lines: Mapping[str, int] = field(default_factory=dict)
    file: Path | None = None
    task: str = ""
    remarks: tuple[str, ...] = ()


def with_airflow(made: Explanation, service: Service, places: Places, operator: OperatorEnvironment) -> Explanation:
    """The explanation of a service as Airflow runs it.

    Args:
        made: What Compose does.
        service: The service.
        places: Where the keys of the Compose files stand.
        operator: What the task adds; empty where it adds nothing, or nobody knows.
    """
    known = {variable.name: variable for variable in made.variables}
    added = {name: _of_operator(name, operator) for name in operator.templates}
    names = dict.fromkeys((*operator.templates, *known, *AIRFLOW_VARIABLES))
    variables = tuple(_layered(name, known.get(name), added.get(name)) for name in names)
    in_vain = {name for name, variable in known.items() if variable.value is None and name in added}
    return replace(
        made,
        variables=variables,
        lost=tuple(lost for lost in made.lost if lost.name not in in_vain),
        task=tuple(_task_settings(service, places)),
        notes=(*_LAYERS, *operator.remarks, *_written_out(operator), *_misread(made.variables, operator), *made.notes),
    )


def _of_operator(name: str, operator: OperatorEnvironment) -> Setting:
    text = operator.templates[name]
    form = Form.RUNTIME if text is None else Form.TEMPLATE if "{{" in text or "{%" in text else Form.LITERAL
    where = Location(operator.file, operator.lines.get(name)) if operator.file else None
    return Setting(SettingKind.OPERATOR, form, where, text)


def _layered(name: str, variable: Variable | None, operator: Setting | None) -> Variable:
    """The variable with all that sets it in Airflow, the winner first."""
    settings = [*([operator] if operator else []), *(variable.settings if variable else ())]
    if name in AIRFLOW_VARIABLES:
        settings.append(Setting(SettingKind.AIRFLOW, Form.RUNTIME, None, None))
    # The path for a result is only an offer: what the service says itself wins, but for the image.
    weak = SettingKind.ENV_FILE if name == RESULT else SettingKind.AIRFLOW
    settings.sort(key=lambda s: _ORDER.index(weak if s.kind is SettingKind.AIRFLOW else s.kind))
    return Variable(name, settings[0].value, tuple(settings))


def _task_settings(service: Service, places: Places) -> Iterator[TaskSetting]:
    """What labels and `restart:` set of the task."""
    labels = {key.removeprefix(_LABEL): value for key, value in service.labels.items() if key.startswith(_LABEL)}
    for name, value in labels.items():
        key = f"{_LABEL}{name}"
        unknown = f"no such setting; {did_you_mean(name, list(TASK_LABELS)) or 'remove it'}"
        where = places.find(f"services.{service.name}.labels.{key}")
        yield TaskSetting(name, value, key, where, TASK_LABELS.get(name, unknown))
    policy, _, most = service.restart.partition(":")
    if policy == "on-failure" and most.isdecimal() and "retries" not in labels:
        where = places.find(f"services.{service.name}.restart")
        yield TaskSetting("retries", most, f"restart: {service.restart}", where, TASK_LABELS["retries"])


def _written_out(operator: OperatorEnvironment) -> Iterator[str]:
    """Secrets that everybody can read who can read the DAG file."""
    for name, text in operator.templates.items():
        if text and "{{" not in text and "{%" not in text and mask(name, text) != text:
            where = f"{operator.file}:{operator.lines[name]}" if name in operator.lines else operator.file
            yield f"{name} is written out in {where}: keep it in a connection of Airflow, and write {{{{ conn.… }}}}"


def _misread(variables: Sequence[Variable], operator: OperatorEnvironment) -> Iterator[str]:
    """Variables of the operator that a Compose file refers to by `${…}`: that is answered before, without them."""
    for variable in variables:
        winner = variable.settings[0]
        for feed in winner.feeds:
            if feed.name in operator.templates and variable.name not in operator.templates:
                yield (
                    f"{variable.name} at {winner.where} reads ${{{feed.name}}} from the shell or .env, not from the "
                    f"operator: set {variable.name} in the operator's environment"
                )
