"""Projects with a database, an object store or an API, as people write them: unchanged, both ways, or refused."""

from __future__ import annotations

import sys

import pytest
from tests.conftest import Workspace, free_port
from tests.scenarios.foreign import Scenario, play, refusal, settle
from tests.scenarios.observe import events, left_behind, outcome

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX systems")


INITDB = Scenario(
    "initdb",
    order=("postgres", "report"),
    files={"out/revenue.csv": "shop,total\nBesançon,7.25\nLyon,15.00\n"},
)
LAKE = Scenario(
    "lake",
    order=("minio", "land", "publish"),
    says={"publish": '{"keys": ["marts/events.json", "raw/events.csv"], "counts": {"open": 2, "buy": 1}}'},
)


@pytest.mark.parametrize("windows", [False, True], ids=["", "windows"])
@pytest.mark.usefixtures("way")
def test_scripts_of_the_database_run_once(workspace: Workspace, windows: bool) -> None:
    """docker-entrypoint-initdb.d makes the tables of a new database, and not those of one that is there."""
    settle(workspace, "initdb", windows=windows)
    play(INITDB, workspace)
    play(INITDB, workspace)  # a second CREATE TABLE would fail, a second INSERT would double the sums


@pytest.mark.usefixtures("way")
def test_a_database_without_its_password(workspace: Workspace) -> None:
    """`${DB_PASSWORD:?…}` stops before anything starts: key, variable and the owner's own words."""
    settle(workspace, "initdb")
    (workspace.folder / ".env").unlink()
    result = workspace.run("run")
    said = " ".join(result.stderr.split())
    assert result.returncode == 2 and "docker-compose.yml:11: services.postgres.environment.POSTGRES_PASSWORD" in said
    assert "needs the variable DB_PASSWORD" in said and "set DB_PASSWORD in .env" in said


def test_an_entry_point_waits_for_the_database(workspace: Workspace, way: str) -> None:
    """`depends_on: [db]` alone and a script that waits: the name resolves, `exec "$@"` goes on, a second run adds none.

    Nothing but its image says that db is a server.
    """
    settle(workspace, "entrypoint")
    for _ in range(2):
        result = workspace.run("run", "--json", "--job-timeout", "60")
        assert result.returncode == 0, result.stdout + result.stderr
        assert outcome(result) == {"db": "served", "importer": "succeeded"}
        said = [e["text"] for e in events(result) if e["event"] == "output" and e["service"] == "importer"]
        assert said[1:] == ["PostgreSQL started", "migrated", "2 products worth 34.49"]
        assert way == "portable" or said[0] == "Waiting for postgres at db:5432..."
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


@pytest.mark.usefixtures("way")
def test_a_script_with_the_line_ends_of_windows(workspace: Workspace) -> None:
    """The interpreter `/bin/sh` and a carriage return is nowhere: Docker says "no such file", we say what is wrong."""
    settle(workspace, "entrypoint", windows=True)
    result = workspace.run("run", "--job-timeout", "60")
    said = " ".join((result.stdout + result.stderr).split())
    assert result.returncode == 127, said
    assert "entrypoint.sh" in said and "CRLF" in said and "dos2unix" in said


@pytest.mark.usefixtures("way")
def test_a_client_waits_until_the_api_is_healthy(workspace: Workspace) -> None:
    """A real API from the package index, a check by curl, a published port of the owner's choice, a batch client."""
    settle(workspace, "api")
    port = free_port()
    result = workspace.run("run", "--json", API_PORT=str(port))
    assert result.returncode == 0, result.stdout + result.stderr
    happened = [(e["event"], e["service"]) for e in events(result) if e["event"] in ("started", "healthy")]
    assert happened == [("started", "api"), ("healthy", "api"), ("started", "client")]
    assert f"127.0.0.1:{port}" in next(e["address"] for e in events(result) if e["event"] == "started")
    assert (workspace.folder / "results" / "scores.jsonl").read_text(encoding="utf-8").splitlines() == [
        '{"text": "Is it up?", "label": "question", "length": 9}',
        '{"text": "It is.", "label": "statement", "length": 6}',
        '{"text": "Déjà vu?", "label": "question", "length": 8}',
    ]


@pytest.mark.usefixtures("way")
def test_a_check_that_never_succeeds(workspace: Workspace) -> None:
    """A wrong path in the health check: the client is not run, and the summary says why."""
    settle(workspace, "api")
    compose = workspace.folder / "docker-compose.yml"
    text = compose.read_text(encoding="utf-8").replace("8090/health", "8090/helth")
    compose.write_text(text.replace("period: 5s", "period: 1s").replace("interval: 5s", "interval: 500ms"))
    result = workspace.run("run", API_PORT=str(free_port()))
    assert result.returncode == 1
    assert "unhealthy: its health check failed" in result.stdout and "client not run: api failed" in result.stdout


@pytest.mark.usefixtures("way")
def test_a_lake_on_s3(workspace: Workspace) -> None:
    """Bucket, raw file and mart on a real S3 server by the name `minio`; what was written is there in the next run."""
    settle(workspace, "lake")
    play(LAKE, workspace)
    play(LAKE, workspace)


@pytest.mark.usefixtures("way")
def test_the_bucket_maker_of_minio_is_refused(workspace: Workspace) -> None:
    """`minio/mc` is in many projects, and no wheel: refused by its key, with nothing started."""
    settle(workspace, "lake")
    said = refusal(workspace.run("run", "create-bucket"))
    assert "services.create-bucket.image: the image minio/mc can only run in Docker" in said


@pytest.mark.full
@pytest.mark.usefixtures("way")
def test_a_run_is_logged_to_mlflow(workspace: Workspace) -> None:
    """The tracking server of an image without a build, an old release: parameters, metrics and artifacts arrive."""
    settle(workspace, "mlflow")
    result = workspace.run("run", "--json", MLFLOW_PORT=str(free_port()))
    assert result.returncode == 0, result.stdout + result.stderr
    assert outcome(result) == {"mlflow": "served", "train": "succeeded"}
    said = [e["text"] for e in events(result) if e["event"] == "output" and e["stream"] == "stdout"]
    assert said[-1] == '[{"params": {"depth": "3"}, "metrics": {"accuracy": 0.97}}]'
    artifacts = workspace.volume("mlflow_mlflow") / "artifacts"
    assert [path.read_text() for path in artifacts.rglob("tree.txt")] == ["leaf"]


@pytest.mark.usefixtures("way")
def test_an_init_passes_signals_on(workspace: Workspace) -> None:
    """`tail -f /dev/null` under `init: true` ends when it is asked to, and not after the 10 s of its grace period."""
    settle(workspace, "dev-container")
    result = workspace.run("run", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert outcome(result) == {"dev": "served", "lint": "succeeded", "stats": "succeeded"}
    assert events(result)[-1]["seconds"] < 8
