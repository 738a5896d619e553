"""The servers that api.py compares: the same classifier behind our API, behind `mlflow models serve`, behind BentoML.

Each has one worker, on a core of its own; whoever asks, and the databases, are on the other one. MLflow and MongoDB are
the stack's own, kept up by Gigogne. What the rivals need is in environments of this benchmark, in the user's cache.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.request import Request, urlopen

import platformdirs
import psutil
import uv

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.load import post  # noqa: E402
from tests.stack.conftest import ESCAPED, kept_up  # noqa: E402

from catalog.text import clean  # noqa: E402
from registry.tracking import MANNERS  # noqa: E402

__all__ = [
    "BENTOML",
    "CLIENT",
    "MLFLOW",
    "NOTHING",
    "OURS",
    "SERVER",
    "Listing",
    "Server",
    "Stack",
    "api",
    "ask",
    "bentoml",
    "empty",
    "mlflow",
    "prefer",
    "stack",
]

OURS, MLFLOW, BENTOML, NOTHING = "our API", "`mlflow models serve`", "BentoML", "uvicorn, an empty answer"
HOST = "127.0.0.1"
# MLflow imports for a while, on a busy machine.
PATIENCE = 120.0
NEEDS = {
    MLFLOW: ("mlflow>=3.17,<4", "numpy>=2.2,<3", "pandas>=2.2,<4"),
    BENTOML: ("bentoml>=1.4,<2", "numpy>=2.2,<3"),
}
CLIENT, SERVER = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else (0, 1)
# As BentoML's documentation has it; what it answers is what our API does.
SERVICE = """
import os
from pathlib import Path

import bentoml
from catalog.classifier import Classifier
from catalog.text import clean


@bentoml.service(name="catalogue", workers=1)
class Catalogue:
    def __init__(self) -> None:
        self.classifier = Classifier.load(Path(os.environ["CLASSIFIER"]))

    @bentoml.api
    def predict(self, designation: str, description: str = "", top_k: int = 3) -> list[dict]:
        likely = self.classifier.predict_proba([(clean(designation), clean(description))])[0]
        best = likely.argsort()[::-1][:top_k]
        return [{"code": int(self.classifier.labels[n]), "probability": float(likely[n])} for n in best]
"""
# What the trainer does once a model is trained: src/registry/recording.py.
REGISTER = """
import sys, tempfile
from pathlib import Path

from catalog.classifier import Classifier
from catalog.names import MODEL
from catalog.registered import CLASSIFIER
from ml.recording import package
from registry.package import write_package
from registry.tracking import Tracking

tracking = Tracking(sys.argv[1], CLASSIFIER)
experiment, client = tracking.experiment(), tracking.client
run = client.create_run(experiment).info.run_id
model = client.create_logged_model(experiment, MODEL, run)
with tempfile.TemporaryDirectory() as folder:
    classifier = Classifier.load(Path(sys.argv[2]))
    packed = package(classifier, ("titre", "description"))
    write_package(Path(folder), packed, folder=CLASSIFIER.folder, model_id=model.model_id, run_id=run)
    client.log_model_artifacts(model.model_id, folder)
client.finalize_logged_model(model.model_id, "READY")
source = f"models:/{model.model_id}"
version = client.create_model_version(MODEL, source, run, model_id=model.model_id, await_creation_for=0)
tracking.promote(int(version.version))
print(version.version)
"""
Listing = tuple[str, str]


@dataclass(frozen=True)
class Stack:
    """What serving needs.

    Attributes:
        mlflow: The address of MLflow, which has the model as its champion.
        mongodb: The address of MongoDB, with user and password.
        classifier: The folder of the same model.
        pythons: The interpreters of the rivals, by name.
    """

    mlflow: str
    mongodb: str
    classifier: Path
    pythons: Mapping[str, str]

    def register(self) -> int:
        """Register the classifier once more, and promote it; the number of its version."""
        command = [self.pythons[MLFLOW], "-c", REGISTER, self.mlflow, str(self.classifier)]
        done = subprocess.run(command, env=_environment(), check=True, capture_output=True, text=True)
        return int(done.stdout.split()[-1])

    def promote(self, version: int) -> None:
        """Make a version the champion."""
        given = {"name": "catalog-classifier", "alias": "champion", "version": str(version)}
        ask(f"{self.mlflow}/api/2.0/mlflow/registered-models/alias", given)


@dataclass(frozen=True)
class Kind:
    """How a server is asked.

    Attributes:
        ready: What it answers with 200 once it is ready.
        path: Where it predicts.
        body: What it is sent of a listing.
        best: The likeliest code in what it answers.
    """

    ready: str
    path: str
    body: Callable[[Listing], Any]
    best: Callable[[Any], int]


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        kind: How it is asked.
        address: Where it listens.
        seconds: From its start until it was ready.
        processes: Its processes.
    """

    kind: Kind
    address: str
    seconds: float
    processes: Sequence[psutil.Process]

    def processor(self) -> float:
        """The seconds of processor that it took until now."""
        return sum(each.user + each.system for each in (process.cpu_times() for process in self.processes))

    def requests(self, listings: Sequence[Listing]) -> list[bytes]:
        """A request for each listing."""
        return [post(self.address, self.kind.path, self.kind.body(listing)) for listing in listings]

    def predict(self, listing: Listing) -> int:
        """The likeliest code of a listing."""
        return self.kind.best(ask(f"http://{self.address}{self.kind.path}", self.kind.body(listing)))


def _columns(listing: Listing) -> Any:
    """MLflow's package cleans no text: its trainer does."""
    cleaned = [clean(text) for text in listing]
    return {"dataframe_split": {"columns": ["designation", "description"], "data": [cleaned]}}


def _fields(listing: Listing) -> Any:
    return dict(zip(("designation", "description"), listing, strict=True))


API = Kind("/health/ready", "/predict", _fields, lambda said: said["categories"][0]["code"])
EMPTY = Kind("/", "/predict", _fields, lambda said: 0)
KINDS = {
    MLFLOW: Kind("/ping", "/invocations", _columns, lambda said: said["predictions"][0]["prdtypecode"]),
    BENTOML: Kind("/readyz", "/predict", _fields, lambda said: said[0]["code"]),
}


def ask(url: str, body: Any = None) -> Any:
    """What a server answers, from JSON."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=10) as answer:
        said = answer.read()
    return json.loads(said) if said.strip().startswith((b"{", b"[")) else said.decode()


def prefer(processes: Sequence[psutil.Process], connections: int) -> None:
    """Have processes go before whatever else runs on their core, if that is allowed.

    For one connection by a real-time policy: all others wait. More connections keep a server busy all the time, and
    Linux stops real-time processes for 50 ms of each busy second; then by what a core is shared by between sessions.
    """
    policy, priority = (os.SCHED_RR, 1) if connections == 1 else (os.SCHED_OTHER, 0)
    for process in processes:
        with suppress(OSError):
            for thread in process.threads():
                os.sched_setscheduler(thread.id, policy, os.sched_param(priority))
                os.setpriority(os.PRIO_PROCESS, thread.id, -20)
            Path(f"/proc/{process.pid}/autogroup").write_text("-20", encoding="ascii")


@contextmanager
def stack(classifier: Path) -> Iterator[Stack]:
    """MLflow with the champion, MongoDB, and the rivals' environments."""
    pythons = {name: _python(name) for name in NEEDS}
    with (
        kept_up("docker-compose-mlflow.yml", "postgres", "minio", "mlflow-server") as storage,
        kept_up("docker-compose-db.yml", "mongodb") as documents,
    ):
        mongodb = f"mongodb://admin:{ESCAPED}@{documents['mongodb']}/catalog?authSource=admin"
        yield Stack(f"http://{storage['mlflow-server']}", mongodb, classifier, pythons)


def _python(name: str) -> str:
    """The interpreter of a rival's environment, which is made if it is missing."""
    folder = platformdirs.user_cache_path("gigogne") / "benchmarks" / name.strip("`").split()[0].lower()
    program, python = uv.find_uv_bin(), str(folder / "bin/python")
    if not folder.exists():
        subprocess.run([program, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    command = [program, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *NEEDS[name]]
    subprocess.run(command, check=True)
    return python


def _environment(**variables: str) -> dict[str, str]:
    """This environment, without what only tests and editors want of Python."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **variables}


@contextmanager
def running(kind: Kind, command: Sequence[str], variables: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """A server on its core, ready; `{port}` in its command and its variables is a port that is free."""
    with socket.create_server((HOST, 0)) as found:
        port = str(found.getsockname()[1])
    address, begin = f"{HOST}:{port}", time.monotonic()
    given = _environment(**{name: value.replace("{port}", port) for name, value in variables.items()})
    words = [word.replace("{port}", port) for word in command]
    with (folder / f"{port}.log").open("wb+") as log:
        process = subprocess.Popen(
            words,
            env=given,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(os.sched_setaffinity, 0, {SERVER}),
        )
        try:
            _wait(process, f"http://{address}{kind.ready}", log)
            seconds = time.monotonic() - begin
            first = psutil.Process(process.pid)
            family = [first, *first.children(recursive=True)]
            yield Server(kind, address, seconds, family)
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], ready: str, log: BinaryIO) -> None:
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError):  # URLError is one
            ask(ready)
            return
        time.sleep(0.02)
    log.seek(0)
    sys.exit(f"{process.args!r} is not ready:\n{log.read().decode(errors='replace')[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server with all its processes."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, ending)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)


def mlflow(stack: Stack, folder: Path) -> AbstractContextManager[Server]:
    """`mlflow models serve` of the champion."""
    python = Path(stack.pythons[MLFLOW])
    command = [str(python.with_name("mlflow")), "models", "serve", "--model-uri", "models:/catalog-classifier@champion"]
    command += ["--env-manager", "local", "--workers", "1", "--host", HOST, "--port", "{port}"]
    variables = {
        **MANNERS,
        "MLFLOW_TRACKING_URI": stack.mlflow,
        # It starts uvicorn by its name.
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    return running(KINDS[MLFLOW], command, variables, folder)


def bentoml(stack: Stack, folder: Path) -> AbstractContextManager[Server]:
    """BentoML with a service of the same classifier."""
    (folder / "service.py").write_text(SERVICE, encoding="utf-8")
    command = [str(Path(stack.pythons[BENTOML]).with_name("bentoml")), "serve", "service:Catalogue"]
    command += ["--host", HOST, "--port", "{port}"]
    variables = {"CLASSIFIER": str(stack.classifier), "BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(folder)}
    return running(KINDS[BENTOML], command, variables, folder)


def empty(folder: Path) -> AbstractContextManager[Server]:
    """An application that does nothing, by uvicorn: what nobody here goes below."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.empty:app", "--host", HOST, "--port", "{port}"]
    return running(EMPTY, [*command, "--http", "httptools", "--no-access-log"], {}, folder)


def api(stack: Stack, folder: Path, command: Sequence[str] = (), **variables: str) -> AbstractContextManager[Server]:
    """Our API as it is served; or a program of some of its parts."""
    spool = Path(tempfile.mkdtemp(dir=folder))
    given = {
        "API_HOST": HOST,
        "API_PORT": "{port}",
        "API_SPOOL": str(spool),
        # Switched on, and never reached: one client asks for all.
        "API_RATE": "1000000",
        "API_BURST": "1000000",
        "API_MODEL_POLL": "1",
        "MLFLOW_TRACKING_URI": stack.mlflow,
        "MONGODB_URI": stack.mongodb,
    }
    return running(API, [sys.executable, *(command or ("-m", "api.server"))], {**given, **variables}, folder)
