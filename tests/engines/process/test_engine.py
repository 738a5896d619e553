"""The process engine as its container would be: paths, user, hosts, mounts, files of the image; both ways."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from gigogne.core.engine import Handle, Line, State
from gigogne.core.model import Project
from gigogne.engines.process.engine import ProcessEngine
from gigogne.errors import ComposeError, EngineError, ServiceError

from .conftest import DOCKERFILE, Bench


def test_paths_user_and_hosts_are_the_containers(sandbox: Bench) -> None:
    """The working directory, the uid with its name and home, the host name, and the servers' names."""
    code = (
        "import os, pwd, socket; print(os.getcwd(), os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name, "
        "os.environ['HOME'], socket.gethostname(), socket.gethostbyname('db').startswith('127.'), "
        "socket.gethostbyname('given'))"
    )
    dockerfile = "FROM python:3.12-slim\nRUN useradd --uid 1234 --create-home mluser\nWORKDIR /srv/work\nUSER mluser\n"
    extra = (
        "    hostname: me\n    extra_hosts: ['given=10.1.2.3']\n"
        "  db: {image: 'postgres:17', healthcheck: {test: [CMD, pg_isready]}}\n"
    )
    said = sandbox.python(code, extra, {"Dockerfile": dockerfile})
    assert said == "/srv/work 1234 1234 mluser /home/mluser me True 10.1.2.3"


def test_user_of_compose_overrules(sandbox: Bench) -> None:
    """`user:` takes numbers, a number with a group, and a name of the image; an unknown one is refused."""
    code = "import os; print(os.getuid(), os.getgid())"
    assert sandbox.python(code, "    user: '4321'\n") == "4321 0"
    assert sandbox.python(code, "    user: '4321:99'\n") == "4321 99"
    assert sandbox.python(code, "    user: root\n") == "0 0"
    with pytest.raises(ComposeError, match="user: nobody-knows"):
        sandbox.python(code, "    user: nobody-knows\n")


def test_users_of_the_image_have_its_homes(sandbox: Bench) -> None:
    """HOME and the group are those of the image's user, whether `user:` names him or gives his number."""
    code = "import os, pwd; e = pwd.getpwuid(os.getuid()); print(e.pw_name, os.getgid(), os.environ['HOME'], e.pw_dir)"
    assert sandbox.python(code, "    user: nobody\n") == "nobody 65534 /nonexistent /nonexistent"
    assert sandbox.python(code, "    user: '33'\n") == "www-data 33 /var/www /var/www"
    assert sandbox.python(code, "    user: daemon:users\n") == "daemon 100 /usr/sbin /usr/sbin"
    assert sandbox.python("import os; print(os.path.exists(os.environ['HOME']))", "    user: nobody\n") == "False"
    project = sandbox.load("services: {a: {build: ., user: nobody-knows}, b: {build: ., user: root}}")
    [problem] = [each for each in sandbox.engine.check(project, ["a", "b"]) if each.fatal]
    assert problem.where == "services.a.user" and problem.wrong and "www-data" in problem.hint


def test_the_machine_is_read_only_and_the_shell_is_out_of_reach(sandbox: Bench, tmp_path: Path) -> None:
    """What is not the service's cannot be written, other users' files cannot be seen, processes neither."""
    code = (
        "import os\n"
        "try: open('/usr/x', 'w')\nexcept OSError as e: print('usr', type(e).__name__)\n"
        f"print(os.path.exists({str(tmp_path)!r}), len([p for p in os.listdir('/proc') if p.isdigit()]) < 4)\n"
        "open('/tmp/x', 'w'); open('/dev/shm/x', 'w'); open('/anything', 'w'); print('x' in os.listdir('/tmp'))"
    )
    said = sandbox.python(code)
    assert said.splitlines()[0] in ("usr OSError", "usr PermissionError")
    assert said.splitlines()[1:] == ["False True", "True"]


def test_mounts(bench: Bench) -> None:
    """Binds, a read-only one, a file, a volume inside a bind, a tmpfs, and what is written where it belongs."""
    (bench.folder / "in" / "deep").mkdir(parents=True)
    (bench.folder / "in" / "file.txt").write_text("text")
    code = (
        "import os\n"
        "e = os.environ\n"
        "print(open(e['F']).read(), open(e['I'] + '/file.txt').read())\n"
        "open(e['I'] + '/new', 'w').close(); open(e['V'] + '/vol', 'w').close(); open(e['T'] + '/gone', 'w').close()\n"
        "try: open(e['R'] + '/no', 'w')\nexcept OSError: print('read only')\n"
    )
    compose = (
        "    environment: {F: /one/file, I: /in, V: /in/deep, T: /scratch, R: /ro}\n"
        "    volumes: ['./in/file.txt:/one/file:ro', './in:/in', 'data:/in/deep', './in:/ro:ro']\n"
        "    tmpfs: [/scratch]\n"
        "volumes: {data: {}}\n"
    )
    said = bench.python(code, compose)
    assert said.startswith("text text")
    if bench.engine.bubblewrap is not None:
        assert said.endswith("read only")
    assert (bench.folder / "in" / "new").exists() and (bench.engine.paths.volume("bench_data") / "vol").exists()
    assert not list(bench.folder.rglob("vol")) and not list(bench.engine.paths.data.rglob("gone"))


def test_a_missing_bind_source_is_refused(bench: Bench) -> None:
    """Docker makes an empty directory; here it is a problem before the start, and nothing is made."""
    project = bench.load("services: {a: {build: ., command: 'true', volumes: ['./nope:/x']}}")
    problems = [problem for problem in bench.engine.check(project, tuple(project.services)) if problem.fatal]
    assert len(problems) == 1 and "mkdir -p" in problems[0].hint
    with pytest.raises(ComposeError, match="does not exist"):
        bench.start(project)
    assert not (bench.folder / "nope").exists()


def test_files_of_the_image_are_where_they_were_copied(bench: Bench) -> None:
    """Programs in /usr/local/bin, files in /etc and at the root, a script beside the code that is executable."""
    if bench.engine.bubblewrap is not None and not bench.engine.bubblewrap.overlay:
        pytest.skip("the image copies into /usr, which is refused without an overlay (tested below)")
    dockerfile = (
        "FROM python:3.12-slim\nWORKDIR /app\n"
        "COPY tool /usr/local/bin/tool\nCOPY conf /etc/my.conf\nCOPY conf /top.txt\n"
        'ENV CONF=/etc/my.conf TOP=/top.txt\nENTRYPOINT ["tool"]\nCMD ["one", "two"]\n'
    )
    tool = (
        "#!/usr/bin/env python3\nimport os, sys\n"
        "print(sys.argv[1:], open(os.environ['CONF']).read(), open(os.environ['TOP']).read())\n"
    )
    project = bench.load("services: {a: {build: .}}", {"Dockerfile": dockerfile, "conf": "c", "tool": tool})
    (bench.folder / "tool").chmod(0o755)
    handle = bench.start(project)
    assert [line.text for line in bench.lines(handle)] == ["['one', 'two'] c c"]


def test_without_an_overlay_files_in_usr_are_refused(bench: Bench) -> None:
    """Where the kernel lays no overlay, an image that copies into /usr is an error that says what to do."""
    if bench.engine.bubblewrap is None or bench.engine.bubblewrap.overlay:
        pytest.skip("there is an overlay, or no sandbox")
    project = bench.load(
        "services: {a: {build: ., command: x}}", {"Dockerfile": f"{DOCKERFILE}COPY x /usr/local/bin/x\n", "x": ""}
    )
    with pytest.raises(EngineError, match="no overlay") as caught:
        bench.start(project)
    assert "GIGOGNE_PROCESS=portable" in caught.value.hint


@pytest.mark.parametrize(
    ("image", "compose", "expected"),
    [
        ("CMD python -c 'print(1)'", "", "1"),
        ('ENTRYPOINT ["python", "-c"]\nCMD ["print(2)"]', "", "2"),
        ('ENTRYPOINT ["python", "-c"]\nCMD ["print(2)"]', "command: ['print(3)']", "3"),
        ('ENTRYPOINT ["false"]\nCMD ["false"]', "entrypoint: [python, -c, 'print(4)']", "4"),
        ('ENTRYPOINT ["false"]', "entrypoint: []\n    command: [python, -c, 'print(5)']", "5"),
        ("", "command: sh -c 'echo $$((3 + 3))'", "6"),
        ('ENTRYPOINT ["echo"]\nCMD ["7"]', "command: []", "7"),
    ],
)
def test_entrypoint_and_command(bench: Bench, image: str, compose: str, expected: str) -> None:
    """The image's and Compose's, in both forms, combined by Docker's rules."""
    project = bench.load(
        f"services:\n  a:\n    build: .\n    {compose}\n", {"Dockerfile": f"FROM python:3.12-slim\n{image}\n"}
    )
    assert [line.text for line in bench.lines(bench.start(project))] == [expected]


def test_no_command_and_no_program(bench: Bench) -> None:
    """A program that is not there is known before the start, with Docker's 127."""
    with pytest.raises(ServiceError, match='"missing-tool" is not there') as caught:
        bench.start(bench.load("services: {a: {build: ., command: missing-tool}}"))
    assert caught.value.exit_code == 127


def test_a_file_that_cannot_be_executed(bench: Bench) -> None:
    """Named by its path it is Docker's 126; in a directory of PATH it is passed over, as a shell does."""
    files = {"tool": "#!/bin/sh\necho never\n"}
    with pytest.raises(ServiceError, match='"/app/tool" cannot be executed') as caught:
        bench.start(bench.load("services: {a: {build: ., command: /app/tool}}", files))
    assert caught.value.exit_code == 126 and "chmod +x" in caught.value.hint
    with pytest.raises(ServiceError, match='tool" cannot be executed'):
        bench.start(bench.load("services: {a: {build: ., command: ./tool}}"))
    searched = "services: {a: {build: ., command: tool, environment: {PATH: '/app:/usr/bin:/bin'}}}"
    with pytest.raises(ServiceError, match='"tool" is not there') as caught:
        bench.start(bench.load(searched))
    assert caught.value.exit_code == 127


def test_output_is_kept_apart(bench: Bench) -> None:
    """What goes to stdout and what goes to stderr are two streams."""
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    project = bench.load(f"services:\n  a:\n    build: .\n    command: {json.dumps(['python', '-c', code])}\n")
    assert set(bench.lines(bench.start(project))) == {Line("stdout", "out"), Line("stderr", "err")}


# In short naps: a signal that comes just before Python goes to sleep is heard after it.
SLEEPER = "import signal, sys, time\n{handler}\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)\n"


def sleeping(bench: Bench, handler: str, compose: str = "") -> Handle:
    """A service that sleeps, started and ready."""
    text = f"services:\n  a:\n    build: .\n    command: [python, sleeper.py]\n{compose}"
    handle = bench.start(bench.load(text, {"sleeper.py": SLEEPER.format(handler=handler)}))
    assert next(iter(bench.engine.logs(handle, follow=True))).text == "ready"
    return handle


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["", "SIGINT", "USR1", "12"])
def test_stop_sends_the_stop_signal(bench: Bench, name: str) -> None:
    """SIGTERM or what `stop_signal` names, by name or number; a service that obeys ends with its own code."""
    number = {"": signal.SIGTERM, "SIGINT": signal.SIGINT, "USR1": signal.SIGUSR1, "12": signal.Signals(12)}[name]
    compose = f"    stop_signal: '{name}'\n" if name else ""
    handle = sleeping(bench, f"signal.signal({int(number)}, lambda *_: sys.exit(33))", compose)
    bench.engine.stop(handle, grace=10)
    assert bench.engine.status(handle).code == 33
    bench.engine.stop(handle, grace=10)  # safe to call twice


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_stop_kills_what_does_not_listen(bench: Bench) -> None:
    """After the grace period it is killed, with its children; its code is 137."""
    handler = (
        "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    )
    handle = sleeping(bench, handler)
    began = time.monotonic()
    bench.engine.stop(handle, grace=0.5)
    assert bench.engine.status(handle).code == 137 and time.monotonic() - began < 10
    assert not bench.engine.find(Project("bench", bench.folder, (), {}))


def test_another_engine_finds_waits_and_stops(bench: Bench) -> None:
    """What one Gigogne started another one sees, reads and ends: state is observed, not remembered."""
    handle = sleeping(bench, "")
    other = ProcessEngine(bench.engine.paths, bench.engine.bubblewrap, lambda _service, _text: None)
    found = other.find(Project("bench", bench.folder, (), {}))
    assert [(h.service, h.run, h.data["orphan"]) for h in found] == [("a", handle.run, False)]
    assert json.loads(json.dumps(found[0].as_dict()))["service"] == "a"
    assert other.status(found[0]).state is State.RUNNING
    assert [line.text for line in other.logs(found[0], follow=False)] == ["ready"]
    other.stop(found[0], grace=0.2)
    assert other.status(found[0]).state is State.EXITED
    # Process 1 of a sandbox is deaf to signals that it does not handle, as in Docker; a plain process is not.
    assert bench.engine.wait(handle, timeout=5).code == (143 if bench.engine.bubblewrap is None else 137)


def test_cancel_spares_what_the_program_itself_has_started(bench: Bench) -> None:
    """A host of the engine (a worker of Airflow, a test run) has children too; what makes a service ready ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        silent.settimeout(60)
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        dockerfile = f"FROM python:3.12-slim\nRUN pip install --index-url {index} {uuid4().hex}\n"
        project = bench.load("services: {a: {build: ., command: python -V}}\n", {"Dockerfile": dockerfile})
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
            starting = pool.submit(bench.start, project)
            asked, _ = silent.accept()
            with asked:
                bench.engine.cancel()
                with pytest.raises(EngineError):
                    starting.result(10)
            assert other.poll() is None
            other.kill()


def test_nothing_is_left_of_a_job_but_its_logs(bench: Bench) -> None:
    """Copies, temporary files and anonymous volumes go with the job."""
    bench.python("open('junk', 'w'); print('x')", "    volumes: ['/anonymous']\n", {"big.bin": "x" * 1000})
    left = {path.name for path in bench.engine.paths.data.rglob("*") if path.is_file()}
    kept = {
        "stdout.log",
        "stderr.log",
        "stdout.times",
        "stderr.times",
        "status.json",
        "code",
        "bwrap.json",
        "directories.lock",
    }
    assert left <= kept


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="shows the modes that root would leave")
def test_no_value_reaches_a_command_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of the environment is in the job's environment alone: not in any command line, not in any file."""
    monkeypatch.setenv("TOKEN", "s3cr3t-value")
    handle = sleeping(bench, "", "    environment: {TOKEN: }\n")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            assert b"s3cr3t-value" not in (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    for path in bench.engine.paths.data.rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode):
            assert b"s3cr3t-value" not in path.read_bytes()
    bench.engine.stop(handle, grace=0)


@pytest.mark.parametrize(
    ("test", "state"),
    [
        ('["CMD", "python", "-c", "import os; assert os.path.exists(\'mark\')"]', State.HEALTHY),
        ("test -f mark", State.HEALTHY),
        ('["CMD", "false"]', State.UNHEALTHY),
    ],
)
def test_health_is_looked_at_inside(bench: Bench, test: str, state: State) -> None:
    """The check runs where the service runs: it sees a file that the service wrote beside its code."""
    compose = f"    healthcheck: {{test: {test}, interval: 0.2s, retries: 2}}\n"
    handle = sleeping(bench, "open('mark', 'w')", compose)
    deadline = time.monotonic() + 10
    while bench.engine.status(handle).state is State.STARTING and time.monotonic() < deadline:
        time.sleep(0.05)
    assert bench.engine.status(handle).state is state
    bench.engine.stop(handle, grace=0)
