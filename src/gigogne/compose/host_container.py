"""The host container of `gigogne nest`, as a layer through which variables come, or in which they are lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["HostContainer"]


@dataclass(frozen=True, slots=True)
class HostContainer:
    """The container in which Gigogne is at work, as far as it was started to be one.

    `passed` are the variables that `gigogne nest` passed on from the shell in which it was typed; None where somebody
    else started the container (`docker/host/run_host.sh`), who says nothing of it.
    """

    passed: frozenset[str] | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> HostContainer | None:
        """The host container whose environment this is; None where it is that of no host container."""
        if "GIGOGNE_NEST" not in environment:
            return None
        passed = environment.get("GIGOGNE_NEST_PASSED")
        return cls(None if passed is None else frozenset(filter(None, passed.split(","))))

    def passes(self, name: str) -> bool:
        """Whether it is known that the variable came in from outside."""
        return self.passed is not None and name in self.passed

    def loss(self, name: str) -> tuple[str, str]:
        """Why a variable is not set in the container, and what to do about it."""
        if self.passed is None:
            return (
                "the host container has it not: `docker run` passes only what it is told to",
                f"start the host container with -e {name}, or set it in .env",
            )
        if name in self.passed:
            return "it came into the host container, and was unset there", "set it again in this shell"
        return (
            "the host container has it not: it was not set in the shell in which `gigogne nest` was typed",
            f"set {name} there and type gigogne nest again, or set it in .env",
        )
