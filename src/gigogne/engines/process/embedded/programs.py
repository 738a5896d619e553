"""The programs of PostgreSQL: by whom they are run here, and behind which bubblewrap."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gigogne.engines.process.children import note_child
from gigogne.engines.process.embedded import users
from gigogne.engines.process.embedded.wheels import executable
from gigogne.errors import EngineError

__all__ = ["Programs"]


@dataclass(frozen=True, slots=True)
class Programs:
    """How the programs are run.

    Attributes:
        directory: Where they are.
        prefix: The bubblewrap that stands before them; empty for none.
        account: The user to change to; None to stay.
        bwrap: A bubblewrap that works here, or None.
        environment: Their whole environment.
    """

    directory: Path
    prefix: tuple[str, ...]
    account: users.Account | None
    bwrap: Path | None
    environment: Mapping[str, str] = field(repr=False)

    def program(self, name: str) -> Path:
        """The file of a program."""
        return executable(self.directory / name)

    def argv(self, program: str, *arguments: str) -> tuple[str, ...]:
        """The command line of a program."""
        return (*self.prefix, str(self.program(program)), *arguments)

    def give(self, path: Path) -> None:
        """Make the programs' user the owner of a file or directory."""
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        *,
        output: IO[bytes] | int,
        stdin: int | None = None,
        apart: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a command line behind the prefix, which ends with this process.

        Args:
            argv: The command line.
            environment: Its whole environment.
            directory: Its working directory.
            output: Where its output and its errors go.
            stdin: `subprocess.PIPE`, or None for an empty input.
            apart: Whether a Ctrl-C of the terminal does not reach it.
        """
        who: dict[str, Any] = {"start_new_session": True} if apart else {}
        if self.account:
            who |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        before = [*self.prefix[:1], "--die-with-parent", *self.prefix[1:]] if self.prefix else []
        process = subprocess.Popen(
            [*before, *argv],
            env=dict(environment),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            **who,
        )
        note_child(process)
        return process

    def run(self, program: str, *arguments: str, text: str = "") -> None:
        """Run a program to its end; `text` is its standard input, which no one else can read.

        Raises:
            EngineError: It fails.
        """
        argv = (str(self.program(program)), *arguments)
        process = self.start(argv, self.environment, self.directory, output=subprocess.PIPE, stdin=subprocess.PIPE)
        try:
            said, _ = process.communicate(text.encode())
        except BaseException:
            process.kill()
            raise
        if process.returncode:
            lines = said.decode(errors="replace").splitlines()[-4:]
            last = "\n".join(line for line in lines if line.strip())
            raise EngineError(f"{program} of PostgreSQL failed:\n{last}", "see the message of PostgreSQL above")
