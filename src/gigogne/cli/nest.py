"""`gigogne nest`: the user's project in a container that can start containers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gigogne.cli.options import Common, common_options
from gigogne.compose import LoadOptions, load_project
from gigogne.core.model import Project
from gigogne.errors import ComposeError, EngineError, UnsupportedError

if TYPE_CHECKING:
    from docker import DockerClient

    from gigogne.core.place import Place
    from gigogne.engines.docker.host.container import Bind, Daemon, HostContainer

__all__ = ["nest"]

_EXAMPLES = """\b
Examples:
  gigogne nest                         a shell; `docker compose up` in it works as on your machine
  gigogne nest -- gigogne run          one command, and its exit code
  gigogne nest -- docker compose up --exit-code-from extractor_sql
  gigogne nest -e TOKEN -v ~/data:/data -- bash
"""
_VOLUME = re.compile(r"(?P<source>(?:[A-Za-z]:[\\/])?[^:]+):(?P<target>/[^:]*)(?::(?P<mode>ro|rw))?")
# What a shell sets for itself: in the container these are others.
_OF_THE_SHELL = frozenset("HOME HOSTNAME LOGNAME OLDPWD PATH PWD SHELL SHLVL TMPDIR USER VIRTUAL_ENV _".split())
# What speaks to Docker's client and to Gigogne on this machine; what of it the container needs, it is given in its own.
_OF_THE_CLIENT = frozenset(
    "DOCKER_API_VERSION DOCKER_CERT_PATH DOCKER_CONFIG DOCKER_CONTEXT DOCKER_HOST DOCKER_TLS_VERIFY "
    "GIGOGNE_CACHE_DIR GIGOGNE_COMPOSE GIGOGNE_DATA_DIR GIGOGNE_NEST GIGOGNE_NEST_PASSED".split()
)


@click.command(epilog=_EXAMPLES, context_settings={"allow_interspersed_args": False})
@common_options()
@click.option(
    "--daemon",
    type=click.Choice(["outside", "inside"]),
    default="outside",
    show_default=True,
    help="Use this machine's engine, or one of its own in the container (privileged).",
)
@click.option("--build", is_flag=True, help="Build the host image, whether it is current or not.")
@click.option(
    "-v", "--volume", "volumes", multiple=True, metavar="SOURCE:TARGET[:ro]", help="Mount this too; may be repeated."
)
@click.option(
    "-e", "--env", "names", multiple=True, metavar="NAME", help="Pass this variable of the shell too; may be repeated."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def nest(
    common: Common, daemon: Daemon, build: bool, volumes: Sequence[str], names: Sequence[str], command: Sequence[str]
) -> int:
    """Run a command in a container that can start containers.

    The project is at /home/hosted there, with the variables that its files name. Without a command it is a shell. The
    exit code is the command's.
    """
    from gigogne.compose.binary import compose_binary
    from gigogne.engines.docker.connection import connect
    from gigogne.engines.docker.host.image import HostImage
    from gigogne.engines.docker.place import find_place

    project = load_project(common.load)
    binds = [_bind(text) for text in volumes]
    passed = _passed(common.load, project, names)
    client = connect()
    place = find_place(client, project.directory)
    image, compose = HostImage(daemon), compose_binary()
    container = _host_container(common, project, image, client, binds, passed)
    nested = _as_daemon_reads(container, place)
    if build or not image.is_current(client):
        click.echo(f"building {image.tag}, which takes a minute the first time", err=True)
        image.build(compose, lambda _line: None)
    staged = StagedVolumes(client, )
    return _run(container, place, client, compose, command)


def _bind(text: str) -> Bind:
    """The bind that `--volume` asks for."""
    from gigogne.engines.docker.host.container import Bind

    found = _VOLUME.fullmatch(text)
    if found is None:
        raise ComposeError(f"--volume {text} is no SOURCE:TARGET[:ro]", "write -v ~/data:/data, or -v ~/data:/data:ro")
    source = Path(found["source"]).expanduser().absolute()
    if not source.exists():
        raise ComposeError(f"--volume: {source} does not exist", "correct the path: Docker would mount nothing there")
    return Bind(str(source), found["target"], read_only=found["mode"] == "ro")


def _passed(options: LoadOptions, project: Project, names: Sequence[str]) -> tuple[str, ...]:
    """The variables to pass: those of the shell that the project's files name, and `names`.

    Raises:
        ComposeError: One of `names` is no name of a variable that the shell has.
    """
    from gigogne.compose.referenced import referenced_variables

    for name in names:
        if "=" in name:
            name = name.partition("=")[0]
            raise ComposeError(
                f"--env {name}=…: every user of this machine can read a command line",
                f"set it in the shell, and give its name: {name}=… gigogne nest -e {name}",
            )
        if name not in os.environ:
            raise ComposeError(f"--env {name}: this shell does not have it", f"export {name}, then gigogne nest again")
    wanted = referenced_variables(options, project) - _OF_THE_SHELL - _OF_THE_CLIENT
    return tuple(sorted((wanted & {*os.environ}) | {*names}))


def _host_container(
    common: Common,
    project: Project,
    image: Any,
    client: DockerClient,
    binds: Sequence[Bind],
    passed: Sequence[str],
) -> HostContainer:
    """The container for this project: what is mounted where, and as whom it talks to which daemon."""
