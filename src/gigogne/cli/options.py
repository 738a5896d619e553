"""The options that every command has; they are Docker Compose's own, and may stand before or after the command."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from gigogne.choice import ENGINES
from gigogne.compose import LoadOptions

__all__ = ["Common", "common_options", "pipeline_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Common:
    """What the common options say."""

    load: LoadOptions = field(default_factory=LoadOptions)
    engine: str = ""

    def merged(self, given: dict[str, Any]) -> Common:
        """These options with those of one command line added; the later one wins."""
        load = LoadOptions(
            files=(*self.load.files, *given["file"]),
            project_name=given["project_name"] or self.load.project_name,
            directory=given["project_directory"] or self.load.directory,
            env_files=(*self.load.env_files, *given["env_file"]),
            profiles=(*self.load.profiles, *given["profile"]),
        )
        return replace(self, load=load, engine=given["engine"] or self.engine)


def common_options(
    *, engines: Sequence[str] = ENGINES, file: Sequence[str] = ("-f", "--file")
) -> Callable[[_Command], _Command]:
    """Add the common options; the command gets them as one `Common`, its first argument.

    Args:
        engines: What `--engine` may name.
        file: The names of the option for Compose files.
    """
    options = (
        click.option(*file, "file", multiple=True, metavar="FILE", help="A Compose file; may be repeated."),
        click.option("-p", "--project-name", metavar="NAME", help="The name of the project."),
        click.option("--project-directory", metavar="DIR", help="Where relative paths begin."),
        click.option("--env-file", multiple=True, metavar="FILE", help="Variables in place of .env; may be repeated."),
        click.option("--profile", multiple=True, metavar="NAME", help="Switch a profile on; may be repeated."),
        click.option(
            "--engine",
            type=click.Choice(engines),
            help="Where services run: auto is docker where a daemon answers, else process. Or set GIGOGNE_ENGINE.",
        ),
    )

    def add(command: _Command) -> _Command:
        @functools.wraps(command)
        def with_common(**given: Any) -> Any:
            context = click.get_current_context()
            names = ("file", "project_name", "project_directory", "env_file", "profile", "engine")
            mine = {name: given.pop(name) for name in names}
            context.obj = (context.obj or Common()).merged(mine)
            return command(context.obj, **given)

        result: Any = with_common
        for option in reversed(options):
            result = option(result)
        return result  # type: ignore[no-any-return]

    return add


def pipeline_option(command: _Command) -> _Command:
    """Add `--pipeline`; the command gets the names as `pipelines`."""
    option = click.option(
        "--pipeline",
        "pipelines",
        multiple=True,
        metavar="NAME",
        help="With the files of this pipeline (x-gigogne.pipelines); may be repeated.",
    )
    return option(command)
