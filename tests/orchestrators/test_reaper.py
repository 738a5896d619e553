"""The reaper: what detached runs have left behind is ended in time, and nothing else is."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from tests.orchestrators.conftest import DOCKER, DOCKER_TOO, PROCESS, PROCESS_TOO, Detachment
from tests.scenarios.observe import left_behind, wait_for

from gigogne.core.engine import Handle
from gigogne.core.events import Event, Notice
from gigogne.errors import EngineError
from gigogne.orchestrators.reaper import Reaper, is_overdue


def told(lines: list[str]) -> list[str]:
    """What the reaper said, without figures."""
    return sorted(line.partition(" note: ")[2].rstrip("0123456789 s") for line in lines)


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER], indirect=True)
def test_it_ends_what_nobody_sees_to(detachment: Detachment) -> None:
    """A job past its deadline at once, an abandoned one after a while; one that is seen to, and a server, stay."""
    assert detachment.act("start", "servers", "db")[0] == 0
    detachment.act("leave", "late", "job", LIVES="0.1")
    detachment.act("leave", "abandoned", "job")
    with detachment.attended("seen-to", "job"):
        assert detachment.running() == {("db", ""), *(("job", run) for run in ("late", "abandoned", "seen-to"))}
        time.sleep(0.1)
        assert len(detachment.reap()) == 1
        assert detachment.running() == {("db", ""), ("job", "abandoned"), ("job", "seen-to")}
        assert told(detachment.reap("--patience", "0")) == ["ended: nobody has attended to it for"]
        assert detachment.running() == {("db", ""), ("job", "seen-to")}
    assert told(detachment.reap("--patience", "0")) == ["ended: nobody has attended to it for"], (
        "its process was killed"
    )
    assert detachment.running() == {("db", "")}, "its run needs it"


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER_TOO], indirect=True)
def test_one_that_cannot_be_ended_keeps_no_other(detachment: Detachment, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is told, and tried again with the next look."""
    said: list[Event] = []
    reaper = Reaper(detachment.engine, detachment.name, said.append, patience=0)
    stop = detachment.engine.stop

    def refuse(handle: Handle, *, grace: float) -> None:
        if handle.run == "stubborn":
            raise EngineError("permission denied", "ask for it")
        stop(handle, grace=grace)

    monkeypatch.setattr(detachment.engine, "stop", refuse)
    assert detachment.act("start", "over", "db", LIVES="0.1")[0] == 0
    for run in ("stubborn", "abandoned"):
        detachment.act("leave", run, "job")
    assert reaper.look()
    assert detachment.running() == {("job", "stubborn")}
    assert [each.text for each in said if isinstance(each, Notice) and "permission denied" in each.text]
    monkeypatch.undo()
    assert reaper.look() and not detachment.running()


@pytest.mark.parametrize("detachment", [PROCESS_TOO, DOCKER], indirect=True)
def test_it_stops_servers_that_nobody_needs(detachment: Detachment) -> None:
    """Their run's time is over, or it was killed; what another run needs stays."""
    detachment.act("start", "over", "db", "api", LIVES="1")
    detachment.act("start", "under-way", "db")
    wait_for(lambda: told(detachment.reap("--patience", "0")) == ["stopped: no run has needed it for"])
    assert detachment.running() == {("db", "")}


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER_TOO], indirect=True)
def test_it_waits_as_long_as_it_is_told_to(detachment: Detachment) -> None:
    """Patience begins when it is seen alone, and anew when somebody has come in between."""
    said: list[Event] = []
    reaper = Reaper(detachment.engine, detachment.name, said.append, patience=0.5)
    assert not reaper.look(), "there is nothing to guard"
    detachment.act("leave", "abandoned", "job")
    assert reaper.look() and not said
    with detachment.attended("abandoned", "short"):
        time.sleep(0.6)
        assert reaper.look() and not said
    assert reaper.look() and not said
    time.sleep(0.6)
    reaper.look()
    assert [type(event) for event in said] == [Notice] and not detachment.running()
    assert not reaper.look()


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER], indirect=True)
def test_the_first_job_starts_it(detachment: Detachment) -> None:
    """It outlives who started it, does its work, and ends when nothing is left to guard."""
    assert detachment.act("leave", "abandoned", "job", GUARD="1", GIGOGNE_ABANDONED_AFTER="1")[0] == 0
    assert [each for each in left_behind(detachment.name) if " reap " in each]
    assert detachment.running() == {("job", "abandoned")}
    wait_for(lambda: not detachment.running())
    wait_for(lambda: not left_behind(detachment.name))


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER_TOO], indirect=True)
def test_every_run_ends_what_is_overdue(detachment: Detachment) -> None:
    """No reaper lives on a machine that was switched off: the next `gigogne run` does that part of its work."""
    detachment.act("leave", "late", "job", LIVES="0.1")
    detachment.act("leave", "in-time", "job", LIVES="60")
    result = detachment.workspace.run("run", "short")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("its deadline has passed") == 1
    assert detachment.running() == {("job", "in-time")}


def test_who_attends_is_given_time() -> None:
    """Whoever sees to a job ends it at its deadline, and says so in the task's log: the reaper comes after that."""
    now = time.time()
    seen_to = Handle("job", "docker", "r", {"detached": True, "deadline": now - 5, "attended": True})
    assert not is_overdue(seen_to, now) and is_overdue(seen_to, now + 15)
    alone = replace(seen_to, data={**seen_to.data, "attended": False})
    assert is_overdue(alone, now) and not is_overdue(alone, now - 10)
    unlimited = replace(alone, data={**alone.data, "deadline": None})
    assert not is_overdue(unlimited, now)
    assert not is_overdue(replace(alone, data={"orphan": True}), now), "it is no job of a detached run"
