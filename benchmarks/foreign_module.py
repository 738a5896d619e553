"""A module of somebody else's on the process engine and in Docker, where an engine is there.

    python benchmarks/foreign_module.py --rounds 20

The module reads a CSV file from one mount and writes JSON to another; its Dockerfile knows nothing of Gigogne.
`docker run --rm` starts its built image. `in a run` is what the module takes within a run of Gigogne: prepare (all is
ready), start, read its output to the end, wait. `gigogne run` is the whole command, which also reads the Compose file
and shows a summary; `docker compose run` does most of that too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import command, measure  # noqa: E402

from gigogne.compose import LoadOptions, load_project  # noqa: E402
from gigogne.compose.binary import compose_binary  # noqa: E402
from gigogne.core.engine import Run  # noqa: E402
from gigogne.engines.process.engine import ProcessEngine  # noqa: E402

COMPOSE = """
name: docker-benchmark
services:
  clean: {build: ., image: docker-benchmark-clean, volumes: ["./in:/in:ro", "./out:/out"]}
"""
DOCKERFILE = """
FROM python:3.12-slim
WORKDIR /app
COPY clean.py .
CMD ["python", "clean.py"]
"""
MODULE = """
import csv, json
with open("/in/rows.csv", newline="") as rows, open("/out/rows.json", "w") as out:
    json.dump([{key: value.strip() for key, value in row.items()} for row in csv.DictReader(rows)], out)
print("cleaned")
"""


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    rounds: int = options.parse_args().rounds
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        sys.exit("no Docker engine answers here: start one, and see that it has python:3.12-slim")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, text in {
            "docker-compose.yml": COMPOSE,
            "Dockerfile": DOCKERFILE,
            "clean.py": MODULE,
            "in/rows.csv": "id,title\n" + "".join(f"{number}, a title \n" for number in range(1000)),
            "out/.keep": "",
        }.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        file = str(folder / "docker-compose.yml")
        compose = [str(compose_binary()), "-f", file]
        subprocess.run([*compose, "build", "-q"], check=True, env={**os.environ, "DOCKER_BUILDKIT": "0"})
        os.environ["GIGOGNE_DATA_DIR"] = str(folder / "data")
        engine = ProcessEngine.of_this_machine(lambda _service, _text: None)
        project, number = load_project(LoadOptions(files=(file,))), count()
        service = project.services["clean"]

        def in_a_run() -> None:
            run = Run(f"run-{next(number):04}", project, ("clean",))
            engine.prepare(service, run)
            handle = engine.start(service, run)
            said = [line.text for line in engine.logs(handle, follow=True)]
            assert engine.wait(handle, timeout=60).code == 0 and said == ["cleaned"], said

        mounts = ["-v", f"{folder}/in:/in:ro", "-v", f"{folder}/out:/out"]
        measured = measure(
            {
                "docker run --rm": command(["docker", "run", "--rm", *mounts, "docker-benchmark-clean"]),
                "in a run": in_a_run,
                "docker compose run --rm": command([*compose, "run", "--rm", "-T", "clean"]),
                "gigogne run": command([sys.executable, "-m", "gigogne", "-f", file, "--engine", "process", "run"]),
            },
            rounds,
        )
    print(f"\n{engine}\n\n{measured.table('docker run --rm')}")


if __name__ == "__main__":
    main()
