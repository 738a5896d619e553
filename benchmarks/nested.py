"""What a host container costs: launches from inside and from outside, and the worked example against Compose.

    python benchmarks/nested.py --rounds 20

Two programs wait for orders, one on this machine and one in `gigogne nest`, with the same code. Each launches the same
job, which reads a bind mount: on the engine (`job`: start, read, wait, remove) and by the whole command (`run`).

The worked example is tests/scenarios/hosted_module: a module whose code is in a volume that a keep-alive holds. Each
contender begins with nothing up, and ends with its exit code; what is left up then is taken down, and not counted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import Paired, Seconds, child, installed, machine, measure  # noqa: E402

from gigogne.compose.binary import compose_binary  # noqa: E402

COMPOSE = """
name: nested-benchmark
services:
  job: {image: "busybox:1.36", command: [cat, /data/greeting], volumes: ["./data:/data:ro"]}
"""
# Runs on the host and in the host container: one order a line, and the seconds that it took.
PROGRAM = """
import itertools, os, subprocess, sys, time
from gigogne.compose import LoadOptions, load_project
from gigogne.compose.binary import compose_binary
from gigogne.core.engine import Run
from gigogne.engines.docker.connection import connect
from gigogne.engines.docker.engine import DockerEngine
from gigogne.engines.docker.place import find_place

client, project, numbers = connect(), load_project(LoadOptions()), itertools.count()
engine = DockerEngine(client, find_place(client), compose_binary(), lambda service, text: None)
service = project.services["job"]

def job():
    run = Run(f"bench-{os.urandom(4).hex()}-{next(numbers)}", project, ("job",))
    handle = engine.start(service, run)
    said = [line.text for line in engine.logs(handle, follow=True)]
    status = engine.wait(handle, timeout=None)
    engine.discard(handle)
    assert (said, status.code) == (["hello"], 0), (said, status)

def run():
    words = [sys.executable, "-m", "gigogne", "--engine", "docker", "run", "job"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert "hello" in said, said

for order in sys.stdin:
    begin = time.perf_counter()
    {"job": job, "run": run}[order.strip()]()
    print(time.perf_counter() - begin, flush=True)
"""
IN_NEST = "/opt/gigogne/bin/python"
GIGOGNE = [sys.executable, "-m", "gigogne"]
MODULE = ROOT / "tests" / "scenarios" / "hosted_module"
COMPOSE_RUN = "docker compose run"


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--example-rounds", type=int, default=20)
    options.add_argument("--up-rounds", type=int, default=3, help="`up --exit-code-from` takes its time")
    chosen = options.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ |= installed(folder)
        launched = launches(folder / "launches", chosen.rounds)
        print(f"\nbefore: {before}; after: {machine()}\n\n{launched.table('job on the host')}\n")
        print(f"run, nested over on the host: {launched.ratio('run nested', 'run on the host').text()}\n", flush=True)
        example = worked_example(folder / "hosted_module", chosen.example_rounds, chosen.up_rounds)
    print(f"\nbefore: {before}; after: {machine()}\n\n{example}")


def launches(folder: Path, rounds: int) -> Paired:
    """The same launches from the host and from a host container."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "greeting").write_text("hello\n", encoding="utf-8")
    (folder / "docker-compose.yml").write_text(COMPOSE, encoding="utf-8")
    program = ["-u", "-c", PROGRAM]
    with (
        listening([sys.executable, *program], folder) as host,
        listening([*GIGOGNE, "nest", "--", IN_NEST, *program], folder) as nested,
    ):
        measured = measure(
            {
                "job on the host": lambda: host("job"),
                "job nested": lambda: nested("job"),
                "run on the host": lambda: host("run"),
                "run nested": lambda: nested("run"),
            },
            rounds,
        )
    compose(folder, "down")
    return measured


@contextmanager
def listening(words: Sequence[str], folder: Path) -> Iterator[Callable[[str], Seconds]]:
    """A program that takes orders as long as this holds; called with one it tells the seconds."""
    with subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def order(word: str) -> Seconds:
            print(word, file=orders, flush=True)
            answer = answers.readline()
            return Seconds(float(answer)) if answer else sys.exit(f"{words[0]} ended with {process.wait()}")

        yield order
        orders.close()


def worked_example(folder: Path, rounds: int, up_rounds: int) -> str:
    """The module from command to exit code, as a table."""
    shutil.copytree(MODULE, folder)
    os.environ |= {"COMPOSE_PROJECT_NAME": "nested-benchmark-example", "EXTRACT_KEY": "a key"}
    binary = str(compose_binary())
    contenders = {
        COMPOSE_RUN: whole([binary, "run", "--rm", "-T", "extractor_sql"], folder),
        "gigogne run": whole([*GIGOGNE, "--engine", "docker", "run", "extractor_sql"], folder),
        "gigogne nest -- gigogne run": whole([*GIGOGNE, "nest", "--", "gigogne", "run", "extractor_sql"], folder),
    }
    compose(folder, "build", "-q")
    measured = measure(contenders, rounds)
    up = whole([binary, "up", "--exit-code-from", "extractor_sql"], folder)
    naive = measure({COMPOSE_RUN: contenders[COMPOSE_RUN], "docker compose up --exit-code-from": up}, up_rounds)
    compose(folder, "down", "-v", "--rmi", "local")
    return f"{measured.table(COMPOSE_RUN)}\n\n{naive.table(COMPOSE_RUN)}"


def whole(words: Sequence[str], folder: Path) -> Callable[[], Seconds]:
    """A contender that begins with nothing up."""

    def run() -> Seconds:
        begin = time.perf_counter()
        child(words, directory=folder)
        taken = time.perf_counter() - begin
        compose(folder, "down", "--remove-orphans", "-t", "0")
        return Seconds(taken)

    return run


def compose(folder: Path, *words: str) -> None:
    """Docker Compose on the project of a folder, not counted."""
    subprocess.run([str(compose_binary()), *words], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
