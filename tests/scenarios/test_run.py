"""`gigogne run` on small real projects, both ways: what runs, in which order, with which code, and what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import Workspace

Maker = Callable[[str, Mapping[str, str]], Workspace]
pytestmark = pytest.mark.usefixtures("way")


def events(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The events that `--json` printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def outcome(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Service → verdict, from the summary of `--json`."""
    return {service["service"]: service["result"] for service in events(result)[-1]["services"]}


def left_behind(marker: str) -> list[str]:
    """Processes that carry `marker` in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and marker in " ".join(process.cmdline()):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


CHAIN = """
name: chain
services:
  make:
    build: .
    command: [python, make.py]
    environment: {TARGET: /data/out.txt}
    volumes: ["data:/data"]
  show:
    build: .
    command: python show.py
    environment: {SOURCE: /data/out.txt}
    volumes: ["data:/data:ro"]
    depends_on: {make: {condition: service_completed_successfully}}
volumes: {data: {}}
"""
MODULES = {
    "make.py": "import os; open(os.environ['TARGET'], 'w').write('hello'); open('private.txt', 'w'); print('made')",
    "show.py": "import os; print('got', open(os.environ['SOURCE']).read())",
}


def test_a_volume_carries_from_one_job_to_the_next(python_project: Maker) -> None:
    """What a job writes to a named volume the next one reads; the run says what was written and where."""
    workspace = python_project(CHAIN, MODULES)
    result = workspace.run("run")
    assert result.returncode == 0, result.stderr
    assert "| got hello" in result.stdout and "2 of 2 jobs succeeded" in result.stdout
    assert (workspace.volume("chain_data") / "out.txt").read_text() == "hello"
    assert str(workspace.volume("chain_data")) in result.stdout


def test_writes_do_not_touch_the_source_tree(python_project: Maker) -> None:
    """A job that writes beside its code writes to a layer of its own, gone after the run."""
    workspace = python_project(CHAIN, MODULES)
    before = sorted(path.name for path in workspace.folder.iterdir())
    assert workspace.run("run").returncode == 0 and workspace.run("run").returncode == 0
    assert sorted(path.name for path in workspace.folder.iterdir()) == before
    assert not list(Path(workspace.environment["GIGOGNE_DATA_DIR"]).rglob("private.txt"))


def test_the_environment_is_clean(python_project: Maker) -> None:
    """A module gets what the image and Compose say and nothing of the caller's shell."""
    code = "import os, json; print(json.dumps({k: v for k, v in os.environ.items()}))"
    compose = f"""
    name: env
    services:
      a:
        build: .
        command: ["python", "-c", {json.dumps(code)}]
        environment: {{GIVEN: "1 $$x", PASSED: }}
    """
    workspace = python_project(compose, {})
    result = workspace.run("run", "--json", PASSED="through", LEAK="secret")
    seen = json.loads(next(e["text"] for e in events(result) if e["event"] == "output"))
    assert (seen["GIVEN"], seen["PASSED"], seen["HOSTNAME"]) == ("1 $x", "through", "a")
    assert "LEAK" not in seen and "VIRTUAL_ENV" not in seen and "GIGOGNE_DATA_DIR" not in seen


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ('["python", "-c", "raise SystemExit(3)"]', 3),
        ('["python", "-c", "import os; os.kill(os.getpid(), 9) or os._exit(137)"]', 137),
        ('["no-such-program"]', 127),
        ("sh -c 'exit 42'", 42),
    ],
)
def test_the_exit_code_is_the_jobs(python_project: Maker, command: str, code: int) -> None:
    """The command ends with the failing job's own code, as Docker would say it."""
    compose = f"name: codes\nservices:\n  a:\n    build: .\n    command: {command}\n"
    result = python_project(compose, {}).run("run", "--json")
    assert result.returncode == code, result.stdout + result.stderr
    assert outcome(result) == {"a": "failed"}


FAILING = """
name: failing
services:
  bad: {build: ., command: ["python", "-c", "raise SystemExit(7)"]}
  after:
    build: .
    command: ["python", "-c", "print('never')"]
    depends_on: {bad: {condition: service_completed_successfully}}
  slow: {build: ., command: ["python", "-c", "import time; time.sleep(1.5); print('finished')"]}
  later:
    build: .
    command: ["python", "-c", "print('then')"]
    depends_on: {slow: {condition: service_completed_successfully}}
"""


def test_a_failure_stops_the_rest(python_project: Maker) -> None:
    """The first failure decides the code; what depended on it is reported as not run, what runs is stopped."""
    result = python_project(FAILING, {}).run("run", "--json", "--jobs", "4")
    assert result.returncode == 7
    assert outcome(result) == {"bad": "failed", "after": "not run", "slow": "stopped", "later": "not run"}


def test_keep_going_finishes_what_is_independent(python_project: Maker) -> None:
    """With --keep-going only what depended on the failed job is not run."""
    result = python_project(FAILING, {}).run("run", "--json", "--keep-going", "--jobs", "4")
    assert result.returncode == 7
    assert outcome(result) == {"bad": "failed", "after": "not run", "slow": "succeeded", "later": "succeeded"}


def test_jobs_run_side_by_side_up_to_a_bound(python_project: Maker) -> None:
    """--jobs 2 runs two at a time, never three; --jobs 1 one after the other."""
    code = "import time; print('in', time.time()); time.sleep(0.6); print('out', time.time())"
    services = "\n".join(f'  s{n}: {{build: ., command: ["python", "-c", "{code}"]}}' for n in range(4))
    workspace = python_project(f"name: wide\nservices:\n{services}\n", {})
    for bound in (1, 2):
        said = [
            e["text"].split()
            for e in events(workspace.run("run", "--json", "-j", str(bound)))
            if e["event"] == "output"
        ]
        moments = sorted((float(stamp), 1 if word == "in" else -1) for word, stamp in said)
        level = peak = 0
        for _, change in moments:
            level += change
            peak = max(peak, level)
        assert peak == bound


def test_a_slow_dependency_leaves_its_siblings_alone(python_project: Maker, way: str) -> None:
    """A one-shot dependency of 14 s: Compose's `up --exit-code-from` kills it when a sibling ends, and hangs."""
    if way == "sandbox":
        pytest.skip("once is enough: who waits for whom does not depend on the way")
    compose = """
    name: slow
    services:
      quick: {build: ., command: ["python", "-c", "print('quick')"]}
      slow: {build: ., command: ["python", "-c", "import time; time.sleep(14); print('slow')"]}
      last:
        build: .
        command: ["python", "-c", "print('last'); raise SystemExit(5)"]
        depends_on:
          quick: {condition: service_completed_successfully}
          slow: {condition: service_completed_successfully}
    """
    result = python_project(compose, {}).run("run", "--json")
    assert result.returncode == 5
    assert outcome(result) == {"quick": "succeeded", "slow": "succeeded", "last": "failed"}


SERVER = """
name: served
services:
  server:
    build: .
    command: ["python", "server.py"]
    environment: {ADDRESS: "server:8123", READY: /data/ready}
    expose: ["8123"]
    volumes: ["data:/data"]
    healthcheck: {test: ["CMD", "python", "check.py"], interval: 0.3s, timeout: 5s, retries: 3, start_period: 30s}
    stop_grace_period: 5s
  client:
    build: .
    command: ["python", "client.py"]
    environment: {URL: "http://server:8123/"}
    depends_on: {server: {condition: service_healthy}}
volumes: {data: {}}
"""
SERVER_MODULES = {
    "server.py": """
        import http.server, os, signal, sys, time
        host, port = os.environ["ADDRESS"].split(":")
        def stop(*_):
            print("server said goodbye", flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        time.sleep(0.7)
        server = http.server.HTTPServer((host, int(port)), http.server.SimpleHTTPRequestHandler)
        open(os.environ["READY"], "w").close()
        server.serve_forever()
        """,
    "check.py": "import os, sys; print('looked'); sys.exit(not os.path.exists(os.environ['READY']))",
    "client.py": "import os, urllib.request as r; print('status', r.urlopen(os.environ['URL']).status)",
}


def test_a_job_waits_for_a_healthy_server(python_project: Maker) -> None:
    """The client starts when the health check has passed, reaches the server by its name, and the server is stopped."""
    workspace = python_project(SERVER, SERVER_MODULES)
    result = workspace.run("run", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    names = [
        (e["event"], e["service"]) for e in events(result) if e["event"] in ("healthy", "started", "exited", "stopped")
    ]
    assert names == [
        ("started", "server"),
        ("healthy", "server"),
        ("started", "client"),
        ("exited", "client"),
        ("stopped", "server"),
    ]
    lines = [e["text"] for e in events(result) if e["event"] == "output"]
    assert "status 200" in lines and "server said goodbye" in lines
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_run_uses_a_server_that_is_up(python_project: Maker) -> None:
    """Beside `gigogne up server` a run adopts the server, waits for its health, and leaves it alone."""
    workspace = python_project(SERVER, SERVER_MODULES)
    up = workspace.start("up", "--json", "server")
    assert up.stdout is not None
    assert any('"healthy"' in line for line in iter(up.stdout.readline, ""))
    for _ in range(2):
        result = workspace.run("run", "--json")
        assert result.returncode == 0, result.stdout + result.stderr
        assert any(e["event"] == "started" and e["adopted"] for e in events(result) if e["service"] == "server")
    up.send_signal(signal.SIGINT)
    out, _ = up.communicate(timeout=30)
    assert up.returncode == 130 and "server said goodbye" in out
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_servers_stop_in_reverse_order(python_project: Maker) -> None:
    """What was started last is stopped first; a server that is only to be started is not waited for."""
    compose = """
    name: order
    services:
      base: {build: ., command: sleep infinity, stop_grace_period: 0.2s}
      top:
        build: .
        command: sleep infinity
        stop_grace_period: 0.2s
        healthcheck: {test: "true", interval: 1s}
        depends_on: {base: {condition: service_started}}
      job: {build: ., command: "true", depends_on: {top: {condition: service_healthy}}}
    """
    result = python_project(compose, {}).run("run", "--json")
    assert result.returncode == 0, result.stdout
    seen = [(e["event"], e["service"]) for e in events(result) if e["event"] in ("started", "stopped")]
    assert seen == [("started", n) for n in ("base", "top", "job")] + [("stopped", "top"), ("stopped", "base")]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_second_interrupt_ends_it_at_once(python_project: Maker) -> None:
    """A job that is deaf to its stop signal has its grace period; a second Ctrl-C does not wait for it."""
    deaf = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)\n"
    compose = "name: deaf\nservices: {a: {build: ., command: python deaf.py, stop_grace_period: 5m}}\n"
    workspace = python_project(compose, {"deaf.py": deaf})
    process = workspace.start("run", "--json")
    assert process.stdout is not None
    for event in ("output", "stopping"):
        while json.loads(process.stdout.readline())["event"] != event:
            pass
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130 and not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_an_unhealthy_server_fails_the_run(python_project: Maker) -> None:
    """A health check that never passes: the client is not run, the code is not zero, nothing stays."""
    compose = SERVER.replace("start_period: 30s", "start_period: 0s").replace("check.py", "no-check.py")
    workspace = python_project(compose, SERVER_MODULES)
    result = workspace.run("run", "--json")
    assert result.returncode == 1
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])
    assert outcome(result) == {"server": "failed", "client": "not run"}


def test_a_server_that_ends_early_fails_the_run(python_project: Maker) -> None:
    """A server that exits before it was healthy is named with its code, and its last words were shown."""
    modules = {**SERVER_MODULES, "server.py": "import sys; sys.exit('no database')"}
    result = python_project(SERVER, modules).run("run")
    assert result.returncode == 1
    assert "no database" in result.stdout and "not run: server failed" in result.stdout


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
    time.sleep(600)
except KeyboardInterrupt:
    print("woken")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_nothing(python_project: Maker, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM stop every job, each by its own stop signal, and the code says which it was."""
    mark = f"mark-{tmp_path.name}-{number}"
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
def test_a_killed_supervisor_is_cleaned_up_after(python_project: Maker, tmp_path: Path) -> None:
    """A kill -9 of Gigogne leaves its job running; the next run ends it, says so, and runs its own."""
    mark = f"mark-{tmp_path.name}"
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
def test_down_stops_what_another_run_left(python_project: Maker, tmp_path: Path) -> None:
    """`down` ends orphans, keeps volumes; `down -v` removes them."""
    mark = f"mark-{tmp_path.name}"
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


def test_a_job_that_takes_too_long_is_ended(python_project: Maker, tmp_path: Path) -> None:
    """--job-timeout ends a job, and says so; the code is 124, as timeout(1) gives."""
    mark = f"mark-{tmp_path.name}"
    workspace = python_project(SLEEPERS.replace("MARK", mark), {"sleeper.py": SLEEPER})
    result = workspace.run("run", "two", "--job-timeout", "1")
    assert result.returncode == 124 and "--job-timeout" in result.stdout and not left_behind(mark)


def test_awkward_output_arrives(python_project: Maker) -> None:
    """Invalid UTF-8, no final newline, carriage returns, very long lines: nothing is lost and nothing breaks."""
    code = (
        "import sys; o=sys.stdout.buffer; o.write(b'caf\\xe9\\n'); o.write(b'x'*200000+b'\\n'); o.write(b'a\\r\\n');"
        "o.write('é→'.encode()+b'\\n'); o.write(b'no newline'); print('err', file=sys.stderr)"
    )
    result = python_project(
        "name: awkward\nservices: {a: {build: ., command: [python, say.py]}}", {"say.py": code}
    ).run("run", "--json")
    said = [e for e in events(result) if e["event"] == "output"]
    out = [e["text"] for e in said if e["stream"] == "stdout"]
    assert out[0] == "caf�" and "".join(out[1:-3]) == "x" * 200000 and out[-3:] == ["a", "é→", "no newline"]
    assert [e["text"] for e in said if e["stream"] == "stderr"] == ["err"]


def test_spaces_and_accents_in_the_path(python_project: Maker, workspace: Workspace, tmp_path: Path) -> None:
    """A project in a folder with spaces and accents runs like any other."""
    workspace.folder = tmp_path / "mon projet été"
    workspace.folder.mkdir()
    workspace.environment["GIGOGNE_DATA_DIR"] += "/mes données"
    result = python_project(CHAIN, MODULES).run("run")
    assert result.returncode == 0 and "| got hello" in result.stdout, result.stderr


def test_what_cannot_work_is_said_before_anything_starts(python_project: Maker) -> None:
    """Every problem at once, each with key and cure; no job has started; exit code 3. `check` says the same with 1."""
    compose = """
    name: wrong
    services:
      a: {build: ., command: "true"}
      b: {image: "oracle/thing:1", depends_on: {a: {condition: service_completed_successfully}}}
      c: {build: ., command: "true", privileged: true, volumes: ["./missing:/x"]}
    """
    workspace = python_project(compose, {})
    result = workspace.run("run")
    assert result.returncode == 3 and "started" not in result.stdout
    for words in ("services.b.image", "services.c.privileged", "missing does not exist"):
        assert words in result.stderr.replace("\n", " ")
    checked = workspace.run("check")
    assert checked.returncode == 1 and "3 problems" in checked.stdout
    assert not (workspace.folder / "missing").exists()
