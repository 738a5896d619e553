"""What a command says of its service: that it only idles, that it serves, or nothing, where it is not certain."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from gigogne.core.commands import ends_in_idling, only_idles, server_program
from gigogne.core.model import Service


def service(command: str, **raw: Any) -> Service:
    """A service with this command."""
    return Service("a", command=tuple(shlex.split(command)), raw=raw)


@pytest.mark.parametrize(
    "command",
    [
        "tail -f /dev/null",
        "sleep infinity",
        "/bin/sleep inf",
        "sh -c 'exec tail -F /dev/null'",
        "bash -c 'while true; do sleep 30; done'",
        "sh -c 'while :\ndo\n  sleep 3\ndone\n'",
        "/bin/sh -c 'while sleep 1000; do :; done'",
    ],
)
def test_commands_that_only_idle(command: str) -> None:
    """Each form of keeping a container alive is one."""
    assert only_idles(service(command)) and ends_in_idling(service(command))


@pytest.mark.parametrize(
    "command",
    [
        "sleep 5",
        "python job.py",
        "tail -n 5 /var/log/x",
        "sh -c 'while true; do python poll.py; sleep 5; done'",
        "python sleep infinity.txt",
        "bash",
    ],
)
def test_commands_that_do_not_idle(command: str) -> None:
    """What works, or ends, is none of them."""
    assert not only_idles(service(command)) and not ends_in_idling(service(command))


def test_an_idle_command_after_real_work() -> None:
    """A server that was sent into the background is one, and its command is no mistake."""
    worker = service("sh -c 'service postgresql start && tail -f /dev/null'")
    assert ends_in_idling(worker) and not only_idles(worker)


@pytest.mark.parametrize("command", ["bash", "/bin/sh", "cat"])
def test_a_shell_that_waits_for_somebody(command: str) -> None:
    """With tty or stdin_open a shell stays; with a script it does not."""
    for key in ("tty", "stdin_open"):
        assert only_idles(service(command, **{key: True}))
        assert not only_idles(service(f"{command} script", **{key: True}))


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("uvicorn app:app --port 80", "uvicorn"),
        ("/usr/local/bin/gunicorn -b 0.0.0.0:80 app", "gunicorn"),
        ("python -u -m http.server 80", "http.server"),
        ("python manage.py runserver 0:80", "manage.py runserver"),
        ("flask --app run.py run --host 0.0.0.0", "flask run"),
        ("uv run --frozen fastapi run", "fastapi run"),
        ("tini -- streamlit run app.py", "streamlit run"),
        ("celery -A shop.tasks worker -l info", "celery worker"),
        ("airflow celery worker", "airflow celery worker"),
        ("airflow scheduler", "airflow scheduler"),
        ("jupyter lab --ip 0.0.0.0", "jupyter lab"),
        ("mlflow server --host 0.0.0.0", "mlflow server"),
        ("sh -c 'mkdir -p /data/b && minio server /data'", "minio server"),
        ("ray start --head --block", "ray start"),
        ("nginx -g 'daemon off;'", "nginx"),
        ("tail -F /var/log/app.log", "tail"),
        ("sh -c 'set -e\nalembic upgrade head\nexec env A=b uvicorn app:app > log 2>&1'", "uvicorn"),
        ("bash -lc 'A=1 uvicorn app:app'", "uvicorn"),
    ],
)
def test_commands_that_serve(command: str, program: str) -> None:
    """Well-known servers are known in all the ways in which they are started."""
    assert server_program(service(command)) == program


@pytest.mark.parametrize(
    "command",
    [
        "python train.py",
        "uvicorn --version",
        "gunicorn --check-config app",
        "gunicorn -D app",
        "airflow db migrate",
        "airflow scheduler --num-runs 5",
        "celery -A worker inspect ping",
        "jupyter nbconvert report.ipynb",
        "jupyter notebook list",
        "mlflow run .",
        "prefect server database reset",
        "ray start --head",
        "rq worker -b",
        "nginx -t",
        "tail -n 5 log",
        "./watch now",
        "timeout 60 uvicorn app:app",
        "sh -c 'uvicorn app:app &'",
        "sh -c 'uvicorn app:app & pytest'",
        "sh -c 'if [ -n \"$WEB\" ]; then uvicorn app:app; fi'",
        "sh -c '[ -n \"$WEB\" ] && uvicorn app:app'",
        "sh -c 'uvicorn app:app | head'",
        "sh -c 'echo \"'",
        "sh",
    ],
)
def test_commands_that_may_end(command: str) -> None:
    """Where it is not certain that the command serves, nothing is said of it."""
    assert server_program(service(command)) is None
