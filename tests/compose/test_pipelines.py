"""Pipelines: files that are merged after the project's own when one is asked for, and what they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.pipelines import project_pipelines
from gigogne.compose.selection import Selection, select
from gigogne.compose.structure import load_structure
from gigogne.core.model import Project
from gigogne.errors import ComposeError

PROJECT = """\
name: shop
services:
  extract: {image: x}
  cleaning: {image: x}
  train:
    image: x
    profiles: [train]
    depends_on: {db: {condition: service_healthy}}
  db: {image: 'postgres:17'}
  load: {image: x}
x-gigogne:
  pipelines:
    catalog: pipelines/catalog.yml
    small: [pipelines/edges.yml, pipelines/small.yml]
  run: [catalog, load]
"""
CATALOG = """\
services:
  cleaning:
    depends_on: {extract: {condition: service_completed_successfully}}
  train:
    depends_on: {cleaning: {condition: service_completed_successfully}}
x-gigogne: {run: [train]}
"""
EDGES = "services: {cleaning: {depends_on: {extract: {condition: service_completed_successfully}}}}\n"
SMALL = "services: {cleaning: {depends_on: {db: {condition: service_healthy}}}, db: {image: 'postgres:17'}}\n"


@pytest.fixture(autouse=True)
def shop(here: Path) -> Path:
    """A project with two pipelines."""
    (here / "pipelines").mkdir()
    write(here / "docker-compose.yml", PROJECT)
    write(here / "pipelines/catalog.yml", CATALOG)
    write(here / "pipelines/edges.yml", EDGES)
    write(here / "pipelines/small.yml", SMALL)
    return here


def write(file: Path, text: str, *changes: tuple[str, str]) -> None:
    """Write a file; each change is an old text, which has to be there, and what stands for it."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def loaded(chosen: Selection) -> Project:
    """The project of a selection."""
    return load_project(chosen.options, chosen.names, chosen.places)


def chain(services: Sequence[str] = (), pipelines: Sequence[str] = (), **options: object) -> list[str]:
    """What would be started, in order."""
    chosen = select(LoadOptions(**options), services, pipelines)  # type: ignore[arg-type]
    return list(chosen.plan(loaded(chosen)).services)


def refused(services: Sequence[str] = (), pipelines: Sequence[str] = ()) -> str:
    """The error that both loaders meet, which says what to do."""
    said = []
    for load in (load_project, load_structure):
        with pytest.raises(ComposeError) as caught:
            chosen = select(LoadOptions(), services, pipelines)
            found = load(chosen.options, chosen.names, chosen.places)
            chosen.plan(found if isinstance(found, Project) else found.project)
        assert caught.value.hint
        said.append(f"{caught.value.message}; {caught.value.hint}")
    assert said[0] == said[1]
    return said[0]


def test_a_pipeline_runs_what_its_file_lists() -> None:
    """With the edges of its file, and with the profile of its target switched on; it wins over the project's list."""
    assert chain(pipelines=["catalog"]) == ["db", "extract", "cleaning", "train"]


def test_a_pipeline_that_lists_nothing_runs_its_own_jobs() -> None:
    """All services that its files speak of and that are jobs, of several files in their order."""
    assert chain(pipelines=["small"]) == ["db", "extract", "cleaning"]
    chosen = select(LoadOptions(), (), ["small"])
    assert chosen.targets(loaded(chosen)) == ("cleaning",)


def test_a_bare_run_may_name_pipelines() -> None:
    """Their targets and the project's own are one plan; two pipelines are merged both."""
    assert chain() == ["db", "extract", "load", "cleaning", "train"]
    assert chain() == chain(pipelines=["catalog"], services=["train", "load"])
    assert chain(pipelines=["catalog", "small"]) == chain(pipelines=["catalog"])


def test_a_service_may_be_asked_for_with_the_edges_of_a_pipeline() -> None:
    """Without the pipeline the edge is not there."""
    assert chain(["cleaning"], ["catalog"]) == ["extract", "cleaning"]
    assert chain(["cleaning"]) == ["cleaning"]


def test_what_is_listed_may_have_a_profile(shop: Path) -> None:
    """As with Compose, to name a service switches its profile on; here the files name it."""
    write(shop / "docker-compose.yml", PROJECT, ("run: [catalog, load]", "run: [train]"))
    assert chain() == ["db", "train"]
    found = select(LoadOptions())
    assert load_structure(found.options, found.names).profiles == ("train",)


@pytest.mark.parametrize("profiles", [(), ("other",), ("more",), ("*",)])
@pytest.mark.parametrize("named", ["[train, more]", "['${WHICH:-train}']", "!override [more]"])
def test_no_other_profiles_than_those_of_the_targets(
    shop: Path, monkeypatch: pytest.MonkeyPatch, named: str, profiles: tuple[str, ...]
) -> None:
    """They come to those that the user switched on, by option or by variable, as where a service is named."""
    write(
        shop / "docker-compose.override.yml",
        f"services:\n  train: {{profiles: {named}}}\n"
        "  more: {image: x, profiles: [more]}\n  other: {image: x, profiles: [other]}\n",
    )
    files = ("docker-compose.yml", "docker-compose.override.yml", "pipelines/catalog.yml")
    expected = load_project(LoadOptions(files=files, profiles=profiles), ["train"]).services
    assert loaded(select(LoadOptions(profiles=profiles), (), ["catalog"])).services.keys() == expected.keys()
    monkeypatch.setenv("COMPOSE_PROFILES", ",".join(profiles))
    assert loaded(select(LoadOptions(), (), ["catalog"])).services.keys() == expected.keys()
    assert load_project(LoadOptions(files=files), ["train"]).services.keys() == expected.keys()


def test_files_and_their_order(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline's come last, after the override, COMPOSE_FILE's or those of -f; none is read twice."""
    (shop / "docker-compose.override.yml").write_text("services: {extra: {image: x}}\n", encoding="utf-8")
    named = [Path(file).name for file in select(LoadOptions(), (), ["catalog"]).options.files]
    assert named == ["docker-compose.yml", "docker-compose.override.yml", "catalog.yml"]
    monkeypatch.setenv("COMPOSE_FILE", "docker-compose.yml")
    assert chain(pipelines=["catalog"])[-1] == "train"
    both = ("docker-compose.yml", "pipelines/catalog.yml")
    assert select(LoadOptions(files=both), (), ["catalog"]).options.files == both
    assert chain(files=both) == ["db", "extract", "load", "cleaning", "train"]


def test_the_file_that_states_a_pipeline_says_where_its_files_are(shop: Path) -> None:
    """Relative to itself, wherever the project begins; the later of two statements wins."""
    (shop / "more").mkdir()
    write(shop / "more/mine.yml", "services: {load: {}}\nx-gigogne: {run: [load]}\n")
    write(shop / "more/more.yml", "x-gigogne: {pipelines: {catalog: mine.yml}}\nservices: {}\n")
    assert chain(pipelines=["catalog"], files=("docker-compose.yml", "more/more.yml")) == ["load"]
    assert project_pipelines(LoadOptions())["catalog"].files == (shop / "pipelines/catalog.yml",)


def test_the_same_env_files_feed_it(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder below the project, its own `.env` counts as it does without a pipeline."""
    (shop / "below").mkdir()
    (shop / ".env").write_text("A=project\nB=project\n", encoding="utf-8")
    (shop / "below/.env").write_text("A=below\n", encoding="utf-8")
    said = ("services:\n  extract: {image: x}", "services:\n  extract: {image: x, environment: {SAID: '${A} ${B}'}}")
    write(shop / "docker-compose.yml", PROJECT, said)
    monkeypatch.chdir(shop / "below")
    for pipelines in ((), ("catalog",)):
        found = loaded(select(LoadOptions(), ["extract"], pipelines))
        assert found.services["extract"].environment == {"SAID": "below project"}, pipelines


def test_names_of_pipelines_and_services_differ(shop: Path) -> None:
    """The error names both places, also where the service is in a file that is included."""
    write(shop / "more.yml", "services:\n  catalog: {image: x}\n")
    write(shop / "docker-compose.yml", f"include: [more.yml]\n{PROJECT}")
    said = refused()
    assert f"{shop}/docker-compose.yml:14: the pipeline catalog" in said and f"{shop}/more.yml:2" in said


def test_a_pipeline_that_is_unknown() -> None:
    """The near one is suggested, else all are listed; what is no service may be a pipeline."""
    assert refused(pipelines=["catlog"]) == "no pipeline named catlog; did you mean catalog?"
    assert refused(pipelines=["xyz"]) == "no pipeline named xyz; the pipelines are: catalog, small"
    assert refused(["catalog"]) == "catalog is a pipeline, and no service; name it so: --pipeline catalog"


def test_a_project_without_pipelines(shop: Path) -> None:
    """It is said where to name one."""
    write(shop / "docker-compose.yml", "services: {a: {image: x}}\n")
    assert "x-gigogne: {pipelines: {catalog: FILE}}" in refused(pipelines=["catalog"])
    (shop / "docker-compose.yml").unlink()
    assert "no Compose file in" in refused(pipelines=["catalog"])


def test_a_project_from_standard_input_has_no_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that they need a file, whether it is named by option or by variable."""
    with pytest.raises(ComposeError, match="from standard input has no pipelines") as caught:
        select(LoadOptions(files=("-",)), (), ["catalog"])
    assert "write it into a file" in caught.value.hint
    monkeypatch.setenv("COMPOSE_FILE", "-")
    assert "from standard input has no pipelines" in refused(pipelines=["catalog"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("pipelines/catalog.yml", "pipelines/catalgo.yml", "docker-compose.yml:13: x-gigogne.pipelines.catalog: "),
        ("pipelines/catalog.yml", "pipelines/catalgo.yml", "catalgo.yml does not exist; did you mean catalog.yml?"),
        ("pipelines/catalog.yml", "'${WHICH}.yml'", "docker-compose.yml:13: x-gigogne.pipelines.catalog names no file"),
        ("pipelines/catalog.yml", "[]", "docker-compose.yml:13: x-gigogne.pipelines.catalog names no file"),
        ("pipelines/catalog.yml", "{a: b}", "docker-compose.yml:13: x-gigogne.pipelines.catalog names no file"),
        ("[catalog, load]", "[cotalog]", "yml:15: x-gigogne.run: no service named cotalog; did you mean catalog?"),
        ("[catalog, load]", "[catalog, db]", "docker-compose.yml:15: x-gigogne.run: db is a server"),
        ("[catalog, load]", "catalog", "docker-compose.yml:15: x-gigogne.run is not a list of services"),
        ("[catalog, load]", "[catalog, '${JOB:-load}']", "yml:15: x-gigogne.run: ${JOB:-load}: a list that names a"),
        ("  run:", "  rnu:", "yml:15: x-gigogne.rnu: Gigogne knows no such key; did you mean `run`?"),
        ("  pipelines:", "  pipeline:", "yml:12: x-gigogne.pipeline: Gigogne knows no such key; did you mean `pipe"),
        ("  run:", "  jobs:", "yml:15: x-gigogne.jobs: Gigogne knows no such key; remove it; the keys are: run, up, "),
        ("x-gigogne:", "x-gigonge:", "yml:11: x-gigonge: nobody reads this key; did you mean `x-gigogne`?"),
        ("x-gigogne:", "'x-gigone' :", "yml:11: x-gigone: nobody reads this key; did you mean `x-gigogne`?"),
        ("x-gigogne:", "xgigogne:", "xgigogne: Compose knows no such key at the top level; did you mean `x-gigogne`?"),
        ("  db: {", "  db: [", "docker-compose.yml:"),
    ],
)
def test_what_is_wrong_in_the_project_has_a_line(shop: Path, old: str, new: str, said: str) -> None:
    """With what to do."""
    write(shop / "docker-compose.yml", PROJECT, (old, new))
    assert said in refused()


@pytest.mark.parametrize("key", ["x-gigogne-common", "x-airflow-common", "x-gig", "x-logging"])
def test_other_keys_of_the_same_kind_are_their_owners(shop: Path, key: str) -> None:
    """Compose lets anybody name one, for an anchor or a note; no YAML is read for it."""
    write(shop / "docker-compose.yml", f"{key}: &common {{image: x}}\nservices: {{a: *common}}\n")
    assert chain() == ["a"]
    assert ("x-gigogne" in key) or select(LoadOptions()) == Selection(LoadOptions())


def test_pipelines_that_are_no_mapping(shop: Path) -> None:
    """A list has no names."""
    write(shop / "docker-compose.yml", "services: {a: {image: x}}\nx-gigogne: [a]\n")
    assert "docker-compose.yml:2: x-gigogne has no keys" in refused()
    write(shop / "docker-compose.yml", "services: {a: {image: x}}\nx-gigogne:\n  pipelines: [catalog.yml]\n")
    assert "docker-compose.yml:3: x-gigogne.pipelines does not say" in refused(pipelines=["catalog"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CATALOG.replace("  train:", "  trian:"), 'yml:4: service "trian" has no image: and no build:; did you mean'),
        (CATALOG.replace("condition", "conditon", 1), "yml:3: services.cleaning.depends_on.extract.conditon: Compose"),
        (CATALOG.replace("[train]", "[trian]"), "catalog.yml:6: x-gigogne.run: no service named trian; did you mean"),
        (CATALOG.replace("[train]", "[db]"), "catalog.yml:6: x-gigogne.run: db is a server"),
        (CATALOG.replace("[train]", "train"), "catalog.yml:6: x-gigogne.run is not a list of services"),
        (
            CATALOG.replace("[train]", "['${JOB}']"),
            "catalog.yml:6: x-gigogne.run: ${JOB}: a list that names",
        ),
        (
            CATALOG.replace("run:", "rnu:"),
            "catalog.yml:6: x-gigogne.rnu: Gigogne knows no such key; did you mean `run`",
        ),
        (CATALOG.replace("x-gigogne", "x-gigonge"), "catalog.yml:6: x-gigonge: nobody reads this key; did you mean"),
        (CATALOG.replace("  train:", "\ttrain:"), "catalog.yml:4"),
        ("services: {db: {image: 'postgres:17'}}\n", "catalog.yml: a pipeline that runs nothing: db is a server"),
        ("volumes: {data: {}}\n", "catalog.yml: the pipeline catalog names nothing to run"),
    ],
)
def test_what_is_wrong_in_the_file_of_a_pipeline_has_its_place(shop: Path, text: str, said: str) -> None:
    """As in every Compose file, and only for who asks for the pipeline."""
    write(shop / "pipelines/catalog.yml", text)
    assert said in refused(pipelines=["catalog"])
    assert chain(["load"]) == ["load"]


def test_a_list_may_be_interpolated(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it names no pipeline it is left to Compose."""
    write(shop / "docker-compose.yml", PROJECT, ("[catalog, load]", "['${TARGET:-load}']"))
    assert chain() == ["load"]
    monkeypatch.setenv("TARGET", "extract")
    assert chain() == ["extract"]
