"""What is wrong with a project on every engine: each rule where it holds, and where it must be silent."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import REPOSITORY

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.model import project_of
from gigogne.core.lint import lint
from gigogne.core.model import Problem, Project

Load = Callable[[str], Project]

# As it stands in many a repository: written for Docker, by hand, over the years.
GROWN = """
version: "3.8"
name: shop
services:
  db:
    image: postgres:17
    container_name: shop_db
    environment: {POSTGRES_USER: postgres, POSTGRES_PASSWORD: "${DB_PASSWORD:-postgres}"}
    ports: ["0.0.0.0:5432:5432"]
    healthcheck: {test: pg_isready}
  cache:
    image: redis
  etl:
    build: .
    command: tail -f /dev/null
    volumes: ["/var/run/docker.sock:/var/run/docker.sock"]
  api:
    build: .
    command: sh -c "alembic upgrade head && uvicorn api.main:app --host 0.0.0.0"
    environment: {POSTGRES_PASSWORD: "${DB_PASSWORD:-postgres}", TOKEN: "${API_TOKEN}"}
    ports: ["0.0.0.0:8000:8000"]
    depends_on: {db: {condition: service_healthy}}
  report:
    build: .
    command: python -m report
    depends_on: {api: {condition: service_completed_successfully}, cache: {condition: service_healthy}}
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a Compose file as the command does."""
    for name in ("DB_PASSWORD", "API_TOKEN", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "Dockerfile").write_text("FROM python:3.12-slim\n", encoding="utf-8")

    def made(text: str) -> Project:
        file = tmp_path / "docker-compose.yml"
        file.write_text(text, encoding="utf-8")
        return load_project(LoadOptions(files=(str(file),)))

    return made


def project(warnings: tuple[str, ...] = (), **services: dict[str, Any]) -> Project:
    """A project in Compose's canonical form; conditions without `service_`."""
    for service in services.values():
        service["depends_on"] = {
            name: {"condition": f"service_{condition}", "required": True}
            for name, condition in service.get("depends_on", {}).items()
        }
    return project_of({"name": "p", "services": services}, directory=Path("/p"), files=(), warnings=warnings)


def built(command: str = "python job.py", **more: Any) -> dict[str, Any]:
    """A service that is built here."""
    return {"build": {"context": "/p"}, "command": shlex.split(command), **more}


def port(published: str, target: int = 80, host_ip: str = "", protocol: str = "tcp") -> dict[str, Any]:
    """A published port in Compose's canonical form."""
    return {"target": target, "published": published, "host_ip": host_ip, "protocol": protocol}


def places(problems: list[Problem]) -> dict[str, bool]:
    """Where something is said, and whether it is fatal."""
    return {problem.where: problem.fatal for problem in problems}


def test_a_file_that_has_grown(load: Load) -> None:
    """Everything is found at once, each with its key, its cure, and only what must fail is fatal."""
    found = lint(load(GROWN))
    assert places([problem for problem in found if problem.where]) == {
        "services.db.container_name": False,
        "services.db.environment.POSTGRES_PASSWORD": True,
        "services.cache.image": False,
        "services.etl.command": False,
        "services.etl.volumes": False,
        "services.report.depends_on.api": True,
        "services.report.depends_on.cache": False,
    }
    assert all(problem.hint for problem in found if problem.where)
    # Only POSTGRES_PASSWORD of the server is concerned, and its value is nowhere to be read.
    assert not any("POSTGRES_PASSWORD" in str(problem) for problem in found if problem.service != "db")
    assert any("API_TOKEN" in problem.message and "${API_TOKEN:-default}" in problem.hint for problem in found)


def test_the_reference_stack_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own files, as they are to be copied, give rise to nothing that is fatal."""
    monkeypatch.delenv("BIND_ADDRESS", raising=False)
    found = lint(load_project(LoadOptions(files=(str(REPOSITORY / "docker-compose.yml"),))))
    assert [str(problem) for problem in found if problem.fatal] == []


def test_a_project_with_nothing_wrong(load: Load) -> None:
    """Servers that are bound to this machine, versions, real conditions: silence."""
    text = """
    name: quiet
    services:
      db:
        image: registry.example:443/library/postgres:17
        environment: {POSTGRES_PASSWORD: postgres}
        ports: ["127.0.0.1:5432:5432", "[::1]:5432:5432", "5433:5433/udp", "5433:5433", "8000-8003:9000"]
        healthcheck: {test: pg_isready}
        restart: unless-stopped
        volumes: ["data:/data", "../here:/here"]
      load:
        build: .
        image: shop/load
        command: python load.py
        restart: "no"
        depends_on: {db: {condition: service_healthy}}
        tmpfs: [/scratch]
      again:
        image: shop/load
        command: python again.py
        depends_on: {load: {condition: service_completed_successfully}}
      worker: {build: ., command: celery -A app worker, labels: {gigogne.kind: server}}
    volumes: {data: {}}
    """
    assert [str(problem) for problem in lint(load(text))] == []


def test_a_command_that_only_idles() -> None:
    """It is named with its cure; who labels the service as a server knows what it is for."""
    for command in ("tail -f /dev/null", "bash -c 'while true; do sleep 30; done'"):
        [found] = lint(project(a=built(command)))
        assert (found.where, found.fatal) == ("services.a.command", False) and "docker exec" in found.message
    assert lint(project(a=built("sh -c 'service postgresql start && tail -f /dev/null'"))) == []
    assert lint(project(a=built("sleep infinity", labels={"gigogne.kind": "server"}))) == []


def volume(source: str, target: str, **more: Any) -> dict[str, Any]:
    """A mount of a volume in Compose's canonical form."""
    return {"type": "volume", "source": source, "target": target, "volume": more}


def test_a_keep_alive_that_holds_a_volume() -> None:
    """It is said which volume, who else has it, and from whose depends_on it goes; a volume stays without it."""
    holder = {"image": "busybox:1.36", "command": ["tail", "-f", "/dev/null"], "volumes": [volume("code", "/code")]}
    job = built(volumes=[volume("code", "/app"), volume("other", "/other")], depends_on={"holder": "started"})
    [found] = lint(project(holder=holder, job=job))
    assert (found.where, found.fatal) == ("services.holder.command", False)
    assert "for code, which job mounts too" in found.message and "other" not in found.message
    assert found.hint.startswith("remove holder, and from depends_on of job: the volume stays")


@pytest.mark.parametrize(
    "holder",
    [
        {"volumes": [volume("own", "/code")]},
        {"volumes": [volume("code", "/code"), {"type": "bind", "source": "/p/x", "target": "/x"}]},
        {"volumes": [volume("code", "/code")], "image": "team/code:7"},
        {"volumes": [volume("code", "/code")], "build": {"context": "/p"}},
        {"volumes": [volume("", "/code")]},
    ],
    ids=["own volume", "folder", "image with files", "built", "anonymous"],
)
def test_a_keep_alive_that_does_more_than_hold(holder: dict[str, Any]) -> None:
    """It may fill the volume, or be there to be entered: nobody is told to remove it."""
    job = built(volumes=[volume("code", "/app")])
    holding = {"image": "busybox:1.36", "command": ["sleep", "infinity"], **holder}
    [found] = lint(project(holder=holding, job=job))
    assert "docker exec" in found.message and "remove" not in found.hint


@pytest.mark.parametrize(
    ("command", "more", "script"),
    [
        ("python job.py", {"working_dir": "/app"}, "/app/job.py"),
        ("python ./run/job.py", {"working_dir": "/app/"}, "/app/run/job.py"),
        ("/app/start.sh --fast", {}, "/app/start.sh"),
        ("start", {"entrypoint": ["sh", "/app/x.sh"]}, "/app/x.sh"),
        ("python job.py", {}, ""),
        ("python /srv/job.py", {"working_dir": "/app"}, ""),
        ("python ../job.py", {"working_dir": "/app"}, ""),
        ("python -m job", {"working_dir": "/app"}, ""),
        ("report --out=/app/job.py", {"working_dir": "/app"}, ""),
    ],
)
def test_code_that_a_volume_hides(command: str, more: dict[str, Any], script: str) -> None:
    """A program that is run from a named volume over the image is not the one that was just built."""
    found = lint(project(a=built(command, volumes=[volume("code", "/app")], **more)))
    assert places(found) == ({"services.a.volumes": False} if script else {})
    if script:
        assert found[0].message.startswith(f"{script} is run from the volume code")
        assert "remove code:/app" in found[0].hint and "./app:/app:ro" in found[0].hint


def test_a_volume_that_hides_no_code() -> None:
    """What holds data, gets nothing of the image by intention, is a folder, or lies over a pulled image."""
    at = {"working_dir": "/app"}
    for mount in (
        volume("data", "/app/data"),
        volume("code", "/app", nocopy=True),
        volume("code", "/app", subpath="v2"),
        {"type": "bind", "source": "/p/app", "target": "/app"},
    ):
        assert lint(project(a=built(volumes=[mount], **at))) == []
    pulled = {"image": "team/job:1", "command": ["python", "job.py"], "volumes": [volume("code", "/app")], **at}
    assert lint(project(a=pulled)) == []


def test_waiting_for_the_end_of_a_server() -> None:
    """Who waits for a server to complete waits for ever: fatal, at the one who waits, and said once."""
    for other in (built("uvicorn app:app", ports=[port("80")]), built("sleep infinity"), {"image": "postgres:17"}):
        found = lint(project(a=built(depends_on={"b": "completed_successfully"}), b=other))
        assert places(found)["services.a.depends_on.b"] and sum(problem.fatal for problem in found) == 1
        assert "services.b.image" not in places(found) and found[0].service == "a"
    ends = built("uvicorn app:app", labels={"gigogne.kind": "job"})
    assert lint(project(a=built(depends_on={"b": "completed_successfully"}), b=ends)) == []


def test_health_that_nothing_checks() -> None:
    """Certain of what is built here and where the check is switched off; else it may be in the image."""

    def found(other: dict[str, Any]) -> list[bool]:
        return [p.fatal for p in lint(project(a=built(depends_on={"b": "healthy"}), b=other))]

    assert found(built()) == [True] and found({"image": "x:1", "healthcheck": {"disable": True}}) == [True]
    assert found({"image": "x:1"}) == [False]
    assert found(built(healthcheck={"test": ["CMD", "true"]})) == []


def test_a_completion_that_docker_undoes() -> None:
    """`restart: always` starts the job anew whenever it has ended; on-failure does not."""
    for policy, count in (("always", 1), ("unless-stopped", 1), ("on-failure:3", 0), ("no", 0)):
        found = lint(project(a=built(depends_on={"b": "completed_successfully"}), b=built(restart=policy)))
        assert [(p.where, p.fatal) for p in found] == [("services.a.depends_on.b", False)] * count
    labelled = built(labels={"gigogne.kind": "server"})
    [found_] = lint(project(a=built(depends_on={"b": "completed_successfully"}), b=labelled))
    assert "labelled" in found_.message and not found_.fatal


def test_what_two_runs_cannot_share() -> None:
    """A fixed container name, and a fixed port of a job; the ports of a server are its address."""
    job = built(ports=[port("4040"), port(""), port("5000-5010")], labels={"gigogne.kind": "job"})
    [found] = lint(project(a=job))
    assert found.where == "services.a.ports" and "4040" in found.message and "5000" not in found.message
    assert lint(project(a=built(ports=[port("4040")]))) == []
    [name] = lint(project(a=built(container_name="mine", hostname="host")))
    assert (name.where, name.fatal) == ("services.a.container_name", False)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("a/b", True),
        ("r:5000/a/b", True),
        ("a:latest", True),
        ("a:1", False),
        ("r:5000/a:1", False),
        ("a@sha256:0", False),
    ],
)
def test_images_without_a_version(image: str, said: bool) -> None:
    """No tag and `latest` are named; a tag or a digest is a version."""
    found = lint(project(a={"image": image, "command": ["true"]}))
    assert places(found) == ({"services.a.image": False} if said else {})
    assert lint(project(a={"image": image, "command": ["true"], "pull_policy": "never"})) == []
    assert lint(project(a=built(image=image), b={"image": image, "command": ["true"]})) == []


@pytest.mark.parametrize(
    ("image", "variable", "value"),
    [
        ("postgres:17", "POSTGRES_PASSWORD", "postgres"),
        ("postgres:17", "POSTGRES_PASSWORD", ""),
        ("postgres:17", "POSTGRES_HOST_AUTH_METHOD", "trust"),
        ("minio/minio:1", "MINIO_ROOT_PASSWORD", "minio123456"),
        ("chrislusf/seaweedfs:4.48", "AWS_SECRET_ACCESS_KEY", "minio123456"),
        ("docker.io/library/mongo:8", "MONGO_INITDB_ROOT_PASSWORD", "changeme"),
        ("grafana/grafana:12", "GF_SECURITY_ADMIN_PASSWORD", "Admin"),
        ("mysql:9", "MYSQL_ROOT_PASSWORD", "root"),
        ("neo4j:5", "NEO4J_AUTH", "neo4j/password"),
    ],
)
def test_default_credentials_that_others_reach(image: str, variable: str, value: str) -> None:
    """Fatal on an address of the network; silence on loopback, without an address, and with a password of one's own."""

    def found(value: str, *addresses: str) -> list[Problem]:
        ports = [port("7000", host_ip=address) for address in addresses]
        return lint(project(a={"image": image, "environment": {variable: value}, "ports": ports}))

    for address, words in (("0.0.0.0", "on all addresses"), ("::", "on all addresses"), ("192.168.1.5", "192.168.1.5")):
        [problem] = found(value, address)
        assert (problem.where, problem.fatal) == (f"services.a.environment.{variable}", True)
        assert words in problem.message and "127.0.0.1" in problem.hint
    for addresses in (("127.0.0.1",), ("::1",), ("",), ()):
        assert [problem for problem in found(value, *addresses) if problem.fatal] == []
    assert found("Zq8-long-and-own", "0.0.0.0") == []


def test_a_password_is_never_printed() -> None:
    """The message names the variable; its value stands nowhere."""
    environment = {"RABBITMQ_DEFAULT_PASS": "letmein"}
    found = lint(
        project(a={"image": "rabbitmq:4", "environment": environment, "ports": [port("1", host_ip="0.0.0.0")]})
    )
    assert "RABBITMQ_DEFAULT_PASS" in found[0].message and "letmein" not in repr(found)


def test_who_only_uses_a_password_is_not_concerned() -> None:
    """A module that is a client of the database has the same variable, and listens elsewhere."""
    environment = {"POSTGRES_PASSWORD": "postgres", "MINIO_ROOT_PASSWORD": "minioadmin"}
    assert lint(project(a=built(environment=environment, ports=[port("8000", host_ip="0.0.0.0")]))) == []


def test_two_servers_on_one_port() -> None:
    """Fatal where the addresses overlap; the message names both keys."""

    def found(one: dict[str, Any], two: dict[str, Any]) -> list[Problem]:
        return lint(project(a=built(ports=[one]), b=built(ports=[two])))

    for first, second in (("", ""), ("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", ""), ("10.0.0.1", "10.0.0.1")):
        [problem] = found(port("80", host_ip=first), port("80", 81, host_ip=second))
        assert problem.fatal and problem.where == "services.b.ports" and "services.a.ports" in problem.message
    for one, two in (
        (port("80"), port("81")),
        (port("80"), port("80", protocol="udp")),
        (port("80", host_ip="127.0.0.1"), port("80", host_ip="127.0.0.2")),
        (port("80", host_ip="0.0.0.0"), port("80", host_ip="::1")),
        (port(""), port("")),
        (port("80-90"), port("80-90")),
    ):
        assert found(one, two) == []


def test_one_port_twice_in_a_service(load: Load) -> None:
    """The same host port for two ports of the container cannot be; the same line twice can."""
    [problem] = lint(project(a=built(ports=[port("80", 80), port("80", 81)])))
    assert problem.fatal and "container port 80" in problem.message
    text = "services: {a: {build: ., ports: ['6060:6060', '6060:6060', '8000-8002:8000-8002']}}"
    assert lint(load(text)) == []


def test_a_port_that_a_job_holds_for_a_while() -> None:
    """A job and a server cannot be up together, but may come one after the other: a notice."""
    job = built(ports=[port("80")], labels={"gigogne.kind": "job"})
    found = [problem for problem in lint(project(a=job, b=built(ports=[port("80")]))) if problem.service == "b"]
    assert [problem.fatal for problem in found] == [False] and "same time" in found[0].message


def test_only_the_chosen_services_count(load: Load) -> None:
    """A port that is taken by a service that is not to run is no problem; kinds come from the whole project."""
    made = project(
        a=built(ports=[port("80")]),
        b=built(ports=[port("80")]),
        c=built("uvicorn app:app"),
        d=built(depends_on={"c": "healthy"}),
    )
    assert lint(made, ["a"]) == [] and lint(made, ["c"]) == []
    assert {problem.service for problem in lint(made)} == {"b", "d"}


def test_two_mounts_on_one_target(load: Load) -> None:
    """A volume and a tmpfs on one target: Compose lets it pass, Docker refuses it."""
    text = "services: {a: {build: ., volumes: ['data:/data'], tmpfs: [/data/]}}\nvolumes: {data: {}}"
    [problem] = lint(load(text))
    assert (problem.where, problem.fatal) == ("services.a.tmpfs", True) and "/data" in problem.message
    assert lint(load(text.replace("/data/]", "/data/scratch]"))) == []


def test_a_volume_that_is_taken_for_a_drive(load: Load) -> None:
    """Compose reads `d:/data` as a path of Windows; what the user meant is a volume."""
    text = "services: {a: {build: ., volumes: ['%s:/data']}}\nvolumes: {%s: {}}"
    [problem] = lint(load(text % ("d", "d")))
    assert (problem.where, problem.fatal) == ("services.a.volumes", False) and "d:/data" in problem.message
    assert lint(load(text % ("dd", "dd"))) == []


def test_variables_that_are_not_set(load: Load) -> None:
    """Compose's warning becomes a notice with a cure; other warnings pass as they are."""
    [found] = lint(load("services: {a: {build: ., environment: {X: '${SURELY_NOT_SET}'}}}"))
    assert not found.fatal and "SURELY_NOT_SET" in found.message
    assert "${SURELY_NOT_SET:-default}" in found.hint and "${SURELY_NOT_SET:?message}" in found.hint
    assert lint(load("services: {a: {build: ., environment: {X: '${SURELY_NOT_SET:-}'}}}")) == []
    [other] = lint(project(("the attribute `version` is obsolete",), a=built()))
    assert (other.message, other.hint) == ("the attribute `version` is obsolete", "")


def test_a_variable_that_only_the_container_has(load: Load, tmp_path: Path) -> None:
    """`app/.env` as env_file feeds the container, not `${…}`: the commonest mistake of all, named as such."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / ".env").write_text("SURELY_NOT_SET=hunter2\n", encoding="utf-8")
    text = "services: {a: {build: ., env_file: app/.env, command: 'job --rows ${SURELY_NOT_SET}'}}"
    [found] = lint(load(text))
    assert "the SURELY_NOT_SET of a's environment or env_file does not feed ${…}" in found.message
    assert "--env-file" in found.hint and "hunter2" not in str(found) and not found.fatal
