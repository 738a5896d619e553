"""What the commands of a RUN mean: users, modes and installs; and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.process.image.recipes import START, Read, config, installs, refused, steps

from gigogne.engines.process.image.recipe import ChangeMode, Copy, ImagePath


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


def test_chmod(read: Read) -> None:
    """Chmod by number or with +x is honoured; other forms are skipped with a note."""
    recipe = read(START + "RUN chmod +x /a && chmod -R 750 /b && chmod u=rw /c\nCOPY --chmod=755 x /x\n")
    assert steps(recipe)[:2] == (
        ChangeMode(2, ("/a",), 0, 0o111, False),
        ChangeMode(2, ("/b",), 0o777, 0o750, True),
    )
    assert steps(recipe)[2] == Copy(3, ("x",), "/x", None, 0o755)
    assert len(recipe.problems) == 1


def test_refused_runs_are_named_all_at_once(read: Read) -> None:
    """Each command that has no meaning here is named with its own line; what is understood is not."""
    recipe = read("""\
FROM python:3.12-slim
RUN apt-get update \\
 && apt-get install -y --no-install-recommends libgomp1 libpq5 \\
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
        ("docker/x/Dockerfile:3", "the packages libgomp1, libpq5 are not installed")
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


def test_programs_of_packages(read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package that is there for one program: nothing is said where this machine has it, else it is named."""
    line = START + "RUN apt-get update && apt-get install -y --no-install-recommends netcat-openbsd jq libpq5\n"
    program = tmp_path / "jq"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = [problem.message for problem in read(line).problems]
    assert said == [
        "`nc` (of the package netcat-openbsd) is not on this machine, and not installed by this line",
        "the packages libpq5 are not installed",
    ]
