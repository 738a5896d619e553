"""One process of a detached run, of several: `detached.py ACTION RUN SERVICE…`, in the project's folder.

It says each event as a line of JSON. Its exit code is that of `gigogne`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from gigogne.choice import asked_engine, choose_engine
from gigogne.compose import LoadOptions, load_project
from gigogne.core.engine import Detached, Engine, Run
from gigogne.core.events import Event
from gigogne.errors import GigogneError
from gigogne.orchestrators.servers import ServersStart, stop_servers


def say(event: Event) -> None:
    """Print an event, in one piece: events come from several threads."""
    sys.stdout.write(json.dumps(event.as_dict()) + "\n")
    sys.stdout.flush()


def start_job(engine: Engine, run: Run, *, stays: bool) -> None:
    """Start the run's first service, and see to it as long as this process lives, or not at all."""
    service = run.project.services[run.services[0]]
    engine.prepare(service, run)
    with engine.attend(run):
        handle = engine.start(service, run)
        if os.environ.get("GUARD"):
            engine.guard(run.project, ("-m", "gigogne", "reap", "--engine", engine.name, "--project", run.project.name))
        print(json.dumps({"event": "job", **handle.as_dict()}), flush=True)
        while stays:
            time.sleep(1)


def give_up(start: ServersStart) -> None:
    """Interrupt the start as soon as the project's folder says so."""
    while not Path("give-up").exists():
        time.sleep(0.1)
    start.interrupt()


def main(action: str, run_id: str, *services: str) -> int:
    """Do what a task of Airflow would do."""
    seconds = os.environ.get("LIVES")
    detached = Detached(time.time() + float(seconds) if seconds else None)
    earlier = os.environ.get("EARLIER", "").split()  # what the run has started before, in another stage
    run = Run(run_id, load_project(LoadOptions(), services), (*earlier, *services), detached)
    engine, _ = choose_engine(asked_engine(""), lambda _service, _text: None)
    try:
        engine.check(run.project, services, publish=False)
        if action == "start":
            start = ServersStart(engine, run, services, say)
            threading.Thread(target=give_up, args=(start,), daemon=True).start()
            start.execute()
        elif action == "stop":
            stop_servers(engine, run, services, say)
        else:
            start_job(engine, run, stays=action == "attend")
    except GigogneError as error:
        print(json.dumps({"event": "error", "message": error.message, "hint": error.hint}), flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
