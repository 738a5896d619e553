"""A shell script cut into simple commands, without a shell.

Only what Dockerfiles use between commands is understood: `&&`, `;`, newlines, comments, quotes, `|| true`, output
thrown away, and output to a file. A piece that needs a real shell (pipes, substitutions, loops) is marked `complex`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Piece", "cut"]

_FORGIVEN = re.compile(r"\|\|\s*(?:true|:|exit \d+)(?=[\s;&]|$)")
_OUTPUT = re.compile(r">>?(?![&>(])")
_SILENCED = re.compile(r"&?>>?\s*(?:/dev/null|&\d)(?=[\s;&|]|$)")


@dataclass(frozen=True, slots=True)
class Piece:
    """One simple command as written; `complex` when only a shell can say what it means.

    `output` is the file that a `>` at its end names, with `append` a `>>`; `command` is what comes before.
    """

    text: str
    complex: bool = False
    output: str = ""
    append: bool = False

    @property
    def command(self) -> str:
        """The command without the file that its output goes to."""
        end = len(self.text) - len(self.output)
        return self.text[:end].rstrip().rstrip(">").rstrip() if self.output else self.text


class _Cutter:
    def __init__(self, script: str) -> None:
        self.script = script
        self.at = 0
        self.text = ""
        self.complex = False
        self.output = 0  # where in the text the name of the file begins
        self.pieces: list[Piece] = []

    def cut(self) -> list[Piece]:
        while self.at < len(self.script):
            self.step()
        self.end()
        return self.pieces

    def end(self) -> None:
        if text := self.text.strip():
            output = self.text[self.output :].strip() if self.output else ""
            unclear = self.complex or (self.output > 0 and (not output or len(output.split()) > 1))
            append = self.text[: self.output].endswith(">>")
            self.pieces.append(Piece(text, unclear, "" if unclear else output, append))
        self.text, self.complex, self.output = "", False, 0

    def take(self, count: int = 1) -> None:
        self.text += self.script[self.at : self.at + count]
        self.at += count

    def step(self) -> None:
        char, rest = self.script[self.at], self.script[self.at :]
        if char == "\\":
            if rest[1:2] == "\n":
                self.at += 2
            else:
                self.take(2)
        elif char in "'\"":
            self.quoted(char)
        elif char == "#" and (not self.text or self.text[-1].isspace()):
            self.at += len(rest.partition("\n")[0])
        elif char in ";\n":
            self.at += 1
            self.end()
        else:
            self.operator(char, rest)

    def operator(self, char: str, rest: str) -> None:
        if match := _SILENCED.match(rest):
            self.at += match.end()
            self.text = re.sub(r"(^|\s)\d$", r"\1", self.text)
        elif match := _FORGIVEN.match(rest):
            self.at += match.end()
        elif rest.startswith("&&"):
            self.at += 2
            self.end()
        elif (match := _OUTPUT.match(rest)) and not self.text[-1:].isdigit():
            self.complex = self.complex or self.output > 0
            self.take(match.end())
            self.output = len(self.text)
        else:
            self.complex = self.complex or char in "|&<>()`"
            self.take()

    def quoted(self, quote: str) -> None:
        self.take()
        while self.at < len(self.script):
            char = self.script[self.at]
            if quote == '"' and char == "\\":
                self.take(2)
                continue
            if quote == '"' and (char == "`" or self.script.startswith("$(", self.at)):
                self.complex = True
            self.take()
            if char == quote:
                return
        self.complex = True  # the quote never ends


def cut(script: str) -> list[Piece]:
    """The simple commands of `script`, in order."""
    return _Cutter(script).cut()
