"""What waits for what: the three conditions, health checks, restarts, and how servers are stopped."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour

__all__ = ["BEHAVIOURS"]

_SERVER = """\
    services:
      server:
        image: python:3.12-slim
        stop_grace_period: 0s
        command: {command}
        volumes: ["./out:/out"]
{more}
      job:
        image: python:3.12-slim
        command: {job}
        volumes: ["./out:/out"]
        depends_on: {{server: {{condition: {condition}}}}}
    """


def _served(
    more: str,
    *,
    command: str = "sh -c 'sleep 0.3; touch /out/ready; sleep 60'",
    job: str = "sh -c 'ls /out'",
    condition: str = "service_healthy",
) -> str:
    """A server with these keys, and a job that waits for it."""
    keys = "".join(f"        {line}\n" for line in more.strip().splitlines())
    return _SERVER.format(command=command, more=keys, job=job, condition=condition)


def _stopped(server: str, more: str) -> str:
    """A server that writes to `out/` how it was stopped; a job has seen that it ran."""
    return _served(
        f"{more}\nhealthcheck: {{test: test -e /out/ready, interval: 200ms, retries: 50}}",
        command=f'[python, -c, "{server}"]',
        job="'true'",
    ).replace("        stop_grace_period: 0s\n", "")


_NOTES = (
    "import signal, time, pathlib; "
    "note = lambda number, _: (time.sleep(0.2), pathlib.Path('/out/signal').write_text(str(number)), exit(0)); "
    "[signal.signal(n, note) for n in (2, 10, 15)]; "
    "pathlib.Path('/out/ready').touch(); "
    "[time.sleep(0.1) for _ in range(300)]"
)
_DEAF = (
    "import signal, time, pathlib; "
    "note = lambda number, _: (pathlib.Path('/out/asked').touch(), time.sleep(3), pathlib.Path('/out/late').touch()); "
    "signal.signal(15, note); "
    "pathlib.Path('/out/ready').touch(); "
    "[time.sleep(0.1) for _ in range(300)]"
)

BEHAVIOURS = (
    Behaviour(
        "completed-successfully",
        "`service_completed_successfully`: starts after the other has succeeded, and sees its files",
        """\
        services:
          job:
            image: python:3.12-slim
            command: cat /out/made
            volumes: ["./out:/out"]
            depends_on: {first: {condition: service_completed_successfully}}
          first:
            image: python:3.12-slim
            command: sh -c 'sleep 0.3; echo made >/out/made'
            volumes: ["./out:/out"]
        """,
        jobs=("first", "job"),
    ),
    Behaviour(
        "healthy",
        "`service_healthy`: starts after the health check has passed (`CMD-SHELL`)",
        _served("healthcheck: {test: [CMD-SHELL, test -e /out/ready && echo fine], interval: 200ms, retries: 50}"),
    ),
    Behaviour(
        "healthcheck-cmd",
        "a health check without a shell (`CMD`) has the service's variables and its working directory",
        _served(
            """
environment: [MARK=/out/ready]
working_dir: /out
healthcheck:
  test: [CMD, python, -c, "import os; assert os.path.samefile(os.environ['MARK'], 'ready')"]
  interval: 200ms, retries: 50
"""
        ),
    ),
    Behaviour(
        "healthcheck-string",
        "a health check that is a string is the shell's; retries during `start_period` do not count",
        _served(
            "healthcheck: "
            "{test: test -e /out/ready, interval: 30s, start_interval: 100ms, start_period: 20s, retries: 1}"
        ),
    ),
    Behaviour(
        "healthcheck-of-image",
        "the image's `HEALTHCHECK` is used where Compose says nothing",
        _served("").replace("image: python:3.12-slim\n        stop", "build: .\n        stop"),
        {"Dockerfile": "FROM python:3.12-slim\nHEALTHCHECK --interval=200ms --retries=50 CMD test -e /out/ready\n"},
    ),
    Behaviour(
        "never-healthy",
        "a health check that fails as often as `retries` says: who waits for it does not run, and the command fails",
        _served("healthcheck: {test: exit 1, interval: 100ms, retries: 2}", command="sleep 60"),
    ),
    Behaviour(
        "started",
        "`service_started`, and `depends_on` as a list: the other is started, whatever comes of it",
        """\
        services:
          server:
            image: python:3.12-slim
            command: sh -c 'touch /out/ready; sleep 60'
            stop_grace_period: 0s
            restart: unless-stopped
            volumes: ["./out:/out"]
          job:
            image: python:3.12-slim
            command: sh -c 'until test -e /out/ready; do sleep 0.05; done; echo started'
            volumes: ["./out:/out"]
            depends_on: [server]
        """,
    ),
    Behaviour(
        "optional-dependency",
        "`required: false`: a dependency whose profile is off is not waited for",
        """\
        services:
          job:
            image: python:3.12-slim
            command: echo alone
            depends_on: {extra: {condition: service_healthy, required: false}}
          extra:
            image: python:3.12-slim
            profiles: [extra]
            command: "true"
        """,
    ),
    Behaviour(
        "restart-on-failure",
        "`restart: on-failure:2`: two more tries, then its code; all tries are in its log",
        """\
        services:
          job:
            image: python:3.12-slim
            command: sh -c 'echo try >>/out/tries; echo again; exit 4'
            volumes: ["./out:/out"]
            restart: on-failure:2
        """,
    ),
    Behaviour(
        "restart-until-success",
        "`restart: on-failure`: a job that succeeds at the third try; who waits for it runs once, after it",
        """\
        services:
          job:
            image: python:3.12-slim
            command: sh -c 'echo try >>/out/tries; test $$(wc -l </out/tries) -ge 3'
            volumes: ["./out:/out"]
            restart: on-failure
          after:
            image: python:3.12-slim
            command: cat /out/tries
            volumes: ["./out:/out"]
            depends_on: {job: {condition: service_completed_successfully}}
        """,
        jobs=("job", "after"),
    ),
    Behaviour(
        "restart-keeps-files",
        "another try finds what the first one wrote in the container itself",
        """\
        services:
          job:
            image: python:3.12-slim
            command: sh -c 'cat been 2>/dev/null && exit; echo been here >been; exit 1'
            restart: on-failure:3
        """,
        told=dict.fromkeys(
            ("sandbox", "portable", "docker", "nested outside", "nested inside"), "each try starts anew"
        ),
    ),
    Behaviour(
        "restart-server",
        "a server that dies is started again (`restart: unless-stopped`)",
        _served(
            "restart: unless-stopped\nhealthcheck: {test: test -e /out/ready, interval: 200ms, retries: 50}",
            command="sh -c 'if test -e /out/died; then touch /out/ready; sleep 60; else touch /out/died; exit 1; fi'",
        ),
    ),
    Behaviour(
        "stop-signal-default",
        "a server is stopped by SIGTERM, and may finish what it does",
        _stopped(_NOTES, ""),
    ),
    Behaviour(
        "stop-signal",
        "`stop_signal:` is sent in its place",
        _stopped(_NOTES, "stop_signal: SIGUSR1"),
    ),
    Behaviour(
        "stop-signal-of-image",
        "the image's `STOPSIGNAL` is sent where Compose says nothing",
        _stopped(_NOTES, "").replace(
            'image: python:3.12-slim\n        command: [python, -c, "import sig',
            'build: .\n        command: [python, -c, "import sig',
        ),
        {"Dockerfile": "FROM python:3.12-slim\nSTOPSIGNAL SIGINT\n"},
    ),
    Behaviour(
        "stop-grace-period",
        "`stop_grace_period:` is all the time that it has",
        _stopped(_DEAF, "stop_grace_period: 1s"),
    ),
)
