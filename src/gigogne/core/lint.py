"""What is wrong with a project on every engine: found in the files alone, before anything starts.

Each rule says only what is certain; a rule that would have to guess is not here. What can only fail is fatal.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePosixPath

from gigogne.core.commands import only_idles
from gigogne.core.graph import KIND_LABEL, kinds, never_ends
from gigogne.core.images import default_credentials, names_no_version, repository
from gigogne.core.model import Condition, Dependency, Kind, Mount, MountType, Port, Problem, Project, Service

__all__ = ["lint", "unset_variable"]

_UNSET = re.compile(r'The "([^"]+)" variable is not set\. Defaulting to a blank string\.')
_DRIVE = re.compile(r"[A-Za-z]:[/\\].*")
_BARE = frozenset(("alpine", "busybox", "debian", "ubuntu"))
_CODE = frozenset((".py", ".sh", ".r", ".R", ".jl", ".js", ".ts", ".rb"))
_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")


@dataclass(frozen=True, slots=True)
class _Known:
    """A project, and what its services are."""

    project: Project
    kind: Mapping[str, Kind]


def lint(project: Project, services: Collection[str] | None = None) -> list[Problem]:
    """The problems and notices of `services` (by default all) that no engine can help.

    Their neighbours count as far as they say what a service is: pass the whole project, not a part of it.

    Raises:
        ComposeError: A label `gigogne.kind` says neither job nor server.
    """
    known = _Known(project, kinds(project))
    chosen = [s for name, s in project.services.items() if services is None or name in services]
    problems = [_warning(text, project) for text in project.warnings]
    problems += [problem for service in chosen for rule in _RULES for problem in rule(service, known)]
    return [*problems, *_taken_ports(chosen, known)]


def unset_variable(warning: str) -> str:
    """The variable of which a warning of Compose says that it is not set; empty where it says something else."""
    unset = _UNSET.fullmatch(warning)
    return unset[1] if unset else ""


def _warning(text: str, project: Project) -> Problem:
    name = unset_variable(text)
    if not name:
        return Problem("", "", text, fatal=False)
    hint = (
        f"set {name} in .env or in the shell, or write ${{{name}:-default}}; where it has to be set, "
        f"${{{name}:?message}}; a dollar sign itself is written $$"
    )
    message = f"the variable {name} is not set, and so is empty"
    having = [service.name for service in project.services.values() if service.environment.get(name)]
    if having:
        message += f" in the Compose files: the {name} of {having[0]}'s environment or env_file does not feed ${{…}}"
        hint = f"set {name} in the shell or in the .env beside the Compose file; or name the file: --env-file FILE"
    return Problem("", "", message, hint, fatal=False)


def _idle_command(service: Service, known: _Known) -> Iterator[Problem]:
    if KIND_LABEL in service.labels or not only_idles(service):
        return
    held = _held_volumes(service, known)
    if not held:
        message = "the command only keeps the container alive: nothing runs in it until somebody types docker exec"
        hint = f"put the real command here, or label it {KIND_LABEL}: server if that is what it is for"
        yield _notice(service, _command_key(service), message, hint)
        return
    volumes = " and ".join(dict.fromkeys(source for source, _ in held))
    others = dict.fromkeys(name for _, name in held)
    waiting = [name for name in known.project.services if _depends_on(known.project.services[name], service)]
    cut = f", and from depends_on of {', '.join(waiting)}" if waiting else ""
    yield _notice(
        service,
        _command_key(service),
        f"the command only keeps the container alive, for {volumes}, which {', '.join(others)} mounts too: a named "
        "volume needs no container to stay, and `docker compose up` never ends of itself with this one",
        f"remove {service.name}{cut}: the volume stays until somebody removes it (docker compose down -v)",
    )


def _held_volumes(service: Service, known: _Known) -> list[tuple[str, str]]:
    """The named volumes that the service has in common with others, and has nothing but: each with another's name."""
    own = {mount.source if mount.type is MountType.VOLUME else "" for mount in service.mounts}
    # Of another image it may be meant to fill the volume: that of a bare system has nothing to give.
    if service.build is not None or repository(service.image) not in _BARE or "" in own:
        return []
    return [
        (mount.source, other.name)
        for other in known.project.services.values()
        for mount in other.mounts
        if other is not service and mount.type is MountType.VOLUME and mount.source in own
    ]


def _depends_on(service: Service, other: Service) -> bool:
    return any(dependency.service == other.name for dependency in service.depends_on)


def _hidden_code(service: Service, known: _Known) -> Iterator[Problem]:
    """A named volume over the program of an image that is built here: only what it had while it was empty runs."""
    scripts = list(_scripts(service)) if service.build is not None else []
    for mount in service.mounts:
        if mount.type is not MountType.VOLUME or not mount.source or mount.subpath or mount.nocopy:
            continue
        inside = [script for script in scripts if script.is_relative_to(posixpath.normpath(mount.target))]
        if inside:
            message = (
                f"{inside[0]} is run from the volume {mount.source}, which gets the image's files only while it is "
                "empty: after a change and a rebuild the old code still runs"
            )
            hint = (
                f"remove {mount.source}:{mount.target}, and the image's own code runs; or mount the folder of the code "
                f"there (- ./{PurePosixPath(mount.target).name}:{mount.target}:ro)"
            )
            yield _notice(service, "volumes", message, hint)


def _scripts(service: Service) -> Iterator[PurePosixPath]:
    """The files of code that the command names, where it is certain which they are."""
    for word in (*(service.entrypoint or ()), *(service.command or ())):
        path = PurePosixPath(service.working_dir, word)
        if path.suffix in _CODE and path.is_absolute() and not word.startswith("-"):
            yield PurePosixPath(posixpath.normpath(path))


def _endless_wait(service: Service, known: _Known) -> Iterator[Problem]:
    """Who waits for the end of a server waits for ever."""
    for dependency, other in _dependencies(service, known):
        endless = never_ends(other)
        if dependency.condition is Condition.COMPLETED and endless:
            yield Problem(
                service.name,
                f"services.{service.name}.depends_on.{other.name}",
                f"waits for {other.name} to complete, and {endless}",
                "wait with condition: service_healthy or service_started; or label "
                f"{other.name} {KIND_LABEL}: job if it does end",
            )


def _conditions(service: Service, known: _Known) -> Iterator[Problem]:
    """Conditions that do not hold."""
    for dependency, other in _dependencies(service, known):
        where = f"services.{service.name}.depends_on.{other.name}"
        if dependency.condition is Condition.HEALTHY and not (other.healthcheck and other.healthcheck.test):
            # Only a container tells whether an image that is pulled brings a check of its own.
            certain = other.build is not None or other.healthcheck is not None
            yield Problem(
                service.name,
                where,
                f"waits for {other.name} to be healthy, and {other.name} has no health check"
                + ("" if certain else " here: unless its image brings one, Docker refuses to start"),
                f"give {other.name} a healthcheck:, or wait with condition: service_started",
                fatal=certain,
            )
        if dependency.condition is not Condition.COMPLETED:
            continue
        if other.restart in ("always", "unless-stopped") and not never_ends(other):
            message = f"waits for {other.name} to complete, and Docker starts it again after each end"
            hint = f'write restart: "no" or on-failure in {other.name}, which has restart: {other.restart}'
            yield Problem(service.name, where, message, hint, fatal=False)
        if other.labels.get(KIND_LABEL) == Kind.SERVER:
            message = f"waits for {other.name} to complete, and {other.name} is labelled {KIND_LABEL}: server"
            yield Problem(service.name, where, message, "wait for its health, or remove the label", fatal=False)


def _fixed_names(service: Service, known: _Known) -> Iterator[Problem]:
    """What two runs of one project cannot both have."""
    if service.raw.get("container_name"):
        hint = f"remove it: Compose names the container, and other services reach it as {service.name} all the same"
        yield _notice(service, "container_name", "a fixed name: two of them cannot exist on one machine", hint)
    fixed = [port.published for port in service.ports if port.published.isdecimal()]
    if fixed and known.kind[service.name] is Kind.JOB and not never_ends(service):
        message = f"a job with the fixed host port {', '.join(fixed)}: two runs of it cannot be at work side by side"
        yield _notice(service, "ports", message, "remove the port, or name the container's alone and let Docker choose")


def _image(service: Service, known: _Known) -> Iterator[Problem]:
    built = {other.image for other in known.project.services.values() if other.build is not None}
    is_pulled = service.build is None and service.image and service.image not in built
    if is_pulled and service.raw.get("pull_policy") not in ("never", "build") and names_no_version(service.image):
        message = f"{service.image} names no version: what runs may be another one tomorrow"
        yield _notice(service, "image", message, "name a tag, or a digest (@sha256:…)")


def _credentials(service: Service, known: _Known) -> Iterator[Problem]:
    """Default credentials on an address that others reach; only where the file says so itself."""
    outside = sorted({port.host_ip for port in service.ports if _is_reached_by_others(port)})
    if not outside:
        return
    heard = "on all addresses" if any(ipaddress.ip_address(ip).is_unspecified for ip in outside) else f"on {outside[0]}"
    for name, how in default_credentials(service):
        yield Problem(
            service.name,
            f"services.{service.name}.environment.{name}",
            f"{service.name} listens {heard} with {how} in {name}",
            "publish its ports on 127.0.0.1, or set a password of your own",
        )


def _is_reached_by_others(port: Port) -> bool:
    try:
        return bool(port.host_ip) and not ipaddress.ip_address(port.host_ip).is_loopback
    except ValueError:
        return False


def _mounts(service: Service, known: _Known) -> Iterator[Problem]:
    """Compose itself refuses a target that stands twice in `volumes:`; here it is one of another key too."""
    seen: dict[str, Mount] = {}
    for mount in service.mounts:
        target = posixpath.normpath(mount.target)
        other = seen.setdefault(target, mount)
        if other is not mount:
            key = "tmpfs" if MountType.TMPFS in (mount.type, other.type) else "volumes"
            message = f"two mounts have the target {target}: Docker refuses that"
            yield Problem(service.name, f"services.{service.name}.{key}", message, "remove one, or move it elsewhere")
        if mount.type is MountType.BIND and mount.source.replace("//", "/") in _SOCKETS:
            message = f"the Docker socket: what runs in {service.name} rules Docker, and with it this machine as root"
            hint = "mount it only into what starts containers itself, and into nothing that is reached from outside"
            yield _notice(service, "volumes", message, hint)
        if mount.type is MountType.VOLUME and not mount.source and _DRIVE.fullmatch(mount.target):
            message = f"{mount.target} is read as a path of Windows, and not as a volume with a name of one letter"
            yield _notice(service, "volumes", message, "give the volume a longer name")


def _taken_ports(services: list[Service], known: _Known) -> Iterator[Problem]:
    """Host ports that are published twice."""
    ports = [(s, port) for s in services for port in dict.fromkeys(s.ports) if port.published.isdecimal()]
    for (first, one), (second, two) in combinations(ports, 2):
        if (one.published, one.protocol) != (two.published, two.protocol) or not _overlap(one.host_ip, two.host_ip):
            continue
        # Jobs may come one after the other.
        both_stay = first is second or {known.kind[first.name], known.kind[second.name]} == {Kind.SERVER}
        rival = f"services.{first.name}.ports" if first is not second else f"container port {one.target}"
        yield Problem(
            second.name,
            f"services.{second.name}.ports",
            f"publishes the host port {two.published}/{two.protocol}, which {rival} has already"
            + ("" if both_stay else ": they cannot run at the same time"),
            "publish one of them on another port, or on another address (127.0.0.2:…)",
            fatal=both_stay,
        )


def _overlap(one: str, two: str) -> bool:
    """Whether two host addresses of published ports meet; an empty one is every address of IPv4 and of IPv6."""
    if "" in (one, two):
        return True
    try:
        first, second = ipaddress.ip_address(one), ipaddress.ip_address(two)
    except ValueError:
        return False
    same_family = first.version == second.version
    return same_family and (first == second or first.is_unspecified or second.is_unspecified)


def _dependencies(service: Service, known: _Known) -> Iterator[tuple[Dependency, Service]]:
    for dependency in service.depends_on:
        other = known.project.services.get(dependency.service)
        if other is not None:
            yield dependency, other


def _command_key(service: Service) -> str:
    if service.command:
        return "command"
    return "entrypoint" if service.entrypoint else "image"


def _notice(service: Service, key: str, message: str, hint: str) -> Problem:
    return Problem(service.name, f"services.{service.name}.{key}", message, hint, fatal=False)


_Rule = Callable[[Service, _Known], Iterator[Problem]]
_RULES: tuple[_Rule, ...] = (
    _idle_command,
    _hidden_code,
    _endless_wait,
    _conditions,
    _fixed_names,
    _image,
    _credentials,
    _mounts,
)
