"""What a service asks of an S3 server, in the words of the images of MinIO and of SeaweedFS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gigogne.core.model import Problem, Service
from gigogne.engines.process.embedded.secret_files import secret_problems, with_secrets
from gigogne.engines.process.embedded.server import problem

__all__ = ["S3Request", "minio_request", "seaweed_request"]

# Flags of `weed mini` that mean something to the service's clients, and are passed on.
_KEPT = frozenset(
    {
        "filer.maxMB", "master.volumeSizeLimitMB", "s3.allowDeleteBucketNotEmpty", "s3.allowedOrigins",
        "s3.autoCreateBucket", "s3.cacheCapacityMB", "s3.concurrentUploadLimitMB", "s3.domainName", "s3.externalUrl",
        "volume.fileSizeLimitMB", "volume.index",
    }
)  # fmt: skip
# Flags that say where and beside what it listens in a container, which is decided here.
_DROPPED = frozenset(
    {
        "admin.port", "admin.ui", "admin.user", "filer.port", "ip", "ip.bind", "master.port", "master.telemetry",
        "s3.port.grpc", "s3.port.iceberg", "s3.port.lance", "volume.port", "volume.preStopSeconds", "webdav",
        "webdav.port",
    }
)  # fmt: skip
_MINIO_SECRETS = ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY")
_CONSOLE_FLAGS = ("admin.port", "admin.ui")


@dataclass(frozen=True, slots=True)
class S3Request:
    """An S3 server as a service wants it, and what of it cannot be had."""

    key: str
    secret: str = field(repr=False)
    port: int
    data_target: str = "/data"
    buckets: tuple[str, ...] = ()
    buckets_key: str = ""
    console: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def minio_request(service: Service) -> S3Request:
    """`minio server /data`, with MINIO_ROOT_USER, MINIO_ROOT_PASSWORD and MINIO_DEFAULT_BUCKETS."""
    found = secret_problems(service, _MINIO_SECRETS)
    environment = service.environment if found else with_secrets(service, _MINIO_SECRETS).environment
    # The names before 2021 still work in MinIO.
    key = environment.get("MINIO_ROOT_USER") or environment.get("MINIO_ACCESS_KEY") or "minioadmin"
    secret = environment.get("MINIO_ROOT_PASSWORD") or environment.get("MINIO_SECRET_KEY") or "minioadmin"
    for name, value, least in (("MINIO_ROOT_USER", key, 3), ("MINIO_ROOT_PASSWORD", secret, 8)):
        if len(value) < least:
            found.append(
                problem(
                    service,
                    f"environment.{name}",
                    f"MinIO wants at least {least} characters",
                    "make it longer",
                )
            )
    places, console, refused = _minio_command(service)
    found += refused
    buckets = environment.get("MINIO_DEFAULT_BUCKETS", "").replace(",", " ").split()
    return S3Request(
        key=key,
        secret=secret,
        port=9000,
        data_target=places[0] if places else "/data",
        buckets=tuple(bucket.partition(":")[0] for bucket in buckets),  # `name:policy` of Bitnami's image
        buckets_key="environment.MINIO_DEFAULT_BUCKETS",
        console=console or _published(service, 9001),
        problems=tuple(found),
    )


def _minio_command(service: Service) -> tuple[list[str], bool, list[Problem]]:
    """The directories, whether a console is asked for, and what of the command is not understood."""
    words = list(service.command or ("server", "/data"))
    if words and words[0] == "minio":
        words.pop(0)
    if not words or words.pop(0) != "server":
        return [], False, [_unsupported(service, " ".join(service.command or ()), "minio server")]
    places: list[str] = []
    console = False
    refused: list[Problem] = []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            places.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in ("address", "console-address") and not equals:
            value = words.pop(0) if words else ""
        console = console or name == "console-address"
        if name not in ("address", "console-address", "quiet", "json"):
            refused.append(_unsupported(service, word, "minio server DIRECTORY --console-address"))
        elif name == "address" and value.rpartition(":")[2] != "9000":
            refused.append(_unsupported(service, f"--address {value}", "port 9000"))
    if len(places) > 1 or any("..." in place for place in places):
        refused.append(_unsupported(service, " ".join(places), "one directory"))
    return places, console, refused


def seaweed_request(service: Service) -> S3Request:
    """`weed mini`, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and S3_BUCKET."""
    environment = service.environment
    found = [
        problem(service, f"environment.{name}", f"{name} is not set: S3 would be open to every user of this machine",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the credentials that clients use")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not environment.get(name)
    ]  # fmt: skip
    words = list(service.command or ("mini",))
    if words[0] == "weed":
        words.pop(0)
    while words and words[0].startswith("-"):  # of its logging
        words.pop(0)
    if not words or words.pop(0) != "mini":
        found.append(_unsupported(service, " ".join(service.command or ()), "weed mini"))
        words = []
    flags: dict[str, str] = {}
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        flags[name] = value if equals else "true"
        if not word.startswith("-") or name not in _KEPT | _DROPPED | {"dir", "bucket", "s3.port", "s3"}:
            found.append(_unsupported(service, word.partition("=")[0], "the flags of `weed mini` for S3"))
    port = flags.get("s3.port", "8333")
    if not port.isdigit():
        found.append(_unsupported(service, f"-s3.port={port}", "a number"))
    buckets = flags.get("bucket") or environment.get("S3_BUCKET", "")
    return S3Request(
        key=environment.get("AWS_ACCESS_KEY_ID", ""),
        secret=environment.get("AWS_SECRET_ACCESS_KEY", ""),
        port=int(port) if port.isdigit() else 8333,
        data_target=flags.get("dir") or "/data",
        buckets=tuple(bucket.strip() for bucket in buckets.split(",") if bucket.strip()),
        buckets_key="command" if flags.get("bucket") else "environment.S3_BUCKET",
        console=_wants_console(service, flags),
        options={name: value for name, value in flags.items() if name in _KEPT},
        problems=tuple(found),
    )


def _wants_console(service: Service, flags: Mapping[str, str]) -> bool:
    port = flags.get("admin.port", "23646")
    return flags.get("admin.ui") != "false" and port.isdigit() and _published(service, int(port))


def _published(service: Service, port: int) -> bool:
    return any(entry.target == port for entry in service.ports)


def _unsupported(service: Service, what: str, instead: str) -> Problem:
    return problem(
        service,
        "command",
        f"{what!r} is not supported without Docker",
        f"the embedded S3 server understands {instead}",
    )
