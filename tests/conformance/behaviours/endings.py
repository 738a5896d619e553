"""How a job ends, and what it said: codes, signals, streams."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour, job

__all__ = ["BEHAVIOURS"]

_KILLS_ITS_CHILD = "sh -c 'python -c \"import os; os.kill(os.getpid(), {0})\"; echo $$?; exit $$(( 128 + {0} ))'"

BEHAVIOURS = (
    Behaviour(
        "exit-3", "a job's own exit code is that of the command", job("command: sh -c 'echo last words; exit 3'")
    ),
    Behaviour("exit-127", "a program that is not there: 127", job("command: /nowhere/program")),
    Behaviour(
        "exit-126",
        "a file that cannot be executed: 126",
        job("""
            command: /data/script
            volumes: ["./data:/data"]
        """),
        {"data/script": "#!/bin/sh\necho never\n"},
    ),
    Behaviour("exit-137", "killed in its child: 137", job(f"command: {_KILLS_ITS_CHILD.format(9)}")),
    Behaviour(
        "exit-143",
        "ended by SIGTERM, below an init: 143",
        job("""
            init: true
            command: [python, -c, "import os; os.kill(os.getpid(), 15)"]
        """),
    ),
    Behaviour(
        "first-failure",
        "the code of the command is that of the job that failed first; who waits for it does not run",
        """\
        services:
          first:
            image: python:3.12-slim
            command: sh -c 'exit 5'
          second:
            image: python:3.12-slim
            command: sh -c 'touch /out/second; exit 6'
            volumes: ["./out:/out"]
            depends_on:
              first: {condition: service_completed_successfully}
        """,
        jobs=("first", "second"),
    ),
    Behaviour(
        "last-line",
        "empty lines, blanks at both ends, a line end of Windows, a last line without an end",
        job("""command: printf '  first  \\n\\n\\r\\n\\tlast, unfinished'"""),
    ),
    Behaviour(
        "short-life",
        "all that a job says arrives, however short its life, stdout and stderr apart and each in its order",
        job("command: sh -c 'seq 1 200; seq 1 200 >&2'"),
    ),
    Behaviour(
        "much-output",
        "20,000 lines, and one of 60,000 letters",
        job("""command: [python, -c, "print('x' * 60_000); [print(i, 'y' * 60) for i in range(20_000)]"]"""),
    ),
    Behaviour(
        "unicode-output",
        "any alphabet arrives; so do colours and carriage returns",
        job("""
            command: [printf, 'é ü 漢字 🎉 \\033[31mred\\033[0m\\n10%%\\r100%%\\n']
        """),
    ),
    Behaviour(
        "unicode-names",
        "any alphabet in names of files and folders",
        job("""
            command: sh -c 'cat /données/"été 1.txt"; echo ça >/out/"naïve 🎉.txt"'
            volumes: ["./données:/données", "./out:/out"]
        """),
        {"données/été 1.txt": "l'été\n"},
    ),
    Behaviour(
        "stdin-closed",
        "standard input is empty, and no stream is a terminal",
        job("command: sh -c 'cat; read x; echo $$?; for i in 0 1 2; do test -t $$i || echo no terminal; done'"),
    ),
    Behaviour(
        "terminal",
        "`tty: true`: a terminal, on which both streams are one",
        job("""
            tty: true
            command: [python, -c, "import sys; print(sys.stdout.isatty()); print('error', file=sys.stderr)"]
        """),
        told=dict.fromkeys(("sandbox", "portable"), "there is no terminal"),
    ),
    Behaviour(
        "process-1",
        "the command is process 1; with `init: true` it is not",
        """\
        services:
          job: &job
            image: python:3.12-slim
            command: [python, -c, "import os; print(os.getpid() == 1)"]
          other:
            <<: *job
            init: true
        """,
        jobs=("job", "other"),
        told={"portable": "the code sees this machine's files, paths, host name and process ids"},
    ),
)
