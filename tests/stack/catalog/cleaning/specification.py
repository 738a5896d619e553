"""docs/reference/cleaning.md as a program once more: one character after the other, to compare the quick one with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from html.entities import html5
from pathlib import Path

__all__ = ["PAGE", "clean", "table"]

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "cleaning.md"
WHITE = "\t\n\f\r "
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def table(name: str) -> str:
    """The second column of a row of the page's table of names."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return next(row[1] for row in rows if row[0].startswith(name))


BLOCKS = set(table("Blocks").strip("`").split())


def code_points(text: str) -> Iterator[int]:
    """The numbers that a list of characters and ranges names."""
    for first, last in re.findall(r"U\+([0-9A-F]+)(?:\u2013([0-9A-F]+))?", text):
        yield from range(int(first, 16), int(last or first, 16) + 1)


UNSEEN = {*code_points(table("Seen by nobody")), *code_points(table("Default")), *code_points(table("Private use"))}


def clean(text: str) -> str:
    """The six steps."""
    text = "".join(map(seen, Html(sections(text)).read()))
    text = "".join(few_marks(text))
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).lower())
    return " ".join(word for word in re.split(r"\s", text) if word)


def sections(text: str) -> str:
    """Step 1."""
    opened: list[str] = []
    while "<![CDATA[" in text:
        before, _, rest = text.partition("<![CDATA[")
        inside, _, text = rest.partition("]]>")
        opened += [before, inside]
    return "".join([*opened, text])


class Html:
    """Step 2: the states of the tokenizer are methods, each of which goes on from where the last one stopped."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def next(self) -> str:
        """The next character, which is taken; "" at the end."""
        here = self.peek()
        self.at += 1
        return here

    def peek(self, ahead: int = 0) -> str:
        """A character that is not taken yet."""
        return self.text[self.at + ahead : self.at + ahead + 1]

    def after(self, end: str) -> None:
        """Go behind the next `end`, or to the end of the text."""
        found = self.text.find(end, self.at)
        self.at = len(self.text) if found < 0 else found + len(end)

    def read(self) -> Iterator[str]:
        """What is shown, in pieces."""
        while here := self.next():
            if here == "&":
                yield self.reference()
            elif here == "<":
                yield self.markup()
            else:
                yield here

    def markup(self) -> str:
        """Behind a `<`."""
        here, second = self.peek(), self.peek(1)
        if here and here in LETTERS:
            return self.element(self.tag())
        if here == "/" and second and second in LETTERS:
            self.next()
            return " " if self.tag() in BLOCKS else ""
        if self.text.startswith("!--", self.at):
            self.at += 3
            self.comment()
            return ""
        if (here and here in "!?") or (here == "/" and second):
            self.after(">")
            return ""
        return "<"

    def comment(self) -> None:
        """Behind a `<!--`."""
        for end in (">", "->"):
            if self.text.startswith(end, self.at):
                self.at += len(end)
                return
        while self.peek():
            for end in ("-->", "--!>"):
                if self.text.startswith(end, self.at):
                    self.at += len(end)
                    return
            self.next()

    def element(self, name: str) -> str:
        """Behind a start tag."""
        if name not in ("script", "style"):
            return " " if name in BLOCKS else ""
        while self.peek():
            word = self.text[self.at + 2 : self.at + 2 + len(name)]
            behind = self.peek(2 + len(name))
            ends = behind != "" and behind in WHITE + "/>"
            if self.peek() == "<" and self.peek(1) == "/" and ascii_lower(word) == name and ends:
                self.at += 2
                self.tag()
                return ""
            self.next()
        return ""

    def tag(self) -> str:
        """A tag from its name to behind its `>`; the name."""
        name = ""
        while self.peek() and self.peek() not in WHITE + "/>":
            name += self.next()
        while True:
            while self.peek() and self.peek() in WHITE + "/":
                self.next()
            if not self.peek() or self.peek() == ">":
                self.next()
                return ascii_lower(name)
            self.attribute()

    def attribute(self) -> None:
        """An attribute, with its value if it has one."""
        self.next()
        while self.peek() and self.peek() not in WHITE + "/>=":
            self.next()
        name_end = self.at
        while self.peek() and self.peek() in WHITE:
            self.next()
        if self.peek() != "=":
            self.at = name_end
            return
        self.next()
        while self.peek() and self.peek() in WHITE:
            self.next()
        if self.peek() and self.peek() in "\"'":
            self.after(self.next())
            return
        while self.peek() and self.peek() not in WHITE + ">":
            self.next()

    def reference(self) -> str:
        """Behind a `&`."""
        if self.peek() == "#":
            return self.number()
        for length in range(33, 0, -1):
            name = self.text[self.at : self.at + length]
            if name in html5:
                self.at += len(name)
                return html5[name]
        return "&"

    def number(self) -> str:
        """Behind a `&`, at a `#`."""
        hexadecimal = self.peek(1) != "" and self.peek(1) in "xX"
        digits, base = ("0123456789abcdefABCDEF", 16) if hexadecimal else ("0123456789", 10)
        behind = 2 if hexadecimal else 1
        if not self.peek(behind) or self.peek(behind) not in digits:
            return "&"
        self.at += behind
        code = 0
        while self.peek() and self.peek() in digits:
            code = min(code * base + int(self.next(), 16), 0x110000)
        if self.peek() == ";":
            self.next()
        return character(code)


def ascii_lower(name: str) -> str:
    """The name in lower case, where only the letters of ASCII have one."""
    return "".join(chr(ord(each) + 32) if "A" <= each <= "Z" else each for each in name)


def character(code: int) -> str:
    """What a number stands for."""
    if code == 0 or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
        return "\ufffd"
    if 0x80 <= code <= 0x9F:
        return chr(code)  # step 3 does it
    if (code < 0x20 and chr(code) not in WHITE) or code == 0x7F:
        return ""
    return chr(code)


def seen(piece: str) -> str:
    """Step 3."""
    shown = ""
    for each in piece:
        if 0x80 <= ord(each) <= 0x9F:
            shown += bytes([ord(each)]).decode("cp1252", "ignore")
        elif ord(each) not in UNSEEN:
            shown += each
    return shown


def few_marks(text: str) -> Iterator[str]:
    """Step 4."""
    marks = 0
    for each in text:
        marks = marks + 1 if unicodedata.combining(each) or each in "\uff9e\uff9f" else 0
        if marks <= 30:
            yield each
