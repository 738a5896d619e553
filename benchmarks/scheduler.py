"""What the scheduler costs a job: 1,000 jobs that do nothing, in a random graph.

    python benchmarks/scheduler.py --rounds 5

`by hand` starts the very same sandboxed commands from a pool of the same size, in an order that the graph allows, each
with its output in files: what somebody would write who knew them all. `gigogne run` is the whole command.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import Child, Spread, child, measure  # noqa: E402

from gigogne.compose import LoadOptions, load_project  # noqa: E402
from gigogne.core.graph import start_order  # noqa: E402
from gigogne.core.model import Project  # noqa: E402
from gigogne.engines.process.command import Command  # noqa: E402
from gigogne.engines.process.engine import ProcessEngine  # noqa: E402
from gigogne.engines.process.image import prepare_image  # noqa: E402
from gigogne.engines.process.launch import make_launch  # noqa: E402
from gigogne.engines.process.portable import portable_command  # noqa: E402
from gigogne.engines.process.sandbox import sandbox_command  # noqa: E402

DOCKERFILE = 'FROM python:3.12-slim\nCMD ["true"]\n'


def compose_file(jobs: int) -> str:
    """A random graph: each job waits for up to three of those before it."""
    choice = random.Random(20261121)
    lines = ["name: scheduler-benchmark", "services:"]
    for number in range(jobs):
        lines.append(f"  job{number}:\n    build: .")
        needs = choice.sample(range(number), min(number, choice.randrange(4)))
        if needs:
            lines.append("    depends_on:")
            lines += [f"      job{need}: {{condition: service_completed_successfully}}" for need in sorted(needs)]
    return "\n".join(lines) + "\n"


def commands(engine: ProcessEngine, project: Project, scratch: Path) -> list[Command]:
    """The command of each job, as the engine starts it, in an order that the graph allows."""
    found = []
    for name in start_order(project.services):
        service = project.services[name]
        image = prepare_image(service, project, engine.paths, lambda _text: None)
        folder = scratch / name
        folder.mkdir()
        launch = make_launch(service, project, image, engine.paths, {}, folder)
        found.append(sandbox_command(launch, engine.bubblewrap) if engine.bubblewrap else portable_command(launch))
    return found


def by_hand(todo: list[Command], scratch: Path, pool_size: int) -> None:
    """Start them all, so many at a time."""

    def one(pair: tuple[int, Command]) -> None:
        number, command = pair
        with (scratch / f"{number}.out").open("wb") as out, (scratch / f"{number}.err").open("wb") as err:
            subprocess.run(
                command.argv, env=dict(command.environment), cwd=command.directory, stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, check=True,
            )  # fmt: skip

    with ThreadPoolExecutor(pool_size) as pool:
        list(pool.map(one, enumerate(todo)))


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--jobs", type=int, default=1000)
    options.add_argument("--side-by-side", type=int, default=os.cpu_count() or 2)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["GIGOGNE_DATA_DIR"] = str(folder / "data")
        (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        (folder / "docker-compose.yml").write_text(compose_file(given.jobs), encoding="utf-8")
        engine = ProcessEngine.of_this_machine(lambda _service, _text: None)
        project = load_project(LoadOptions(files=(str(folder / "docker-compose.yml"),)))
        scratch = folder / "scratch"
        scratch.mkdir()
        todo = commands(engine, project, scratch)
        peaks: list[float] = []

        def run(file: str, width: int) -> Callable[[], Child]:
            def go() -> Child:
                words = [
                    sys.executable,
                    "-m",
                    "gigogne",
                    "-f",
                    file,
                    "--engine",
                    "process",
                    "run",
                    "--jobs",
                    str(width),
                ]
                done = child(words)
                peaks.append(done.peak_mib)
                return done

            return go

        size = given.side_by_side
        measured = measure(
            {
                "by hand": lambda: by_hand(todo, scratch, size),
                "gigogne run": run(str(folder / "docker-compose.yml"), size),
            },
            given.rounds,
        )
        print(f"\n{given.jobs} jobs, {size} side by side, {engine}\n\n{measured.table('by hand')}\n")
        pairs = zip(measured.seconds["gigogne run"], measured.seconds["by hand"], strict=True)
        over = Spread.of([(mine - theirs) / given.jobs * 1000 for mine, theirs in pairs])
        print(f"over by hand, a job: {over.text(' ms', 1)}   (goal: at most 15 ms)")
        print(f"peak memory of gigogne run: {max(peaks):.0f} MiB")


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"({time.monotonic() - began:.0f} s)", file=sys.stderr)
