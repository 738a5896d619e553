"""From a changed line of source to the first line that the rebuilt job writes.

    python benchmarks/docker_rebuild.py --rounds 20

Each time one line of the module is another one. `docker compose up` is the Compose binary's `up --build`, `compose run`
its `run --rm -T --build`, and `gigogne run` is `gigogne --engine docker run --build`. The clock stops when the new line
is read; that the command then comes to its end is waited for, and not counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import Seconds, installed, machine, measure  # noqa: E402

from gigogne.compose.binary import compose_binary  # noqa: E402
from gigogne.engines.docker.connection import connect  # noqa: E402

COMPOSE = """
name: docker-rebuild-benchmark
services:
  job: {build: ., image: docker-rebuild-benchmark}
"""
DOCKERFILE = """
FROM python:3.12-slim
LABEL gigogne.benchmark=rebuild
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-index -r requirements.txt
COPY job.py .
CMD ["python", "-u", "job.py"]
"""
SOURCE = '"""A job."""\n\nprint("this is version {number}")\n'
BASE = "docker compose up"


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    rounds: int = options.parse_args().rounds
    before = machine()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, text in {
            "docker-compose.yml": COMPOSE,
            "Dockerfile": DOCKERFILE,
            "requirements.txt": "# the standard library is enough\n",
        }.items():
            (folder / name).write_text(text, encoding="utf-8")
        compose = [str(compose_binary()), "-f", str(folder / "docker-compose.yml")]
        gigogne = [sys.executable, "-m", "gigogne", "-f", str(folder / "docker-compose.yml"), "--engine", "docker"]
        versions, environment = count(1), installed(folder)
        measured = measure(
            {
                BASE: first_line([*compose, "up", "--build", "job"], folder, versions, environment),
                "docker compose run": first_line(
                    [*compose, "run", "--rm", "-T", "--build", "job"], folder, versions, environment
                ),
                "gigogne run": first_line([*gigogne, "run", "--build", "job"], folder, versions, environment),
            },
            rounds,
        )
        subprocess.run([*compose, "down", "--rmi", "all"], check=True, capture_output=True)
        with closing(connect()) as client:  # each version but the last one has lost its name
            client.images.prune(filters={"dangling": True, "label": "gigogne.benchmark=rebuild"})
    print(f"\nbefore: {before}; after: {machine()}\n\n{measured.table(BASE)}")


def first_line(
    words: list[str], folder: Path, versions: Iterator[int], environment: Mapping[str, str]
) -> Callable[[], Seconds]:
    """A contender: change a line, start the command, read until the job says what the changed line says."""

    def rebuild() -> Seconds:
        number = next(versions)
        (folder / "job.py").write_text(SOURCE.format(number=number), encoding="utf-8")
        begin, taken, said = time.perf_counter(), None, []
        with subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if taken is None and line.rstrip().endswith(f"this is version {number}"):
                    taken = time.perf_counter() - begin
        if process.returncode or taken is None:
            sys.exit(f"{words[0]} ended with {process.returncode}, version {number} unseen:\n{''.join(said[-20:])}")
        return Seconds(taken)

    return rebuild


if __name__ == "__main__":
    main()
