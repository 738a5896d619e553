"""`gigogne run` on small real projects, both ways: what runs, in which order, with which code, what is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Workspace
from tests.scenarios.observe import Maker, events, outcome

pytestmark = pytest.mark.usefixtures("way")

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


def test_the_summary_says_why(python_project: Maker) -> None:
    """The line of a failed job ends with the last that it said on stderr."""
    code = "import sys; print('working'); sys.exit('error: no such bucket')"
    result = python_project("name: why\nservices: {a: {build: ., command: python a.py}}", {"a.py": code}).run("run")
    assert result.returncode == 1
    assert any(line.startswith("a  failed (1)") and "no such bucket" in line for line in result.stdout.splitlines())


SPOOL = """
name: spool
services:
  a: {build: ., command: python a.py, environment: {TARGET: /full/rows}, volumes: ["full:/full", "empty:/empty"]}
volumes: {full: {}, empty: {}}
"""


def test_the_summary_leaves_out_empty_volumes(python_project: Maker) -> None:
    """For people it lists what was written; `--json` has every directory that could be."""
    workspace = python_project(SPOOL, {"a.py": "import os; open(os.environ['TARGET'], 'w').write('1')"})
    shown = workspace.run("run").stdout.splitlines()
    assert any(line.startswith("full ") and "1 new" in line and "1 file, 1 B" in line for line in shown)
    assert not any(line.startswith("empty ") for line in shown)
    written = json.loads(workspace.run("run", "--json").stdout.splitlines()[-1])["written"]
    assert {each["name"]: each["files"] for each in written} == {"full": 1, "empty": 0}


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


def test_a_script_of_the_working_directory(workspace: Workspace) -> None:
    """`CMD ["./run.sh"]` is the script beside the code, in whatever directory WORKDIR says."""
    dockerfile = 'FROM python:3.12-slim\nWORKDIR /srv\nCOPY run.sh .\nRUN chmod +x run.sh\nCMD ["./run.sh", "there"]\n'
    compose = "services: {a: {build: .}, b: {build: ., entrypoint: [./run.sh], command: [here]}}\n"
    workspace.write({"docker-compose.yml": compose, "Dockerfile": dockerfile, "run.sh": "#!/bin/sh\necho ran $1\n"})
    result = workspace.run("run")
    assert result.returncode == 0 and "ran there" in result.stdout and "ran here" in result.stdout, result.stderr


def test_relative_paths_stay_in_the_image(workspace: Workspace, tmp_path: Path) -> None:
    """Without a WORKDIR, or in one of the system's, code runs and writes in the image, never in this machine's own."""
    code = "import os; open('gigogne-was-here.txt', 'w').write('x'); print(sorted(os.listdir('.'))[-1:])"
    compose = f"""
    services:
      root: {{build: ., command: [python, main.py]}}
      tmp: {{image: "python:3.12-slim", working_dir: /opt, command: ["python", "-c", {json.dumps(code)}]}}
    """
    workspace.write(
        {"docker-compose.yml": compose, "Dockerfile": "FROM python:3.12\nCOPY main.py .\n", "main.py": code}
    )
    result = workspace.run("run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert not any(Path(place, "gigogne-was-here.txt").exists() for place in ("/", "/opt", "/tmp"))


def test_a_pattern_may_fit_nothing(python_project: Maker) -> None:
    """`COPY pyproject.toml poetry.lock* ./`: no lock file is no error, as in BuildKit; a plain name is one."""
    workspace = python_project("services: {a: {build: ., command: ls}}\n", {"pyproject.toml": ""})
    workspace.write({"Dockerfile": "FROM python:3.12-slim\nWORKDIR /app\nCOPY pyproject.toml poetry.lock* ./\n"})
    result = workspace.run("run")
    assert result.returncode == 0 and "| pyproject.toml" in result.stdout, result.stderr
