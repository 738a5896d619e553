"""Lines of services in the log of a task, and the secrets in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import airflow.sdk.log  # noqa: F401 - it sets logging up when it is imported first
import pytest
from structlog.testing import capture_logs

from gigogne.airflow.logs import TaskLog
from gigogne.airflow.masking import mask_secrets, masked, secret_values
from gigogne.core.engine import Line

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
