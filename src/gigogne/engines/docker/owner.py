"""Who supervises a run: a process, named so that another Gigogne, which asks the same daemon, can tell if it lives."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from gigogne.engines.birth import TOLERANCE, birth_of, lives

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Owner"]

# What tells of a process from inside its container: whose process ids they are, and the process itself.
_LOOK = "readlink /proc/self/ns/pid; cat /proc/$0/stat"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. As text it is a label: no value of a variable is in it.

    Attributes:
        machine: The name of the machine, or of the container.
        boot: Which start of the kernel; empty where the system does not tell.
        namespace: Whose process ids they are: containers count from 1 each.
        pid: The process id there.
        began: When the process was started, as the system tells it without the clock: `birth_of`.
        container: The id of the container that it is in, as the daemon knows it; empty on a host.
    """

    machine: str
    boot: str
    namespace: str
    pid: int
    began: float
    container: str = ""

    @classmethod
    def this_process(cls, container: str) -> Owner:
        """The process that calls, in a container or on a host."""
        return cls.of(os.getpid(), container)

    @classmethod
    def of(cls, pid: int, container: str) -> Owner:
        """A process beside the one that calls: of the same machine, namespace and container."""
        return cls(*_here(), pid, birth_of(psutil.Process(pid)), container)

    @classmethod
    def read(cls, label: str) -> Owner | None:
        """The owner that a label names; None where it names none."""
        try:
            return cls(**json.loads(label))
        except (TypeError, ValueError):
            return None

    def __str__(self) -> str:
        """The owner as a label."""
        return json.dumps(asdict(self))

    @property
    def is_near(self) -> bool:
        """Whether its process id means a process of ours."""
        return (self.machine, self.boot, self.namespace) == _here()

    def lives(self, client: DockerClient) -> bool:
        """Whether it runs. Where that cannot be seen it is taken to: work that somebody watches is not to be ended."""
        if self.is_near:
            return lives(self.pid, self.began)
        machine, boot, _ = _here()
        if self.machine == machine and self.boot != boot:
            return False  # the machine has been started anew since
        return not self.container or _runs_in(client, self)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to it; whether it is near, and ours to be sent one."""
        if not self.is_near:
            return False
        try:
            psutil.Process(self.pid).send_signal(number)
        except psutil.AccessDenied:
            return False
        except psutil.NoSuchProcess:
            pass
        return True


def _runs_in(client: DockerClient, owner: Owner) -> bool:
    """Whether an owner runs in its container, which the daemon looks into; taken to where it cannot."""
    from docker.errors import APIError, NotFound

    api = client.api
    try:
        if not api.inspect_container(owner.container)["State"]["Running"]:
            return False
        asked = api.exec_create(owner.container, ["sh", "-c", _LOOK, str(owner.pid)], stderr=False)["Id"]
        namespace, _, stat = api.exec_start(asked).decode(errors="replace").partition("\n")
    except NotFound:
        return False
    except APIError:  # it is paused, or has no shell
        return True
    if namespace != owner.namespace:
        return True
    told = stat.rpartition(")")[2].split()
    return bool(told) and told[0] != "Z" and abs(float(told[19]) - owner.began) < TOLERANCE


@functools.cache
def _here() -> tuple[str, str, str]:
    """Machine, boot and process namespace of this process."""
    boot, namespace = _text("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    # Many machines are named localhost. The id itself is nobody else's business.
    machine_id = hashlib.sha256(_text("/etc/machine-id").encode()).hexdigest()[:8]
    return f"{platform.node()}-{machine_id}", boot, str(namespace.readlink()) if namespace.is_symlink() else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
