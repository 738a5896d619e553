"""Services that outlive who started them: their end, their result, their logs, who attends; both ways."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.scenarios.observe import left_behind, wait_for

from gigogne.core.engine import Detached, Handle, Run, State
from gigogne.core.model import Project
from gigogne.engines.process.engine import ProcessEngine
from gigogne.engines.process.started import Started
from gigogne.errors import EngineError, ServiceError

from .conftest import Bench

# Who needs and who attends is told by files, which are the same both ways.
ONE_WAY = pytest.mark.parametrize("both", ["portable"], indirect=True)
JOB = "services: {a: {build: ., command: python job.py, stop_grace_period: 0.5s%s}}\n"


def another(bench: Bench) -> ProcessEngine:
    """An engine that knows nothing of what this process has started."""
    return ProcessEngine(bench.engine.paths, bench.engine.bubblewrap, lambda _service, _text: None)


def nameless(bench: Bench) -> Project:
    """The project as one knows it by its name alone."""
    return Project("bench", Path(), (), {})


def run_of(project: Project, name: str = "airflow-1", **detached: float) -> Run:
    """A detached run of all services."""
    return Run(name, project, tuple(project.services), Detached(detached.get("deadline"), int(detached.get("try_", 1))))


def start(bench: Bench, run: Run, service: str = "a") -> Handle:
    """Prepare and start a service of a run."""
    bench.engine.prepare(run.project.services[service], run)
    return bench.engine.start(run.project.services[service], run)


@pytest.fixture
def job(both: Bench) -> Iterator[Bench]:
    """A bench whose projects' processes are gone in the end."""
    yield both
    for handle in another(both).find(nameless(both)):
        both.engine.stop(handle, grace=0)
    marker = str(both.engine.paths.data)
    left = [each for each in psutil.process_iter(["cmdline"]) if marker in " ".join(each.info["cmdline"] or ())]
    assert not left


def test_another_engine_sees_it_to_its_end(job: Bench) -> None:
    """Exit code, lines, result and the end of all it holds are the same for who did not start it; then it is gone."""
    code = (
        "import os, sys; print('out'); open(os.environ['GIGOGNE_RESULT'], 'w').write('[1]'); print('end'); sys.exit(3)"
    )
    deadline = time.time() + 60
    mine = start(job, run_of(job.load(JOB % "", {"job.py": code}), deadline=deadline))
    other = another(job)
    assert other.wait(mine, timeout=20).code == 3
    [found] = other.find(nameless(job), ended=True)
    assert found.data["detached"] is True and found.data["deadline"] == deadline and found.data["job"] is True
    assert found.data["orphan"] is False and found.data["attended"] is False and found.run == "airflow-1"
    assert json.loads(json.dumps(found.as_dict()))["data"]["pid"] == mine.data["pid"]
    assert other.ended([found]) == [found] and not other.find(nameless(job))
    assert [line.text for line in other.logs(found, follow=True)] == ["out", "end"]
    assert other.result(found) == b"[1]"
    assert other.environment(found) is None
    folder = Path(found.data["directory"])
    assert not (folder / "scratch").exists()
    assert job.engine.status(mine).code == 3
    other.discard(found)
    assert not other.find(nameless(job), ended=True) and other.ended([found]) == [found]
    with pytest.raises(EngineError, match="nothing is left of a"):
        another(job).status(found)
    assert (folder / "stdout.log").read_text() == "out\nend\n"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX sessions")
def test_what_it_leaves_running_ends_with_it(job: Bench) -> None:
    """A child in the background ends with the job, as with a container, though nobody looks."""
    code = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)\n"
    )  # fmt: skip
    handle = start(job, run_of(job.load(JOB % "", {"job.py": code})))
    code_file = Path(handle.data["directory"]) / "code"
    deadline = time.monotonic() + 20
    while not code_file.exists() and time.monotonic() < deadline:  # looks at the file alone
        time.sleep(0.02)
    assert code_file.read_text() == "0"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_another_engine_stops_it(job: Bench) -> None:
    """Its stop signal first; what does not obey is killed with its children; the code says how it ended."""
    obeys = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); print('up', flush=True)"
    deaf = "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)"
    more = "\nsubprocess.Popen(['sleep', '60'])"
    for code, expected in ((obeys, 9), (deaf + more, 137)):
        handle = start(job, run_of(job.load(JOB % "", {"job.py": f"{code}\nwhile True: time.sleep(0.05)"})))
        other = another(job)
        assert next(other.logs(handle, follow=True)).text == "up"
        other.stop(handle, grace=0.5)
        other.stop(handle, grace=0.5)  # safe to call twice
        assert other.status(handle).code == expected == job.engine.wait(handle, timeout=5).code
        other.discard(handle)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_job_whose_keeper_was_killed(job: Bench) -> None:
    """It goes on, can be read and stopped; bubblewrap still knows its code, without it nobody does: 137."""
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(1); raise SystemExit(4)"
    handle = start(job, run_of(job.load(JOB % "", {"job.py": code})))
    record = json.loads((Path(handle.data["directory"]) / "status.json").read_text())
    assert record["keeper"] != record["pid"]
    os.kill(record["keeper"], signal.SIGKILL)
    other = another(job)
    assert [found.service for found in other.find(nameless(job))] == ["a"]
    assert len(list(other.logs(handle, follow=True))) == 1
    assert other.wait(handle, timeout=10).code == (137 if job.engine.bubblewrap is None else 4)
    assert not (Path(handle.data["directory"]) / "scratch").exists()


def test_a_second_try(job: Bench) -> None:
    """It has to wait for the end of the first one, of which then only the logs are left, apart from its own."""
    project = job.load(JOB % "", {"job.py": "import time; print('here', flush=True); time.sleep(60)"})
    first = start(job, run_of(project))
    later = another(job)
    later.prepare(project.services["a"], run_of(project, try_=2))
    with pytest.raises(EngineError, match="still runs"):
        later.start(project.services["a"], run_of(project, try_=2))
    assert next(later.logs(first, follow=True)).text == "here"
    later.stop(first, grace=0)
    second = later.start(project.services["a"], run_of(project, try_=2))
    assert job.engine.ended([first, second]) == [first]
    assert [found.data["pid"] for found in job.engine.find(nameless(job), ended=True)] == [second.data["pid"]]
    watching = another(job)
    with pytest.raises(EngineError, match="nothing is left"):
        watching.status(first)
    assert next(watching.logs(second, follow=True)).text == "here"
    assert len(list(watching.logs(second, follow=False))) == 1
    watching.stop(second, grace=0)


def test_logs_go_on_after_a_position(job: Bench) -> None:
    """Who takes over reads on exactly where the other one stopped, in both streams, while the job runs."""
    code = (
        "import sys, time\n"
        "for i in range(40):\n"
        "    print('same', flush=True); print(i, file=sys.stderr, flush=True); time.sleep(0.01)\n"
    )
    handle = start(job, run_of(job.load(JOB % "", {"job.py": code})))
    said, position = [], ""
    for number in (3, 1, 20, 17):
        reading = another(job).logs(handle, follow=True, after=position)
        for _ in range(number):
            line = next(reading)
            said.append(line)
            position = line.position
        reading.close()  # type: ignore[attr-defined]
    said += another(job).logs(handle, follow=True, after=position)
    assert [line.text for line in said if line.stream == "stdout"] == ["same"] * 40
    assert [line.text for line in said if line.stream == "stderr"] == [str(number) for number in range(40)]
    assert list(another(job).logs(handle, follow=False, after=said[-1].position)) == []


def test_since_is_known_without_a_reader(job: Bench) -> None:
    """The keeper writes down when lines came: nobody had to read them."""
    code = "import time; print('early', flush=True); time.sleep(1); print('late')"
    handle = start(job, run_of(job.load(JOB % "", {"job.py": code})))
    assert another(job).wait(handle, timeout=20).code == 0
    early, late = another(job).logs(handle, follow=False)
    assert (early.text, late.text) == ("early", "late") and late.time - early.time > 0.5
    assert [line.text for line in another(job).logs(handle, follow=False, since=early.time + 0.4)] == ["late"]


@pytest.mark.parametrize("place", ["", "/data/of/it.json", "own.json", "/app/sub/own.json"])
def test_the_result(job: Bench, place: str) -> None:
    """Where the service's own GIGOGNE_RESULT says, in a volume or in the image, else where we say; by any user."""
    extra = ", user: '4321:99', volumes: ['data:/data'], working_dir: /app"
    if place:
        extra += f", environment: {{GIGOGNE_RESULT: {place}}}"
    code = (
        "import os\np = os.environ['GIGOGNE_RESULT']\nos.makedirs(os.path.dirname(p) or '.', exist_ok=True)\n"
        "open(p, 'w').write('{\"p\": 1}')\n"
    )
    project = job.load(f"{JOB % extra}volumes: {{data: {{}}}}\n", {"job.py": code})
    handle = start(job, run_of(project))
    other = another(job)
    said = list(other.logs(handle, follow=True))
    assert other.wait(handle, timeout=20).code == 0, said
    assert other.result(handle) == b'{"p": 1}'


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege")
def test_what_is_no_result(job: Bench) -> None:
    """None written, an old one of a volume, a link out of the sandbox: none. One over a MiB: an error with the fix."""
    compose = f"{JOB % ', environment: {GIGOGNE_RESULT: /data/r.json}, volumes: [data:/data]'}volumes: {{data: {{}}}}\n"
    old = job.engine.paths.volume("bench_data") / "r.json"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    began = time.monotonic()
    assert result_of(job, "pass") is None
    assert result_of(job, "import os; os.symlink('/etc/passwd', os.environ['GIGOGNE_RESULT'])") is None
    assert result_of(job, "import os; os.mkfifo(os.environ['GIGOGNE_RESULT'])") is None
    with pytest.raises(EngineError, match="larger than 1 MiB") as caught:
        result_of(job, "import os; open(os.environ['GIGOGNE_RESULT'], 'w').write('x' * 1048577)")
    assert "volume" in caught.value.hint
    large = result_of(job, "import os; open(os.environ['GIGOGNE_RESULT'], 'w').write('x' * 1048576)")
    assert large is not None and len(large) == 1048576
    time.sleep(max(0.0, began + 2.2 - time.monotonic()))  # systems tell the time a process began to a second
    assert result_of(job, "pass", compose) is None


def result_of(bench: Bench, code: str, compose: str = JOB % "") -> bytes | None:
    """The result of a job with this code."""
    handle = start(bench, run_of(bench.load(compose, {"job.py": code})))
    assert bench.engine.wait(handle, timeout=20).code == 0
    return bench.engine.result(handle)


def test_a_program_that_cannot_be_started(job: Bench) -> None:
    """The error is that of who starts it, though another process tried."""
    with pytest.raises(ServiceError, match='"missing-tool" is not there') as caught:
        start(job, run_of(job.load("services: {a: {build: ., command: missing-tool}}")))
    assert caught.value.exit_code == 127
    files = {"tool": "no program of any kind"}
    project = job.load("services: {a: {build: ., command: /app/tool}}", files)
    (job.folder / "tool").chmod(0o755)
    if job.engine.bubblewrap is None and sys.platform != "win32":  # the sandbox itself starts
        with pytest.raises(ServiceError, match="cannot be started") as caught:
            start(job, run_of(project))
        assert caught.value.exit_code == 126
    assert not another(job).find(nameless(job), ended=True) or job.engine.bubblewrap is not None


def test_its_variables_and_who_can_see_them(job: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another engine reads them from the process; no file and no command line holds a value."""
    monkeypatch.setenv("TOKEN", "s3cr3t-of-detached")
    project = job.load(JOB % ", environment: {TOKEN: }", {"job.py": "import time; time.sleep(60)"})
    handle = start(job, run_of(project))
    assert (another(job).environment(handle) or {})["TOKEN"] == "s3cr3t-of-detached"
    for process in psutil.process_iter(["cmdline"]):
        assert "s3cr3t-of-detached" not in " ".join(process.info["cmdline"] or ())
    for path in job.engine.paths.data.rglob("*"):
        assert not path.is_file() or b"s3cr3t-of-detached" not in path.read_bytes(), path
    job.engine.stop(handle, grace=0)


@ONE_WAY
def test_needs_by_time(both: Bench) -> None:
    """What a detached run needs grows, holds until its time is over or its last turn, which any process may take."""
    project = both.load("services: {a: {build: ., command: x}, b: {build: ., command: x}, c: {build: ., command: x}}")
    watching = Run("other", nameless(both))

    def needed() -> frozenset[str]:
        with another(both).turn(watching, lambda: False, last=True) as found:
            return found

    for services in (("a",), ("b",)):
        with another(both).turn(Run("servers", project, services, Detached()), lambda: False) as found:
            assert not found
    with another(both).turn(Run("brief", project, ("c",), Detached(time.time() + 0.5)), lambda: False):
        pass
    assert needed() == {"a", "b", "c"}
    time.sleep(0.6)
    assert needed() == {"a", "b"}
    last = Run("servers", project, ("a", "b"), Detached())
    with pytest.raises(ZeroDivisionError), another(both).turn(last, lambda: False, last=True):
        _ = 1 / 0
    assert needed() == {"a", "b"}
    for _ in range(2):
        with another(both).turn(last, lambda: False, last=True) as found:
            assert not found
    assert not needed()
    assert not (both.engine.paths.runs("bench") / "other").exists()


@ONE_WAY
def test_who_attends(both: Bench) -> None:
    """While it is attended, what a run needs is needed; its own attention is not another's."""
    project = both.load("services: {a: {build: ., command: x}, s: {build: ., command: x}}")
    run = Run("airflow-1", project, ("a", "s"), Detached())
    watching = Run("other", nameless(both))
    with both.engine.attend(run), both.engine.attend(Run("airflow-1", nameless(both))):
        with another(both).turn(watching, lambda: False, last=True) as found:
            assert found == {"a", "s"}
        assert not both.engine._directories(project).attended("airflow-1")
    with another(both).turn(watching, lambda: False, last=True) as found:
        assert not found


@ONE_WAY
def test_the_guard_is_one(both: Bench, tmp_path: Path) -> None:
    """Many ask at once and one is started; when it has ended, the next one who asks starts another."""
    began = tmp_path / "began"
    code = f"import os, time; open({str(began)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    engines = [another(both) for _ in range(5)]
    threads = [threading.Thread(target=each.guard, args=(nameless(both), ("-c", code))) for each in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: began.exists() and began.read_text().endswith("\n"))
    [child] = map(int, began.read_text().split())
    assert len(left_behind(str(began))) == 1
    if sys.platform != "win32":
        assert os.getsid(child) == child
    guard = psutil.Process(child)
    guard.kill()
    guard.wait(10)
    engines[0].guard(nameless(both), ("-c", code))
    wait_for(lambda: began.read_text().count("\n") == 2)
    psutil.Process(int(began.read_text().split()[1])).kill()


def test_records_are_kept_while_they_are_waited_for(job: Bench) -> None:
    """Runs come and go by the dozen: an end that nobody has asked for is not lost, logs of the others go."""
    project = job.load(JOB % "", {"job.py": "pass"})
    folder = job.engine.paths.runs("bench")
    handles = [start(job, run_of(project, f"airflow-{number}")) for number in range(6)]
    for handle in handles:
        assert job.engine.wait(handle, timeout=20).code == 0
    for handle in handles[1:]:
        job.engine.discard(handle)
    for number in range(6):
        os.utime(folder / f"airflow-{number}", (time.time() - 100 + number, time.time() - 100 + number))
    with another(job).attend(run_of(project, "airflow-new")):
        kept = {path.name for path in folder.iterdir() if path.is_dir()}
    assert "airflow-0" in kept and "airflow-1" not in kept and len(kept) == 6
    [found] = another(job).find(nameless(job), ended=True)
    assert found.run == "airflow-0" and another(job).status(found).state is State.EXITED


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process name spaces")
def test_the_process_of_another_container(job: Bench) -> None:
    """Its id says nothing here: it is neither found nor said to have ended, and who asks is told why."""
    handle = start(job, run_of(job.load(JOB % "", {"job.py": "import time; time.sleep(60)"})))
    file = Path(handle.data["directory"]) / "status.json"
    record = file.read_text()
    space = json.loads(record)["space"]
    assert space.endswith("]")
    file.write_text(record.replace(space, f"{space.partition(' ')[0]} pid:[1]"))
    other = another(job)
    assert not other.find(nameless(job), ended=True) and other.ended([handle]) == []
    with pytest.raises(EngineError, match="another container"):
        other.status(handle)
    assert other.environment(handle) is None
    file.write_text(json.dumps({**json.loads(record), "of another version": 1}))
    assert not another(job).find(nameless(job), ended=True)  # what nobody can read is no record
    file.write_text(record)
    other.stop(handle, grace=0)


@ONE_WAY
def test_what_has_ended_is_forgotten(job: Bench) -> None:
    """A triggerer and a reaper see the jobs of weeks: once one has ended, its record on disk is all there is of it."""
    project = job.load(JOB % "", {"job.py": "import time; print('up', flush=True); time.sleep(60)"})
    other = another(job)
    handles = [start(job, run_of(project, f"week-{number}")) for number in range(2)]
    assert len(other.find(nameless(job))) == len(other.find(project)) == 2
    for handle in handles:
        assert next(other.logs(handle, follow=True)).text == "up"
        job.engine.stop(handle, grace=0)
    for engine in (other, job.engine):
        assert engine.ended(handles) == handles
        assert len(engine.find(nameless(job), ended=True)) == 2
        assert [engine.status(handle).code for handle in handles] == [137, 137]
    known = [each for each in gc.get_objects() if isinstance(each, Started)]
    assert not [each for each in known if each.process.directory.parent.name.startswith("week-")]


@ONE_WAY
def test_a_keeper_that_is_warned(job: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python itself says at the keeper's start is no answer."""
    project = job.load(JOB % "", {"job.py": "print('up')"})
    job.engine.prepare(project.services["a"], run_of(project))
    monkeypatch.setenv("PYTHONWARNINGS", "nonsense")  # "Invalid -W option ignored"
    handle = job.engine.start(project.services["a"], run_of(project))
    assert job.engine.wait(handle, timeout=20).code == 0
    missing = job.load("services: {a: {build: ., command: missing}}\n", {})
    with pytest.raises(ServiceError, match="missing"):
        start(job, run_of(missing, "airflow-2"))
