"""The commands that people type, to the letter, under plain Docker Compose: what is up, healthy or over after each."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from docker import DockerClient
from tests.conftest import REPOSITORY
from tests.scenarios.daemon import own_daemon
from tests.stack.conftest import SECRETS, copy_stack

from gigogne.compose.binary import compose_binary

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

UP, DONE, STOPPED = "healthy", "exited 0", "exited, not killed"
USER = "uid=1000(mluser)"
Picture = Mapping[str, str]

DATA = {"mongodb": UP, "extract": DONE, "transform": DONE}
STORAGE = {"minio": UP, "mlflow-server": UP, "postgres": UP}
WORKER = {**STORAGE, "ml-worker": UP}
CATALOG = {**DATA, **WORKER, "cleaning": DONE}
AIRFLOW = {
    "airflow-dag-processor": UP,
    "airflow-init": DONE,
    "airflow-postgres": UP,
    "airflow-scheduler": UP,
    "airflow-triggerer": UP,
    "airflow-webserver": UP,
}
API = {"api": UP}
MONITORING = {"alertmanager": UP, "grafana": UP, "monitor": UP, "prometheus": UP}
FRAUD = {"simulator": DONE, "logger_sql": DONE, "confirm": DONE, "extractor_sql": DONE, "scorer": UP}
EVERYTHING = {**CATALOG, **API, **MONITORING, **AIRFLOW, **FRAUD, "example": DONE}


def stopped(picture: Picture) -> Picture:
    """The same when its servers have been asked to end, and have."""
    return {name: STOPPED if state == UP else state for name, state in picture.items()}


@dataclass(frozen=True)
class Command:
    """A line as people type it, and the whole project after it: a container that is not named must not be there.

    Attributes:
        line: The line.
        after: The state of each service that has a container.
        code: Its exit code.
        says: A part of what it prints.
        types: What is typed into its terminal; None where it needs none.
        endless: It follows until Ctrl-C, which comes when the picture is as it should be.
        volumes: Whether the data is there after it; None where there was none before.
    """

    line: str
    after: Picture = field(default_factory=dict)
    code: int = 0
    says: str = ""
    types: str | None = None
    endless: bool = False
    volumes: bool | None = True


BROKEN = {**DATA, "cleaning": "exited 1"}
# In this order, each on what the one before has left.
GATE = (
    Command("docker compose -f docker-compose-data.yml up -d", DATA),
    Command("docker compose -f docker-compose-data.yml up -d extract transform", DATA),
    # Only cleaning is started: where S3 is not up, it says what to start. (The code of `up` is not that of its jobs.)
    Command("docker compose up cleaning", BROKEN, says="start it (docker compose up -d minio"),
    # Only api and what it stores into: without a model it is up, and says that it is not ready.
    Command("docker compose build api", BROKEN),
    Command("docker compose up -d api", {**BROKEN, **API}),
    Command("docker compose up -d ml-worker", {**BROKEN, **API, **WORKER}),
    Command("docker compose up -d api mongodb mlflow-server postgres minio", {**BROKEN, **API, **WORKER}),
    Command("docker compose up cleaning", {**CATALOG, **API}, says="rows in"),
    Command("docker compose exec ml-worker bash", {**CATALOG, **API}, code=7, says=USER, types="id; exit 7\n"),
    Command("docker compose exec api bash", {**CATALOG, **API}, code=7, says=USER, types="id; exit 7\n"),
    Command("docker compose logs -f ml-worker", {**CATALOG, **API}, says="ml-worker-1", endless=True),
    Command("docker compose logs -f api", {**CATALOG, **API}, says="api-1", endless=True),
    Command("docker compose restart api", {**CATALOG, **API}),
    Command("docker compose stop api", {**CATALOG, **stopped(API)}),
    Command("docker compose -f docker-compose-etl.yml down", {**DATA, **WORKER, **stopped(API)}),
    Command("docker compose stop", stopped({**DATA, **WORKER, **API})),
    Command("docker compose down"),
    Command("docker compose down -v", volumes=False),
)
# Those that build or start all, Airflow too.
FULL = (
    Command("docker compose build", volumes=None),
    Command("docker compose build --no-cache ml-worker", volumes=None),
    Command("docker compose up -d airflow-webserver airflow-scheduler airflow-postgres", AIRFLOW),
    Command("docker compose up -d", EVERYTHING),
    Command("docker compose stop", stopped(EVERYTHING)),
    Command("docker compose up --build", EVERYTHING, endless=True),
    Command("docker compose down -v", volumes=False),
)


@dataclass(frozen=True)
class Checkout:
    """What a fresh clone has, as a project of its own name, network and address; its settings are in its `.env`."""

    folder: Path
    name: str
    engine: DockerClient

    def environment(self) -> dict[str, str]:
        """The shell's variables, and the name of the project."""
        return {**os.environ, "COMPOSE_PROJECT_NAME": self.name}

    def picture(self) -> dict[str, str]:
        """The state of each service that has a container."""
        found = {}
        for each in self.engine.api.containers(all=True, filters={"label": f"com.docker.compose.project={self.name}"}):
            with contextlib.suppress(Exception):  # gone since it was listed
                state = self.engine.api.inspect_container(each["Id"])["State"]
                word = state["Status"] if state["Status"] != "exited" else f"exited {state['ExitCode']}"
                found[each["Labels"]["com.docker.compose.service"]] = state.get("Health", {}).get("Status") or word
                if word.startswith("exited"):
                    found[each["Labels"]["com.docker.compose.service"]] = word
        return found

    def becomes(self, wanted: Picture, seconds: float) -> None:
        """Wait until the picture is the one that is wanted."""
        deadline = time.monotonic() + seconds
        while not _same(found := self.picture(), wanted):
            assert time.monotonic() < deadline, {n: (found.get(n), wanted.get(n)) for n in found.keys() | wanted.keys()}
            time.sleep(0.5)

    def volumes(self) -> list[str]:
        """The names of its volumes."""
        return [each.name for each in self.engine.volumes.list(filters={"name": f"{self.name}_"})]


def _same(found: Picture, wanted: Picture) -> bool:
    """Whether two pictures are the same: a server that ends may have a code of its own, but was not killed."""
    return found.keys() == wanted.keys() and all(
        re.fullmatch(r"exited (?!137)\d+", found[name]) if state == STOPPED else found[name] == state
        for name, state in wanted.items()
    )


@pytest.fixture(scope="module")
def checkout(docker_engine: DockerClient) -> Iterator[Checkout]:
    """One for all lines of a table, which follow each other."""
    name = f"stack-commands-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        folder.chmod(0o755)
        copy_stack(folder, name)
        settings = {
            "BIND_ADDRESS": f"127.5.{os.getpid() // 256 % 256}.{os.getpid() % 256}",
            **SECRETS,
            "DOCKER_GID": str(Path("/var/run/docker.sock").stat().st_gid),
            "LISTINGS": "600",
            "CLEANING_WAIT": "10",
            "TRANSACTIONS": "500",
        }
        (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        made = Checkout(folder, name, docker_engine)
        yield made
        docker(made.folder, "docker compose --profile * down -v --timeout 5", made.environment())


def words_of(line: str) -> list[str]:
    """The words of a line; `docker compose` is the binary that comes with Gigogne."""
    words = shlex.split(line)
    return [str(compose_binary()), *words[2:]] if words[1] == "compose" else words


def docker(folder: Path, line: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a line to its end; stdout and stderr are one."""
    return subprocess.run(
        words_of(line),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )


def in_terminal(checkout: Checkout, command: Command) -> tuple[int, str]:
    """Run a line in a terminal, where somebody types."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        words_of(command.line),
        cwd=checkout.folder,
        env=checkout.environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, (command.types or "").encode())
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while chunk := os.read(ours, 4096):
            said += chunk
    os.close(ours)
    return process.wait(60), said.decode(errors="replace")


def until_ctrl_c(checkout: Checkout, command: Command) -> str:
    """Run a line that follows what happens, until the picture is right; then Ctrl-C. What it said."""
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            words_of(command.line),
            cwd=checkout.folder,
            env=checkout.environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                checkout.becomes(command.after, 600)
                time.sleep(1)
                assert process.poll() is None, "it ended by itself"
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(120)
        said.seek(0)
        return said.read()


def follow(checkout: Checkout, command: Command) -> None:
    """Run one line of a table, and see that what it says and what is there afterwards is what the table says."""
    if command.endless:
        said = until_ctrl_c(checkout, command)
    elif command.types is not None:
        code, said = in_terminal(checkout, command)
        assert code == command.code, said
    else:
        done = docker(checkout.folder, command.line, checkout.environment())
        said = done.stdout
        assert done.returncode == command.code, said[-3000:]
    assert command.says in said, said[-3000:]
    after = stopped(command.after) if command.endless and " up " in command.line else command.after
    checkout.becomes(after, 240)
    assert command.volumes in (None, bool(checkout.volumes()))


def numbered(commands: tuple[Command, ...]) -> list[object]:
    """The lines as parameters, which have their names."""
    return [pytest.param(each, id=each.line.removeprefix("docker ")) for each in commands]


@pytest.mark.parametrize("command", numbered(GATE))
def test_line(checkout: Checkout, command: Command) -> None:
    """Each line does what people expect of it, on what the lines before have left."""
    follow(checkout, command)


@pytest.mark.full
@pytest.mark.parametrize("command", numbered(FULL))
def test_line_with_all(checkout: Checkout, command: Command) -> None:
    """So do those that build or start everything, Airflow too; training is not started by them."""
    follow(checkout, command)


def test_images_go_when_asked_to(docker_engine: DockerClient) -> None:
    """`rmi` and `image prune` on a daemon of their own: the image of cleaning goes once its container has gone."""
    image = "mlops-rakuten/clean-data:latest"
    built = docker(REPOSITORY, "docker compose -f docker-compose-etl.yml build", os.environ)
    assert built.returncode == 0, built.stdout
    with own_daemon([image, "busybox:1.36"]) as daemon, closing(daemon.client()) as client:
        environment = {**os.environ, "DOCKER_HOST": daemon.host, "CLEANING_WAIT": "1"}

        def types(line: str) -> tuple[int, str]:
            done = docker(REPOSITORY, line, environment)
            return done.returncode, done.stdout

        _, said = types("docker compose up cleaning")
        assert "exited with code 1" in said
        assert [each.name for each in client.containers.list(all=True)] == ["mlops-cleaning-1"]
        code, said = types(f"docker rmi {image}")
        assert code == 1 and "conflict" in said
        assert types("docker compose -f docker-compose-etl.yml down")[0] == 0 and not client.containers.list(all=True)
        code, said = types(f"docker rmi {image}")
        assert code == 0 and f"Untagged: {image}" in said
        nameless = client.images.build(fileobj=None, path=str(_label(daemon.folder)), tag=None)[0]
        code, said = types("docker image prune -f")
        assert code == 0 and str(nameless.id) in said
        assert [tag for each in client.images.list(all=True) for tag in each.tags] == ["busybox:1.36"]


def _label(folder: Path) -> Path:
    """A build context whose image has no name."""
    context = folder / "nameless"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox:1.36\nLABEL nameless=1\n", encoding="utf-8")
    return context
