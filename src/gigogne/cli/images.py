"""`gigogne images`: what the project's images are made of, and what of it could go."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gigogne.choice import asked_engine
from gigogne.cli.console import Printer
from gigogne.cli.options import Common, common_options
from gigogne.compose import load_project
from gigogne.core.events import Preparing
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from gigogne.engines.docker.layers.report import Compared, ImageReport
    from gigogne.engines.docker.layers.savings import Saving

__all__ = ["images"]

# What is smaller is in `--json` alone: nobody would mend a Dockerfile for it.
_WORTH_A_LINE = 50_000

_EXAMPLES = """\b
Examples:
  gigogne images                       every image that the project builds; what is missing is built
  gigogne images cleaning --build      one, as its Dockerfile is now
  gigogne images --no-compare          without the single-stage build, which takes its time
  gigogne images --json                one image a line
"""


@click.command(epilog=_EXAMPLES)
@common_options(engines=("auto", "docker"))
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--build", is_flag=True, help="Build the images anew; else only those that are missing.")
@click.option("--no-compare", is_flag=True, help="Do not build them in a single stage, to compare.")
@click.option("--json", "as_json", is_flag=True, help="One image a line, as JSON.")
def images(common: Common, services: tuple[str, ...], build: bool, no_compare: bool, as_json: bool) -> int:
    """What images are made of, and what of it could go.

    Each layer with the instruction that made it, what is above the base image, and what the same Dockerfile makes in a
    single stage. It needs Docker.
    """
    from gigogne.compose.binary import compose_binary
    from gigogne.engines.docker.connection import connect
    from gigogne.engines.docker.layers.examine import Examiner, built_images

    project = load_project(common.load, services)
    wanted = built_images(project, services)
    if asked_engine(common.engine) == "process":
        message = "images are Docker's: the process engine, which is asked for, builds none"
        raise EngineError(message, "gigogne images --engine docker")
    printer = Printer(as_json=as_json)
    # An engine writes the whole archive to its own disk before the first byte of it comes.
    examiner = Examiner(connect(timeout=600), compose_binary(), project, _telling(printer))
    with printer, _ended_in_good_order():
        for image, sharing in wanted.items():
            report = examiner.examine(image, sharing, build=build, compare=not no_compare)
            if as_json:
                printer.json(report.as_dict())
            else:
                printer.show(_render(report))
    return 0


def _telling(printer: Printer) -> Callable[[str, str], None]:
    """Progress: live on a terminal; else on stderr, so that stdout has the reports alone."""
    live = sys.stdout.isatty() and not printer.as_json

    def tell(service: str, text: str) -> None:
        if live:
            printer.emit(Preparing("", f"{service} {text}"))  # one line: the images come one after the other
        else:
            click.echo(f"{service} {text}", err=True)

    return tell


@contextmanager
def _ended_in_good_order() -> Iterator[None]:
    """While this holds, SIGTERM is an exception, as Ctrl-C is: the builder ends too, and nothing is left."""

    def ended(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _render(report: ImageReport) -> RenderableType:
    head = Text.assemble((report.image, "bold"), f" ({', '.join(report.services)}): {_mb(report.bytes)}")
    if report.base:
        head.append(f", {_mb(report.above_base)} above {report.base}")
    head.append(f", from {report.dockerfile}", "dim")
    parts: list[RenderableType] = [head, _layers(report)]
    if report.remark:
        parts.append(Text(f"note: {report.remark}", "yellow"))
    if report.largest and report.largest[0][1] >= _WORTH_A_LINE:
        said = ", ".join(f"{_short(path)} {_mb(size)}" for path, size in report.largest if size >= _WORTH_A_LINE)
        parts.append(Text.assemble(("largest above the base: ", "bold"), said))
    if report.single_stage is not None:
        parts.append(_comparison(report, report.single_stage))
    if report.base:
        parts.append(_savings(report.savings))
    return Group(*parts, Text())


def _layers(report: ImageReport) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True, min_width=9)
    table.add_column(no_wrap=True, min_width=9, style="dim")
    table.add_column(no_wrap=True, overflow="ellipsis")
    base = [layer for layer in report.layers if layer.base]
    if base:
        count = f"{len(base)} layers" if len(base) > 1 else "one layer"
        table.add_row(_mb(sum(layer.bytes for layer in base)), count, f"FROM {report.base}", style="dim")
    for layer in report.layers:
        if not layer.base:
            at = f"line {layer.line}" if layer.line else ""
            table.add_row(_mb(layer.bytes), at, Text(layer.instruction))
    return table


def _comparison(report: ImageReport, single: Compared) -> Text:
    text = Text.assemble(("in a single stage: ", "bold"))
    if single.bytes is not None and single.above_base is not None:
        text.append(f"{_mb(single.bytes)}, {_mb(single.above_base)} above the base: ")
        more = single.bytes - report.bytes
        text.append(f"{_mb(abs(more))} {'more' if more >= 0 else 'less'}")
        carried = [f"{saving.what} {_mb(saving.bytes)}" for saving in single.carries if saving.bytes >= _WORTH_A_LINE]
        text.append(f"; it carries {', '.join(carried)}" if carried else "")
        text.append(f" ({single.remark})" if single.remark else "")
    else:
        text.append(single.remark)
    return text


def _savings(every: Sequence[Saving]) -> RenderableType:
    savings = [saving for saving in every if saving.secret or saving.bytes >= _WORTH_A_LINE]
    if not savings:
        return Text.assemble(("could still go: ", "bold"), ("nothing of weight that is known to be of no use", "green"))
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True, min_width=9)
    table.add_column(overflow="fold")
    total = _mb(sum(saving.bytes for saving in savings if not saving.secret))
    for saving in savings:
        more = ", …" if saving.files > len(saving.places) else ""
        said = Text.assemble(
            (saving.what, "red" if saving.secret else ""), f": {', '.join(map(_short, saving.places))}{more}"
        )
        said.append_text(Text.assemble("\n", ("fix: ", "bold"), saving.fix))
        table.add_row(_mb(saving.bytes), said)
    return Group(Text.assemble(("could still go: ", "bold"), total), table)


def _short(path: str) -> str:
    """A path as it is, and one of a package from its name on."""
    return path.rpartition("-packages/")[2]


def _mb(size: int) -> str:
    """Bytes as Docker prints them, in millions."""
    return f"{size / 1e6:.1f} MB" if size >= _WORTH_A_LINE else f"{size / 1e3:.1f} kB"
