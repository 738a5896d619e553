"""What the reader makes of a Dockerfile, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gigogne.core.model import Build, Project, Service
from gigogne.engines.process.image.dockerfile import read_recipe
from gigogne.engines.process.image.recipe import (
    ChangeMode,
    Copy,
    ImageConfig,
    ImagePath,
    Install,
    MakeDirectory,
    MakeEnvironment,
    Recipe,
    Step,
)
from gigogne.errors import ComposeError

Read = Callable[..., Recipe]
START = "FROM python:3.12-slim\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes a Dockerfile and reads it."""

    def reader(text: str | bytes, *, target: str | None = None, **arguments: str) -> Recipe:
        file = tmp_path / "docker" / "x" / "Dockerfile"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        service = Service("x", build=Build(tmp_path, file, args=arguments, target=target))
        return read_recipe(service, Project("demo", tmp_path, (), {"x": service}))

    return reader


def config(recipe: Recipe) -> ImageConfig:
    """The configuration, which there must be."""
    assert recipe.config is not None, recipe.problems
    return recipe.config


def steps(recipe: Recipe) -> tuple[Step, ...]:
    """The steps of the target, which nothing spoils."""
    assert [str(problem) for problem in recipe.problems if problem.fatal] == []
    return recipe.stages[-1].steps


def refused(recipe: Recipe) -> list[tuple[str, str]]:
    """The place and the message of each fatal problem."""
    return [(problem.where, problem.message) for problem in recipe.problems if problem.fatal]


def installs(recipe: Recipe) -> list[Install]:
    """The install commands of every stage."""
    return [step for stage in recipe.stages for step in stage.steps if isinstance(step, Install)]


def test_the_usual_two_stages(read: Read) -> None:
    """The pattern of the reference stack: uv builds a venv in one stage, the other takes it and drops root."""
    recipe = read("""\
# syntax=docker/dockerfile:1
FROM python:3.12-slim AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv
WORKDIR /src
COPY pyproject.toml ./
RUN uv venv /opt/venv && uv pip install --python /opt/venv --no-cache --group fraud
FROM python:3.12-slim
RUN useradd --create-home --uid 1000 mluser \\
 && mkdir -p /data/landing \\
 && chown -R mluser:mluser /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /home/app
COPY --chown=mluser src/fraud ./fraud
ENV PATH="/opt/venv/bin:$PATH"
USER mluser
CMD ["python", "-m", "fraud"]
""")
    assert recipe.python == "3.12"
    assert steps(recipe) == (
        MakeDirectory(8, "/home/mluser"),
        MakeDirectory(9, "/data/landing"),
        Copy(11, ("/opt/venv",), "/opt/venv", 0),
        MakeDirectory(12, "/home/app"),
        Copy(13, ("src/fraud",), "/home/app/fraud"),
    )
    build = recipe.stages[0]
    assert build.name == "build"
    assert build.steps[2] == MakeEnvironment(6, "/opt/venv")
    install = installs(recipe)[0]
    assert (install.environment, install.arguments) == ("/opt/venv", ("--group", "fraud"))
    assert (install.directory, install.files) == ("/src", ("/src/pyproject.toml",))
    image = config(recipe)
    assert (image.user, image.uid, image.gid, image.home) == ("mluser", 1000, 1000, "/home/mluser")
    assert image.environment["PATH"].startswith("/opt/venv/bin:/usr/local/bin:")
    assert image.environment["LANG"] == "C.UTF-8"
    assert (image.working_dir, image.command) == ("/home/app", ("python", "-m", "fraud"))
    notices = [(problem.where, problem.message) for problem in recipe.problems]
    assert notices == [
        ("docker/x/Dockerfile:8", "user 'mluser' exists only where the service runs, with uid 1000"),
        ("docker/x/Dockerfile:10", "RUN chown is skipped: the files belong to whoever runs the service"),
        ("docker/x/Dockerfile:13", "COPY --chown is skipped: the files belong to whoever runs the service"),
    ]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("python:3.12-slim", "3.12"),
        ("python:3.11.9-slim-bookworm", "3.11"),
        ("python:3.13", "3.13"),
        ("python:3", "3"),
        ("python", "3"),
        ("python:slim", "3"),
        ("docker.io/library/python:3.12", "3.12"),
        ("mirror.example:5000/library/python:3.12-slim@sha256:00", "3.12"),
        ("ghcr.io/astral-sh/uv:python3.12-bookworm-slim", "3.12"),
    ],
)
def test_the_python_of_an_image(read: Read, image: str, version: str) -> None:
    """The minor version comes from the tag, whatever the registry and the variant."""
    recipe = read(f"FROM {image}\n")
    assert (recipe.python, refused(recipe)) == (version, [])


def test_another_image_is_refused(read: Read) -> None:
    """An image that is not Python's cannot be stood in for."""
    for image in ("node:20", "python:2.7", "postgres"):
        found = refused(read(f"FROM {image}\n"))
        assert found == [("docker/x/Dockerfile:1", f"the image {image} is not a Python 3 image")]


def test_a_service_with_an_image_only(tmp_path: Path) -> None:
    """A service without a build section gets what its image's name says."""
    service = Service("x", image="python:3.12-slim")
    recipe = read_recipe(service, Project("demo", tmp_path, (), {"x": service}))
    assert recipe.python == "3.12"
    assert config(recipe).command == ("python3",)


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


@pytest.mark.parametrize(
    ("run", "user", "uid", "gid", "home"),
    [
        ("true", "", 0, 0, "/root"),
        ("true", "1234", 1234, 0, "/"),
        ("true", "1234:5678", 1234, 5678, "/"),
        ("true", "nobody", 65534, 65534, "/nonexistent"),
        ("useradd -m app", "app", 1000, 1000, "/home/app"),
        ("useradd -mu 1500 -d /srv/app -s /bin/false app", "app", 1500, 1500, "/srv/app"),
        ("useradd --uid=1500 app", "1500", 1500, 1500, "/home/app"),
        ("groupadd -g 77 g && useradd -r -g g -G users app", "app", 999, 77, "/home/app"),
        ("groupadd --system app; useradd --system --gid app app", "app:app", 999, 999, "/home/app"),
        ('adduser --disabled-password --gecos "" --uid 1001 app', "app", 1001, 1001, "/home/app"),
        ("addgroup -S app && adduser -S -D -u 1002 -G app app", "app", 1002, 999, "/home/app"),
        ("useradd app || true", "app", 1000, 1000, "/home/app"),
    ],
)
def test_users(read: Read, run: str, user: str, uid: int, gid: int, home: str) -> None:
    """A name is what useradd or adduser made of it; a number is itself."""
    recipe = read(f"{START}RUN {run}\n" + (f"USER {user}\n" if user else ""))
    image = config(recipe)
    assert (image.uid, image.gid, image.home) == (uid, gid, home)


def test_an_unknown_user(read: Read) -> None:
    """A user whom nothing makes is refused, with what to do."""
    recipe = read(START + "USER ghost\n")
    assert refused(recipe) == [("docker/x/Dockerfile:2", "USER: no user 'ghost' in this image")]
    assert "useradd" in recipe.problems[0].hint


def test_refused_runs_are_named_all_at_once(read: Read) -> None:
    """Each command that has no meaning here is named with its own line; what is understood is not."""
    recipe = read("""\
FROM python:3.12-slim
RUN apt-get update \\
 && apt-get install -y --no-install-recommends curl libpq5 \\
 && rm -rf /var/lib/apt/lists/* \\
 && curl -fsSL https://example.com/x.sh \\
 && mkdir -p /data
RUN make all; echo done
RUN if [ -f x ]; then pip install x; fi
RUN pip install --what /elsewhere six
RUN --mount=type=secret,id=token pip install six
ADD https://example.com/x.bin /x
ONBUILD RUN true
""")
    assert [where.rpartition(":")[2] for where, _ in refused(recipe)] == ["5", "7", "8", "9", "10", "11", "12"]
    messages = [message for _, message in refused(recipe)]
    assert messages[0].startswith("RUN curl -fsSL https://example.com/x.sh: ")
    assert messages[1].startswith("RUN make all: ")
    assert "--what" in messages[3]
    assert messages[6] == "ONBUILD is not supported"
    hints = [problem.hint for problem in recipe.problems if problem.fatal]
    assert all(hints)
    assert "COPY" in hints[0]
    assert "write the instruction itself" in hints[6]
    notices = [problem for problem in recipe.problems if not problem.fatal]
    assert [(each.where, each.message) for each in notices] == [
        ("docker/x/Dockerfile:3", "the packages curl, libpq5 are not installed")
    ]


@pytest.mark.parametrize(
    "command",
    [
        "curl x | sh",
        "pip install $(cat x)",
        "pip install `cat x`",
        "pip install pandas>=2",
        "python setup.py build",
        "rm -rf /",
        "sh install.sh",
        "bash",
        "python -c 'import x'",
        "python -m unknown",
        "echo x > a b",
        "echo 'a\\nb' > /x",
        "cat a > b",
        "ln a b",
        "sed -i s/a/b/ x.py",
        "find . -name '*.sh'",
        "usermod -u 1000 www-data",
        "git clone https://example.com/x",
        "env make",
        "cp -t /x a",
        "pip uninstall six",
        "cat <<< x",
        "pip install 'unfinished",
        'pip install "$(cat x)"',
        "sleep 1 &",
        "uv sync --package-that-is-not",
        "install -m 755 a /b",
    ],
)
def test_what_only_a_shell_or_a_container_can_do(read: Read, command: str) -> None:
    """Commands outside the subset are refused, never half done."""
    recipe = read(f"{START}RUN {command}\n")
    assert len(refused(recipe)) == 1, recipe.problems
    assert installs(recipe) == []


def test_secrets_stay_out_of_messages(read: Read) -> None:
    """A refused command is shown as it is written, not with the values of its variables."""
    text = START + "ARG TOKEN\nRUN make TOKEN=$TOKEN\nRUN uv pip install --what $TOKEN six\n"
    recipe = read(text, TOKEN="s3cret")
    assert len(refused(recipe)) == 2
    assert "s3cret" not in repr(recipe)


@pytest.mark.parametrize(
    ("command", "environment", "arguments"),
    [
        ("pip install six", "/usr/local", ("six",)),
        ("pip3 install --no-cache-dir -U 'six>=1,<2'", "/usr/local", ("-U", "six>=1,<2")),
        ("python -m pip install --upgrade pip setuptools", "/usr/local", ("--upgrade", "setuptools")),
        ("/opt/v/bin/pip install six", "/opt/v", ("six",)),
        ("/opt/v/bin/python -m pip install six", "/opt/v", ("six",)),
        ("python3 -m venv /opt/v && . /opt/v/bin/activate && pip install six", "/opt/v", ("six",)),
        ("uv venv && uv pip install six", "/app/.venv", ("six",)),
        ("uv pip install --system six", "/usr/local", ("six",)),
        ("UV_SYSTEM_PYTHON=1 uv pip install six", "/usr/local", ("six",)),
        ("export VIRTUAL_ENV=/opt/w && uv pip install six", "/opt/w", ("six",)),
        ("uv pip install -p /opt/v/bin/python six", "/opt/v", ("six",)),
        ("pip install --prefix=/install six", "/install", ("six",)),
        ("pip install --pre -i https://index.example/s six", "/usr/local",
         ("--prerelease=allow", "-i", "https://index.example/s", "six")),
        ("pip install .[etl]", "/usr/local", (ImagePath("/app", "[etl]"),)),
        ("pip install -e ./lib", "/usr/local", ("-e", ImagePath("/app/lib"))),
        ("cd /src && pip install -r r.txt -c /c.txt", "/usr/local",
         ("-r", ImagePath("/src/r.txt"), "-c", ImagePath("/c.txt"))),
        ("pip install -rr.txt > /dev/null 2>&1", "/usr/local", ("-r", ImagePath("/app/r.txt"))),
        ("pip install dist/x-1-py3-none-any.whl", "/usr/local", (ImagePath("/app/dist/x-1-py3-none-any.whl"),)),
        ("pip install --no-color --no-progress six", "/usr/local", ("six",)),
        ("pip --no-cache-dir install -qqq -Ur r.txt", "/usr/local", ("-U", "-r", ImagePath("/app/r.txt"))),
        ("sudo env A=1 pip install --default-timeout=100 six", "/usr/local", ("six",)),
        ("bash -c 'pip install six'", "/usr/local", ("six",)),
        ("pip install --user six", "/root/.local", ("six",)),
        ("PYTHONUSERBASE=/py pip install six --user", "/py", ("six",)),
        ("python3 -m venv /v && /v/bin/pip install --user six", "/v", ("six",)),
        ("pip install --target=lib six", "/app/lib", ("six",)),
        ("pip install -t /usr/local/lib/python3.12/site-packages six", "/usr/local", ("six",)),
        ("uv pip sync --system r.txt", "/usr/local", ("-r", ImagePath("/app/r.txt"))),
        ("pip install --group /p/pyproject.toml:dev", "/usr/local",
         ("--group", ImagePath("/p/pyproject.toml", ":dev"))),
    ],
)  # fmt: skip
def test_installs(read: Read, command: str, environment: str, arguments: tuple[str | ImagePath, ...]) -> None:
    """Each way to install is put in uv's words, for the environment that it would have changed."""
    recipe = read(f"{START}WORKDIR /app\nRUN {command}\n")
    steps(recipe)
    assert [(each.environment, each.arguments) for each in installs(recipe)] == [(environment, arguments)]


def test_upgrading_pip_installs_nothing(read: Read) -> None:
    """Uv takes the place of pip, so neither is installed."""
    assert installs(read(START + "RUN pip install --upgrade pip && pip install uv==0.9.1\n")) == []


def test_pip_follows_path(read: Read) -> None:
    """With the environment's bin first in PATH, pip is that environment's."""
    recipe = read(START + 'RUN python -m venv /v\nENV PATH="/v/bin:$PATH"\nRUN pip install six\n')
    assert installs(recipe)[0].environment == "/v"


def test_uv_sync(read: Read) -> None:
    """Uv sync goes to UV_PROJECT_ENVIRONMENT; bind mounts bring its files."""
    recipe = read(
        START + "WORKDIR /app\nENV UV_PROJECT_ENVIRONMENT=/opt/venv\n"
        "RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,source=uv.lock,target=uv.lock \\\n"
        "    uv sync --frozen --no-install-project --group etl\n"
    )
    install = installs(recipe)[0]
    assert (install.verb, install.environment) == (("sync",), "/opt/venv")
    assert install.arguments == ("--frozen", "--no-install-project", "--group", "etl")
    assert install.binds == (Copy(4, ("uv.lock",), "/app/uv.lock"),)
    assert install.folders == ()


def test_index_settings_of_the_dockerfile(read: Read) -> None:
    """Pip's settings in ENV and ARG reach uv under uv's names, and no repr shows them."""
    text = START + "ARG PIP_INDEX_URL\nENV UV_INDEX_STRATEGY=unsafe-best-match\nRUN pip install six\n"
    recipe = read(text, PIP_INDEX_URL="https://u:s3cret@index.example/s")
    assert dict(installs(recipe)[0].variables) == {
        "UV_DEFAULT_INDEX": "https://u:s3cret@index.example/s",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert "s3cret" not in repr(recipe)


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


def test_chmod(read: Read) -> None:
    """Chmod by number or with +x is honoured; other forms are skipped with a note."""
    recipe = read(START + "RUN chmod +x /a && chmod -R 750 /b && chmod u=rw /c\nCOPY --chmod=755 x /x\n")
    assert steps(recipe)[:2] == (
        ChangeMode(2, ("/a",), 0, 0o111, False),
        ChangeMode(2, ("/b",), 0o777, 0o750, True),
    )
    assert steps(recipe)[2] == Copy(3, ("x",), "/x", None, 0o755)
    assert len(recipe.problems) == 1


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_windows_files(read: Read, start: bytes) -> None:
    """CRLF and a byte order mark change nothing, in continued lines and heredocs too."""
    text = "FROM python:3.12-slim\nENV A=b\nRUN mkdir -p /a \\\n && mkdir /b\nRUN <<EOF\nmkdir /c\nEOF\nCMD run\n"
    recipe = read(start + text.replace("\n", "\r\n").encode())
    assert [step.path for step in steps(recipe) if isinstance(step, MakeDirectory)] == ["/a", "/b", "/c"]
    assert config(recipe).environment["A"] == "b"
    assert config(recipe).command[-1] == "run"


def test_only_the_needed_stages_are_read(read: Read) -> None:
    """As with BuildKit, what the target does not need may hold anything."""
    text = "FROM node:20 AS web\nRUN npm ci\nFROM python:3.12 AS base\nFROM base AS app\nFROM web\n"
    recipe = read(text, target="APP")
    assert refused(recipe) == []
    assert [stage.name for stage in recipe.stages] == ["base", "app"]
    assert recipe.python_line == 3


def test_a_stage_inherits(read: Read) -> None:
    """FROM an earlier stage brings its variables, users and directory, not its ARGs."""
    recipe = read(
        "FROM python:3.12 AS a\nARG X=1\nENV Y=2\nWORKDIR /w\nRUN useradd app\nUSER app\nFROM a\nENV Z=$X$Y\n"
    )
    image = config(recipe)
    assert (image.environment["Z"], image.working_dir, image.uid) == ("2", "/w", 1000)


def test_uv_from_a_stage(read: Read) -> None:
    """A stage that is uv's own image only brings in uv."""
    recipe = read("FROM ghcr.io/astral-sh/uv:0.9 AS uv\nFROM python:3.12\nCOPY --from=uv /uv /uvx /bin/\n")
    assert steps(recipe) == ()


def test_files_of_another_image(read: Read) -> None:
    """COPY --from another image is refused by name."""
    found = refused(read(START + "COPY --from=nginx:1 /etc/nginx /x\n"))
    assert "--from=nginx:1" in found[0][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM python:3.12\nBOGUS x\n", "docker/x/Dockerfile:2: unknown instruction: BOGUS"),
        ("FROM python:3.12\nENV A\n", "docker/x/Dockerfile:2: ENV must have two arguments"),
        ("FROM python:3.12\nRUN <<EOF\nx\n", "docker/x/Dockerfile:2: unterminated heredoc"),
        ("RUN x\n", "docker/x/Dockerfile:1: RUN before the first FROM"),
        ("# nothing\n", "docker/x/Dockerfile: there is no FROM"),
        ("FROM $NOTHING\n", "docker/x/Dockerfile:1: FROM must be FROM image [AS name]"),
        ('FROM python:3.12\nENV A="${B:?needed}"\n', "docker/x/Dockerfile:2: ENV: B: needed"),
        ("FROM python:3.12\nCOPY x\n", "docker/x/Dockerfile:2: COPY needs a source and a target"),
        ("FROM python:3.12\nHEALTHCHECK --interval=soon CMD x\n", "docker/x/Dockerfile:2: HEALTHCHECK --interval=soon"),
        ("FROM python:3.12\nSHELL sh\n", "docker/x/Dockerfile:2: SHELL needs the JSON form"),
        (b"FROM python:3.12\nENV A=\xff\n", "docker/x/Dockerfile: cannot be read: is not UTF-8 text"),
    ],
)
def test_a_wrong_dockerfile(read: Read, text: str | bytes, message: str) -> None:
    """The error names the file, the line and the fault, and says what to do."""
    with pytest.raises(ComposeError) as raised:
        read(text)
    assert raised.value.message.startswith(message)
    assert raised.value.hint
    assert raised.value.exit_code == 2


def test_an_unknown_target(read: Read) -> None:
    """The error lists the stages that there are."""
    with pytest.raises(ComposeError) as raised:
        read("FROM python:3.12 AS app\n", target="ap")
    assert "'ap'" in raised.value.message
    assert "app" in raised.value.hint


def test_an_absent_dockerfile(tmp_path: Path) -> None:
    """The error names the file as its owner does, and the key that leads to it."""
    service = Service("x", build=Build(tmp_path, tmp_path / "docker" / "Dockerfile"))
    with pytest.raises(ComposeError) as raised:
        read_recipe(service, Project("demo", tmp_path, (), {"x": service}))
    assert raised.value.message == "docker/Dockerfile: there is no such Dockerfile"
    assert "services.x.build" in raised.value.hint


def test_an_inline_dockerfile(tmp_path: Path) -> None:
    """`dockerfile_inline` is read like a file, and named by its key."""
    build = Build(tmp_path, None, dockerfile_inline="FROM python:3.12\nRUN make\n")
    service = Service("x", build=build)
    recipe = read_recipe(service, Project("demo", tmp_path, (), {"x": service}))
    assert refused(recipe)[0][0] == "services.x.build.dockerfile_inline:2"
