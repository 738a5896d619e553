"""The formats of `env_file:`."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour, job

__all__ = ["BEHAVIOURS"]

_SHOW = """\
    command: |
      python -c 'import os; [print(n, ascii(os.environ.get(n))) for n in os.environ["NAMES"].split()]'
    env_file: {files}
    environment:
      NAMES: {names}
"""


def _shows(files: str, names: str) -> str:
    """A job that prints variables, so that every byte of them can be seen."""
    return job(_SHOW.format(files=files, names=names))


BEHAVIOURS = (
    Behaviour(
        "env-file-quotes",
        "single quotes keep everything, double quotes know `\\n` and `${NAME}`, plain values end at ` #`",
        _shows("a.env", "SINGLE DOUBLE PLAIN HASH SPACED TRAILING ESCAPED"),
        {
            "a.env": r"""
            BASE=base
            SINGLE='a ${BASE} \n "b"'
            DOUBLE="a ${BASE} \n 'b'"
            PLAIN=a ${BASE} \n b   # a comment
            HASH=a#b
            SPACED = spaced
            TRAILING=end   
            ESCAPED="a \"b\" \$BASE"
            """  # noqa: W291 - that is what is tried
        },
    ),
    Behaviour(
        "env-file-lines",
        "comments, empty lines, `export`, empty values, and values over several lines",
        _shows("a.env", "FIRST SECOND EMPTY KEY LAST"),
        {
            "a.env": """\
            # a comment
            export FIRST=1

              # another = one
            SECOND=2
            EMPTY=
            KEY="-----BEGIN-----
            abc=
            -----END-----"
            LAST=last
            """
        },
    ),
    Behaviour(
        "env-file-interpolation",
        "an `env_file:` sees the shell, `.env` and its own lines before, and knows defaults",
        _shows("a.env", "ONE TWO THREE FOUR"),
        {
            ".env": "DOTENV=dotenv\nBOTH=dotenv\n",
            "a.env": "ONE=${DOTENV}\nTWO=${BOTH}\nTHREE=${ONE}-${NOBODY:-default}\nFOUR=$$ONE\n",
        },
        environment={"BOTH": "shell"},
    ),
    Behaviour(
        "env-file-optional",
        "`required: false`: a file that is not there is no error",
        job("""
            env_file:
              - path: missing.env
                required: false
              - path: a.env
            command: printenv COLOUR
        """),
        {"a.env": "COLOUR=file\n"},
    ),
    Behaviour(
        "env-file-raw",
        "`format: raw`: quotes, `$` and `#` are part of the value",
        job(r"""
            env_file:
              - path: a.env
                format: raw
            command: printenv COLOUR SHAPE
        """),
        {"a.env": "COLOUR=\"quoted\" ${HOME} # no comment\nSHAPE='round'\n"},
    ),
    Behaviour(
        "env-file-windows",
        "a byte order mark and line ends of Windows are no part of names and values",
        _shows("a.env", "COLOUR SHAPE"),
        {"a.env": "\ufeffCOLOUR=red\r\nSHAPE=round\r\n"},
    ),
    Behaviour(
        "env-file-folders",
        "`env_file:` in another folder; `.env` is that of the project, not of it",
        _shows("conf/a.env", "COLOUR"),
        {".env": "X=project\n", "conf/.env": "X=conf\n", "conf/a.env": "COLOUR=${X}\n"},
    ),
)
