"""`docker compose` in a container: Docker Compose behind our translation, for the command lines that people type.

In the host image this is the Compose CLI plug-in, and `docker-compose`. A command that creates containers gets the
project as the daemon must read it, in a file that is in memory only; its other words stay, and standard input is the
user's. Every other command goes to Compose as it is. `GIGOGNE_COMPOSE` names the real one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigogne.compose.binary import compose_binary
from gigogne.errors import ComposeError, EngineError, GigogneError, UnsupportedError

if TYPE_CHECKING:
    from gigogne.cli.words import Invocation
    from gigogne.core.model import Project
    from gigogne.core.nesting import Nesting

__all__ = ["main"]

# The docker command sets it for its plug-ins, and gives them its own words with `compose` among them.
_BY_DOCKER = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"
# `docker` asks each plug-in for it, time and again; nothing is loaded for that.
_METADATA = "docker-cli-plugin-metadata"


def main() -> None:
    """The command `gigogne-compose`: becomes the real Compose, or says why it does not."""
    words = sys.argv[1:]
    # With it Compose takes its words for those of `docker`: so not while we ask it about the files.
    by_docker = os.environ.pop(_BY_DOCKER, None)
    try:
        made = words if _METADATA in words else _translated(words, by_docker=by_docker is not None)
        os.environ.update({_BY_DOCKER: by_docker} if by_docker is not None else {})
        _become(made)
    except GigogneError as error:
        from gigogne.cli.console import Printer

        Printer().error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _become(words: Sequence[str]) -> None:
    """Become the real Compose: signals, terminal and exit code are its own."""
    binary = compose_binary()
    if binary.resolve() == Path(sys.argv[0]).resolve():
        raise EngineError(f"{binary} is Gigogne's own docker-compose", "let GIGOGNE_COMPOSE name Docker's")
    os.execv(binary, ["docker-compose", *words])  # noqa: S606 - there is no shell in it, which is what is wanted


def _translated(words: Sequence[str], *, by_docker: bool) -> Sequence[str]:
    """The words with the project as the daemon must read it, where that is another than the user's.

    Raises:
        ComposeError: The files are wrong.
        UnsupportedError: A mount cannot be had.
        EngineError: The daemon does not answer.
    """
    from gigogne.cli.words import Invocation

    call = Invocation.read(words, by_docker=by_docker)
    if not call.creates:
        return words
    from gigogne.core.nesting import nest
    from gigogne.engines.docker.connection import connect
    from gigogne.engines.docker.owner import Owner
    from gigogne.engines.docker.place import find_place
    from gigogne.engines.docker.volumes import StagedVolumes

    os.environ.update(call.daemon())
    call = _waiting(call)
    client = connect()
    place = find_place(client, Path.cwd())
    if place.shares_disk:
        return call.words()
    project = _project(call)
    names = _services(call, project)
    nesting = nest(project, place, names)
    _say(nesting)
    staged = StagedVolumes(client, project.name, nesting, Owner.this_process(place.container))
    for name in names:
        staged.bring(name)
    options = ["-f", _in_memory(_with_own_names(nesting.model, project))]
    options += ["--project-directory", str(project.directory), "-p", project.name]
    return call.settled(options)


def _waiting(call: Invocation) -> Invocation:
    """`up --exit-code-from X` with X alone to be watched, where a job that X waits for ends before it.

    Compose stops everything when the first container ends. Of the services that it is given by name it watches no
    others; and it starts what they depend on all the same.
    """
    import click

    from gigogne.compose import load_project
    from gigogne.core.graph import reachable
    from gigogne.core.model import Condition

    if not call.awaited:
        return call
    project = load_project(call.load_options(), [call.awaited])
    needed = (project.services[name] for name in reachable(project, [call.awaited]))
    jobs = [d.service for service in needed for d in service.depends_on if d.condition is Condition.COMPLETED]
    if not jobs:
        return call
    click.echo(
        f"note: Compose would stop everything when {jobs[0]} ends; so only {call.awaited} and what it needs is "
        "started, and its servers stay up (docker compose down ends them)",
        err=True,
    )
    return replace(call, rest=(*call.rest, "--attach-dependencies", call.awaited))


def _project(call: Invocation) -> Project:
    """The project, with what `run --volume` mounts as if the files said so."""
    from gigogne.compose import load_project
    from gigogne.compose.model import project_of

    options = call.load_options()
    if "-" in options.files:
        raise ComposeError("-f - is not translated for the daemon outside this container", "name a file: -f FILE")
    project = load_project(options, call.targets())
    binds = call.binds()
    if not binds:
        return project
    name = call.targets()[0]
    service = project.raw["services"][name]
    replaced = {bind["target"] for bind in binds}
    volumes = [entry for entry in service.get("volumes") or () if entry["target"] not in replaced]
    services = {**project.raw["services"], name: {**service, "volumes": [*volumes, *binds]}}
    return project_of(
        {**project.raw, "services": services},
        directory=project.directory,
        files=project.files,
        env_files=project.env_files,
    )


def _services(call: Invocation, project: Project) -> list[str]:
    """The services whose containers the command may create."""
    from gigogne.core.graph import reachable

    return list(reachable(project, call.targets())) if call.targets() else list(project.services)


def _say(nesting: Nesting) -> None:
    """Say what is had in another way.

    Raises:
        ComposeError: The files are wrong.
        UnsupportedError: A mount cannot be had.
    """
    import click

    fatal = [problem for problem in nesting.problems if problem.fatal]
    if any(problem.wrong for problem in fatal):
        raise ComposeError("\n".join(map(str, fatal)))
    if fatal:
        raise UnsupportedError(fatal)
    for notice in nesting.problems:
        if not notice.where.endswith(".container_name"):
            click.echo(f"note: {notice}", err=True)


def _with_own_names(model: Mapping[str, Any], project: Project) -> Mapping[str, Any]:
    """The model with each `container_name`: here Compose names containers, as its user wants."""
    named = {name: raw["container_name"] for name, raw in project.raw["services"].items() if raw.get("container_name")}
    services = {
        name: {**raw, "container_name": named[name]} if name in named else raw
        for name, raw in model["services"].items()
    }
    return {**model, "services": services}


def _in_memory(model: Mapping[str, Any]) -> str:
    """A file that this process and the one that it becomes have in memory, and that no disk has: it holds values."""
    from gigogne.engines.docker.compose import as_input

    if sys.platform != "linux":
        raise EngineError("docker-compose with another machine's daemon works on Linux only", "use gigogne run")
    number = os.memfd_create("compose", 0)
    with os.fdopen(os.dup(number), "w", encoding="utf-8") as file:
        file.write(as_input(model))
    return f"/dev/fd/{number}"
