"""What a job costs on the process engine, over the bare process that a user would start by hand.

    python benchmarks/launch.py --rounds 20

`bare` is `python -m job` in the job's own environment. `engine` prepares (all is ready), starts and waits for the same
job, its output read to the end. `gigogne run` is the whole command, from the shell to the summary.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import Spread, command, measure  # noqa: E402

from gigogne.compose import LoadOptions, load_project  # noqa: E402
from gigogne.core.engine import Run  # noqa: E402
from gigogne.core.model import Project  # noqa: E402
from gigogne.engines.process.engine import ProcessEngine  # noqa: E402
from gigogne.engines.process.image import executables, prepare_image  # noqa: E402

COMPOSE = """
name: launch-benchmark
services:
  job: {build: ., environment: {GREETING: hello}, volumes: ["data:/data"]}
volumes: {data: {}}
"""
DOCKERFILE = """
FROM python:3.12-slim
WORKDIR /app
COPY job.py .
CMD ["python", "-m", "job"]
"""


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    rounds: int = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GIGOGNE_DATA_DIR"] = str(Path(folder) / "data")
        for name, text in {
            "docker-compose.yml": COMPOSE,
            "Dockerfile": DOCKERFILE,
            "job.py": "import os; print(os.environ['GREETING'])",
        }.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        for way in ("sandbox", "portable"):
            os.environ["GIGOGNE_PROCESS"] = way
            compare(Path(folder), way, rounds)


def compare(folder: Path, way: str, rounds: int) -> None:
    """The three contenders, in turns."""
    project = load_project(LoadOptions(files=(str(folder / "docker-compose.yml"),)))
    engine = ProcessEngine.of_this_machine(lambda _service, _text: None)
    image = prepare_image(project.services["job"], project, engine.paths, lambda _text: None)
    python = executables(image.environments["/usr/local"]) / "python"
    cli = [sys.executable, "-m", "gigogne", "-f", str(folder / "docker-compose.yml"), "--engine", "process", "run"]

    def bare() -> None:
        subprocess.run([python, "-m", "job"], cwd=folder, env={"GREETING": "hello"}, check=True, capture_output=True)

    measured = measure(
        {"bare": bare, "engine": on_engine(engine, project), "gigogne run": command(cli, dict(os.environ))}, rounds
    )
    over = [mine - base for mine, base in zip(measured.seconds["engine"], measured.seconds["bare"], strict=True)]
    print(f"\n## {way}\n\n{measured.table('bare')}\n\nengine over bare: {Spread.of(over).text(' s', 3)}")


def on_engine(engine: ProcessEngine, project: Project) -> Callable[[], None]:
    """One job on the engine, in this process."""
    numbers = count()

    def launch() -> None:
        run, service = Run(f"bench-{engine}-{next(numbers)}", project), project.services["job"]
        engine.prepare(service, run)
        handle = engine.start(service, run)
        said = [line.text for line in engine.logs(handle, follow=True)]
        status = engine.wait(handle, timeout=None)
        assert (said, status.code) == (["hello"], 0), (said, status)

    return launch


if __name__ == "__main__":
    main()
