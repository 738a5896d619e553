"""Whole images: the files, the environments and the configuration that a Dockerfile describes."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from gigogne.engines.process.image import Image, executables
from gigogne.errors import ComposeError, EngineError, UnsupportedError

from .conftest import FROM, Module


def test_a_whole_image(module: Module) -> None:
    """Two stages, an environment from the index, files and directories at their places; the code runs."""
    module.write(
        f"""{FROM[:-1]} AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv
WORKDIR /build
COPY pyproject.toml .
RUN uv venv /opt/venv && uv pip install --python /opt/venv --group x
{FROM}RUN useradd --create-home --uid 1000 mluser && mkdir -p /data/out && chown mluser /data/out
COPY --from=build /opt/venv /opt/venv
WORKDIR /home/app
COPY src/ ./
ENV PATH="/opt/venv/bin:$PATH"
USER mluser
CMD ["python", "main.py"]
""",
        {
            "pyproject.toml": "[project]\nname='p'\nversion='1'\n[dependency-groups]\nx=['six>=1.16']\n",
            "src/main.py": "import six; print(six.__name__)",
            "src/été/note.txt": "accents",
        },
    )
    image = module.prepare()
    assert sorted(path.relative_to(image.root).as_posix() for path in image.root.rglob("*")) == [
        "data",
        "data/out",
        "home",
        "home/app",
        "home/app/main.py",
        "home/app/été",
        "home/app/été/note.txt",
        "home/mluser",
    ]
    assert set(image.environments) == {"/usr/local", "/opt/venv"}
    python = executables(image.environments["/opt/venv"]) / "python"
    done = subprocess.run([python, image.root / "home/app/main.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "six\n"
    assert image.config.environment["PYTHON_VERSION"].count(".") == 2
    assert not (image.python.parent.parent / "pyvenv.cfg").exists()


def test_an_install_into_the_system(module: Module) -> None:
    """Without a venv, pip changes /usr/local; COPY --from of its site-packages brings the same packages."""
    module.write(
        f"{FROM[:-1]} AS a\nRUN pip install --no-cache-dir six\n"
        f"{FROM}COPY --from=a /usr/local/lib/python3.12/site-packages /usr/local/lib/python3.12/site-packages\n"
    )
    python = executables(module.prepare().environments["/usr/local"]) / "python"
    subprocess.run([python, "-c", "import six"], check=True)


def test_copy_forms(module: Module) -> None:
    """Files, directories, several sources and patterns, to files and directories, as Docker lays them out."""
    module.write(
        FROM
        + """WORKDIR /w
COPY a.txt renamed.txt
COPY a.txt b.txt dir/
COPY *.txt /patterns/
COPY d?r /contents
COPY ["with space.cfg", "/spaces/"]
COPY /dir/sub/ /slashes/
COPY a.txt /tmp
COPY <<EOF /etc/app.conf
key=value
EOF
COPY a.txt .
""",
        {
            "a.txt": "A",
            "b.txt": "B",
            "dir/in": "in",
            "dir/sub/deep": "deep",
            "with space.cfg": "S",
        },
    )
    assert module.files() == {
        "contents/in": "in",
        "contents/sub/deep": "deep",
        "etc/app.conf": "key=value\n",
        "patterns/a.txt": "A",
        "patterns/b.txt": "B",
        "slashes/deep": "deep",
        "spaces/with space.cfg": "S",
        "tmp/a.txt": "A",
        "w/a.txt": "A",
        "w/dir/a.txt": "A",
        "w/dir/b.txt": "B",
        "w/renamed.txt": "A",
    }


def test_copies_between_stages(module: Module) -> None:
    """Files that an earlier stage copied, with patterns too, and an environment inside a copied directory."""
    module.write(
        f"{FROM[:-1]} AS a\nWORKDIR /app\nCOPY src ./src\nRUN uv venv && uv pip install six\n"
        f"{FROM}COPY --from=a /app /srv/app\nCOPY --from=0 /app/src/*.py /py/\n",
        {"src/x.py": "x", "src/y.py": "y", "src/z.txt": "z"},
    )
    assert sorted(module.files()) == [
        "py/x.py",
        "py/y.py",
        "srv/app/src/x.py",
        "srv/app/src/y.py",
        "srv/app/src/z.txt",
    ]
    assert set(module.prepare().environments) == {"/usr/local", "/srv/app/.venv"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_and_links(module: Module) -> None:
    """Modes are kept or set, links stay links, and a link that COPY names itself is followed."""
    module.write(
        FROM + "COPY d /d\nCOPY d/link /followed\nCOPY --chmod=750 d/plain /x\nRUN chmod +x /d/other\n",
        {"d/plain": "p", "d/run": "r", "d/other": "o"},
    )
    (module.folder / "d/run").chmod(0o755)
    (module.folder / "d/other").chmod(0o644)
    (module.folder / "d/link").symlink_to("plain")
    root = module.prepare().root
    assert (root / "d/run").stat().st_mode & 0o777 == 0o755
    assert (root / "d/other").stat().st_mode & 0o777 == 0o755
    assert (root / "x").stat().st_mode & 0o777 == 0o750
    assert (root / "d/link").readlink() == Path("plain")
    assert not (root / "followed").is_symlink()


def test_dockerignore(module: Module) -> None:
    """What .dockerignore excludes is not copied, exceptions are; the Dockerfile's own ignore file wins."""
    files = {"keep.py": "k", "secret.env": "s", "logs/a.log": "a", "logs/keep.log": "l", "t/__pycache__/x.pyc": "c"}
    module.write(
        FROM + "COPY . /app\n", {**files, ".dockerignore": "*.env\nlogs\n!logs/keep.log\n**/__pycache__\nDockerfile\n"}
    )
    assert sorted(module.files()) == ["app/.dockerignore", "app/keep.py", "app/logs/keep.log"]
    (module.folder / "Dockerfile.dockerignore").write_text("*\n!keep.py\n")
    assert sorted(module.files()) == ["app/keep.py"]


def test_every_problem_at_once(module: Module) -> None:
    """Missing and excluded sources, paths out of the context and refused commands, each with its line."""
    module.write(
        FROM
        + """COPY absent.txt /
COPY secret.env /
COPY ../outside /
COPY *.nothing /x/
RUN make
COPY a.txt b.txt /x
USER ghost
RUN pip install -r requirements.txt
COPY --from=nowhere /x /y
""",
        {"secret.env": "s", ".dockerignore": "*.env\n", "a.txt": "a", "b.txt": "b"},
    )
    problems = {problem.where: str(problem) for problem in module.check() if problem.fatal}
    assert sorted(problems) == [f"Dockerfile:{line}" for line in (10, 2, 3, 4, 6, 7, 8, 9)]  # a pattern may fit nothing
    assert "absent.txt is not in the build context" in problems["Dockerfile:2"]
    assert "secret.env is excluded by .dockerignore" in problems["Dockerfile:3"]
    assert "../outside leads out of the build context" in problems["Dockerfile:4"]
    assert "directory" in problems["Dockerfile:7"]
    assert "/requirements.txt" in problems["Dockerfile:9"]
    with pytest.raises(UnsupportedError) as raised:
        module.prepare()
    assert "Dockerfile:6: RUN make" in str(raised.value)


def test_missing_sources_are_the_files_fault(module: Module) -> None:
    """Without refused commands, a missing source is an error of the files: exit code 2."""
    module.write(FROM + "COPY absent.txt /\n")
    with pytest.raises(ComposeError) as raised:
        module.prepare()
    assert "Dockerfile:2: absent.txt is not in the build context" in raised.value.message


def test_a_wrong_dockerfile_is_a_problem(module: Module) -> None:
    """Check reports a Dockerfile that does not parse beside the problems of other services."""
    module.write("FROM python:3.12\nBOGUS\n")
    assert [str(problem).startswith("Dockerfile:2: unknown instruction") for problem in module.check()] == [True]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_out_of_the_context(module: Module, tmp_path: Path) -> None:
    """A link leads nowhere outside: not as a source, not on the way to one, not through the image's tree."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    module.write(FROM + "COPY link /a\nCOPY link/secret /b\nCOPY link/* /c/\n")
    (module.folder / "link").symlink_to(tmp_path / "outside")
    problems = [problem.message for problem in module.check() if problem.fatal]
    assert problems[:2] == [
        "link is a link out of the build context",
        "link/secret is a link out of the build context",
    ]
    assert len(problems) == 2  # the pattern sees nothing there

    module.write(FROM + "COPY d /d\nCOPY f /d/link/f\n", {"f": "overwritten"})
    (module.folder / "d").mkdir()
    (module.folder / "d" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(EngineError, match="symbolic link"):
        module.prepare()
    assert not (tmp_path / "outside" / "f").exists()


def test_a_python_that_is_not_here(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check says that another version is used, and how to get the right one; it is no obstacle."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    module.write("ARG V=3.20\nFROM python:${V}-slim\n")
    found = [str(problem) for problem in module.check()]
    assert len(found) == 1
    assert found[0].startswith("Dockerfile:2: Python 3.20 is not on this machine; 3.")
    assert "uv python install 3.20" in found[0]
    assert not module.check()[0].fatal
    assert module.prepare().config.environment["PYTHON_VERSION"] != "3.20"


@pytest.mark.parametrize("image", ["3.12", "3"])
def test_a_python_that_the_project_forbids(module: Module, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no Python of this machine is allowed, the error names the project's file and both ways out."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("PATH", str(module.folder))  # no Python to be found by name
    project = "[project]\nname = 'p'\nversion = '1'\nrequires-python = '>= 3.19'\n"
    module.write(f"FROM python:{image.replace('3.12', '3.20')}\nCOPY pyproject.toml .\n", {"pyproject.toml": project})
    (problem,) = module.check()
    assert problem.fatal
    assert problem.where == "Dockerfile:1"
    assert problem.message.startswith(f"{module.folder / 'pyproject.toml'} wants Python >=3.19: ")
    assert "uv python install" in problem.hint
    assert "requires-python" in problem.hint
    with pytest.raises(EngineError, match=r"wants Python >=3\.19"):
        module.prepare()


def test_the_nearest_python_that_the_project_allows(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """A substitute obeys requires-python, and the notice says what it is."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    project = "[project]\nname = 'p'\nversion = '1'\nrequires-python = '<3.12'\n"
    module.write("FROM python:3.20\nCOPY pyproject.toml .\n", {"pyproject.toml": project})
    (problem,) = module.check()
    assert not problem.fatal
    assert problem.message == "Python 3.20 is not on this machine; 3.11 is used"


def test_a_change_makes_a_new_tree(module: Module) -> None:
    """An edited file is seen the next time; the tree that a running service uses stays as it was."""
    module.write(FROM + "COPY a.txt /a.txt\n", {"a.txt": "one"})
    first = module.prepare()
    assert module.prepare().root == first.root
    module.write(FROM + "COPY a.txt /a.txt\n", {"a.txt": "two"})
    second = module.prepare()
    assert (second.root / "a.txt").read_text() == "two"
    assert (first.root / "a.txt").read_text() == "one"
    assert second.environments == first.environments


def test_old_trees_go(module: Module) -> None:
    """Trees that were not used for a week go when a new one is made, but for the last three."""
    old = time.time() - 8 * 86400
    roots = []
    for number in range(5):
        module.write(FROM + "COPY a.txt /a.txt\n", {"a.txt": "x" * (number + 1)})
        roots.append(module.prepare().root)
        if number < 4:
            os.utime(roots[-1].parent, (old + number, old + number))
    assert [root.exists() for root in roots] == [False, False, True, True, True]


def test_an_interrupted_make(module: Module) -> None:
    """What an interrupted run left of a tree is not believed, and goes away."""
    module.write(FROM + "COPY a.txt /a.txt\n", {"a.txt": "one"})
    place = module.prepare().root.parent
    half = place.with_name(f"{place.name}.new")
    place.rename(half)
    (half / "root" / "a.txt").write_text("half")
    assert (module.prepare().root / "a.txt").read_text() == "one"
    assert not half.exists()


def test_two_threads_prepare_the_same(module: Module) -> None:
    """Two at once get the same whole image, made once."""
    module.write(FROM + "COPY src /src\n", {f"src/{number}": str(number) for number in range(200)})
    found: list[Image] = []
    threads = [threading.Thread(target=lambda: found.append(module.prepare())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({image.root for image in found}) == 1
    assert len(list((found[0].root / "src").iterdir())) == 200
    assert len([path for path in found[0].root.parent.parent.iterdir() if path.is_dir()]) == 1


def test_a_warm_image_starts_no_program(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time is a look-up: nothing is said and no program is started."""
    module.write(
        FROM + "COPY src /src\nRUN pip install six\n", {f"src/{number}.py": str(number) for number in range(20)}
    )
    first = module.prepare()
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    assert module.prepare(lambda line: pytest.fail(line)) == first


def test_commands_on_files(module: Module) -> None:
    """Touch, echo, ln, cp, mv, rm, sed and chmod leave what they would have left in an image."""
    module.write(
        FROM
        + """WORKDIR /app
COPY . .
RUN touch new kept && echo "one two" > said && echo more >> said \\
 && cp config.example config && mv old renamed && cp -r dir copy/ && cp dir/in .. \\
 && rm -rf gone *.tmp absent && sed -i 's/\\r$//' run.sh && chmod +x *.sh \\
 && mkdir into && mv renamed into/ && cp -r dir into
""",
        {
            "kept": "k", "config.example": "c", "old": "o", "dir/in": "i", "gone/x": "x", "a.tmp": "t",
            ".dockerignore": "Dockerfile\n.dockerignore\n",
        },
    )  # fmt: skip
    (module.folder / "run.sh").write_bytes(b"#!/bin/sh\r\necho \r \r\n")
    root = module.prepare().root
    assert module.files() == {
        "app/config": "c",
        "app/config.example": "c",
        "app/copy/in": "i",
        "app/dir/in": "i",
        "app/into/dir/in": "i",
        "app/into/renamed": "o",
        "app/kept": "k",
        "app/new": "",
        "app/run.sh": "#!/bin/sh\necho \n \n",  # read_text makes \\n of the lone \\r
        "app/said": "one two\nmore\n",
        "in": "i",
    }
    assert (root / "app/run.sh").read_bytes() == b"#!/bin/sh\necho \r \n"
    if os.name != "nt":
        assert (root / "app/run.sh").stat().st_mode & 0o111


def test_commands_on_absent_files(module: Module) -> None:
    """What cp names must be a file that the Dockerfile made: this machine's own is none of the image's."""
    module.write(FROM + "RUN cp /etc/passwd /x\n")
    (problem,) = module.check()
    assert problem.message == "/etc/passwd is none of the files that this Dockerfile made"
    assert problem.fatal


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_that_run_makes(module: Module) -> None:
    """A link stays a link; in a directory it has the name of what it leads to."""
    module.write(
        FROM + "COPY f /data/f\nRUN mkdir -p /app && ln -s /data/f /app && ln -sf ../data /app/d\n", {"f": "x"}
    )
    root = module.prepare().root
    assert (root / "app/f").readlink() == Path("/data/f")
    assert (root / "app/d").readlink() == Path("../data")
