"""Volumes get the image's files while they are empty, and only then; a stale one is named."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Workspace

from gigogne.core.model import Mount, MountType
from gigogne.engines.process.image.volumes import seed_volume
from gigogne.errors import EngineError

from .conftest import FROM, Module

DATA = Mount(MountType.VOLUME, "data", "/app")


@pytest.fixture
def seed(module: Module) -> Callable[..., Path]:
    """Makes the volume of the service, as its start does."""

    def seeded(target: str = "/app") -> Path:
        image = module.prepare()
        volume = module.paths.volume("demo_data")
        seed_volume(volume, target, image.root, image.environments, module.paths.cache / "locks" / "demo_data.lock")
        return volume

    return seeded


def content(folder: Path) -> dict[str, str]:
    """The files under `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_volume_gets_the_files(module: Module, seed: Callable[..., Path]) -> None:
    """A new volume gets what the image has at the target; modes are kept; nothing else lies beside it."""
    module.write(FROM + "COPY src /app\nCOPY src/a.py /elsewhere/\nRUN chmod 750 /app/run.sh\n",
                 {"src/a.py": "a", "src/deep/b.py": "b", "src/run.sh": "r"})  # fmt: skip
    volume = seed()
    assert content(volume) == {"a.py": "a", "deep/b.py": "b", "run.sh": "r"}
    assert [path.name for path in volume.parent.iterdir()] == ["demo_data"]
    if os.name != "nt":
        assert (volume / "run.sh").stat().st_mode & 0o777 == 0o750


def test_a_volume_that_holds_something_is_left_alone(module: Module, seed: Callable[..., Path]) -> None:
    """As in Docker, one file is enough."""
    module.write(FROM + "COPY a.py /app/\n", {"a.py": "a"})
    volume = module.paths.volume("demo_data")
    volume.mkdir(parents=True)
    (volume / "mine").write_text("m")
    assert content(seed()) == {"mine": "m"}


def test_a_target_that_the_image_has_not(module: Module, seed: Callable[..., Path]) -> None:
    """The volume is made, and stays empty; a file of the image is nothing to copy either."""
    module.write(FROM + "COPY a.py /app/\n", {"a.py": "a"})
    assert list(seed("/data").iterdir()) == []
    assert list(seed("/app/a.py").iterdir()) == []


def test_an_environment_is_copied_with_the_rest(module: Module, seed: Callable[..., Path]) -> None:
    """A volume over a directory with an environment in it has a Python that runs."""
    module.write(
        FROM + "WORKDIR /app\nCOPY a.py .\nRUN python -m venv .venv && .venv/bin/pip install six\n", {"a.py": ""}
    )
    volume = seed()
    assert {path.name for path in volume.iterdir()} == {"a.py", ".venv"}
    bin_ = volume / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([bin_ / "python", "-c", "import six"], check=True)


def test_two_that_start_at_once(module: Module, seed: Callable[..., Path]) -> None:
    """Whoever comes second finds the volume whole, and its directory is the one that the first has mounted."""
    module.write(FROM + "COPY src /app\n", {f"src/{number}.py": str(number) for number in range(300)})
    module.prepare()
    volume = module.paths.volume("demo_data")
    volume.mkdir(parents=True)
    before = volume.stat().st_ino
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(len(content(seed())))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [300] * 4
    assert volume.stat().st_ino == before


def test_an_interrupted_copy(module: Module, seed: Callable[..., Path]) -> None:
    """What fails in the middle leaves an empty volume; what stops while moving is finished by the next start."""
    module.write(FROM + "COPY src /app\n", {"src/a.py": "a", "src/b.py": "b"})
    volume = module.paths.volume("demo_data")
    volume.mkdir(parents=True)
    in_the_way = volume.with_name("demo_data.copying")
    in_the_way.write_text("a file where the copy should be made")
    with pytest.raises(EngineError, match="demo_data"):
        seed()
    assert list(volume.iterdir()) == []
    in_the_way.unlink()

    copied = volume.with_name("demo_data.copied")
    copied.mkdir()
    (copied / "b.py").write_text("b")
    (volume / "a.py").write_text("a")
    assert content(seed()) == {"a.py": "a", "b.py": "b"}
    assert not copied.exists()


def test_what_an_interrupted_start_left_of_a_removed_volume(module: Module, seed: Callable[..., Path]) -> None:
    """`down -v` removes the volume; the next one gets the files of today."""
    module.write(FROM + "COPY src /app\n", {"src/a.py": "new"})
    copied = module.paths.volume("demo_data").with_name("demo_data.copied")
    copied.mkdir(parents=True)
    (copied / "a.py").write_text("old")
    assert content(seed()) == {"a.py": "new"}


def test_a_stale_volume_is_named(module: Module, seed: Callable[..., Path]) -> None:
    """After a change of the code the notice names the volume, the files and the cure; the run goes on."""
    files = {f"src/{name}.py": name for name in "abcd"} | {"src/data.csv": "1", "src/state.db": "1"}
    module.write(FROM + "COPY src /app\n", files)
    module.mounts = (DATA,)
    assert module.check() == []
    volume = seed()
    (volume / "result.py").write_text("beside the image's files")
    assert module.check() == []

    (volume / "data.csv").write_text("2")  # data is the service's own
    (volume / "a.py").touch()
    assert module.check() == []

    module.write(FROM + "COPY src /app\n", {f"src/{name}.py": name * 2 for name in "abcd"})
    (problem,) = module.check()
    assert not problem.fatal
    assert problem.where == "services.job.volumes"
    shown = "a.py, b.py, c.py and 1 more"
    assert problem.message == f"the volume demo_data hides files of the image at /app: {shown} (the volume's are used)"
    assert "gigogne down -v" in problem.hint


def test_a_file_that_a_volume_lacks(module: Module, seed: Callable[..., Path]) -> None:
    """A file that is new in the image is hidden too; with nocopy nobody expects it."""
    module.write(FROM + "COPY src /app\n", {"src/a.py": "a"})
    seed()
    module.write(FROM + "COPY src /app\n", {"src/new.py": "n"})
    module.mounts = (DATA,)
    assert "new.py" in module.check()[0].message
    module.mounts = (Mount(MountType.VOLUME, "data", "/app", nocopy=True),)
    assert module.check() == []


COMPOSE = """\
services:
  job:
    build: .
    command: ["python", "/app/src/main.py"]
    volumes: ["code:/app/src", "/app/static", "empty:/app/none"]
volumes:
  code: {}
  empty: {}
"""


def test_volumes_of_a_run(workspace: Workspace, way: str) -> None:
    """A whole run: named and anonymous volumes are filled; a rebuild is hidden, said, and cured by down -v."""
    main = "import os\nprint('version one', os.listdir(os.environ['STATIC']))\n"
    workspace.write(
        {
            "docker-compose.yml": COMPOSE,
            "Dockerfile": FROM + "WORKDIR /app\nCOPY . .\nENV STATIC=/app/static\nVOLUME /app/more\n",
            "src/main.py": main,
            "static/page.html": "x",
        }
    )
    first = workspace.run("run")
    assert first.returncode == 0, first.stderr
    assert "version one ['page.html']" in first.stdout
    assert content(workspace.volume("project_code")) == {"main.py": main}
    assert content(workspace.volume("project_empty")) == {}

    (workspace.folder / "src/main.py").write_text(main.replace("one", "two"))
    second = workspace.run("run")
    assert "version one" in second.stdout
    said = second.stdout + second.stderr
    assert "the volume project_code hides files of the image at /app/src: main.py" in said
    workspace.run("down", "-v")
    assert "version two" in workspace.run("run").stdout
