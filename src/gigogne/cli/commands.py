"""The commands. Each loads the project, plans, and hands the plan on; `main` is the one place of exit codes."""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

import gigogne
from gigogne.choice import ENGINES
from gigogne.cli.console import Printer
from gigogne.cli.images import images
from gigogne.cli.nest import nest
from gigogne.cli.options import Common, common_options, pipeline_option
from gigogne.cli.reap import reap
from gigogne.compose import load_project
from gigogne.compose.selection import select
from gigogne.core.plan import make_plan
from gigogne.errors import EngineError, GigogneError

if TYPE_CHECKING:
    from gigogne.cli.session import Session

__all__ = ["main"]

_RUN_EXAMPLES = """\b
Examples:
  gigogne run                          the project's main jobs (x-gigogne.run), or all
  gigogne run extractor_sql            one job, with what it depends on
  gigogne run --pipeline catalog       the jobs of a pipeline (x-gigogne.pipelines)
  gigogne -f docker-compose-fraud.yml run --keep-going
  SEED=7 gigogne run                   variables come from the shell, as in Compose
"""
_UP_EXAMPLES = """\b
Examples:
  gigogne up                           every server of the project, until Ctrl-C
  gigogne up postgres minio            these, to look at what a run wrote
  gigogne up --pipeline catalog        those that the jobs of a pipeline need
"""
_DOWN_EXAMPLES = """\b
Examples:
  gigogne down                         stop what runs, remove logs
  gigogne down -v                      and the named volumes: the data is gone
"""
_EXPLAIN_EXAMPLES = """\b
Examples:
  gigogne explain extractor_sql        each variable: value (masked), where from, what it overrode
  gigogne explain api --json           each mount too: the chain of paths from this machine to the module
  gigogne explain extractor_sql --airflow --dag dags/fraud.py      as the task gets them, in Airflow
"""
_DOCTOR_EXAMPLES = """\b
Examples:
  gigogne doctor                       what is here, what is missing, what to type
  gigogne doctor --json                one finding a line, for a report
"""
_PS_EXAMPLES = """\b
Examples:
  gigogne ps                           what runs, and where it is reached
  gigogne ps -a                        and what ran last, with its exit code
"""
_LOGS_EXAMPLES = """\b
Examples:
  gigogne logs                         what the last run of each service said
  gigogne logs -f --tail 20 postgres   the last lines, and what comes
  gigogne logs --since 10m
"""
_CHECK_EXAMPLES = """\b
Examples:
  gigogne check                        exit code 0: it can run here, with all its pipelines; 1: it cannot
  gigogne check --pipeline catalog     one pipeline, with what it depends on
  gigogne check --json                 one problem a line
"""
_PLAN_EXAMPLES = """\b
Examples:
  gigogne plan                         what `gigogne run` would do, and why
  gigogne plan extractor_sql --format mermaid
  gigogne plan --pipeline catalog      a pipeline, with the edges that its file adds
"""


_EXAMPLES = """\b
Examples:
  gigogne check        what of the files cannot work here, before anything starts
  gigogne plan         what would be done, in which order, and why
  gigogne run          run the jobs to their end, with the servers they need
"""


def _words_of_compose(*words: str) -> Callable[[Any], Any]:
    """Options that fingers type after `docker compose`, and that ask for what is done here anyway."""
    return click.option(*words, "_as_always", is_flag=True, hidden=True, expose_value=False)


class _InOrder(click.Group):
    """Commands in the order in which people need them, which is that of this module."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True, epilog=_EXAMPLES
)
@click.version_option(gigogne.__version__, prog_name="gigogne")
@common_options()
def cli(_common: Common) -> None:
    """Run your Compose files, unchanged: in Docker, or with no Docker."""


@cli.command(epilog=_RUN_EXAMPLES)
@common_options()
@pipeline_option
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many jobs run side by side.  [default: processors]")
@click.option("--keep-going", "-k", is_flag=True, help="After a failure, finish what does not depend on it.")
@click.option(
    "--job-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="End a job after this time."
)
@click.option("--json", "as_json", is_flag=True, help="Events instead of text, one JSON object a line.")
@click.option("--build", is_flag=True, help="Build images anew, with Docker; else only those that are missing.")
@click.option("--keep", is_flag=True, help="Keep the containers of jobs that failed, for a look.")
@_words_of_compose("--rm", "--quiet-pull", "-T", "--no-TTY")
def run(
    common: Common,
    services: tuple[str, ...],
    pipelines: tuple[str, ...],
    jobs: int | None,
    keep_going: bool,
    job_timeout: float | None,
    as_json: bool,
    build: bool,
    keep: bool,
) -> int:
    """Run jobs to their end, with the servers they need.

    The exit code is that of the first job that failed. Ctrl-C stops everything; a second one at once.
    """
    session = _session(common, Printer(as_json=as_json), services, pipelines, listed=True, build=build, keep=keep)
    plan = session.selection.plan(session.project)
    with session.printer, _interrupts(session):
        result = session.execute(plan, jobs=jobs, keep_going=keep_going, job_timeout=job_timeout)
    session.summarise(result, plan)
    return result.code


@cli.command(epilog=_UP_EXAMPLES)
@common_options()
@pipeline_option
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--json", "as_json", is_flag=True, help="Events instead of text, one JSON object a line.")
@click.option("--build", is_flag=True, help="Build images anew, with Docker; else only those that are missing.")
@_words_of_compose("--quiet-pull", "--remove-orphans")
def up(common: Common, services: tuple[str, ...], pipelines: tuple[str, ...], as_json: bool, build: bool) -> int:
    """Keep servers up in the foreground.

    With all that they depend on. Ctrl-C stops them.
    """
    session = _session(common, Printer(as_json=as_json, servers=True), services, pipelines, build=build)
    plan = make_plan(session.project, services or session.servers(), stop=False)
    with session.printer, _interrupts(session):
        return session.execute(plan).code


@cli.command(epilog=_DOWN_EXAMPLES)
@common_options()
@click.option("--volumes", "-v", is_flag=True, help="Remove the named volumes too: their data is gone.")
def down(common: Common, volumes: bool) -> int:
    """Stop and remove what this project started, orphans too."""
    session = _session(common, Printer())
    session.down(volumes=volumes)
    return 0


@cli.command(epilog=_CHECK_EXAMPLES)
@common_options(engines=(*ENGINES, "all"))
@pipeline_option
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--json", "as_json", is_flag=True, help="One problem a line, as JSON.")
def check(common: Common, services: tuple[str, ...], pipelines: tuple[str, ...], as_json: bool) -> int:
    """Every problem of the files, before anything starts.

    And what is done differently here. Exit code 0 or 1.
    """
    printer = Printer(as_json=as_json)
    try:
        return _session(common, printer, services, pipelines).check(common.load)
    except GigogneError as error:
        printer.error(error)
        return 1


@cli.command(epilog=_EXPLAIN_EXAMPLES)
@common_options()
@pipeline_option
@click.argument("service")
@click.option("--airflow", is_flag=True, help="As a task of Airflow gets them: the operator's environment too.")
@click.option("--dag", type=click.Path(path_type=Path), metavar="FILE", help="The DAG file of that task.")
@click.option("--dag-env", multiple=True, metavar="NAME", help="A variable that its operator sets; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; values are masked there too.")
def explain(
    common: Common,
    service: str,
    pipelines: tuple[str, ...],
    airflow: bool,
    dag: Path | None,
    dag_env: tuple[str, ...],
    as_json: bool,
) -> int:
    """Where variables and mounts of a service come from.

    Each variable: its value (masked), where it was set, what it overrode, what was set and does not arrive. Each mount:
    the chain of paths from this machine to the module.
    """
    from gigogne.cli.dag_file import Airflow

    asked = Airflow(dag, dag_env) if airflow or dag or dag_env else None
    _session(common, Printer(as_json=as_json), (service,), pipelines).explain(service, asked)
    return 0


cli.add_command(images)
cli.add_command(nest)
cli.add_command(reap)


@cli.command(epilog=_DOCTOR_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="One finding a line, as JSON.")
def doctor(as_json: bool) -> int:
    """What this machine has, what it lacks, what to type.

    All of it is really tried. Exit code 0 where `gigogne run` works, else 1.
    """
    from gigogne.cli.doctor import examine_machine

    return examine_machine(Printer(as_json=as_json))


@cli.command(epilog=_PS_EXAMPLES)
@common_options()
@click.option("--all", "-a", "ended", is_flag=True, help="What has ended too.")
@click.option("--json", "as_json", is_flag=True, help="One service a line, as JSON.")
def ps(common: Common, ended: bool, as_json: bool) -> int:
    """What runs of this project, whoever started it."""
    session = _session(common, Printer(as_json=as_json))
    session.ps(ended=ended)
    return 0


@cli.command(epilog=_LOGS_EXAMPLES)
@common_options(file=("--file",))
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--follow", "-f", is_flag=True, help="Go on with what they write, until Ctrl-C.")
@click.option("--since", metavar="TIME", help="Only what came after a time, or in the last 10m.")
@click.option("--tail", "-n", type=click.IntRange(0), metavar="LINES", help="Only the last lines of each.")
@click.option("--json", "as_json", is_flag=True, help="One line of a service a line, as JSON.")
def logs(
    common: Common, services: tuple[str, ...], follow: bool, since: str | None, tail: int | None, as_json: bool
) -> int:
    """What the services said.

    Those that run, and the last of each that has ended.
    """
    session = _session(common, Printer(as_json=as_json, servers=True), services)
    session.logs(services, follow=follow, since=since, tail=tail)
    return 0


@cli.command(epilog=_PLAN_EXAMPLES)
@common_options()
@pipeline_option
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--format", "form", type=click.Choice(["text", "json", "mermaid"]), default="text", show_default=True)
def plan(common: Common, services: tuple[str, ...], pipelines: tuple[str, ...], form: str) -> int:
    """What `run` would do, in which order, and why. Nothing is started."""
    chosen = select(common.load, services, pipelines)
    project = load_project(chosen.options, chosen.names, chosen.places)
    made = chosen.plan(project)
    printer = Printer()
    printer.text(
        {"text": made.as_text, "json": lambda: json.dumps(made.as_dict(), indent=2), "mermaid": made.as_mermaid}[form]()
    )
    return 0


def _session(
    common: Common,
    printer: Printer,
    services: Sequence[str] = (),
    pipelines: Sequence[str] = (),
    *,
    listed: bool = False,
    build: bool = False,
    keep: bool = False,
) -> Session:
    from gigogne.cli.session import Session  # brings all engines along, which `plan` and `--help` need not wait for

    return Session(common, printer, services, pipelines, listed=listed, build=build, keep=keep)


@contextmanager
def _interrupts(session: Session) -> Iterator[None]:
    """While this holds, Ctrl-C, SIGTERM and a closed terminal end the run in good order."""

    def interrupted(number: int, _frame: FrameType | None) -> None:
        session.interrupt(128 + number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    numbers = [signal.Signals[name] for name in names]
    # What was ignored when we were started stays so: `nohup` ignores SIGHUP.
    heeded = [n for n in numbers if n.name != "SIGHUP" or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupted) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `gigogne`: runs, prints what went wrong, and exits."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what services say may not fit the terminal's encoding (Windows)
            stream.reconfigure(errors="replace")
    as_json = "--json" in (sys.argv if arguments is None else arguments)
    try:
        code: Any = cli.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except GigogneError as error:
        Printer(as_json=as_json).error(error)
        code = error.exit_code
    except OSError as error:
        code = _report_system_error(error, as_json)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        _explain_words(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    gc.freeze()  # a short command ends without a last search of all modules for garbage
    sys.exit(code if isinstance(code, int) else 0)


def _explain_words(error: click.ClickException) -> None:
    """What to do in place of an option that Docker Compose has and this command has not."""
    name = error.ctx.info_name if isinstance(error, click.NoSuchOption) and error.ctx else ""
    assert not name or isinstance(error, click.NoSuchOption)
    fix = {
        "run": "what follows `run` are services: a service's own words go into its command: in the Compose file",
        "up": "`up` stays in the foreground: run it in a terminal of its own, and look with `gigogne ps` and `logs`",
    }.get(name or "")
    if fix:
        click.echo(f"  fix: {fix}", err=True)


def _report_system_error(error: OSError, as_json: bool) -> int:
    """Say what the system refused (a full disk, a directory that is read only), and the exit code for it."""
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone (`gigogne plan | head`): nothing is left to say.
        sys.stderr.close()
        return 141
    shown = EngineError(
        f"{error.filename}: {error.strerror}" if error.filename else str(error),
        "make room, or make it writable; GIGOGNE_DATA_DIR and GIGOGNE_CACHE_DIR name other directories",
    )
    Printer(as_json=as_json).error(shown)
    return shown.exit_code
