"""The `RUN` instructions: which commands are honoured, which are skipped with a note, which are refused.

There is no image to run a command in, so a command is honoured by what it means: `commands.py` has the tables.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from e2b_dockerfile_utils import DockerfileInstruction, ShellLex, chomp_heredoc_content

from gigogne.engines.process.image.commands import command_named, fix_named_in
from gigogne.engines.process.image.draft import Draft, Notes
from gigogne.engines.process.image.files import write_file
from gigogne.engines.process.image.script import Piece, cut
from gigogne.engines.process.image.shell import Refused, Shell

__all__ = ["RunReader"]

_ANYWHERE_ELSE = "run it with docker compose, or do it in the module's own code"
_LOOPS = frozenset(["if", "for", "while", "until", "case", "{", "function"])
_NO_CASES = "write the case that you need by itself, or as a stage of its own that build.target chooses"
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
# uv is here already, so that its installer has nothing to do.
_UV_INSTALLER = re.compile(r"(curl|wget)\s[^|]*astral\.sh/uv/[\w./-]*install\.sh['\"]?\s*\|[^|]*sh\b.*")


class RunReader:
    """Reads the RUN instructions of one Dockerfile, whose lines are `lines`."""

    def __init__(self, notes: Notes, lines: Sequence[str]) -> None:
        self._notes = notes
        self._lines = lines

    def read(self, draft: Draft, run: DockerfileInstruction) -> None:
        """Add to `draft` what `run` means."""
        user = draft.identity()
        variables = {"HOME": user.home if user else "/root", **draft.variables()}
        directory = draft.working_dir
        shell = Shell(draft, self._notes, run.start_line, variables)
        try:
            if run.json:
                self._obey(shell, run.args, " ".join(run.args))
            else:
                self._instruction(shell, run)
        finally:
            draft.working_dir = directory  # `cd` lasts for one RUN

    def _instruction(self, shell: Shell, run: DockerfileInstruction) -> None:
        script = "".join(run.args)
        if run.heredocs:
            first = run.heredocs[0]
            script = chomp_heredoc_content(first.content) if first.chomp else first.content
            other_shell = script.startswith("#!") and not re.match(r"#!\s*(/usr/bin/env )?\S*sh\b", script)
            if len(run.heredocs) > 1 or not run.args[0].startswith("<<") or " " in run.args[0] or other_shell:
                hint = "run it when the service starts (command:), or before the build"
                self._refuse(shell, run.args[0], "a heredoc for another program than the shell", hint)
                return
        self._script(shell, script, run.end_line)

    def _script(self, shell: Shell, script: str, end: int) -> None:
        for piece in cut(script):
            shell.line = self._line(piece, shell.line, end)
            if piece.text.split()[0] in _LOOPS:
                self._refuse(shell, piece.text, "a shell construct", fix_named_in(script) or _NO_CASES)
                return
            self._piece(shell, piece)

    def _line(self, piece: Piece, start: int, end: int) -> int:
        """The line that `piece` is on: the parser joins continued lines."""
        begin = piece.text.splitlines()[0].split()[:2]
        pattern = re.compile(r"(?<!\S)" + r"\s+".join(map(re.escape, begin)))
        return next((n for n in range(start, end + 1) if pattern.search(self._lines[n - 1])), start)

    def _piece(self, shell: Shell, piece: Piece) -> None:
        if _UV_INSTALLER.fullmatch(piece.text):
            shell.draft.has_uv = True
            return
        if piece.complex or (piece.output and piece.command.split()[0] != "echo"):
            unquoted = re.search(r"\binstall\b.*\w>=?\s*\d", piece.text)
            hint = "quote it: 'name>=1'" if unquoted else fix_named_in(piece.text)
            self._refuse(shell, piece.text, "needs a shell (a pipe, a redirection, a substitution)", hint)
            return
        try:
            words, output = self._words(shell, piece.command), self._words(shell, piece.output)
        except ValueError:
            self._refuse(shell, piece.text, "cannot be read")
            return
        if not output:
            self._obey(shell, words, piece.text)
            return
        try:
            write_file(shell, words[1:], output[0], append=piece.append)
        except Refused as refusal:
            self._refuse(shell, piece.text, refusal.what, refusal.hint)

    def _words(self, shell: Shell, text: str) -> list[str]:
        words = ShellLex("\\", env=shell.variables, skip_unset_env=False).process_words(text)
        return [re.sub(r"^~(?=/|$)", lambda _: shell.variables["HOME"], word) for word in words]

    def _obey(self, shell: Shell, words: Sequence[str], text: str) -> None:
        words = list(words)
        own = dict(shell.variables)
        while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] in ("env", "sudo")):
            name, equals, value = words.pop(0).partition("=")
            if equals:
                own[name] = value
        if not words:
            shell.variables = own
            return
        shell.program, command = words[0], command_named(words[0])
        if posixpath.basename(words[0]) in ("sh", "bash") and len(words) == 3 and words[1] in ("-c", "-lc", "-ec"):
            self._script(shell, words[2], shell.line)
            return
        try:
            if command is None:
                raise Refused("")
            command.read(shell, words[1:], own)
        except Refused as refusal:
            self._refuse(shell, text, refusal.what, refusal.hint)

    def _refuse(self, shell: Shell, text: str, what: str, hint: str = "") -> None:
        # As written, before expansion: what a variable holds stays out of messages.
        shown = " ".join(text.split())
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        message = f"RUN {shown}: {what or 'this command is not one that can be done without Docker'}"
        shell.notes.refuse(shell.line, message, hint or _ANYWHERE_ELSE)
