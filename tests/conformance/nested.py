"""The nested ways: the project in a host container of `gigogne nest`, with the engine outside it or inside it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container
from tests.conformance.behaviour import IMAGE, OUT, Behaviour
from tests.conformance.judge import shell_of, swept
from tests.conformance.probe import probing
from tests.conformance.ways import PATIENCE, Seen, seen_in

__all__ = ["NestedInside", "NestedOutside", "nested_inside"]

_HOSTED = "/home/hosted"
_HOST = "conformance-host"
_PROJECT = f'name: {_HOST}\nservices: {{job: {{image: "{IMAGE}", command: "true"}}}}\n'
# As `probe.py`, but in the host container: what its engine publishes is published there.
_ASK = """\
import pathlib, time, urllib.request
while True:
    try:
        text = urllib.request.urlopen("http://127.0.0.1:{port}/", timeout=2).read()
        break
    except OSError:
        time.sleep(0.1)
unfinished = pathlib.Path("{answer}.part")
unfinished.write_bytes(text)
unfinished.rename("{answer}")
"""


@dataclass(frozen=True, slots=True)
class NestedOutside:
    """In a host container of its own, which uses the engine of this machine."""

    name: str = "nested outside"

    def observe(self, behaviour: Behaviour) -> Seen:
        """What comes of the command line when it is typed there."""
        with behaviour.settled() as folder, swept(docker.from_env(), behaviour.project_name):
            with probing(behaviour, folder):
                ran = subprocess.run(
                    [sys.executable, "-m", "gigogne", *behaviour.options, "nest", "--", *_typed(behaviour)],
                    cwd=folder / behaviour.folder,
                    env=shell_of(behaviour, GIGOGNE_ENGINE="docker"),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    encoding="utf-8",
                    timeout=PATIENCE,
                    check=False,
                )
            return seen_in(ran, behaviour, folder, _HOSTED)


@dataclass(frozen=True, slots=True)
class NestedInside:
    """In one host container for all, which has an engine of its own; `above` is the folder that it shows."""

    container: Container = field(repr=False)
    above: Path
    name: str = "nested inside"

    def observe(self, behaviour: Behaviour) -> Seen:
        """What comes of the command line when it is typed there."""
        with behaviour.settled(self.above) as folder:
            hosted = f"{_HOSTED}/{folder.relative_to(self.above).as_posix()}"
            if behaviour.probe:
                text = _ASK.format(port=behaviour.probe, answer=f"{hosted}/{OUT}/answer")
                self.container.exec_run(["python", "-c", text], detach=True)
            # The container's own project is another one.
            typed = ["env", "-u", "COMPOSE_PROJECT_NAME", "-u", "COMPOSE_FILE", *_typed(behaviour)]
            done = self.container.exec_run(
                typed,
                workdir=f"{hosted}/{behaviour.folder}",
                environment={**behaviour.environment, "GIGOGNE_ENGINE": "docker"},
                demux=True,
            )
            self._sweep()
            streams: Any = done.output
            out, err = ((stream or b"").decode(errors="replace") for stream in streams)
            ran = subprocess.CompletedProcess(typed, done.exit_code or 0, out, err)
            return seen_in(ran, behaviour, folder, hosted)

    def _sweep(self) -> None:
        """Nothing is left on the engine inside but its images."""
        words = "docker ps -aq | xargs -r docker rm -fv; docker network prune -f; docker volume prune -af"
        self.container.exec_run(["sh", "-c", words])


def _typed(behaviour: Behaviour) -> list[str]:
    return ["gigogne", *behaviour.options, "run", "--json", *behaviour.targets]


@contextmanager
def nested_inside() -> Iterator[NestedInside]:
    """A host container with an engine inside that has the behaviours' image; gone afterwards, with its storage."""
    client = docker.from_env()
    with tempfile.TemporaryDirectory(prefix=f"{_HOST}-", ignore_cleanup_errors=True) as above:
        Path(above, "compose.yaml").write_text(_PROJECT, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "gigogne", "nest", "--daemon", "inside", "--", "sleep", "infinity"],
            cwd=above,
            stdin=subprocess.DEVNULL,
        )
        try:
            container = _started(client, process)
            _give_image(client, container, Path(above))
            yield NestedInside(container, Path(above))
        finally:
            process.terminate()
            process.wait(PATIENCE)
            with suppress(NotFound):  # it came not so far
                client.volumes.get(f"{_HOST}_nest-docker").remove(force=True)


def _started(client: docker.DockerClient, process: subprocess.Popen[bytes]) -> Container:
    """The host container, once the engine in it answers. The first time its image has to be built."""
    label = f"com.docker.compose.project=gigogne-nest-{_HOST}"
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"gigogne nest ended with {process.returncode}"
        for container in client.containers.list(filters={"label": label}):
            if container.exec_run(["docker", "version"]).exit_code == 0:
                return container
        time.sleep(0.2)
    raise TimeoutError("the host container does not come up")


def _give_image(client: docker.DockerClient, container: Container, above: Path) -> None:
    archive = above / "image.tar"
    with archive.open("wb") as file:
        file.writelines(client.images.get(IMAGE).save(named=IMAGE))
    loaded = container.exec_run(["docker", "load", "-i", f"{_HOSTED}/{archive.name}"])
    assert loaded.exit_code == 0, loaded.output
    archive.unlink()
