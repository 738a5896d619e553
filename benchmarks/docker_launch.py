"""What a job costs on the Docker engine, over what a user would type instead.

    python benchmarks/docker_launch.py --rounds 20

`docker compose run` is the Compose binary's `run --rm -T`. `a job of a run` is what the same job takes within a run of
Gigogne: start, read its output to the end, wait, remove its container. `gigogne run` is the whole command, from the
shell to the summary. `docker run --rm` and the SDK (create, start, wait, logs, remove) show what Docker itself takes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import command, installed, machine, measure  # noqa: E402

from gigogne.compose import LoadOptions, load_project  # noqa: E402
from gigogne.compose.binary import compose_binary  # noqa: E402
from gigogne.core.engine import Run  # noqa: E402
from gigogne.core.model import Project  # noqa: E402
from gigogne.engines.docker.connection import connect  # noqa: E402
from gigogne.engines.docker.engine import DockerEngine  # noqa: E402
from gigogne.engines.docker.place import find_place  # noqa: E402

IMAGE, SAYING = "busybox:1.36", ["echo", "hello"]
COMPOSE = f"""
name: docker-launch-benchmark
services:
  job: {{image: "{IMAGE}", command: {SAYING}, environment: {{GREETING: hello}}}}
"""
if TYPE_CHECKING:
    from docker import APIClient

RUN, JOB, WHOLE = "docker compose run", "a job of a run", "gigogne run"


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    rounds: int = options.parse_args().rounds
    before = machine()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = folder / "docker-compose.yml"
        file.write_text(COMPOSE, encoding="utf-8")
        os.environ["COMPOSE_IGNORE_ORPHANS"] = "1"
        compose = [str(compose_binary()), "-f", str(file)]
        gigogne = [sys.executable, "-m", "gigogne", "-f", str(file), "--engine", "docker", "run", "job"]
        client = connect()
        engine = DockerEngine(client, find_place(client), compose_binary(), lambda _service, _text: None)
        contenders = {
            RUN: command([*compose, "run", "--rm", "-T", "job"]),
            JOB: on_engine(engine, load_project(LoadOptions(files=(str(file),)))),
            WHOLE: command(gigogne, installed(folder)),
            "SDK": by_sdk(client.api),
        }
        docker = shutil.which("docker")
        if docker:
            contenders["docker run --rm"] = command([docker, "run", "--rm", IMAGE, *SAYING])
        measured = measure(contenders, rounds)
        subprocess.run([*compose, "down"], check=True, capture_output=True)
    print(f"\nbefore: {before}; after: {machine()}\n\n{measured.table(RUN)}\n")
    print(f"a job over `{RUN}` (goal: at most 1.15 times): {measured.ratio(JOB, RUN).text()}")
    print(f"the whole command over `{RUN}` (goal: at most 0.35 s): {measured.over(WHOLE, RUN).text(' s')}")


def on_engine(engine: DockerEngine, project: Project) -> Callable[[], None]:
    """One job on the engine, in this process."""
    numbers, service = count(), project.services["job"]

    def launch() -> None:
        run = Run(f"bench-{os.getpid()}-{next(numbers)}", project, ("job",))
        handle = engine.start(service, run)
        said = [line.text for line in engine.logs(handle, follow=True)]
        status = engine.wait(handle, timeout=None)
        engine.discard(handle)
        assert (said, status.code) == (["hello"], 0), (said, status)

    return launch


def by_sdk(api: APIClient) -> Callable[[], None]:
    """The same job by the Docker SDK alone."""

    def launch() -> None:
        made = api.create_container(IMAGE, SAYING, environment={"GREETING": "hello"})
        api.start(made)
        code, said = api.wait(made)["StatusCode"], api.logs(made)
        api.remove_container(made)
        assert (said, code) == (b"hello\n", 0), (said, code)

    return launch


if __name__ == "__main__":
    main()
