"""The trigger, at work in an event loop as in the triggerer: what it brings, and what it leaves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import airflow.sdk.log  # noqa: F401 - it sets logging up when it is imported first
import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict
from tests.airflow.conftest import ON_ONE
from tests.conftest import Workspace

from gigogne.airflow.bookmark import Bookmark
from gigogne.airflow.files import load_options
from gigogne.airflow.job import Job
from gigogne.airflow.trigger import ServiceTrigger
from gigogne.airflow.watch import Watch
from gigogne.compose import load_project
from gigogne.core.engine import Detached, Engine, Handle, Run, State

pytestmark = [pytest.mark.airflow, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]

COMPOSE = """\
services:
  counts:
    image: busybox:1.36
    command: [sh, -c, "for i in 1 2 3 4 5 6; do echo line $$i; sleep 0.3; done; echo $$API_TOKEN"]
    environment: {API_TOKEN: tok-of-test-trigger}
  long:
    image: busybox:1.36
    command: [sh, -c, "echo begun; sleep 60"]
    stop_grace_period: 1s
  stubborn:
    image: busybox:1.36
    command: [sh, -c, "trap '' TERM; echo begun; while :; do sleep 1; done"]
    stop_grace_period: 2m
"""
LINES = [f"line {number}" for number in range(1, 7)]

# Whether others see to a job is a question that only another process can ask.
LOOKER = """
import sys, time
from pathlib import Path
from gigogne.choice import choose_engine
from gigogne.core.model import Project

engine, name, run_id, wanted = sys.argv[1:]
engine, _ = choose_engine(engine, lambda service, text: None)
while str(any(h.data["attended"] for h in engine.find(Project(name, Path(), (), {})) if h.run == run_id)) != wanted:
    time.sleep(0.1)
"""


class Deferred:
    """Jobs that a task has left to the triggerer."""

    def __init__(self, workspace: Workspace, engine: Engine) -> None:
        self.engine = engine
        self.project = load_project(load_options(workspace.folder, project_name=f"h4-{uuid4().hex[:8]}"))
        self.runs = 0

    def job(self, service: str, *, lasts: float | None = None) -> Job:
        """A job that has just begun."""
        self.runs += 1
        deadline = None if lasts is None else time.time() + lasts
        run = Run(f"airflow-{time.time_ns():x}-{self.runs}", self.project, (service,), Detached(deadline))
        self.engine.prepare(self.project.services[service], run)
        handle = self.engine.start(self.project.services[service], run)
        grace = self.project.services[service].stop_grace_period
        return Job(handle, self.project.name, run.services, grace, deadline)

    def look(self, job: Job, *, until_attended: bool) -> None:
        """Wait until a job is seen to, or is not, as another process finds it."""
        words = [self.engine.name, self.project.name, job.handle.run, str(until_attended)]
        subprocess.run([sys.executable, "-c", LOOKER, *words], check=True, timeout=30)


@pytest.fixture
def deferred(workspace: Workspace, engine: Engine) -> Iterator[Deferred]:
    """On either engine."""
    workspace.write({"compose.yml": COMPOSE})
    made = Deferred(workspace, engine)
    yield made
    for handle in engine.find(made.project):
        engine.stop(handle, grace=0)
    engine.remove(made.project, volumes=True)


async def _cancelled(deferred: Deferred, job: Job, *message: str) -> ServiceTrigger:
    """A trigger that saw to the job until Airflow cancelled it."""
    trigger = ServiceTrigger(job.as_dict())
    waiting = asyncio.ensure_future(_event(trigger))
    await asyncio.to_thread(deferred.look, job, until_attended=True)
    waiting.cancel(*message)
    await asyncio.gather(waiting, return_exceptions=True)
    return trigger


async def _event(trigger: ServiceTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        await trigger.cleanup()
        return dict(event.payload)
    raise AssertionError("no event")


def _seen(*jobs: Job) -> tuple[list[dict[str, Any]], list[Any]]:
    """The events of the jobs' triggers, all in one loop, and the lines that came by them."""

    async def see() -> list[dict[str, Any]]:
        return await asyncio.gather(*(_event(ServiceTrigger(job.as_dict())) for job in jobs))

    with capture_logs() as said:
        return asyncio.run(see()), [line for line in said if "stream" in line]


def test_it_brings_the_lines_and_fires_at_the_end(deferred: Deferred) -> None:
    """Each once and in order, with secrets masked; the task reads on behind them."""
    job = deferred.job("counts")
    (payload,), lines = _seen(job)
    assert [line["event"] for line in lines] == [*LINES, "***"]
    assert (payload["reached"], payload["timed_out"]) == (True, False)
    back = Job.of(payload["job"])
    assert list(deferred.engine.logs(job.handle, follow=False, after=back.position)) == []
    assert replace(back, position="") == job
    assert "tok-of-test-trigger" not in str(payload)


@ON_ONE
def test_what_airflow_stores_of_it_is_enough_to_go_on(deferred: Deferred) -> None:
    """Another triggerer makes it anew from that, and reads on where the task has stopped."""
    job = deferred.job("counts")
    lines = deferred.engine.logs(job.handle, follow=True)
    first = next(lines)
    path, arguments = ServiceTrigger(replace(job, position=first.position).as_dict()).serialize()
    assert path == "gigogne.airflow.trigger.ServiceTrigger"
    _, said = _seen(Job.of(arguments["job"]))
    assert [line["event"] for line in said] == [*LINES[1:], "***"]


def test_one_that_was_killed_is_followed_by_one_that_knows_how_far_it_was(deferred: Deferred) -> None:
    """No line is doubled: what is noted on the disk counts, and not what Airflow has stored."""
    job = deferred.job("counts")
    lines = deferred.engine.logs(job.handle, follow=True)
    position = [next(lines).position for _ in range(3)][-1]
    bookmark = Bookmark(job)
    bookmark.write("a position that was longer than the one after it")
    bookmark.write(position)
    bookmark.close()
    _, said = _seen(job)
    assert [line["event"] for line in said] == [*LINES[3:], "***"]


@ON_ONE
def test_many_jobs_are_asked_for_with_one_question(deferred: Deferred, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a second, whatever their number; and none waits for another's end."""
    asked: list[int] = []
    ended = type(deferred.engine).ended

    def counted(engine: Engine, handles: list[Handle]) -> list[Handle]:
        asked.append(len(handles))
        return ended(engine, handles)

    monkeypatch.setattr(type(deferred.engine), "ended", counted)
    began = time.monotonic()
    payloads, lines = _seen(*(deferred.job("counts") for _ in range(5)))
    assert all(payload["reached"] for payload in payloads)
    assert sorted(line["event"] for line in lines) == sorted([*LINES, "***"] * 5)
    assert max(asked) == 5
    assert len(asked) <= time.monotonic() - began + 1


@ON_ONE
def test_a_job_is_ended_at_its_deadline(deferred: Deferred) -> None:
    """It counts from the job's start, not from the deferral."""
    job = deferred.job("long", lasts=2.0)
    (payload,), lines = _seen(job)
    assert payload["timed_out"]
    assert deferred.engine.status(job.handle).state is State.EXITED
    assert [line["event"] for line in lines] == ["begun"]
    assert job.deadline is not None
    assert time.time() - job.deadline < 10


@ON_ONE
def test_jobs_that_are_slow_to_stop_hold_up_no_other_job(deferred: Deferred, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are; and none of them has longer than Airflow waits."""
    monkeypatch.setattr("gigogne.airflow.trigger._GRACE", 8.0)
    ended: list[str] = []

    async def see(job: Job) -> dict[str, Any]:
        payload = await _event(ServiceTrigger(job.as_dict()))
        ended.append(job.handle.service)
        return payload

    async def see_all() -> list[dict[str, Any]]:
        slow = [asyncio.ensure_future(see(job)) for job in stubborn]
        await asyncio.sleep(max(job.deadline or 0 for job in stubborn) - time.time() + 1)
        job = await asyncio.to_thread(deferred.job, "counts")
        return await asyncio.gather(see(job), *slow)

    stubborn = [deferred.job("stubborn", lasts=4.0) for _ in range(9)]
    began = time.monotonic()
    with capture_logs():
        first, *others = asyncio.run(see_all())
    assert ended == ["counts", *["stubborn"] * 9]
    assert (first["reached"], first["timed_out"]) == (True, False)  # it was seen to from its start
    assert all(payload["timed_out"] for payload in others)
    assert time.monotonic() - began < 30


@ON_ONE
def test_a_line_that_comes_while_its_job_is_ended_leaves_no_bookmark(deferred: Deferred) -> None:
    """The log is slow here: it takes the first line when the job is gone already."""
    job = deferred.job("long")
    taken: list[str] = []

    def slow(logger: object, method: str, line: EventDict) -> EventDict:
        if line["event"] == "begun":
            while deferred.engine.find(deferred.project, ended=True):
                time.sleep(0.05)
            time.sleep(0.5)
            taken.append(line["event"])
        return line

    async def mark() -> None:
        trigger = await _cancelled(deferred, job, "user-action")
        await trigger.on_kill()

    with capture_logs():
        structlog.get_config()["processors"].insert(0, slow)
        asyncio.run(asyncio.wait_for(mark(), 30))
    assert taken == ["begun"]
    assert not Bookmark(job)


def test_a_task_that_is_marked_or_cleared_takes_its_job_with_it(deferred: Deferred) -> None:
    """Also where Airflow gives up waiting for that: it cancels each second anew."""
    job = deferred.job("long")

    async def mark() -> None:
        trigger = await _cancelled(deferred, job, "user-action")
        killing = asyncio.ensure_future(trigger.on_kill())
        await asyncio.sleep(0.2)
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        await trigger.cleanup()
        # The thread that ends the job goes on alone.
        while await asyncio.to_thread(deferred.engine.find, deferred.project, ended=True) or Bookmark(job):
            await asyncio.sleep(0.1)

    with capture_logs():
        asyncio.run(asyncio.wait_for(mark(), 30))


@ON_ONE
def test_a_triggerer_that_stops_leaves_the_job_alone(deferred: Deferred) -> None:
    """It goes on, nobody sees to it, and the next triggerer may."""
    job = deferred.job("long")

    async def stop() -> None:
        trigger = await _cancelled(deferred, job)
        await trigger.cleanup()

    with capture_logs():
        asyncio.run(asyncio.wait_for(stop(), 30))
    assert deferred.engine.status(job.handle).state is State.RUNNING
    deferred.look(job, until_attended=False)


@ON_ONE
def test_a_job_that_is_out_of_sight_goes_back_to_its_task(deferred: Deferred, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine of that kind here, or another one, which does not know it: the task itself waits then."""
    job = deferred.job("counts")
    elsewhere = replace(job, handle=replace(job.handle, engine="docker"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    (payload,), lines = _seen(elsewhere)
    assert not payload["reached"]
    assert Job.of(payload["job"]) == elsewhere
    assert lines == []


@ON_ONE
def test_the_event_loop_is_never_blocked(deferred: Deferred) -> None:
    """Others' triggers run in it too."""

    async def watched() -> float:
        worst, waiting = 0.0, asyncio.ensure_future(_event(ServiceTrigger(job.as_dict())))
        while not waiting.done():
            before = time.monotonic()
            await asyncio.sleep(0.01)
            worst = max(worst, time.monotonic() - before)
        assert Watch.here(job.handle.engine) is Watch.here(job.handle.engine)
        return worst

    job = deferred.job("counts")
    with capture_logs():
        assert asyncio.run(watched()) < 0.3
