"""The worker and its queue: requests are done once, outlive whoever dies, and say what is wrong in one line."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import psycopg
import pytest
from arro3.core import Array, DataType, Table
from arro3.io import read_parquet, write_parquet
from psycopg import sql
from tests.stack.catalog.conftest import Relay
from tests.stack.conftest import ESCAPED, S3, Run, environment, kept_up

from ml.queue import ENDED, Request, open_queue

MANIFEST = "s3://catalog/clean/manifest.json"
WORDS = {
    10: "roman livre poche histoire auteur tome collection lecture",
    40: "jeu console manette cartouche edition joueur import aventure",
    2280: "magazine revue journal numero mensuel dossier parution couverture",
}
STALLED_AFTER = "3"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@dataclass(frozen=True)
class Stack:
    """The servers of docker-compose-ml.yml with a worker, as `gigogne up ml-worker` keeps them up."""

    postgres: str
    s3: S3
    tracking_uri: str

    def database(self, name: str = "mlops") -> str:
        """A database's address."""
        return f"postgresql://postgres:{ESCAPED}@{self.postgres}/{name}"

    def settings(self, database: str = "mlops") -> dict[str, str]:
        """What a program of the component is told."""
        return {
            **self.s3.environment,
            "ML_DATABASE_URI": self.database(database),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "WORKER_STALLED_AFTER": STALLED_AFTER,
        }

    def request(self, *words: str, database: str = "mlops") -> subprocess.CompletedProcess[str]:
        """`python -m ml.request WORDS`."""
        return subprocess.run(
            [sys.executable, "-m", "ml.request", *words],
            env=environment(**self.settings(database)),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    def worker(self) -> psutil.Process:
        """The process of the worker that the engine keeps up."""
        found = self.find_worker()
        assert found is not None, "no worker runs"
        return found

    def find_worker(self) -> psutil.Process | None:
        """The same, where there is one: the engine starts it anew when it has ended."""
        port = self.tracking_uri.rpartition(":")[2]
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.cmdline()[-2:] == ["-m", "ml.worker"] and "bwrap" not in process.name()
                if ours and process.environ().get("MLFLOW_TRACKING_URI", "").endswith(f":{port}"):
                    return process
        return None

    def object(self, key: str) -> bytes:
        """An object of the bucket `catalog`."""
        client = self.s3.client()
        try:
            return bytes(client.get_object(Bucket="catalog", Key=key)["Body"].read())
        finally:
            client.close()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The stack with a worker that is soon missed, and 240 cleaned listings of three classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKER_STALLED_AFTER", STALLED_AFTER)
        with kept_up("docker-compose-ml.yml", "postgres", "minio", "mlflow-server", "ml-worker") as at:
            s3 = S3(f"http://{at['minio']}", "stack", "stack-secret", "catalog")
            put_listings(s3)
            yield Stack(at["postgres"], s3, f"http://{at['mlflow-server']}")


def put_listings(s3: S3) -> None:
    """Cleaned listings and their manifest, as cleaning writes them."""
    chance = random.Random(7)
    codes = [chance.choice(list(WORDS)) for _ in range(240)]
    titles = [" ".join(chance.choices(WORDS[code].split(), k=4)) for code in codes]
    table = Table(
        {
            "productid": Array(list(range(1000, 1240)), DataType.int64()),
            "imageid": Array(list(range(240)), DataType.int64()),
            "designation": Array([f"{title} {number}" for number, title in enumerate(titles)], DataType.string()),
            "description": Array([title * (number % 2) for number, title in enumerate(titles)], DataType.string()),
            "prdtypecode": Array(codes, DataType.int32()),
        }
    )
    file = io.BytesIO()
    write_parquet(table, file)
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    manifest = {
        "rows_in": 240,
        "rows_out": 240,
        "rejected": {"duplicate": 0, "empty": 0},
        "sha256": sha256,
        "object": "s3://catalog/clean/products-test.parquet",
        "specification": "1",
        "source": {"sha256": "0" * 64, "rows": 240},
        "created_at": "2026-11-22T09:00:00+00:00",
    }
    client = s3.client()
    client.put_object(Bucket="catalog", Key="clean/products-test.parquet", Body=file.getvalue())
    client.put_object(Bucket="catalog", Key="clean/manifest.json", Body=json.dumps(manifest).encode())
    client.close()


@pytest.fixture
def empty_queue(stack: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the test's own, with no worker."""
    name = re.sub(r"\W", "_", request.node.name)[:40].lower()
    with psycopg.connect(stack.database(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def when(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What the condition says, once it says anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it never came true")


def newest(stack: Stack, database: str = "mlops") -> Request:
    """The newest request."""
    with open_queue(stack.database(database)) as queue:
        return queue.recent(1)[0]


def under_way(stack: Stack, number: str, tries: int) -> bool:
    """Whether a request is being done and its program has said something, after so many tries."""
    request = newest(stack)
    assert (str(request.id), request.status in ENDED) == (number, False), request
    return request.status == "doing" and request.tries == tries and "training on" in request.said


def versions(stack: Stack) -> int:
    """How many versions of the model are registered."""
    search = "/api/2.0/mlflow/model-versions/search?max_results=100"
    with urlopen(stack.tracking_uri + search, timeout=10) as answer:
        return len(json.load(answer).get("model_versions", ()))


def test_from_no_champion_to_scores(stack: Stack) -> None:
    """Scores want a champion and say so; a training makes one; a second scoring of the same changes nothing."""
    refused = stack.request("score", "--wait")
    assert refused.returncode == 1 and "run train first" in refused.stdout and "Traceback" not in refused.stdout
    trained = stack.request("train", "--wait")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "version 1 registered" in trained.stdout.splitlines()[-1]
    scored = stack.request("score", "--data", MANIFEST, "--output", "s3://catalog/scores/", "--wait")
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert "240 products scored by version 1" in scored.stdout.splitlines()[-1]
    body = stack.object("scores/manifest.json")
    manifest = json.loads(body)
    key = manifest["object"].removeprefix("s3://catalog/")
    scores = stack.object(key)
    assert manifest["rows"] == 240 and manifest["sha256"] == hashlib.sha256(scores).hexdigest()
    table = read_parquet(io.BytesIO(scores)).read_all()
    assert table["productid"].to_pylist() == list(range(1000, 1240))
    assert set(table["predicted"].to_pylist()) <= WORDS.keys() and set(table["model_version"].to_pylist()) == {1}
    three = [table[name].to_pylist() for name in ("probability", "second_probability", "third_probability")]
    assert all(a >= b >= c and abs(a + b + c - 1) < 1e-9 for a, b, c in zip(*three, strict=True))
    again = stack.request("score", "--data", MANIFEST, "--output", "s3://catalog/scores", "--wait")
    assert again.returncode == 0 and again.stdout.splitlines()[-1].startswith(f"nothing to do: s3://catalog/{key}")
    assert stack.object("scores/manifest.json") == body
    # From the file itself instead of its manifest: the same rows, so the same object.
    same = stack.request("score", "--data", "s3://catalog/clean/products-test.parquet", "--wait")
    assert same.stdout.splitlines()[-1].startswith(f"nothing to do: s3://catalog/{key}")


def test_a_request_outlives_its_program_and_its_workers(stack: Stack) -> None:
    """Killed without a word, or told to stop: it is begun anew each time, and no program of an earlier try goes on."""
    number = stack.request("train", "--force").stdout.split()[1]
    when(lambda: under_way(stack, number, 0))
    worker, before = stack.worker(), versions(stack)
    worker.children()[0].kill()
    for tries, ending in ((1, signal.SIGKILL), (2, signal.SIGTERM)):
        when(partial(under_way, stack, number, tries))
        assert stack.worker() == worker
        processes = [worker, *worker.children()]
        worker.send_signal(ending)
        assert len(processes) == 2 and len(psutil.wait_procs(processes, timeout=15)[0]) == 2
        worker = when(lambda: stack.find_worker())
    when(lambda: newest(stack).status == "succeeded", 100)
    assert newest(stack).tries == 4 and versions(stack) == before + 1
    with open_queue(stack.database()) as queue:
        said = [line for _, line in queue.lines(int(number), 0)]
    assert said.count("its worker is gone: back to the queue after try 2") == 1
    assert sum("its worker is gone" in line for line in said) == 1


@pytest.mark.full
def test_what_kills_its_workers_is_given_up(stack: Stack) -> None:
    """After five deaths the request fails; the worker that comes after them goes on with the next one."""
    number = stack.request("train", "--force").stdout.split()[1]
    when(lambda: under_way(stack, number, 0))
    with psycopg.connect(stack.database(), autocommit=True) as connection:
        connection.execute("UPDATE ml_queue.procrastinate_jobs SET attempts = 4 WHERE id = %s", (int(number),))
    stack.worker().kill()
    when(lambda: newest(stack).status == "failed")
    assert newest(stack).said.startswith("given up")
    assert stack.request("score", "--wait").returncode == 0


def test_requests_that_nobody_knows(stack: Stack) -> None:
    """An unknown kind, unknown words, an address that is none, no data there: each fails, and the next one is done."""
    other = json.dumps({"object": "s3://catalog/other/scores.parquet", "sha256": "0", "model": {"name": "another"}})
    client = stack.s3.client()
    client.put_object(Bucket="catalog", Key="other/manifest.json", Body=other.encode())
    client.close()
    with open_queue(stack.database()) as queue:
        queue.add("dance", {})
        queue.add("train", {"colour": "red"})
        queue.add("score", {"data": "ftp://somewhere/else.parquet"})
        queue.add("score", {"data": "s3://catalog/nothing/manifest.json"})
        queue.add("score", {"output": "s3://catalog/clean"})
        queue.add("score", {"output": "s3://catalog/other"})
        when(lambda: all(each.status == "failed" for each in queue.recent(6)))
        said = [each.said for each in queue.recent(6)]
    assert said[1] == "error: train has no colour: it takes data, force"
    assert "names no object on S3" in said[2] and "run cleaning" in said[3]
    # Cleaning's own manifest is not written over, nor that of another model's scores.
    assert "is not of scores" in said[4] and "is not of scores" in said[5]
    assert stack.object("other/manifest.json") == other.encode()
    assert json.loads(stack.object("clean/manifest.json"))["rows_out"] == 240
    assert stack.request("score", "--wait").returncode == 0


def test_a_wrong_word_is_refused_at_once(stack: Stack, empty_queue: str) -> None:
    """Before anything is in the queue."""
    for words in (
        ["dance"],
        ["score", "--data", "ftp://x/y.parquet"],
        ["score", "--output", "s3://"],
        ["list", "--limit", "0"],
    ):
        refused = stack.request(*words, database=empty_queue)
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert len(stack.request("list", database=empty_queue).stdout.splitlines()) == 1


def test_nobody_works(stack: Stack, empty_queue: str) -> None:
    """Who waits is told; whoever stops waiting does not take the request back."""
    with subprocess.Popen(
        [sys.executable, "-m", "ml.request", "score", "--wait"],
        env=environment(**stack.settings(empty_queue)),
        stderr=subprocess.PIPE,
        text=True,
    ) as asking:
        assert asking.stderr is not None
        assert "docker compose up -d ml-worker" in asking.stderr.readline()
        asking.send_signal(signal.SIGINT)
        assert "goes on without you" in asking.communicate(timeout=30)[1]
    assert asking.returncode == 130
    assert newest(stack, empty_queue).status == "todo"


def test_many_at_once_make_one_queue(stack: Stack, empty_queue: str) -> None:
    """The tables are made once, whoever comes first; two workers share the requests, and each is done once."""
    settings = environment(**stack.settings(empty_queue))
    asking = [
        subprocess.Popen(
            [sys.executable, "-m", "ml.request", "score", "--data", f"s3://catalog/{n}.json"], env=settings
        )
        for n in range(4)
    ]
    assert [each.wait(60) for each in asking] == [0] * 4
    workers = [subprocess.Popen([sys.executable, "-m", "ml.worker"], env=settings, stderr=-1, text=True) for _ in "ab"]
    try:
        with open_queue(stack.database(empty_queue)) as queue:
            when(lambda: [(each.status, each.tries) for each in queue.recent(5)] == [("failed", 1)] * 4)
    finally:
        for each in workers:
            each.terminate()
        logs = [each.communicate(timeout=20)[1] for each in workers]
    assert [each.returncode for each in workers] == [0, 0]
    taken = [re.findall(r"request (\d+): score, try 1", log) for log in logs]
    assert sorted([*taken[0], *taken[1]]) == ["1", "2", "3", "4"] and all(taken)


def test_the_worker_of_this_host_is_asked_for(
    stack: Stack, empty_queue: str, start: Callable[..., Any], run: Run
) -> None:
    """Its health is its own: no tables, or signs of life of another host alone, are no worker."""
    settings = stack.settings(empty_queue)
    unmade = run("ml.health", **settings)
    assert unmade.returncode == 1 and "does not exist" in unmade.stderr and len(unmade.stderr.splitlines()) == 1
    with psycopg.connect(stack.database(empty_queue), autocommit=True) as connection:
        assert connection.execute("SELECT to_regnamespace('ml_queue')").fetchone() == (None,)
        worker = start("ml.worker", **settings)
        when(lambda: run("ml.health", **settings).returncode == 0)
        worker.terminate()
        assert worker.wait(20) == 0
        connection.execute("UPDATE ml_queue.worker_hosts SET host = 'elsewhere', seen_at = now() + interval '1 minute'")
        connection.execute("INSERT INTO ml_queue.procrastinate_workers DEFAULT VALUES")
    dead = run("ml.health", **settings)
    assert dead.returncode == 1 and "gives no sign of life" in dead.stderr


def test_rescue_outlives_an_error_of_the_database(stack: Stack, empty_queue: str, start: Callable[..., Any]) -> None:
    """Its connection is ended while it waits: what dead workers had is given back all the same, later."""
    worker = start("ml.worker", **stack.settings(empty_queue))
    lock = "SELECT pg_advisory_{}lock(hashtext('ml_queue.rescue'))"
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    doing = "UPDATE procrastinate_jobs SET status = 'doing', worker_id = NULL WHERE id = %s"
    assert "waiting" in worker.stderr.readline()
    with psycopg.connect(stack.database(empty_queue), autocommit=True) as connection:
        connection.execute(lock.format(""))
        when(lambda: connection.execute(end).fetchall())
        connection.execute(lock.format("un"))
        connection.execute("SET search_path TO ml_queue")
        with open_queue(stack.database(empty_queue)) as queue:
            number = queue.add("dance", {})
            when(lambda: queue.status(number) == "failed")
            connection.execute(doing, (number,))
            when(lambda: any("its worker is gone" in line for _, line in queue.lines(number, 0)), 20)
    worker.terminate()
    _, said = worker.communicate(timeout=20)
    assert "looking for dead workers: the queue in PostgreSQL: terminating connection" in said


def test_a_worker_that_is_told_to_stop_ends_soon(stack: Stack, empty_queue: str, start: Callable[..., Any]) -> None:
    """However late it would be missed: its end takes less than Compose waits, and the request is in the queue again."""
    relay = Relay(stack.s3.endpoint.removeprefix("http://"), hold_after=0)
    held = {"AWS_ENDPOINT_URL": f"http://{relay.address}", "WORKER_STALLED_AFTER": "180"}
    try:
        worker = start("ml.worker", **{**stack.settings(empty_queue), **held})
        with open_queue(stack.database(empty_queue)) as queue:
            number = queue.add("score", {})
            assert relay.reached.wait(30)
            worker.terminate()
            assert worker.wait(18) == 0 and queue.status(number) == "todo"
    finally:
        relay.mend()
        relay.close()


def test_the_database_goes_away(stack: Stack, empty_queue: str, start: Callable[..., Any]) -> None:
    """At the start or in the middle: the worker ends with one line, and without the password."""
    relay = Relay(stack.postgres, cut_after=1_000_000)
    uri = stack.database(empty_queue).replace(stack.postgres, relay.address)
    worker = start("ml.worker", **{**stack.settings(), "ML_DATABASE_URI": uri, "WORKER_STALLED_AFTER": "1"})
    assert "waiting" in worker.stderr.readline()
    relay.close()
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert said.splitlines()[-1].startswith("error: the queue in PostgreSQL") and "Traceback" not in said
    late = start("ml.worker", **{**stack.settings(), "ML_DATABASE_URI": uri})
    _, said = late.communicate(timeout=60)
    assert late.returncode == 1 and len(said.splitlines()) == 1 and "is it running" in said
    assert ESCAPED not in said and Path(__file__).name not in said
