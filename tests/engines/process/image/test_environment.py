"""Environments made by the real uv, from tiny packages made here and a few from the index."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from gigogne.engines.process.image.environment import executables, prepare_environment, site_packages
from gigogne.engines.process.image.interpreter import Interpreter, find_interpreter
from gigogne.engines.process.image.layout import Installation
from gigogne.engines.process.image.recipe import ImagePath, Install
from gigogne.engines.process.image.tree import Entry, Tree
from gigogne.engines.process.uv import uv_environment
from gigogne.errors import EngineError

# A build backend in the project itself, so that building needs no index.
BACKEND = """
import zipfile
def get_requires_for_build_wheel(settings=None): return []
get_requires_for_build_editable = get_requires_for_build_wheel
def _build(directory, files):
    info = "tiny-1.dist-info"
    with zipfile.ZipFile(f"{directory}/tiny-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return "tiny-1-py3-none-any.whl"
def build_wheel(directory, settings=None, metadata=None):
    return _build(directory, {"tiny.py": open("src/tiny.py").read()})
def build_editable(directory, settings=None, metadata=None):
    import os
    return _build(directory, {"tiny.pth": os.path.abspath("src")})
"""
PYPROJECT = """
[project]
name = "tiny"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    """The Python that runs the tests, or one of the same version."""
    return find_interpreter(f"3.{sys.version_info[1]}", "", None)


def make_wheel(folder: Path, name: str, version: str = "1", script: bool = False) -> Path:
    """A wheel with one module, and a console script of its name when wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"def main(): print({version!r})\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        if script:
            archive.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def file_entry(content: str | bytes) -> Entry:
    """A file of an image, as a heredoc makes it."""
    data = content if isinstance(content, bytes) else content.encode()
    return Entry(stat.S_IFREG | 0o644, content=data)


def installation(
    *arguments: str | ImagePath,
    tree: Mapping[str, Entry] | None = None,
    files: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
    variables: Mapping[str, str] | None = None,
    verb: tuple[str, ...] = ("pip", "install"),
) -> Installation:
    """`RUN pip install ARGUMENTS` on line 7 of a Dockerfile."""
    step = Install(7, "/usr/local", verb, arguments, "/app", files, folders, variables or {})
    return Installation(step, Tree(tree or {}), "Dockerfile:7")


def run(environment: Path, *arguments: str) -> str:
    """What the environment's Python prints."""
    program = executables(environment) / "python"
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def test_an_empty_environment(tmp_path: Path, interpreter: Interpreter) -> None:
    """Without commands it is a plain environment of the interpreter, and the same one the next time."""
    first = prepare_environment([], interpreter, tmp_path, print)
    assert run(first, "-c", "import sys; print(sys.prefix)") == str(first)
    assert prepare_environment([], interpreter, tmp_path, print) == first


def test_a_package_of_the_index(tmp_path: Path, interpreter: Interpreter) -> None:
    """A real package comes from the caller's own index, compiled."""
    environment = prepare_environment([installation("six>=1.16")], interpreter, tmp_path, print)
    assert run(environment, "-c", "import six; print(six.__name__)") == "six"
    assert list(site_packages(environment).glob("__pycache__/six.*.pyc"))


def test_requirement_files(tmp_path: Path, interpreter: Interpreter) -> None:
    """The key follows the content of requirement files, also of included ones, and of nothing else."""
    links = str(tmp_path / "wheels")
    make_wheel(tmp_path / "wheels", "alpha", "1")
    make_wheel(tmp_path / "wheels", "alpha", "2")

    def prepare(version: str, code: str) -> Path:
        tree = {
            "/app/r.txt": file_entry("-r more/own.txt\n"),
            "/app/more/own.txt": file_entry(f"alpha=={version}\n"),
            "/app/code.py": file_entry(code),
        }
        command = installation(
            "--no-index", "--find-links", links, "-r", ImagePath("/app/r.txt"), tree=tree, files=("/app/r.txt",)
        )
        return prepare_environment([command], interpreter, tmp_path / "cache", print)

    first = prepare("1", "old")
    assert run(first, "-c", "import alpha; alpha.main()") == "1"
    assert prepare("1", "new") == first
    second = prepare("2", "old")
    assert second != first
    assert run(second, "-c", "import alpha; alpha.main()") == "2"


def test_dependency_groups(tmp_path: Path, interpreter: Interpreter) -> None:
    """A PEP 735 group is installed without the project that has it."""
    make_wheel(tmp_path / "wheels", "alpha")
    text = "[project]\nname='p'\nversion='1'\n[dependency-groups]\nx=['alpha']\ny=['nothing-of-this-name']\n"
    command = installation(
        "--no-index",
        "--find-links",
        str(tmp_path / "wheels"),
        "--group",
        "x",
        tree={"/app/pyproject.toml": file_entry(text)},
        files=("/app/pyproject.toml",),
    )
    environment = prepare_environment([command], interpreter, tmp_path / "cache", print)
    assert [path.name for path in site_packages(environment).glob("*.dist-info")] == ["alpha-1.dist-info"]


def test_console_scripts_work_elsewhere(tmp_path: Path, interpreter: Interpreter) -> None:
    """A script runs where the environment was made and where it is shown under another path."""
    wheel = make_wheel(tmp_path / "wheels", "alpha", script=True)
    environment = prepare_environment([installation(str(wheel))], interpreter, tmp_path / "c", print)
    other = tmp_path / "elsewhere with spaces"
    environment.rename(other)
    script = executables(other) / "alpha"
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout == "1\n"


def project_tree(body: str) -> dict[str, Entry]:
    """A project that builds itself, in /app."""
    return {
        "/app/pyproject.toml": file_entry(PYPROJECT),
        "/app/backend.py": file_entry(BACKEND),
        "/app/src/tiny.py": file_entry(body),
    }


def test_a_project_is_built_again_when_its_files_change(tmp_path: Path, interpreter: Interpreter) -> None:
    """`pip install .` depends on every file of the directory."""

    def prepare(body: str) -> Path:
        command = installation(ImagePath("/app"), tree=project_tree(body), folders=("/app",))
        return prepare_environment([command], interpreter, tmp_path, print)

    first = prepare("A = 1")
    assert prepare("A = 1") == first
    assert run(prepare("A = 2"), "-c", "import tiny; print(tiny.A)") == "2"


def test_an_editable_project_is_at_its_path_in_the_image(tmp_path: Path, interpreter: Interpreter) -> None:
    """`pip install -e .` leads to the image's directory, not to the one that uv saw."""
    command = installation("-e", ImagePath("/app"), tree=project_tree(""), folders=("/app",))
    environment = prepare_environment([command], interpreter, tmp_path, print)
    assert (site_packages(environment) / "tiny.pth").read_text() == "/app/src"


def test_uv_sync(tmp_path: Path, interpreter: Interpreter) -> None:
    """`uv sync` fills the environment of the image, by the lock file's own words."""
    text = "[project]\nname='p'\nversion='1'\nrequires-python='>=3.11'\ndependencies=['six']\n"
    command = installation(
        "--no-install-project",
        verb=("sync",),
        tree={"/app/pyproject.toml": file_entry(text)},
        files=("/app/pyproject.toml", "/app/uv.lock"),
    )
    environment = prepare_environment([command], interpreter, tmp_path, print)
    assert run(environment, "-c", "import six; print(six.__name__)") == "six"
    assert "relocatable = true" in (environment / "pyvenv.cfg").read_text()


def test_a_failing_install(tmp_path: Path, interpreter: Interpreter) -> None:
    """Uv's own words come through with the line and what to do; nothing is left, and it can be run again."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    command = installation("--no-index", "--find-links", str(wheels), "alpha")
    for _ in range(2):
        with pytest.raises(EngineError) as raised:
            prepare_environment([command], interpreter, tmp_path / "cache", print)
        assert raised.value.message.startswith("Dockerfile:7: uv cannot do this:\n")
        assert "alpha" in raised.value.message
        assert "names and versions" in raised.value.hint
        assert [path for path in (tmp_path / "cache" / "environments").iterdir() if path.is_dir()] == []
    make_wheel(wheels, "alpha")
    environment = prepare_environment([command], interpreter, tmp_path / "cache", print)
    assert run(environment, "-c", "import alpha; alpha.main()") == "1"


def test_passwords_stay_out_of_messages(tmp_path: Path, interpreter: Interpreter) -> None:
    """The password of an index URL is in no message, no line of progress, and no file name."""
    lines: list[str] = []
    url = "http://user:s3cret@127.0.0.1:9/simple"
    command = installation("alpha-not-there", "--index-url", url, variables={"UV_HTTP_RETRIES": "0"})
    with pytest.raises(EngineError) as raised:
        prepare_environment([command], interpreter, tmp_path, lines.append)
    assert "s3cret" not in raised.value.message + "".join(lines) + repr(command)
    assert "127.0.0.1" in raised.value.message
    assert "index does not answer" in raised.value.hint


def test_an_interrupted_make(tmp_path: Path, interpreter: Interpreter) -> None:
    """What an interrupted maker left is not believed, and goes away."""
    ready = prepare_environment([], interpreter, tmp_path, print)
    half = ready.with_name(f"{ready.name}.new")
    ready.rename(half)
    (half / "pyvenv.cfg").unlink()
    assert prepare_environment([], interpreter, tmp_path, print) == ready
    assert (ready / "pyvenv.cfg").exists()
    assert not half.exists()


def test_an_interruption_leaves_nothing(tmp_path: Path, interpreter: Interpreter) -> None:
    """Ctrl-C while uv installs ends uv and removes what it made so far."""

    def interrupt(line: str) -> None:
        if line.startswith("Resolved"):
            raise KeyboardInterrupt

    # An empty cache of uv's own makes it go to the index, and so report.
    command = installation("idna", variables={"UV_CACHE_DIR": str(tmp_path / "uv")})
    with pytest.raises(KeyboardInterrupt):
        prepare_environment([command], interpreter, tmp_path / "cache", interrupt)
    assert [path for path in (tmp_path / "cache" / "environments").iterdir() if path.is_dir()] == []


def test_two_makers_at_once(tmp_path: Path, interpreter: Interpreter) -> None:
    """Two that want the same environment make it once."""
    wheel = make_wheel(tmp_path / "wheels", "alpha")
    lines: list[str] = []
    found: list[Path] = []

    def prepare() -> None:
        found.append(prepare_environment([installation(str(wheel))], interpreter, tmp_path / "c", lines.append))

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len([line for line in lines if line.startswith("making")]) == 1


def test_the_callers_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pip's index settings reach uv, uv's own win, and what belongs to the caller's shell does not pass."""
    monkeypatch.setenv("PIP_INDEX_URL", "https://one.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://two.example/simple")
    monkeypatch.setenv("UV_INDEX", "https://three.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path} {tmp_path}/absent https://four.example/links")
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = uv_environment({"OWN": "1"})
    assert environment["UV_DEFAULT_INDEX"] == "https://one.example/simple"
    assert environment["UV_INDEX"] == "https://three.example/simple"
    assert environment["UV_FIND_LINKS"] == f"{tmp_path},https://four.example/links"
    assert environment["OWN"] == "1"
    assert {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}.isdisjoint(environment)


def test_an_interpreter_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once found, a Python is known without a search; a record that is no JSON is not believed."""
    wanted = f"3.{sys.version_info[1]}"
    found = find_interpreter(wanted, "", tmp_path)
    assert found.exact
    assert not (found.executable.parent.parent / "pyvenv.cfg").exists()
    record = tmp_path / "pythons" / f"{wanted}.json"
    with monkeypatch.context() as patch:
        patch.setattr("gigogne.engines.process.image.interpreter._search", lambda *_: pytest.fail("searched"))
        assert find_interpreter(wanted, "", tmp_path) == found
    record.write_text("{")
    assert find_interpreter(wanted, "", tmp_path) == found


def test_the_nearest_python_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that is not here, and cannot be had, is replaced by the nearest that the project allows."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    lines: list[str] = []
    found = find_interpreter("3.20", ">=3.11", tmp_path, download=True, progress=lines.append)
    assert not found.exact
    assert found.version >= "3.11"
    assert lines == ["Python 3.20 is not on this machine: asking uv for it", "Python 3.20 cannot be had here"]
    lines.clear()
    assert find_interpreter("3.20", ">=3.11", tmp_path, download=True, progress=lines.append) == found
    assert lines == []
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    find_interpreter("3.20", ">=3.11", tmp_path, download=True, progress=lines.append)
    assert lines, "a new directory in PATH may hold the wanted Python"


def test_no_python_will_do(tmp_path: Path) -> None:
    """When nothing fits, the error names what was wanted and how to get it."""
    with pytest.raises(EngineError) as raised:
        find_interpreter("3.20", ">=3.19", tmp_path)
    assert "Python 3.20" in raised.value.message
    assert "uv python install 3.20" in raised.value.hint
