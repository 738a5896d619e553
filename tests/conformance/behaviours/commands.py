"""What is run, and where: `command:`, `entrypoint:`, `working_dir:`, `build:`."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour, job

__all__ = ["BEHAVIOURS"]

_SHOW = "import sys; print(sys.argv[1:])"

_EXEC_FORM = """\
    FROM python:3.12-slim
    COPY show.py /app/show.py
    WORKDIR /app
    ENTRYPOINT ["python", "show.py", "entry"]
    CMD ["one", "$HOME"]
    """
_BUILT = "services:\n  job:\n    build: .\n"
_SHOWN = {"Dockerfile": _EXEC_FORM, "show.py": f"{_SHOW}\n"}
_MOVED = {"portable": "the code sees this machine's files, paths"}

BEHAVIOURS = (
    Behaviour(
        "command-string",
        "a string is cut into words as a shell would, and no shell is there: `*`, `$` and `;` are letters",
        job(f"""command: python -c '{_SHOW}' "two words" it\\'s '' $$HOME * a;b >out"""),
    ),
    Behaviour(
        "command-list",
        "a list is taken as it is",
        job(f'command: [python, -c, "{_SHOW}", "two words", "", "$$HOME", "8080", "a;b"]'),
    ),
    Behaviour(
        "command-script",
        "a script of several lines for a shell; it stops where it says `set -e`",
        job("""
            command:
              - sh
              - -c
              - |
                set -e
                echo one
                test -e /nowhere
                echo two
        """),
    ),
    Behaviour(
        "entrypoint-and-command",
        "`entrypoint:` and `command:`, each cut into words where it is a string, are one line",
        job(f"""
            entrypoint: python -c '{_SHOW}' 'two words'
            command: three "four five"
        """),
    ),
    Behaviour("image-exec-form", "the image's `ENTRYPOINT` and `CMD`, no shell between them", _BUILT, _SHOWN),
    Behaviour(
        "entrypoint-over-image",
        "`entrypoint:` takes the place of the image's `ENTRYPOINT` and drops its `CMD`",
        f"{_BUILT}    entrypoint: [python, show.py]\n",
        _SHOWN,
    ),
    Behaviour(
        "empty-entrypoint",
        "an empty `entrypoint:` drops the image's, and `command:` is all that is run",
        f'{_BUILT}    entrypoint: []\n    command: echo "only this"\n',
        _SHOWN,
    ),
    Behaviour(
        "empty-command",
        "an empty `command:` is as good as none: the image's `CMD` holds",
        f"{_BUILT}    command: []\n",
        _SHOWN,
    ),
    Behaviour(
        "image-shell-form",
        "the shell form of `CMD` has a shell, with the variables of Compose",
        f"{_BUILT}    environment: [COLOUR=red]\n",
        {"Dockerfile": "FROM python:3.12-slim\nENV SHAPE=round\nCMD echo $COLOUR $SHAPE | tr a-z A-Z; exit 3\n"},
    ),
    Behaviour(
        "entrypoint-script",
        'an entry point script that ends with `exec "$@"`, in the working directory',
        f"{_BUILT}    command: [python, -c, \"import os; print(os.environ['READY'])\"]\n",
        {
            "Dockerfile": """\
            FROM python:3.12-slim
            WORKDIR /app
            COPY entrypoint.sh .
            ENTRYPOINT ["./entrypoint.sh"]
            """,
            "entrypoint.sh": '#!/bin/sh\nset -e\nexport READY=yes\necho "before $1"\nexec "$@"\n',
        },
        executable=("entrypoint.sh",),
    ),
    Behaviour(
        "working-dir",
        "`working_dir:` takes the place of `WORKDIR`, and is made where it is not there",
        f"{_BUILT}    working_dir: /made/here\n    entrypoint: []\n"
        "    command: sh -c 'pwd; ls | wc -l; echo text >file; cat file'\n",
        _SHOWN,
        told=_MOVED,
    ),
    Behaviour(
        "build-arguments",
        "`build.args` reach `ARG`, from the shell too; `target` names the stage",
        """\
        services:
          job:
            build:
              context: .
              target: wanted
              args:
                COLOUR: red
                SHAPE:
        """,
        {
            "Dockerfile": """\
            FROM python:3.12-slim AS wanted
            ARG COLOUR=default
            ARG SHAPE=default
            ARG SIZE=default
            ENV SEEN="$COLOUR $SHAPE $SIZE"
            CMD ["printenv", "SEEN"]

            FROM wanted
            CMD ["echo", "the last stage"]
            """
        },
        environment={"SHAPE": "round"},
    ),
    Behaviour(
        "build-inline",
        "`dockerfile_inline`, and a context in another folder",
        """\
        services:
          job:
            build:
              context: module
              dockerfile_inline: |
                FROM python:3.12-slim
                COPY text /text
                CMD ["cat", "/text"]
        """,
        {"module/text": "copied\n", "text": "not this\n"},
    ),
    Behaviour(
        "dockerignore",
        "what `.dockerignore` names is not copied",
        f"{_BUILT}",
        {
            "Dockerfile": 'FROM python:3.12-slim\nCOPY . /app\nCMD ["ls", "-A", "/app"]\n',
            ".dockerignore": "*.log\nout\n.dockerignore\n!keep.log\ncompose.yaml\nDockerfile\n",
            "a.log": "",
            "keep.log": "",
            "code.py": "",
        },
    ),
)
