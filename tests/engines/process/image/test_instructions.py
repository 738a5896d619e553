"""What single instructions mean for the image: its variables, its command, its files. Of RUN, only the heredocs."""

from __future__ import annotations

import pytest
from tests.engines.process.image.recipes import START, Read, config, refused

from gigogne.engines.process.image.recipe import Copy, MakeDirectory


def test_arguments(read: Read) -> None:
    """ARG before FROM serves FROM; a stage sees it after its own ARG; Compose's value wins; ENV wins over ARG."""
    text = """\
ARG VERSION=3.11
ARG NAME=outer
FROM python:${VERSION}-slim
ENV BEFORE=[${NAME}]
ARG NAME
ARG OTHER=default
ARG LATER=${OTHER}-${NAME:-none}
ENV AFTER=${LATER} OTHER=env
ENV LAST=$OTHER
"""
    recipe = read(text, VERSION="3.12", OTHER="given")
    assert recipe.python == "3.12"
    environment = config(recipe).environment
    assert environment["BEFORE"] == "[]"
    assert environment["AFTER"] == "given-outer"
    assert environment["LAST"] == "env"
    assert "NAME" not in environment


def test_env_forms(read: Read) -> None:
    """Both forms of ENV, quotes, escapes; a line is expanded with the values from before it."""
    recipe = read(START + "ENV A=1 B='two words' C=a\\ b\nENV A=2 D=$A\nENV OLD the rest of it\n")
    environment = config(recipe).environment
    assert (environment["B"], environment["C"], environment["D"]) == ("two words", "a b", "1")
    assert environment["OLD"] == "the rest of it"


def test_the_platform_is_known_after_an_arg(read: Read) -> None:
    """BuildKit's own variables are there for a stage that declares them."""
    recipe = read(START + "ARG TARGETOS\nENV A=$TARGETOS B=$TARGETARCH\n")
    assert (config(recipe).environment["A"], config(recipe).environment["B"]) == ("linux", "")


@pytest.mark.parametrize(
    ("text", "entrypoint", "command"),
    [
        ("", (), ("python3",)),
        ('CMD ["a", "b"]', (), ("a", "b")),
        ("CMD a $B", (), ("/bin/sh", "-c", "a $B")),
        ('ENTRYPOINT ["e"]', ("e",), ()),
        ('ENTRYPOINT ["e"]\nCMD ["c"]', ("e",), ("c",)),
        ('CMD ["c"]\nENTRYPOINT ["e"]', ("e",), ("c",)),
        ("ENTRYPOINT e f", ("/bin/sh", "-c", "e f"), ()),
        ('SHELL ["/bin/bash", "-ec"]\nCMD a', (), ("/bin/bash", "-ec", "a")),
        ("CMD []", (), ()),
    ],
)
def test_entrypoint_and_command(read: Read, text: str, entrypoint: tuple[str, ...], command: tuple[str, ...]) -> None:
    """Both forms of both; an ENTRYPOINT forgets the CMD of the base image, but not one of its own stage."""
    image = config(read(START + text + "\n"))
    assert (image.entrypoint, image.command) == (entrypoint, command)


def test_an_entrypoint_forgets_the_command_of_an_earlier_stage(read: Read) -> None:
    """As in Docker, an inherited CMD was meant for the inherited ENTRYPOINT."""
    recipe = read('FROM python:3.12 AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["e"]\n')
    assert (config(recipe).entrypoint, config(recipe).command) == (("e",), ())


def test_the_small_instructions(read: Read) -> None:
    """STOPSIGNAL, EXPOSE, VOLUME, WORKDIR relative to the one before; LABEL and MAINTAINER change nothing."""
    image = config(
        read(
            START + "ARG PORT=8000\nSTOPSIGNAL SIGINT\nEXPOSE $PORT 53/udp\nVOLUME /data\nVOLUME ['x']\n"
            'VOLUME ["/other"]\nWORKDIR /a\nWORKDIR b/../c\nLABEL a=b\nMAINTAINER me\n'
        )
    )
    assert (image.stop_signal, image.exposed) == ("SIGINT", ("8000/tcp", "53/udp"))
    assert image.volumes[0] == "/data"
    assert "/other" in image.volumes
    assert image.working_dir == "/a/c"


def test_heredocs(read: Read) -> None:
    """The body of RUN <<EOF is a script, with exact lines; COPY <<EOF makes a file, expanded unless quoted."""
    recipe = read("""\
FROM python:3.12-slim
ENV NAME=world
RUN <<EOF
# a comment
set -eux
mkdir -p /a \\
  /b
make it
EOF
COPY <<EOF <<'RAW' /etc/app/
hello "$NAME"
EOF
$NAME
RAW
RUN python3 <<EOF
print(1)
EOF
""")
    lines = [where.rpartition(":")[2] for where, _ in refused(recipe)]
    assert lines == ["8", "15"]
    assert recipe.stages[0].steps[:2] == (MakeDirectory(6, "/a"), MakeDirectory(6, "/b"))
    copy = recipe.stages[0].steps[2]
    assert isinstance(copy, Copy)
    assert copy.contents == (("EOF", b'hello "world"\n'), ("RAW", b"$NAME\n"))
