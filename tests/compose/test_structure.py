"""The structure of a project: what its files say with no variable set, and without a file that holds values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.structure import Structure, load_structure
from gigogne.core.graph import kinds
from gigogne.core.model import Kind
from gigogne.errors import ComposeError

REPOSITORY = Path(__file__).parents[2]
PROJECTS = sorted(
    {file.parent for file in (REPOSITORY / "tests/scenarios/projects").rglob("*compose*.y*ml")} | {REPOSITORY}
)


def structure(text: str, *targets: str, **options: object) -> Structure:
    """The structure of a `docker-compose.yml` with this text."""
    Path("docker-compose.yml").write_text(text, encoding="utf-8")
    return load_structure(LoadOptions(**options), targets)  # type: ignore[arg-type]


def refused(text: str) -> ComposeError:
    """The error that this text meets."""
    with pytest.raises(ComposeError) as caught:
        structure(text)
    assert caught.value.hint, "each error says what to do"
    return caught.value


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_kinds_and_edges_are_those_of_the_whole_project(folder: Path) -> None:
    """Without any variable, env file or interpolation the same services come out as jobs, servers and edges."""
    options = LoadOptions(directory=str(folder), profiles=("*",))
    whole, bare = load_project(options), load_structure(options).project
    assert kinds(bare) == kinds(whole)
    for name, service in whole.services.items():
        assert set(bare.services[name].depends_on) == set(service.depends_on), name
        assert bare.services[name].restart == service.restart and bare.services[name].labels == service.labels


def test_nothing_has_to_be_set(here: Path) -> None:
    """Env files that are not there or broken, and a variable that must be set, are no matter for the structure."""
    (here / ".env").write_text("'broken\n", encoding="utf-8")
    found = structure(
        "services: {a: {image: x, env_file: [none.env], environment: {A: '${A:?must be set}'}, "
        "ports: ['${PORT:-8000}:80'], depends_on: [b]}, b: {image: 'postgres:${TAG:?}', volumes: ['${SRC:-./x}:/y']}}",
        env_files=("none.env",),
    )
    assert kinds(found.project) == {"a": Kind.SERVER, "b": Kind.SERVER}


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        ("image: '${IMAGE:-postgres:17}'", Kind.SERVER),
        ("image: x, restart: '${RESTART:-no}'", Kind.JOB),
        ("image: x, restart: '${RESTART:-always}'", Kind.SERVER),
        ("image: x, command: 'uvicorn app:app --port ${PORT:-8000}'", Kind.SERVER),
        ("image: x, command: ['sh', '-c', 'exec ${PROGRAM:-python -m load}']", Kind.JOB),
        ("image: x, healthcheck: {test: 'curl ${URL:-localhost}'}", Kind.SERVER),
        ("image: x, healthcheck: {disable: true}", Kind.JOB),
        ("image: x, labels: ['gigogne.kind=${KIND:-server}']", Kind.SERVER),
        ("image: x, tty: true, command: 'bash'", Kind.SERVER),
    ],
)
def test_defaults_tell_jobs_from_servers(service: str, kind: Kind) -> None:
    """Where a variable decides, its default does, as with no variable set; Compose agrees when it interpolates."""
    text = f"services: {{a: {{{service}}}}}"
    found = structure(text)
    assert kinds(found.project) == {"a": kind} == kinds(load_project(LoadOptions()))


def test_places_follow_include_extends_and_merges(here: Path) -> None:
    """Each edge and each label has the line of the file that says it."""
    (here / "base.yml").write_text(
        "services:\n  job:\n    image: x\n    depends_on:\n      db: {condition: service_started}\n", encoding="utf-8"
    )
    (here / "more.yml").write_text("services:\n  db:\n    image: postgres:17\n", encoding="utf-8")
    found = structure(
        "include: [more.yml]\n"
        "x-all: &all\n"
        "  labels:\n"
        "    gigogne.airflow.retries: 2\n"
        "services:\n"
        "  a:\n"
        "    extends: {file: base.yml, service: job}\n"
        "  b:\n"
        "    image: x\n"
        "    <<: *all\n"
        "    depends_on: [a]\n"
    )
    files = {"base.yml", "more.yml", "docker-compose.yml"}
    assert {path.name for path in found.read} == files
    assert str(found.place("a", "depends_on", "db")) == f"{here}/base.yml:5"
    assert str(found.place("b", "depends_on", "a")) == f"{here}/docker-compose.yml:11"
    assert str(found.place("b", "labels", "gigogne.airflow.retries")) == f"{here}/docker-compose.yml:4"


def test_label_files_count(here: Path) -> None:
    """They are read as far as they tell jobs from servers, and the service's own labels win."""
    (here / "labels").write_text('gigogne.kind="server"\ngigogne.airflow.retries=2\n', encoding="utf-8")
    found = structure("services: {a: {image: x, label_file: [labels], labels: {gigogne.airflow.retries: 3}}}")
    assert kinds(found.project) == {"a": Kind.SERVER} and here / "labels" in found.read
    assert found.project.services["a"].labels["gigogne.airflow.retries"] == "3"
    assert kinds(load_project(LoadOptions())) == kinds(found.project)


def test_profiles_that_are_off_hide_services(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Compose: switched on by option, by COMPOSE_PROFILES (also in `.env`), or by naming the service."""
    text = "services: {a: {image: x}, b: {image: x, profiles: [p]}, c: {image: x, profiles: [q]}}"
    assert set(structure(text).project.services) == {"a"}
    assert set(structure(text, profiles=("p",)).project.services) == {"a", "b"}
    assert structure(text, "c").profiles == ("q",) and set(structure(text, "c").project.services) == {"a", "c"}
    (here / ".env").write_text("COMPOSE_PROFILES=p\nSECRET=hunter2\n", encoding="utf-8")
    assert set(structure(text).project.services) == {"a", "b"}
    monkeypatch.setenv("COMPOSE_PROFILES", "q,")
    assert set(structure(text).project.services) == {"a", "c"}


def test_documentation_is_the_readme_the_description_or_the_comment(here: Path) -> None:
    """In this order; a comment that is YAML switched off is none, and the project's own README is of no service."""
    for name in ("one", "two"):
        (here / name).mkdir()
        (here / name / "Dockerfile").write_text("FROM python:3.12-slim\nHEALTHCHECK CMD true\n", encoding="utf-8")
    (here / "one" / "README.md").write_text("# One\n\nIt loads.\n", encoding="utf-8")
    (here / "README.md").write_text("# The project\n", encoding="utf-8")
    found = structure(
        "services:\n"
        "  one: {build: one, labels: [gigogne.description=not this]}\n"
        "  # not this\n"
        "  two: {build: two, labels: {gigogne.description: It cleans.}}\n"
        "  # It trains\n"
        "  # a model.\n"
        "  three: {image: x}\n"
        "  # four:\n"
        "  #   image: y\n"
        "  four: {image: x}\n"
        "  five: {build: .}\n"
    )
    assert found.documentation() == {
        "one": "# One\n\nIt loads.",
        "two": "It cleans.",
        "three": "It trains\na model.",
        "four": "",
        "five": "",
    }
    assert here / "two" / "README.md" in found.read, "one that is not there may come"
    assert here / "one" / "Dockerfile" in found.read and kinds(found.project)["one"] is Kind.SERVER


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services:\n  a:\n    imagee: x\n", r"docker-compose\.yml:3: services\.a\.imagee"),
        ("services:\n  a:\n   image: x\n  \tb: y\n", r"docker-compose\.yml:3"),
        ("services:\n  a:\n    image: x\n    depends_on: [bb]\n  b: {image: x}\n", r'\.yml:4: service "a" depends on'),
        ("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, profiles: [p]}\n", r"\.yml:2: .*depends on"),
        ("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n", r"\.yml:[23]: .*cycle"),
        ("services:\n  a:\n    command: x\n", r"\.yml:\d: .*has no image: and no build:"),
        ("services:\n  a:\n    image: x\n    labels: [gigogne.kind=jop]\n", r"\.yml:4: the label gigogne\.kind"),
        ("include:\n  - ${WHICH:-a}.yml\nservices: {a: {image: x}}\n", r"\.yml:2: .*does not exist"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(text: str, said: str) -> None:
    """What Compose refuses, and what it would refuse once it has interpolated the files."""
    assert re.search(said, refused(text).message)


def test_files_of_the_env_file_are_seen_from_its_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COMPOSE_FILE in the `.env` of the project counts wherever the process stands, once the options are settled."""
    from gigogne.compose.options import settled

    folder = here / "project"
    folder.mkdir()
    (folder / ".env").write_text("COMPOSE_FILE=one.yml\nCOMPOSE_PROFILES=p\n", encoding="utf-8")
    (folder / "one.yml").write_text("services: {a: {image: x, profiles: [p]}}\n", encoding="utf-8")
    options = settled(LoadOptions(directory=str(folder)))
    assert options.files == (str(folder / "one.yml"),) and options.profiles == ("p",)
    assert set(load_structure(options).project.services) == {"a"} == set(load_project(options).services)
