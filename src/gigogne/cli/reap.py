"""The command `gigogne reap`: the process that looks after what detached runs leave behind."""

from __future__ import annotations

import signal

import click

from gigogne.choice import asked_engine, choose_engine
from gigogne.cli.console import Printer
from gigogne.cli.options import Common, common_options
from gigogne.compose import load_project
from gigogne.core.events import Notice, Preparing
from gigogne.orchestrators.reaper import PATIENCE, Reaper

__all__ = ["reap"]

_EXAMPLES = """\b
Examples:
  gigogne reap                            look after this folder's project, until nothing of it is left to guard
  gigogne reap --project mlops --once     end what is past its deadline, by the project's name alone
  gigogne reap --once --patience 0        end at once what no living process attends to
"""


@click.command(epilog=_EXAMPLES, hidden=True)  # Gigogne starts it itself
@common_options()
@click.option("--project", metavar="NAME", help="The project, by its name alone: no file is read.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=PATIENCE,
    show_default=True,
    envvar="GIGOGNE_ABANDONED_AFTER",
    help="After so long, what nobody attends to is ended. Or set GIGOGNE_ABANDONED_AFTER.",
)
@click.option("--once", is_flag=True, help="Look once, and end what is past its deadline; do not stay.")
@click.option("--json", "as_json", is_flag=True, help="Events instead of text, one JSON object a line.")
def reap(common: Common, project: str | None, patience: float, once: bool, as_json: bool) -> int:
    """End what Airflow's tasks have left behind.

    A job past its deadline, a job that no living process attends to, a server that no run needs. The first job of a
    project starts it; it ends when nothing is left to guard.
    """
    printer = Printer(as_json=as_json)
    name = project or common.load.project_name or load_project(common.load).name
    engine, _ = choose_engine(asked_engine(common.engine), lambda service, text: printer.emit(Preparing(service, text)))
    reaper = Reaper(engine, name, printer.emit, patience=patience)
    if once:
        reaper.look()
        return 0
    # What ends a container sends SIGTERM, to which its first process is deaf unless it listens.
    signal.signal(signal.SIGTERM, lambda *_: reaper.interrupt())
    printer.emit(Notice("", f"looks after {name} on {engine} until nothing is left to guard"))
    reaper.guard()
    return 0
