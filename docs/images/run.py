"""Takes the picture of the README: what a bare `gigogne run` says on a terminal, as it says it.

    python docs/images/run.py

It needs Gigogne, and pyte (`pip install pyte`), which knows what a terminal shows of lines that were written over.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WIDTH, HEIGHT = 130, 200


def main() -> None:
    """Run it on data of its own, and write `run.svg`."""
    with tempfile.TemporaryDirectory(prefix="gigogne-pictures-", ignore_cleanup_errors=True) as data:
        Path(data).chmod(0o755)  # servers that refuse root run as nobody
        settings = {**os.environ, "GIGOGNE_DATA_DIR": data, "GIGOGNE_ENGINE": "process", "TERM": "xterm-256color"}
        said = in_terminal([sys.executable, "-m", "gigogne", "run"], settings)
        subprocess.run([sys.executable, "-m", "gigogne", "down", "-v"], cwd=ROOT, env=settings, check=True)
    screen = pyte.Screen(WIDTH, HEIGHT)
    pyte.ByteStream(screen).feed(said.replace(data.encode(), b"~/.local/share/gigogne"))
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        for line in lines(screen):
            console.print(line)
        console.save_svg(str(HERE / "run.svg"), title="gigogne run")


def in_terminal(words: list[str], settings: dict[str, str]) -> bytes:
    """What a command says in a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    process = subprocess.Popen(words, cwd=ROOT, env=settings, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # the end of a terminal is an error
        while chunk := os.read(ours, 4096):
            said += chunk
    assert process.wait() == 0, said.decode(errors="replace")
    return said


def lines(screen: pyte.Screen) -> Iterator[Text]:
    """Its lines in their colours, up to the last one."""
    last = max(row for row, line in enumerate(screen.display) if line.strip())
    for row in range(last + 1):
        line = Text()
        for column in range(WIDTH):
            character = screen.buffer[row][column]
            # The same colours have other names in rich.
            colour = character.fg.replace("brown", "yellow").replace("bright", "bright_")
            line.append(character.data, Style(color=None if colour == "default" else colour, bold=character.bold))
        line.rstrip()
        yield line


if __name__ == "__main__":
    main()
