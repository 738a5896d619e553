"""Variables: which layer wins, and what arrives."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour, job

__all__ = ["BEHAVIOURS"]

_ENV_IMAGE = """\
    FROM python:3.12-slim
    ENV COLOUR=image SHAPE=round
    CMD ["printenv", "COLOUR", "SHAPE"]
    """

BEHAVIOURS = (
    Behaviour(
        "environment-over-env-file",
        "`environment:` wins over `env_file:`; of several files, the later one wins",
        job("""
            env_file: [a.env, b.env]
            environment: {COLOUR: environment}
            command: printenv COLOUR SHAPE SIZE
        """),
        {"a.env": "COLOUR=first\nSHAPE=first\nSIZE=first\n", "b.env": "COLOUR=second\nSHAPE=second\n"},
    ),
    Behaviour(
        "env-over-image",
        "both win over the image's `ENV`, the rest of which stays",
        job("build: .\nenvironment: [COLOUR=compose]").replace("    image: python:3.12-slim\n", ""),
        {"Dockerfile": _ENV_IMAGE},
    ),
    Behaviour(
        "shell-over-dotenv",
        "in `${NAME}`, the shell wins over `.env`; a list of `NAME=value` keeps quotes and empty values",
        job("""
            environment: ["COLOUR=${COLOUR}", "SHAPE=${SHAPE}", "EMPTY=", "QUOTED='stay'"]
            command: sh -c 'echo "$$COLOUR $$SHAPE [$$EMPTY] $$QUOTED"'
        """),
        {".env": "COLOUR=dotenv\nSHAPE=dotenv\n"},
        environment={"COLOUR": "shell"},
    ),
    Behaviour(
        "dotenv-stays-outside",
        "`.env` feeds `${NAME}` only: nothing of it arrives by itself, and nothing of the shell",
        job("command: sh -c 'echo $${INNER:-none} $${OUTER:-none} ${INNER} ${OUTER}'"),
        {".env": "INNER=dotenv\n"},
        environment={"OUTER": "shell"},
    ),
    Behaviour(
        "env-file-option",
        "`--env-file` is read in place of `.env`; of several, the later one wins",
        job("command: echo ${COLOUR} ${SHAPE} ${SIZE:-none}"),
        {".env": "SIZE=dotenv\n", "one.env": "COLOUR=one\nSHAPE=one\n", "two.env": "COLOUR=two\n"},
        options=("--env-file", "one.env", "--env-file", "two.env"),
    ),
    Behaviour(
        "pass-through",
        "a name without a value gets that of the shell, or that of `.env`",
        job("""
            environment:
              COLOUR:
              SHAPE:
            command: printenv COLOUR SHAPE
        """),
        {".env": "SHAPE=dotenv\nCOLOUR=dotenv\n"},
        environment={"COLOUR": "shell"},
    ),
    Behaviour(
        "pass-through-unset",
        "a name without a value that nobody sets is not set, whatever the image says",
        """\
        services:
          job:
            build: .
            environment: [COLOUR]
            command: sh -c 'echo $${COLOUR-unset} $$SHAPE'
        """,
        {"Dockerfile": _ENV_IMAGE},
    ),
    Behaviour(
        "pass-through-over-env-file",
        "a name without a value that nobody sets is not set, whatever `env_file:` says",
        job("""
            env_file: a.env
            environment: [COLOUR]
            command: sh -c 'echo $${COLOUR-unset}'
        """),
        {"a.env": "COLOUR=file\n"},
    ),
    Behaviour(
        "defaults",
        "`${A:-b}`, `${A-b}`, `${A:+b}` and nested ones, for what is set, empty and unset",
        job("""
            command:
              - printf
              - '[%s]\\n'
              - ${SET:-default}
              - ${EMPTY:-default}
              - ${EMPTY-default}
              - ${UNSET-default}
              - ${SET:+replaced}
              - ${EMPTY:+replaced}
              - ${UNSET:-${SET}-nested}
              - ${UNSET}
        """),
        environment={"SET": "set", "EMPTY": ""},
    ),
    Behaviour(
        "required-variable",
        "`${NAME:?message}` that is not set: nothing starts",
        job("""
            command: echo ${CONFORMANCE_TOKEN:?is needed}
        """),
    ),
    Behaviour(
        "dollar-dollar",
        "`$$` arrives as one `$`, and one value is not read twice",
        job("""
            environment:
              PRICE: 5$$
              RAW: ${FROM_SHELL}
            command: sh -c 'echo "$$PRICE $$RAW $$0"' '$$HOME'
        """),
        environment={"FROM_SHELL": "a$PRICE-$$-${PRICE}"},
    ),
    Behaviour(
        "difficult-values",
        "spaces, quotes, equal signs, line ends, tabs and Unicode arrive as they are",
        job(r"""
            environment:
              SPACES: "  two  words  "
              QUOTES: "it's \"so\" `here`"
              EQUAL: a=b=c
              LINES: "first\nsecond\n"
              TAB: "a\tb\\t"
              WORD: "é ü 漢字 🎉"
              PASSED:
            command: |
              python -c 'import os; [print(n, ascii(os.environ[n])) for n in
              ("SPACES", "QUOTES", "EQUAL", "LINES", "TAB", "WORD", "PASSED")]'
        """),
        environment={"PASSED": "\"$(date)\" 'x' \\n 100% #no é"},
    ),
    Behaviour(
        "empty-and-typed-values",
        "empty values are set; numbers and dates without quotes arrive as YAML reads them: `0755` is 493",
        job("""
            environment:
              EMPTY: ""
              NUMBER: 8080
              FLOAT: 1.50
              OCTAL: 0755
              FLAG: "true"
              DATE: 2026-01-02
            command: sh -c 'echo "[$${EMPTY-unset}] $$NUMBER $$FLOAT $$OCTAL $$FLAG $$DATE"'
        """),
    ),
    Behaviour(
        "interpolation-elsewhere",
        "`${NAME}` works in images, commands, paths and keys of mounts",
        """\
        services:
          job:
            image: python:${TAG}
            command: ["cat", "/${PLACE}/text"]
            volumes: ["./${PLACE}:/${PLACE}:ro"]
        """,
        {".env": "TAG=3.12-slim\nPLACE=data\n", "data/text": "here\n"},
    ),
    Behaviour(
        "project-name-variable",
        "`${COMPOSE_PROJECT_NAME}` is the name of the project",
        """\
        name: conformance-named
        services:
          job:
            image: python:3.12-slim
            environment: ["NAME=${COMPOSE_PROJECT_NAME}"]
            command: printenv NAME
        """,
        project="conformance-named",
    ),
)
