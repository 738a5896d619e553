"""Runs that do not come to their end, both ways: Ctrl-C, SIGTERM, kill -9, time-outs. Nothing is left behind."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from tests.scenarios.observe import Maker, left_behind, wait_for

pytestmark = pytest.mark.usefixtures("way")

SLEEPERS = """
name: sleepers
services:
  one: {build: ., command: ["python", "sleeper.py", "MARK"], stop_signal: SIGINT, stop_grace_period: 3s}
  two: {build: ., command: ["python", "sleeper.py", "MARK"], stop_grace_period: 1s}
  never: {build: ., command: python -V, depends_on: {one: {condition: service_completed_successfully}}}
"""
SLEEPER = """
import time
print("asleep", flush=True)
try:
    while True:  # a signal that comes just before Python goes to sleep is heard after it
        time.sleep(0.05)
except KeyboardInterrupt:
    print("woken")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_nothing(python_project: Maker, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM stop every job, each by its own stop signal, and the code says which it was."""
    mark = f"mark-{uuid4().hex}-{number}"
    workspace = python_project(SLEEPERS.replace("MARK", mark), {"sleeper.py": SLEEPER})
    process = workspace.start("run", "--json", "--jobs", "4")
    assert process.stdout is not None
    seen: list[str] = []
    while sum('"asleep"' in line for line in seen) < 2:
        line = process.stdout.readline()
        assert line, seen
        seen.append(line)
    assert left_behind(mark)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code
    verdicts = {s["service"]: s["result"] for s in json.loads(out.splitlines()[-1])["services"]}
    assert verdicts == {"one": "stopped", "two": "stopped", "never": "not run"}
    assert any("woken" in line for line in out.splitlines()), "stop_signal: SIGINT was not what `one` got"
    assert not left_behind(mark)
    assert not list(Path(workspace.environment["GIGOGNE_DATA_DIR"]).rglob("scratch"))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_supervisor_is_cleaned_up_after(python_project: Maker) -> None:
    """A kill -9 of Gigogne leaves its job running; the next run ends it, says so, and runs its own."""
    mark = f"mark-{uuid4().hex}"
    workspace = python_project(SLEEPERS.replace("MARK", mark), {"sleeper.py": SLEEPER})
    process = workspace.start("run", "two")
    wait_for(lambda: bool(left_behind(f"sleeper.py {mark}")))
    process.kill()
    process.communicate()
    assert left_behind(f"sleeper.py {mark}")
    workspace.write({"sleeper.py": "print('second')"})
    result = workspace.run("run", "two")
    assert result.returncode == 0 and "left it behind when it was killed" in result.stdout
    assert not left_behind(mark)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_down_stops_what_another_run_left(python_project: Maker) -> None:
    """`down` ends orphans, keeps volumes; `down -v` removes them."""
    mark = f"mark-{uuid4().hex}"
    compose = (
        SLEEPERS.replace("MARK", mark)
        + "  keep: {build: ., command: 'true', volumes: ['data:/d']}\nvolumes: {data: {}}\n"
    )
    workspace = python_project(compose, {"sleeper.py": SLEEPER})
    assert workspace.run("run", "keep").returncode == 0
    process = workspace.start("run", "two")
    wait_for(lambda: bool(left_behind(f"sleeper.py {mark}")))
    process.kill()
    process.communicate()
    result = workspace.run("down")
    assert "two stopped" in result.stdout and not left_behind(mark) and workspace.volume("sleepers_data").is_dir()
    assert workspace.run("down", "-v").returncode == 0 and not workspace.volume("sleepers_data").exists()


def test_a_job_that_takes_too_long_is_ended(python_project: Maker) -> None:
    """--job-timeout ends a job, and says so; the code is 124, as timeout(1) gives."""
    mark = f"mark-{uuid4().hex}"
    workspace = python_project(SLEEPERS.replace("MARK", mark), {"sleeper.py": SLEEPER})
    result = workspace.run("run", "two", "--job-timeout", "1")
    assert result.returncode == 124 and "--job-timeout" in result.stdout and not left_behind(mark)
