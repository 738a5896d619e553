"""`gigogne nest`: the user's project in a container that can start containers."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gigogne.cli.options import Common, common_options
from gigogne.compose import LoadOptions, load_project
from gigogne.core.model import Project
from gigogne.errors import ComposeError, EngineError, UnsupportedError

if TYPE_CHECKING:
    from docker import DockerClient

    from gigogne.core.nesting import Nesting
    from gigogne.core.place import Place
    from gigogne.engines.docker.host.container import Bind, Daemon, HostContainer
    from gigogne.engines.docker.host.image import HostImage

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
@click.option("--build", is_flag=True, help="Build the host image, current or not, and show it.")
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
    exit code is the command's. The container is Docker's always: --engine and GIGOGNE_ENGINE are for gigogne in it.
    """
    from gigogne.compose.binary import compose_binary
    from gigogne.engines.docker.connection import connect
    from gigogne.engines.docker.host.container import SERVICE
    from gigogne.engines.docker.host.image import HostImage
    from gigogne.engines.docker.host.run import run_host
    from gigogne.engines.docker.owner import Owner
    from gigogne.engines.docker.place import find_place
    from gigogne.engines.docker.volumes import StagedVolumes

    project = load_project(common.load)
    binds = [_bind(text) for text in volumes]
    passed = _passed(common.load, project, names)
    client, compose, image = connect(), compose_binary(), HostImage(daemon)
    container = _host_container(common, project, image, client, binds, passed)
    place = find_place(client, project.directory)
    nesting = _as_daemon_reads(container, project, place)
    if build or not image.is_current(client):
        click.echo(f"building {image.tag}, which takes a minute the first time", err=True)
        image.build(compose, lambda line: click.echo(line, err=True) if build else None)
    if daemon == "inside":
        _alone(container, client)
    staged = StagedVolumes(client, container.name, nesting, Owner.this_process(place.container))
    try:
        staged.bring(SERVICE)
        return run_host(nesting.model, client, compose, command)
    finally:
        staged.remove()


def _bind(text: str) -> Bind:
    """The bind that `--volume` asks for."""
    from gigogne.core.place import LocalDisk, PathKind
    from gigogne.engines.docker.host.container import Bind

    found = _VOLUME.fullmatch(text)
    if found is None:
        raise ComposeError(f"--volume {text} is no SOURCE:TARGET[:ro]", "write -v ~/data:/data, or -v ~/data:/data:ro")
    source = Path(found["source"]).expanduser().absolute()
    if LocalDisk().kind(str(source)) is PathKind.MISSING:
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
    image: HostImage,
    client: DockerClient,
    binds: Sequence[Bind],
    passed: Sequence[str],
) -> HostContainer:
    """The container for this project: what is mounted where, and as whom it talks to which daemon."""
    from gigogne.compose.referenced import referenced_files
    from gigogne.engines.docker.connection import endpoint
    from gigogne.engines.docker.host.access import Access, caller
    from gigogne.engines.docker.host.container import (
        HOSTED,
        Bind,
        HostContainer,
        home,
        project_root,
        sources_elsewhere,
        where_hosted,
    )

    root = project_root(project)
    access = Access() if image.daemon == "inside" else Access.to(endpoint(), os.environ)
    start = where_hosted(Path.cwd(), root) or where_hosted(project.directory, root)
    mounted = [Bind(str(root), str(HOSTED)), *access.binds, *binds]
    taken = {bind.target for bind in mounted}
    files = referenced_files(common.load, project)
    mounted += [bind for bind in sources_elsewhere(project, root, files) if bind.target not in taken]
    return HostContainer(
        project=project.name,
        image=image.tag,
        working_dir=start or str(HOSTED),
        binds=tuple(mounted),
        passed=tuple(passed),
        settings={**_settings(common, project, root), **access.settings},
        user=caller(client),
        groups=access.groups,
        daemon=image.daemon,
        home=home(),
    )


def _settings(common: Common, project: Project, root: Path) -> dict[str, str]:
    """What makes Compose and Gigogne find the same project in there, as it is found here."""
    from gigogne.engines.docker.host.container import where_hosted

    def hosted(files: Sequence[Path]) -> list[str]:
        return [where_hosted(file, root) or str(file) for file in files]

    found = {"COMPOSE_PROJECT_NAME": project.name}
    if common.load.files or os.environ.get("COMPOSE_FILE"):
        found |= {"COMPOSE_FILE": ":".join(hosted(project.files)), "COMPOSE_PATH_SEPARATOR": ":"}
    if project.env_files or os.environ.get("COMPOSE_ENV_FILES"):
        named = project.env_files or [Path(n).absolute() for n in os.environ["COMPOSE_ENV_FILES"].split(",")]
        found |= {"COMPOSE_ENV_FILES": ",".join(hosted(named))}
    profiles = ",".join(common.load.profiles) or os.environ.get("COMPOSE_PROFILES", "")
    engine = common.engine or os.environ.get("GIGOGNE_ENGINE", "")
    return found | {name: v for name, v in (("COMPOSE_PROFILES", profiles), ("GIGOGNE_ENGINE", engine)) if v}


def _as_daemon_reads(container: HostContainer, project: Project, place: Place) -> Nesting:
    """The host container as the daemon must read it: Gigogne may run in a container already.

    Raises:
        EngineError: The daemon does not see this disk.
        UnsupportedError: One of the mounts cannot be had.
    """
    from gigogne.compose.model import project_of
    from gigogne.core.nesting import nest as nested
    from gigogne.core.place import PlaceKind

    if place.kind is PlaceKind.REMOTE:
        raise EngineError(
            f"the Docker daemon is on another machine, which does not have {project.directory}",
            "run gigogne nest on that machine; or gigogne run here, where the project mounts no files of this disk",
        )
    model = container.as_model()
    found = nested(project_of(model, directory=project.directory, files=()), place)
    fatal = [replace(problem, where="gigogne nest") for problem in found.problems if problem.fatal]
    if fatal:
        raise UnsupportedError(fatal)
    return found


def _alone(container: HostContainer, client: DockerClient) -> None:
    """Two engines on one storage would damage it.

    Raises:
        EngineError: Another host container has its engine there.
    """
    users = client.api.containers(filters={"volume": container.storage})
    if users:
        name = users[0]["Names"][0].lstrip("/")
        raise EngineError(
            f"the engine inside keeps its images in the volume {container.storage}, which {name} uses already",
            f"wait for its end, or work in it: docker exec -it {name} bash",
        )
