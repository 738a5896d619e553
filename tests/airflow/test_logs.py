"""Lines of services in the log of a task, and the secrets in them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog
from airflow.sdk.execution_time.supervisor import process_log_messages_from_subprocess
from airflow.sdk.log import logging_processors
from structlog.testing import capture_logs
from tests.conftest import Workspace

from gigogne.airflow.files import load_options
from gigogne.airflow.logs import Follower, TaskLog
from gigogne.airflow.masking import mask_secrets, masked, secret_values
from gigogne.choice import choose_engine
from gigogne.compose import load_project
from gigogne.core.engine import Detached, Line, Run

pytestmark = pytest.mark.airflow


def _written(lines: Iterable[Line]) -> list[Any]:
    with capture_logs() as written:
        log = TaskLog()
        for line in lines:
            log.write(line)
    return list(written)


def test_plain_lines_are_info_and_say_their_stream() -> None:
    """What comes by stderr is no warning for that; percent signs and braces stay what they are."""
    out, err = _written([Line("stdout", "100 % of {rows}", 1.5), Line("stderr", "  indented", 2.0)])
    assert (out["event"], out["stream"], out["log_level"]) == ("100 % of {rows}", "stdout", "info")
    assert (err["event"], err["stream"], err["log_level"]) == ("  indented", "stderr", "info")
    assert out["timestamp"] == "1970-01-01T00:00:01.500000Z"


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ({"level": "warning", "message": "m"}, "warning"),
        ({"severity": "ERROR", "msg": "m"}, "error"),
        ({"levelname": "CRITICAL", "event": "m"}, "critical"),
        ({"log.level": "warn", "message": "m"}, "warning"),
        ({"level": 50, "msg": "m"}, "error"),
        ({"level": 30, "msg": "m"}, "info"),
        ({"message": "m"}, "info"),
        ({"level": "strange", "message": "m"}, "info"),
    ],
)
def test_lines_of_json_keep_their_level_and_their_message(given: dict[str, object], level: str) -> None:
    """By the names that Python, structlog, Google, ECS, pino and bunyan give them."""
    (line,) = _written([Line("stdout", json.dumps({**given, "rows": 7}))])
    assert (line["event"], line["log_level"], line["rows"]) == ("m", level, 7)


def test_a_level_that_airflow_would_drop_is_told_in_a_field() -> None:
    """No line is lost because the module logs finer than Airflow does."""
    (line,) = _written([Line("stdout", '{"level": "debug", "message": "m"}')])
    assert (line["event"], line["log_level"], line["severity"]) == ("m", "info", "debug")


def test_fields_that_airflow_has_a_meaning_for_are_renamed() -> None:
    """A module's own `trigger_id` would send the line to another task's log, its `exception` break the page."""
    fields = {"trigger_id": 5, "exception": "x", "timestamp": "t", "logger": "l", "stream": "s", "task_id": "t"}
    (line,) = _written([Line("stderr", json.dumps({"message": "m", **fields}))])
    assert {f"{name}_": value for name, value in fields.items()}.items() <= line.items()
    assert line["stream"] == "stderr"
    assert "trigger_id" not in line


def _nested(depth: int) -> str:
    return '{"message": "m", "field": ' + "[" * depth + "]" * depth + "}"


# JSON that each way from a service to the log's file breaks at, were it taken as it is.
HOSTILE = {
    "a parameter of the logger": '{"message": "m", "method_name": "GET"}',
    "parameters of the supervisor": '{"message": "m", "target": "crate::module", "msg": "n", "level": "info"}',
    "a parameter beside another message": '{"msg": 5, "event": "m"}',
    "a record of the standard library": '{"message": "m", "_record": {"a": 1}}',
    "half a character, in the message": r'{"message": "\ud800"}',
    "half a character, in a field": r'{"message": "m", "field": ["\udfff"]}',
    "half a character, in a name": r'{"message": "m", "\udfff": 1}',
    "a number of many digits": '{"message": "m", "field": ' + "9" * 5000 + "}",
    "no number": '{"message": "m", "field": NaN}',
    "depth that is read and not masked": _nested(700),
    "depth that is not read": _nested(100_000),
}


@pytest.fixture
def sent() -> Iterator[io.BytesIO]:
    """Where logging sends its lines as it does in the process of a task: to Airflow's supervisor."""
    before, sent = structlog.get_config(), io.BytesIO()
    structlog.configure(
        processors=[*logging_processors(json_output=True, sending_to_supervisor=True)],
        logger_factory=structlog.BytesLoggerFactory(sent),
        cache_logger_on_first_use=False,
    )
    yield sent
    structlog.configure(**before)


def _kept(sent: io.BytesIO) -> list[dict[str, Any]]:
    """What the supervisor makes of it: the lines of the log's file."""
    kept = io.BytesIO()
    file = structlog.wrap_logger(structlog.BytesLogger(kept), processors=[*logging_processors(json_output=True)])
    supervisor = process_log_messages_from_subprocess((file.bind(),))
    next(supervisor)
    for line in sent.getvalue().splitlines():
        supervisor.send(line)
    return [json.loads(line) for line in kept.getvalue().splitlines()]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_line_ends_the_log(text: str, sent: io.BytesIO) -> None:
    """Whatever its JSON holds, it is in the log, and so is the next one."""
    log = TaskLog()
    log.write(Line("stdout", text))
    log.write(Line("stdout", "next"))
    first, last = _kept(sent)
    assert first["event"] in ("m", "?", text)
    assert (last["event"], first["stream"], first["level"]) == ("next", "stdout", "info")


@pytest.mark.parametrize(("name", "value"), [("method_name", "GET"), ("target", "crate::module"), ("msg", "n")])
def test_a_field_that_airflow_has_a_parameter_for_is_kept(name: str, value: str, sent: io.BytesIO) -> None:
    """Renamed, in a line that keeps its level."""
    TaskLog().write(Line("stdout", json.dumps({"message": "m", "level": "error", name: value})))
    (line,) = _kept(sent)
    assert (line["event"], line["level"], line[f"{name}_"]) == ("m", "error", value)


def test_a_line_that_is_taken_as_text_shows_no_secret(sent: io.BytesIO) -> None:
    """It is masked like every other one."""
    mask_secrets({"API_TOKEN": "tok-of-hostile"})
    TaskLog().write(Line("stdout", r'{"message": "m", "a": ["\udfff"], "b": "tok-of-hostile"}'))
    assert b"tok-of-hostile" not in sent.getvalue()
    assert "***" in _kept(sent)[0]["event"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_follower_goes_on_behind_any_line(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a job writes after such lines is in the log, and its last words are its last ones."""
    for name, value in workspace.environment.items():
        monkeypatch.setenv(name, value)
    lines = [*HOSTILE.values(), "the last one"]
    workspace.write(
        {
            "compose.yml": "services:\n  job:\n    image: busybox:1.36\n    command: [cat, /lines]\n"
            "    volumes: [./lines:/lines:ro]\n",
            "lines": "".join(f"{line}\n" for line in lines),
        }
    )
    project = load_project(load_options(workspace.folder))
    engine, _ = choose_engine("process", lambda service, text: None)
    run, service = Run("airflow-hostile", project, ("job",), Detached()), project.services["job"]
    engine.prepare(service, run)
    handle = engine.start(service, run)
    try:
        with capture_logs() as written:
            log = TaskLog()
            follower = Follower(engine, handle, log).start()
            assert engine.wait(handle, timeout=30).code == 0
            assert follower.join(30)
        assert written[-1]["event"] == log.last_line == "the last one"
        assert list(engine.logs(handle, follow=False, after=follower.position)) == []
    finally:
        engine.stop(handle, grace=0)
        engine.remove(project, volumes=True)


@pytest.mark.parametrize("text", ['{"no": "message"}', "{not json}", '{"message": 5}', "{}", "[1]"])
def test_other_lines_in_braces_are_text(text: str) -> None:
    """Whole, as they were written."""
    (line,) = _written([Line("stdout", text)])
    assert line["event"] == text


def test_equal_lines_of_one_moment_have_different_times() -> None:
    """Airflow shows only one of two neighbours that are equal in all, and orders lines by their times."""
    lines = _written([Line("stdout", "same", 5.0), Line("stdout", "same", 5.0), Line("stderr", "before", 4.0)])
    times = [datetime.fromisoformat(line["timestamp"]) for line in lines]
    assert times == sorted(set(times))
    assert len(times) == 3


def test_the_last_words_are_remembered() -> None:
    """The last lines of each stream that say something."""
    log = TaskLog()
    with capture_logs():
        for line in [Line("stdout", "rows: 5"), Line("stderr", "oops"), Line("stdout", "  "), Line("stderr", "")]:
            log.write(line)
    assert (log.last_line, log.last_error) == ("rows: 5", "oops")


def test_secrets_are_those_of_secret_names_and_of_urls() -> None:
    """Also with what a URL escapes, and line by line; numbers that count and paths of secrets are none."""
    environment = {
        "DB_PASSWORD": "hunter-22",
        "DATABASE_URL": "postgresql://me:p%40ss-word@db:5432/x",
        "PRIVATE_KEY": "-----BEGIN-----\nabcdefghij\n}\n",
        "TOKEN_TTL": "3600",
        "PASSWORD_FILE": "/run/secrets/x",
        "PLAIN": "value",
    }
    found = secret_values(environment)
    assert {"hunter-22", "p%40ss-word", "p@ss-word", "abcdefghij", environment["PRIVATE_KEY"]} <= set(found)
    assert not {"3600", "/run/secrets/x", "value", "}"} & set(found)


@pytest.mark.parametrize(
    "value",
    [
        "postgres://u:hunter/22%3F@h/db",
        '["postgres://u:hunter/22%3F@h/db"]',
        "url=postgres://u:hunter/22%3F@h/db",
        "amqp://u:first@h1,amqp://u:hunter/22%3F@h2",
    ],
)
def test_passwords_of_urls_are_secrets_wherever_they_stand(value: str) -> None:
    """As they are written, and as the program logs in with them."""
    assert {"hunter/22%3F", "hunter/22?"} <= set(secret_values({"WHERE": value}))


def test_the_name_of_a_service_is_no_secret() -> None:
    """A password `postgres` would hide the server's name in each line."""
    assert secret_values({"POSTGRES_PASSWORD": "postgres", "API_TOKEN": "tok-1234"}, ["postgres"]) == ["tok-1234"]


def test_no_line_and_no_result_shows_a_secret() -> None:
    """In text, in the fields of a JSON line, and at any depth of a result."""
    mask_secrets({"API_TOKEN": "tok-of-test-logs"})
    text, fields = _written(
        [
            Line("stdout", "using tok-of-test-logs."),
            Line("stderr", '{"message": "m", "a": {"b": ["tok-of-test-logs"]}}'),
        ]
    )
    assert text["event"] == "using ***."
    assert fields["a"] == {"b": ["***"]}
    assert masked({"rows": 5, "token": "x", "at": ["s3://tok-of-test-logs/"]}) == {
        "rows": 5,
        "token": "x",
        "at": ["s3://***/"],
    }
