"""Compose's canonical JSON → the typed model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gigogne.core.durations import seconds
from gigogne.core.model import (
    DELIVERED,
    Build,
    Condition,
    Dependency,
    Healthcheck,
    Mount,
    MountType,
    Port,
    Project,
    Service,
)

__all__ = ["healthcheck_of", "project_of"]


def project_of(
    raw: Mapping[str, Any],
    *,
    directory: Path,
    files: tuple[Path, ...],
    warnings: tuple[str, ...] = (),
    env_files: tuple[Path, ...] = (),
    variables: Mapping[str, str] | None = None,
) -> Project:
    """The typed project of a canonical model; `variables` are those that its secrets and configs come from."""
    plain = _unescaped(raw)
    delivered = {key: _with_content(plain.get(key) or {}, variables or {}) for key in DELIVERED}
    services = {name: _service(name, value, delivered) for name, value in plain.get("services", {}).items()}
    volumes = {key: (value or {}).get("name", key) for key, value in plain.get("volumes", {}).items()}
    return Project(
        name=plain["name"],
        directory=directory,
        files=files,
        services=services,
        volumes=volumes,
        extension=plain.get("x-gigogne") or {},
        warnings=warnings,
        env_files=env_files,
        raw=raw,
    )


def _unescaped(value: Any) -> Any:
    """The model with `$$` read as `$`: `config` doubles each dollar, so that its output can be read again."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, Mapping):
        return {key: _unescaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unescaped(inner) for inner in value]
    return value


def _service(name: str, raw: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> Service:
    environment = {key: str(value) for key, value in (raw.get("environment") or {}).items() if value is not None}
    networks = raw.get("networks") or {}
    return Service(
        name=name,
        image=raw.get("image", ""),
        build=_build(raw["build"]) if raw.get("build") else None,
        command=_words(raw.get("command")),
        entrypoint=_words(raw.get("entrypoint")),
        environment=environment,
        mounts=(
            *map(_mount, raw.get("volumes") or ()),
            *map(_tmpfs, raw.get("tmpfs") or ()),
            *(mount for key in DELIVERED for mount in _delivered(raw.get(key) or (), files[key], DELIVERED[key])),
        ),
        ports=tuple(map(_port, raw.get("ports") or ())),
        expose=tuple(map(str, raw.get("expose") or ())),
        depends_on=tuple(_dependency(key, value) for key, value in (raw.get("depends_on") or {}).items()),
        healthcheck=healthcheck_of(raw["healthcheck"]) if raw.get("healthcheck") else None,
        restart=raw.get("restart") or "no",
        user=str(raw.get("user", "")),
        working_dir=raw.get("working_dir", ""),
        hostname=raw.get("hostname", ""),
        stop_signal=raw.get("stop_signal", ""),
        stop_grace_period=seconds(raw["stop_grace_period"]) if raw.get("stop_grace_period") else 10.0,
        aliases=tuple(alias for value in networks.values() for alias in (value or {}).get("aliases", ())),
        extra_hosts=tuple(
            (host, address) for host, _, address in (h.partition("=") for h in raw.get("extra_hosts") or ())
        ),
        labels=raw.get("labels") or {},
        profiles=tuple(raw.get("profiles") or ()),
        init=bool(raw.get("init", False)),
        raw=raw,
    )


def _words(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(map(str, value))


def _build(raw: Mapping[str, Any]) -> Build:
    context = Path(raw.get("context", "."))
    inline = raw.get("dockerfile_inline")
    return Build(
        context=context,
        dockerfile=None if inline is not None else context / raw.get("dockerfile", "Dockerfile"),
        dockerfile_inline=inline,
        args={key: str(value) for key, value in (raw.get("args") or {}).items() if value is not None},
        target=raw.get("target"),
    )


def _mount(raw: Mapping[str, Any]) -> Mount:
    kind = raw["type"]
    return Mount(
        type=MountType(kind) if kind in set(MountType) else MountType.OTHER,
        source=raw.get("source", ""),
        target=raw["target"],
        read_only=bool(raw.get("read_only", False)),
        subpath=(raw.get("volume") or {}).get("subpath", ""),
        create_host_path=(raw.get("bind") or {}).get("create_host_path", True),
        nocopy=bool((raw.get("volume") or {}).get("nocopy", False)),
    )


def _with_content(entries: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Secrets or configs, those of a variable with its value as their `content`, as Compose has that of a text."""
    named = {name: entry or {} for name, entry in entries.items()}
    return {name: {"content": variables.get(e.get("environment", "")), **e} for name, e in named.items()}


def _delivered(entries: Sequence[Any], known: Mapping[str, Any], folder: str) -> Iterator[Mount]:
    """Secrets or configs: those that are files of this machine, and the others (`OTHER`, with what they hold)."""
    for entry in entries:
        name = entry["source"]
        found = known.get(name) or {}
        target = str(PurePosixPath(folder, entry.get("target") or name))
        if file := found.get("file"):
            yield Mount(MountType.BIND, file, target, read_only=True)
        else:
            yield Mount(MountType.OTHER, name, target, read_only=True, content=found.get("content"))


def _tmpfs(entry: str) -> Mount:
    return Mount(type=MountType.TMPFS, source="", target=entry.partition(":")[0])


def _port(raw: Mapping[str, Any]) -> Port:
    return Port(
        target=int(raw["target"]),
        published=str(raw.get("published", "")),
        host_ip=raw.get("host_ip", ""),
        protocol=raw.get("protocol", "tcp"),
    )


def _dependency(service: str, raw: Mapping[str, Any]) -> Dependency:
    return Dependency(service, Condition(raw["condition"]), bool(raw.get("required", True)))


def healthcheck_of(raw: Mapping[str, Any]) -> Healthcheck:
    """A health check in Compose's words. `disable: true` and `["NONE"]` give an empty `test`."""
    test = tuple(map(str, raw.get("test") or ()))
    if raw.get("disable") or test[:1] == ("NONE",):
        return Healthcheck()
    given = {
        key: seconds(raw[key]) for key in ("interval", "timeout", "start_period", "start_interval") if raw.get(key)
    }
    return Healthcheck(test=test, retries=int(raw.get("retries", 3)) or 3, **given)
