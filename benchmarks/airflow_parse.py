"""What a DAG file takes that makes a DAG of a Compose project: 200 services, each time in a fresh process.

    python benchmarks/airflow_parse.py --rounds 20

`BaseOperators` is a DAG of as many bare operators with the same edges, written by hand. `ComposeDag, first` has an
empty cache, `ComposeDag, again` is every parse after that. The import of Airflow counts for nobody; that of Gigogne
counts. Where astronomer-cosmos is installed beside Airflow, it makes a DAG of a dbt manifest of as many models with the
same edges, by its fastest way to load one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import Seconds, child, installed, machine, measure  # noqa: E402
from benchmarks.scheduler import DOCKERFILE, compose_file  # noqa: E402

from gigogne.compose import LoadOptions  # noqa: E402
from gigogne.compose.structure import load_structure  # noqa: E402

BEGIN = """
import json, sys, time
from airflow.sdk import DAG, BaseOperator, TaskGroup
begin = time.perf_counter()
"""
END = """
print(time.perf_counter() - begin)
assert len(dag.tasks) == int(sys.argv[2]), dag.tasks
"""
BY_HAND = """
dag = DAG("by-hand", schedule=None)
edges = json.load(open(sys.argv[1]))
tasks = {name: BaseOperator(task_id=name, dag=dag) for name in edges}
for name, before in edges.items():
    tasks[name].set_upstream([tasks[other] for other in before])
"""
COMPOSE_DAG = """
from gigogne.airflow import ComposeDag
dag = ComposeDag("compose", project=sys.argv[1], schedule=None)
"""
COSMOS = """
from cosmos import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior
dag = DbtDag(
    dag_id="cosmos", schedule=None,
    project_config=ProjectConfig(dbt_project_path=sys.argv[1], manifest_path=sys.argv[1] + "/manifest.json"),
    profile_config=ProfileConfig(
        profile_name="p", target_name="dev", profiles_yml_filepath=sys.argv[1] + "/profiles.yml"
    ),
    execution_config=ExecutionConfig(
        dbt_executable_path=sys.executable, execution_mode=ExecutionMode.LOCAL,
        invocation_mode=InvocationMode.SUBPROCESS,
    ),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, test_behavior=TestBehavior.NONE),
)
"""


def write_dbt_project(place: Path, edges: Mapping[str, list[str]]) -> None:
    """A dbt project of models, with the manifest that dbt would make of it."""
    (place / "models").mkdir(parents=True)
    (place / "dbt_project.yml").write_text("name: p\nprofile: p\nversion: '1'\n", encoding="utf-8")
    (place / "packages.yml").write_text("packages: []\n", encoding="utf-8")
    (place / "profiles.yml").write_text("p: {target: dev, outputs: {dev: {type: postgres}}}\n", encoding="utf-8")
    nodes = {}
    for name, before in edges.items():
        path = f"models/{name}.sql"
        (place / path).write_text("select 1", encoding="utf-8")
        nodes[f"model.p.{name}"] = {
            "unique_id": f"model.p.{name}",
            "name": name,
            "alias": name,
            "resource_type": "model",
            "package_name": "p",
            "original_file_path": path,
            "fqn": ["p", name],
            "tags": [],
            "config": {"materialized": "table", "tags": []},
            "depends_on": {"nodes": [f"model.p.{other}" for other in before]},
        }
    manifest = {"metadata": {"project_name": "p"}, "nodes": nodes, "sources": {}, "exposures": {}}
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def parse(code: str, arguments: list[str], environment: Mapping[str, str]) -> Seconds:
    """Run the code in a fresh process; the seconds are those of its own clock."""
    words = [sys.executable, "-W", "ignore", "-c", f"{BEGIN}{code}{END}", *arguments]
    return Seconds(float(child(words, environment).output.split()[-1]))


def contenders(place: Path, services: int) -> Mapping[str, Callable[[], object]]:
    """The DAGs, of the same services with the same edges."""
    (place / "docker-compose.yml").write_text(compose_file(services), encoding="utf-8")
    (place / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    project = load_structure(LoadOptions(directory=str(place))).project
    edges = {name: [needed.service for needed in service.depends_on] for name, service in project.services.items()}
    (place / "edges.json").write_text(json.dumps(edges), encoding="utf-8")
    cache = place / "cache"
    environment = {**installed(place), "AIRFLOW_HOME": str(place / "airflow"), "GIGOGNE_CACHE_DIR": str(cache)}

    def compose_dag() -> Seconds:
        return parse(COMPOSE_DAG, [str(place), str(services)], environment)

    def first() -> Seconds:
        shutil.rmtree(cache, ignore_errors=True)
        return compose_dag()

    def again() -> Seconds:
        if not cache.exists():
            compose_dag()
        return compose_dag()

    by_hand = [str(place / "edges.json"), str(services)]
    others: dict[str, Callable[[], object]] = {}
    if find_spec("cosmos"):
        write_dbt_project(place / "dbt", edges)
        quiet = {**environment, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        others["Cosmos, a dbt manifest"] = lambda: parse(COSMOS, [str(place / "dbt"), str(services)], quiet)
    return {
        "BaseOperators": lambda: parse(BY_HAND, by_hand, environment),
        "ComposeDag, first": first,
        "ComposeDag, again": again,
        **others,
    }


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--services", type=int, default=200)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measured = measure(contenders(Path(place), given.services), given.rounds)
    print(f"\n{given.services} services; {machine()}\n\n{measured.table('BaseOperators')}\n")
    print(f"first: {measured.spread('ComposeDag, first').text(' s', 3)}   (goal: at most 0.4 s)")
    print(f"again: {measured.spread('ComposeDag, again').text(' s', 3)}   (goal: at most 0.05 s)")


if __name__ == "__main__":
    main()
