"""Loading: what Docker Compose says is what we have, and what it refuses is refused with a place and a cure."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.binary import compose_binary
from gigogne.compose.load import compose_files
from gigogne.core.model import Condition, MountType, Project
from gigogne.errors import ComposeError, EngineError

FULL = """
name: demo
x-gigogne: {run: [a]}
include: [included.yml]
services:
  a:
    image: busybox
    env_file: [some.env]
    environment: {PLAIN: "${FROM_SHELL:-default}", DOLLAR: "a$$b", UNSET: }
    command: ["echo", "$$HOME"]
    entrypoint: []
    stop_grace_period: 1m30s
    stop_signal: SIGINT
    user: "1000:1000"
    volumes: ["data:/data", "./src:/src:ro", "/anonymous"]
    tmpfs: [/scratch]
    depends_on: {b: {condition: service_healthy}, c: {condition: service_completed_successfully, required: false}}
    extra_hosts: ["other=10.0.0.1"]
  c: {image: busybox, profiles: [extra]}
volumes: {data: {}}
"""
INCLUDED = """
services:
  b:
    image: postgres:17
    ports: ["127.0.0.1:5433:5432"]
    healthcheck: {test: pg_isready, interval: 5s, timeout: 1m, retries: 7, start_period: 500ms}
"""


def load(text: str, *targets: str, **options: object) -> Project:
    """The project of a `docker-compose.yml` with this text."""
    Path("docker-compose.yml").write_text(text, encoding="utf-8")
    return load_project(LoadOptions(**options), targets)  # type: ignore[arg-type]


def refused(text: str) -> ComposeError:
    """The error that this text meets."""
    with pytest.raises(ComposeError) as caught:
        load(text)
    assert caught.value.hint, "each error says what to do"
    return caught.value


def test_all_of_it_arrives(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpolation, env_file, include, short and long forms: as Compose resolves them, dollars single again."""
    (here / "included.yml").write_text(INCLUDED, encoding="utf-8")
    (here / "some.env").write_text("FROM_FILE='1 2'\nPLAIN=overridden\n", encoding="utf-8")
    monkeypatch.setenv("FROM_SHELL", "shell")
    made = load(FULL)
    a, b = made.services["a"], made.services["b"]
    assert made.name == "demo" and set(made.services) == {"a", "b"} and made.directory == here
    assert a.environment == {"PLAIN": "shell", "DOLLAR": "a$b", "FROM_FILE": "1 2"}
    assert a.command == ("echo", "$HOME") and a.entrypoint == ()
    assert (a.stop_grace_period, a.stop_signal, a.user) == (90.0, "SIGINT", "1000:1000")
    assert [(m.type, m.target, m.read_only) for m in a.mounts] == [
        (MountType.VOLUME, "/data", False),
        (MountType.BIND, "/src", True),
        (MountType.VOLUME, "/anonymous", False),
        (MountType.TMPFS, "/scratch", False),
    ]
    assert a.mounts[1].source == str(here / "src") and made.volumes == {"data": "demo_data"}
    assert (a.depends_on[0].service, a.depends_on[0].condition) == ("b", Condition.HEALTHY)
    assert b.healthcheck is not None and b.healthcheck.test == ("CMD-SHELL", "pg_isready")
    check = b.healthcheck
    assert (check.interval, check.timeout, check.retries, check.start_period) == (5.0, 60.0, 7, 0.5)
    assert (b.ports[0].host_ip, b.ports[0].published, b.ports[0].target) == ("127.0.0.1", "5433", 5432)
    assert a.extra_hosts == (("other", "10.0.0.1"),)


def test_values_do_not_show(here: Path) -> None:
    """The repr of a service, which may reach a log, holds no value of a variable."""
    made = load("services: {a: {image: x, environment: {TOKEN: hunter2}}}")
    assert made.services["a"].environment["TOKEN"] == "hunter2" and "hunter2" not in repr(made)


def test_a_target_switches_its_profile_on() -> None:
    """As `docker compose run`: naming a service is enough, its profile need not be named."""
    text = "services: {a: {image: x}, b: {image: x, profiles: [p]}, c: {image: x, profiles: [q]}}"
    assert set(load(text).services) == {"a"}
    assert set(load(text, "b").services) == {"a", "b"}
    assert set(load(text, profiles=("q",)).services) == {"a", "c"}


def test_files_overrides_and_names(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """-f twice merges, COMPOSE_FILE and COMPOSE_PROJECT_NAME count, -p wins, --env-file feeds interpolation."""
    (here / "one.yml").write_text("services: {a: {image: 'x:${TAG:-none}'}}", encoding="utf-8")
    (here / "two.yml").write_text("services: {a: {environment: {A: '1'}}}", encoding="utf-8")
    (here / "my.env").write_text("TAG=5\n", encoding="utf-8")
    both = load_project(LoadOptions(files=("one.yml", "two.yml"), project_name="given", env_files=("my.env",)))
    assert (both.name, both.services["a"].image, both.services["a"].environment) == ("given", "x:5", {"A": "1"})
    monkeypatch.setenv("COMPOSE_FILE", f"one.yml{__import__('os').pathsep}two.yml")
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "named")
    assert load_project(LoadOptions()).name == "named"
    assert [file.name for file in compose_files(LoadOptions())] == ["one.yml", "two.yml"]


def test_a_dockerfile_healthcheck_counts(here: Path) -> None:
    """HEALTHCHECK of the built stage, also inherited from the stage it is built on, is the service's."""
    (here / "Dockerfile").write_text(
        "FROM python:3.12-slim AS base\nHEALTHCHECK --interval=3s --retries=2 CMD curl -f localhost\n"
        "FROM python:3.12 AS other\nFROM base\nCMD ['x']\n",
        encoding="utf-8",
    )
    made = load("services: {a: {build: .}, b: {build: {context: ., target: other}}}")
    check = made.services["a"].healthcheck
    assert check is not None and check.test == ("CMD-SHELL", "curl -f localhost")
    assert (check.interval, check.retries) == (3.0, 2) and made.services["b"].healthcheck is None


def test_a_warning_of_compose_is_kept() -> None:
    """A variable that is not set is Compose's warning, and so a notice of ours."""
    assert any("NOT_SET_ANYWHERE" in text for text in load("services: {a: {image: 'x:${NOT_SET_ANYWHERE}'}}").warnings)


def test_a_tab_is_named_with_its_line(here: Path) -> None:
    """The commonest YAML mistake is called by its name."""
    error = refused("services:\n  a:\n\timage: x\n")
    assert error.message.startswith(f"{here / 'docker-compose.yml'}:3: a tab") and error.exit_code == 2


def test_a_misspelt_key_is_met_with_the_right_one(here: Path) -> None:
    """A typo in a key names file, line and the key that was meant."""
    error = refused("services:\n  a:\n    image: x\n    enviroment: {}\n")
    assert error.message.startswith(f"{here / 'docker-compose.yml'}:4: ") and "`environment`" in error.hint


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("services:\n  a:\n    image: x\n    depends_on: [zz]\n", 4, 'undefined service "zz"'),
        ("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n", 2, "cycle"),
        ("services:\n  a:\n    image: x\n    environment:\n      P: ${PASS:?needed}\n", 5, "variable PASS"),
        ("services:\n  a:\n    image: x\n    env_file: nope.env\n", 4, "nope.env is missing"),
        ("services:\n  a:\n    image: x\n    networks: [nn]\n", 4, "undefined network nn"),
        ("services:\n  a:\n    image: ${X\n", 3, "invalid interpolation"),
        ("services:\n  a:\n    image: x\n   b: 1\n", 2, "not valid YAML"),
    ],
)
def test_errors_have_a_place(here: Path, text: str, line: int, words: str) -> None:
    """Each complaint of Compose comes with file and line."""
    error = refused(text)
    assert f"docker-compose.yml:{line}" in error.message and words in error.message


def test_the_broken_file_of_several_is_found(here: Path) -> None:
    """With several -f, or an include, the one that is broken is named."""
    (here / "good.yml").write_text("services: {a: {image: x}}", encoding="utf-8")
    (here / "bad.yml").write_text("services:\n  b:\n\timage: x\n", encoding="utf-8")
    with pytest.raises(ComposeError, match=r"bad\.yml:3: a tab"):
        load_project(LoadOptions(files=("good.yml", "bad.yml")))
    assert "bad.yml:3: a tab" in refused("include: [bad.yml]\nservices: {a: {image: x}}").message


def test_no_file_says_where_it_looked(here: Path) -> None:
    """In an empty folder the error says what to type."""
    with pytest.raises(ComposeError, match="no Compose file in") as caught:
        load_project(LoadOptions())
    assert "-f" in caught.value.hint
    with pytest.raises(ComposeError, match=r"none\.yml: no such Compose file"):
        load_project(LoadOptions(files=("none.yml",)))


def test_the_binary_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIGOGNE_COMPOSE names another binary, and a wrong one is an error of ours, not a traceback."""
    ours = compose_binary()
    monkeypatch.setenv("GIGOGNE_COMPOSE", str(ours))
    assert subprocess.run([compose_binary(), "version"], check=True, capture_output=True).stdout
    monkeypatch.setenv("GIGOGNE_COMPOSE", "/no/such/program")
    with pytest.raises(EngineError, match="GIGOGNE_COMPOSE names"):
        compose_binary()


def test_compose_file_of_the_env_file(here: Path) -> None:
    """COMPOSE_FILE in `.env` names the files as well as in the shell, and errors name them too."""
    (here / "a.yml").write_text("services: {a: {image: x}}", encoding="utf-8")
    (here / "b.yml").write_text("services:\n  a:\n    imagee: y\n", encoding="utf-8")
    (here / ".env").write_text("COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=a.yml,b.yml\n", encoding="utf-8")
    assert [file.name for file in compose_files(LoadOptions())] == ["a.yml", "b.yml"]
    with pytest.raises(ComposeError, match=r"b\.yml:3: services\.a\.imagee"):
        load_project(LoadOptions())


def test_secrets_and_configs_that_are_files_are_mounts() -> None:
    """They are read-only binds at Docker's own places; one that is no file is known by its name."""
    made = load(
        "services: {a: {image: x, secrets: [s, {source: e, target: other}], "
        "configs: [c, {source: c, target: /etc/c}]}}\n"
        "secrets: {s: {file: ./s.txt}, e: {environment: E}}\nconfigs: {c: {file: ./c.txt}}\n"
    )
    found = {
        mount.target: (mount.type, Path(mount.source).name, mount.read_only) for mount in made.services["a"].mounts
    }
    assert found == {
        "/run/secrets/s": (MountType.BIND, "s.txt", True),
        "/run/secrets/other": (MountType.OTHER, "e", True),
        "/c": (MountType.BIND, "c.txt", True),
        "/etc/c": (MountType.BIND, "c.txt", True),
    }


def test_a_name_that_nothing_sets_is_unset() -> None:
    """`NAME:` alone passes the shell's value through; without one not even the image's value reaches the service."""
    service = load("services: {a: {image: x, environment: {GONE: , SET: '1'}}}").services["a"]
    assert service.unset == {"GONE"} and dict(service.environment) == {"SET": "1"}
