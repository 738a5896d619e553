"""What is not as in Docker though nothing is refused: each is a notice, and where it does not hold there is none."""

from __future__ import annotations

import pytest

from .conftest import Bench

BUILT = "{build: ., command: python -c 1"


def notices(bench: Bench, services: str, top: str = "") -> dict[str, str]:
    """Place → notice, of services in YAML's flow style."""
    project = bench.load(f"services: {{{services}}}\n{top}")
    problems = bench.engine.check(project, list(project.services))
    # What is said of the Dockerfile's Python is another matter.
    told = [problem for problem in problems if problem.where.startswith("services.")]
    assert not any(problem.fatal or problem.hint for problem in told), told
    return {problem.where: problem.message for problem in told}


@pytest.mark.parametrize(
    ("key", "more", "words"),
    [
        ("tty", "tty: true", "there is no terminal"),
        ("restart", "restart: 'on-failure:3'", "each try starts anew"),
        ("networks", "networks: [closed]", "services reach the outside"),
    ],
)
def test_keys(bench: Bench, key: str, more: str, words: str) -> None:
    """A terminal, the files of another try, a network without a way out."""
    top = "networks: {closed: {internal: true}, open: }\n"
    assert words in notices(bench, f"a: {BUILT}, {more}}}", top)[f"services.a.{key}"]
    assert notices(bench, f"a: {BUILT}, restart: 'no', networks: [open]}}", top) == {}


def test_one_network_for_all(bench: Bench) -> None:
    """Told once, where a module serves others; embedded servers have addresses of their own."""
    servers = f"b: {BUILT}, expose: [8231]}}, c: {BUILT}, expose: [8232]}}"
    found = notices(bench, f"a: {BUILT}}}, {servers}")
    assert list(found) == ["services.b"] and "localhost is the same for all" in found["services.b"]
    assert "services.b" not in notices(bench, f"b: {BUILT}, expose: [8231]}}")
    database = "db: {image: 'postgres:17', environment: {POSTGRES_PASSWORD: x}}"
    assert not any("localhost" in text for text in notices(bench, f"a: {BUILT}}}, {database}").values())


def test_rights_in_mounted_folders(bench: Bench) -> None:
    """Another user than root has the caller's rights where the sandbox mounts a folder of the caller's."""
    (bench.folder / "data").mkdir()
    told = notices(bench, f"a: {BUILT}, user: '1000', volumes: ['./data:/data']}}")
    expected = {"services.a.volumes"} if bench.engine.bubblewrap else set()
    assert told.keys() == expected and all("not what user 1000 may" in text for text in told.values())
    for more in ("user: '1000', volumes: ['./data:/data:ro']", "user: root, volumes: ['./data:/data']"):
        assert notices(bench, f"a: {BUILT}, {more}}}") == {}
