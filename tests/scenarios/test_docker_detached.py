"""Runs that outlive the process that starts them, on Docker: found, attended to, read, stopped by other processes."""

from __future__ import annotations

import json
import secrets
import sys
import time

import pytest
from docker import DockerClient
from tests.conftest import Workspace
from tests.scenarios.detached import (
    another_engine,
    at_work,
    detached,
    handle_of,
    known_by_name,
    of_workspace,
    only,
    trying,
)
from tests.scenarios.docked import containers, leases, running
from tests.scenarios.observe import left_behind, wait_for

from gigogne.core.engine import Handle, Line, State
from gigogne.engines.docker.engine import DockerEngine
from gigogne.errors import EngineError

pytestmark = [
    pytest.mark.docker,
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]

JOB = "image: busybox:1.36, network_mode: none, stop_grace_period: 1s"
WAITING = f"{{{JOB}, volumes: ['.:/here'], command: [sh, -c, 'echo begun; until [ -e /here/go ]; do sleep 0.1; done']}}"
SERVER = f"{{{JOB}, init: true, command: sleep 60, healthcheck: {{test: 'true', interval: 1s}}}}"


def labels(docker_engine: DockerClient, handle: Handle) -> dict[str, str]:
    """The labels of a service's container."""
    found = docker_engine.containers.get(handle.data["id"]).labels
    return {name: value for name, value in found.items() if not name.startswith(("com.docker.", "gigogne.test"))}


def texts(lines: list[Line], stream: str) -> list[str]:
    """What was written to a stream."""
    return [line.text for line in lines if line.stream == stream]


def test_its_starter_is_killed(workspace: Workspace, engine: DockerEngine, docker_engine: DockerClient) -> None:
    """A job whose starter is killed -9 goes on; others see that nobody attends to it, and no other run ends it."""
    workspace.write({"compose.yml": f"services: {{job: {WAITING}, other: {{{JOB}, command: echo here}}}}\n"})
    project = of_workspace(workspace)
    script = """
from gigogne.core.engine import Detached, Run
run = Run(run.id, project, ("job",), Detached(deadline=2e9, attempt=3, labels={"airflow.dag": "d"}))
with engine.attend(run):
    say(handle=engine.start(project.services["job"], run).as_dict())
    time.sleep(60)
"""
    with at_work(project, "run-a", script) as starter:
        started = handle_of(starter.hear()["handle"])
        found = only(engine, project)
        assert (found.run, found.service, found.data["name"]) == ("run-a", "job", started.data["name"])
        assert started.data["name"] == f"{project.name}-job-run-run-a-3"
        assert (found.data["attended"], found.data["deadline"], found.data["orphan"]) == (True, 2e9, False)
        assert found.data["detached"] is started.data["detached"] is True
        starter.kill()
    expected = {"gigogne.run": "run-a", "gigogne.try": "3", "gigogne.deadline": "2000000000.000", "airflow.dag": "d"}
    assert labels(docker_engine, found) == expected
    assert only(engine, known_by_name(project)).data["attended"] is False
    assert workspace.run("run", "other").returncode == 0
    assert engine.status(found).state is State.RUNNING, "the run of another service has left it alone"
    workspace.write({"go": ""})
    assert engine.wait(found, timeout=20).code == 0
    assert texts(list(engine.logs(found, follow=True)), "stdout") == ["begun"]
    assert workspace.run("run", "other").returncode == 0
    assert only(engine, project).data["id"] == started.data["id"], "who attends next finds how it ended"
    engine.discard(found)
    assert engine.find(project, ended=True) == []


def test_two_who_attend(workspace: Workspace, engine: DockerEngine, docker_engine: DockerClient) -> None:
    """Processes attend side by side and one after the other; a time lease lives without any, until the last turn."""
    workspace.write({"compose.yml": f"services: {{job: {WAITING}, db: {SERVER}}}\n"})
    project = of_workspace(workspace)
    run = detached(project, "run-b")
    handle = engine.start(project.services["job"], run)
    assert only(engine, project).data["attended"] is False
    with at_work(project, "run-b", "\nwith engine.attend(run): say(); sys.stdin.readline()") as other:
        other.hear()
        with engine.attend(run):
            assert only(engine, project).data["attended"] is True
        assert only(engine, project).data["attended"] is True, "the other one still does"
        assert other.finish() == 0
    assert only(engine, project).data["attended"] is False
    with engine.attend(run):
        assert only(engine, project).data["attended"] is False, "nobody else does"
    assert leases(docker_engine, project.name) == []
    script = "\nwith engine.turn(run, lambda: False) as needed: say(needed=sorted(needed))"
    with at_work(project, "run-b", script) as other:
        assert other.hear() == {"needed": []}
        assert other.finish() == 0
    assert only(engine, project).data["attended"] is False, "a lease that lives by time attends to nothing"
    stranger = detached(known_by_name(project), "reaper", ())
    with engine.turn(stranger, lambda: False, last=True) as needed:
        assert needed == {"job", "db"}
    with at_work(project, "run-b", "\nwith engine.turn(run, lambda: False, last=True): say()") as other:
        other.hear()
        assert other.finish() == 0
    assert leases(docker_engine, project.name) == []
    engine.stop(handle, grace=0)
    engine.discard(handle)


def test_a_lease_ends_by_itself(workspace: Workspace, engine: DockerEngine, docker_engine: DockerClient) -> None:
    """Servers are kept for a detached run until its deadline, whoever lives; then any turn takes them away."""
    workspace.write({"compose.yml": f"services: {{db: {SERVER}}}\n"})
    project = of_workspace(workspace)
    run = detached(project, "run-c", deadline=time.time() + 2)
    with engine.turn(run, lambda: False):
        pass
    server = engine.start(project.services["db"], run)
    other = another_engine()
    (seen,) = other.find(known_by_name(project))
    assert (seen.run, seen.data["job"], "detached" in seen.data) == ("run-c", False, False), "who has started it"
    reaper = detached(known_by_name(project), "reaper", ())
    with other.turn(reaper, lambda: False, last=True) as needed:
        assert needed == {"db"}
    time.sleep(2)
    with other.turn(reaper, lambda: False, last=True) as needed:
        assert needed == set()
        other.stop(seen, grace=1)
    assert engine.status(server).state is State.EXITED
    assert leases(docker_engine, project.name) == [], "the mark of the server has gone with it"
    assert running(docker_engine, project.name, "db") == []


def test_a_name_that_is_taken(workspace: Workspace, engine: DockerEngine, docker_engine: DockerClient) -> None:
    """What has ended, or never ran, makes room for a try of the same name; what runs is left alone."""
    workspace.write({"compose.yml": f"services: {{job: {WAITING}}}\n"})
    project = of_workspace(workspace)
    run, service = detached(project, "run-d"), project.services["job"]
    name = f"{project.name}-job-run-run-d-1"
    stillborn = docker_engine.api.create_container("busybox:1.36", name=name)["Id"]
    first = engine.start(service, run)
    assert first.data["name"] == name and first.data["id"] != stillborn
    with pytest.raises(EngineError, match="an earlier try still runs, in the container " + name):
        another_engine().start(service, run)
    assert engine.status(first).state is State.RUNNING
    engine.stop(first, grace=0)
    second = another_engine().start(service, run)
    assert second.data["name"] == name
    third = another_engine().start(service, trying(run, 2))
    assert third.data["name"] == f"{project.name}-job-run-run-d-2"
    found = {each.data["id"] for each in engine.find(project, ended=True)}
    assert found == {second.data["id"], third.data["id"]}
    assert engine.ended([first, second, third]) == [first]
    for each in (second, third):
        engine.stop(each, grace=0)
    wait_for(lambda: engine.ended([second, third, first]) == [second, third, first])
    assert engine.ended([]) == []


def test_results(workspace: Workspace, engine: DockerEngine) -> None:
    """A job's file comes back until the job is discarded; its own GIGOGNE_RESULT wins; a large one is refused."""
    write = "command: [sh, -c, 'echo -n \"$$TEXT\" >$$GIGOGNE_RESULT']"
    workspace.write(
        {
            "compose.yml": f"""
            services:
              plain: {{{JOB}, environment: {{TEXT: '{{"rows": "é"}}'}}, {write}}}
              own: {{{JOB}, environment: {{GIGOGNE_RESULT: out, TEXT: '1'}}, working_dir: /work/at, {write}}}
              mounted: {{{JOB}, environment: {{GIGOGNE_RESULT: /out/r, TEXT: '2'}}, volumes: ['out:/out'], {write}}}
              none: {{{JOB}, command: "true"}}
              folder: {{{JOB}, command: [sh, -c, 'mkdir $$GIGOGNE_RESULT']}}
              large: {{{JOB}, command: [sh, -c, 'head -c 1048577 /dev/zero >$$GIGOGNE_RESULT']}}
            volumes: {{out: }}
            """
        }
    )
    project = of_workspace(workspace)
    run = detached(project, "run-e")
    handles = {name: engine.start(service, run) for name, service in project.services.items()}
    assert (engine.environment(handles["plain"]) or {})["TEXT"] == '{"rows": "é"}'
    for handle in handles.values():
        assert engine.wait(handle, timeout=20).code == 0
    large = handles.pop("large")
    found = {name: another_engine().result(handle) for name, handle in handles.items()}
    expected = {"plain": '{"rows": "é"}'.encode(), "own": b"1", "mounted": b"2", "none": None, "folder": None}
    assert found == expected
    with pytest.raises(EngineError, match=r"/tmp/gigogne-result.json has 1\.0 MiB, and may have 1") as refused:
        engine.result(large)
    assert "to a volume" in refused.value.hint
    engine.discard(handles["plain"])
    assert engine.result(handles["plain"]) is None and engine.environment(handles["plain"]) is None


def test_readers_hand_over(workspace: Workspace, engine: DockerEngine) -> None:
    """Each line once, whoever reads on, and wherever: long lines of many frames, two streams, ends without one."""
    script = """
      i=0; while [ $$i -lt 40 ]; do
        echo out $$i; echo err $$i >&2; echo out again $$i
        [ $$(($$i % 8)) = 3 ] && { printf %060000d $$i & printf %040000d $$i >&2 & wait; echo; echo >&2; }
        i=$$(($$i+1)); [ $$i = 20 ] && sleep 0.6
      done; printf end; printf 'last words' >&2
    """
    workspace.write({"compose.yml": f"services: {{job: {{{JOB}, command: [sh, -c, {json.dumps(script)}]}}}}\n"})
    project = of_workspace(workspace)
    handle = engine.start(project.services["job"], detached(project, "run-f"))
    live = list(engine.logs(handle, follow=True))
    whole = list(engine.logs(handle, follow=False))
    assert live == whole
    assert texts(whole, "stdout")[-1] == "end" and texts(whole, "stderr")[-1] == "last words"
    assert sum(len(line.text) for line in whole) == 5 * 100_000 + len("end" + "last words") + sum(
        2 * len(f"out {i}") + len(" again") + len(f"err {i}") for i in range(40)
    )
    assert len({line.position for line in whole}) == len(whole)
    for number, line in enumerate(whole):
        rest = list(engine.logs(handle, follow=number % 2 == 0, after=line.position))
        assert rest == whole[number + 1 :], f"after {number}: {line.position} {line.text[:20]}"


def test_a_reader_is_killed(workspace: Workspace, engine: DockerEngine) -> None:
    """A reader that is killed while much is written is followed by another one, which misses and doubles nothing."""
    script = "i=0; while [ $$i -lt 20000 ]; do echo $$i; i=$$(($$i+1)); done"
    workspace.write({"compose.yml": f"services: {{job: {{{JOB}, command: [sh, -c, {json.dumps(script)}]}}}}\n"})
    project = of_workspace(workspace)
    handle = engine.start(project.services["job"], detached(project, "run-g"))
    reading = f"""
from gigogne.core.engine import Handle
handle = Handle(**json.loads({json.dumps(handle.as_dict())!r}))
for line in engine.logs(handle, follow=True): say(text=line.text, position=line.position)
"""
    read = []
    with at_work(project, "run-g", reading) as reader:
        for _ in range(3000):
            read.append(reader.hear())
        reader.kill()
    rest = [line.text for line in engine.logs(handle, follow=True, after=read[-1]["position"])]
    assert [each["text"] for each in read] + rest == [str(number) for number in range(20000)]


def test_a_stop_outlives_who_asks(workspace: Workspace, engine: DockerEngine) -> None:
    """Who asks for the end of a job may be killed while it waits: the daemon goes on, and kills in the end."""
    deaf = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.1; done"
    workspace.write({"compose.yml": f"services: {{job: {{{JOB}, command: [sh, -c, {json.dumps(deaf)}]}}}}\n"})
    project = of_workspace(workspace)
    handle = engine.start(project.services["job"], detached(project, "run-h"))
    ready = engine.logs(handle, follow=True)
    assert next(ready).text == "ready"
    with at_work(project, "run-h", "\nsay(); engine.stop(engine.find(project)[0], grace=2)") as stopper:
        stopper.hear()
        assert next(ready).text == "asked"
        stopper.kill()
    assert engine.status(handle).state is State.RUNNING
    assert engine.wait(handle, timeout=10).code == 137


def test_down_ends_it(workspace: Workspace, engine: DockerEngine, docker_engine: DockerClient) -> None:
    """`gigogne down` ends detached jobs, their leases and their guard; who attends to one is not sent a signal."""
    workspace.write({"compose.yml": f"services: {{job: {WAITING}}}\n"})
    project = of_workspace(workspace)
    word = secrets.token_hex(8)
    script = f"""
engine.guard(project, ("-c", "import time; time.sleep(60)  # {word}"))
with engine.attend(run):
    handle = engine.start(project.services["job"], run)
    say()
    say(code=engine.wait(handle, timeout=None).code)
say()
"""
    with at_work(project, "run-i", script) as attending:
        attending.hear()
        assert len(left_behind(word)) == 1 + 1, "the guard, and who has started it"
        assert workspace.run("down").returncode == 0
        assert attending.hear()["code"] in (137, 143)
        attending.hear()
        assert attending.finish() == 0
    wait_for(lambda: not left_behind(word))
    assert containers(docker_engine, project.name) == {} and leases(docker_engine, project.name) == []
