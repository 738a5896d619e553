"""What each instruction of a Dockerfile means for the stage that is being read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from e2b_dockerfile_utils import DockerfileHeredoc, DockerfileInstruction, ShellLex, chomp_heredoc_content

from gigogne.core.model import Healthcheck
from gigogne.engines.process.image.draft import Draft, Notes
from gigogne.engines.process.image.recipe import BASE_DIRECTORIES, Copy, MakeDirectory
from gigogne.engines.process.image.run import RunReader
from gigogne.engines.process.image.shell import Support
from gigogne.errors import ComposeError

__all__ = ["INSTRUCTIONS", "WITH_DOCKER", "Instruction", "InstructionReader", "Origin"]

WITH_DOCKER = "run this service with docker compose"

_REMOTE = re.compile(r"(https?|git|ssh)://.*|git@.*|.*\.git(#.*)?")
# Variables that every build knows without an ARG.
_PROXIES = frozenset(
    name
    for word in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for name in (word, word.upper())
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a COPY takes from: the build context, or `stage`; not `known` when there is nothing to take."""

    stage: int | None = None
    known: bool = True


class InstructionReader:
    """Reads instructions into drafts.

    `arguments` are the values that Compose gives to ARG, `outer` those of the ARGs before the first FROM.
    `origin` tells what `--from=` means.
    """

    def __init__(
        self,
        notes: Notes,
        lines: Sequence[str],
        escape: str,
        arguments: Mapping[str, str],
        origin: Callable[[Draft, int, str], Origin],
    ) -> None:
        self._notes = notes
        self._run = RunReader(notes, lines)
        self._escape = escape
        self._given = arguments
        self._origin = origin
        self.outer: dict[str, str] = {}

    def read(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        """Add to `draft` what `instruction` means."""
        known = INSTRUCTIONS[instruction.name]
        if known.read is None:
            self._notes.refuse(instruction.start_line, f"{instruction.name} is not supported", known.meaning)
        else:
            known.read(self, draft, instruction)

    def read_outer(self, instruction: DockerfileInstruction) -> None:
        """An ARG before the first FROM."""
        self._arguments(instruction, self.outer, self.outer, {})

    def wrong(self, instruction: DockerfileInstruction, message: str, hint: str) -> ComposeError:
        """An error that names the line of `instruction`."""
        return ComposeError(f"{self._notes.label}:{instruction.start_line}: {message}", hint)

    def word(self, instruction: DockerfileInstruction, word: str, variables: Mapping[str, str]) -> str:
        """`word` with its variables expanded and its quotes removed."""
        try:
            return ShellLex(self._escape, env=variables, skip_unset_env=False).process_word(word)
        except ValueError as error:
            reason = str(error).removeprefix(f"failed to process {word!r}: ")
            raise self.wrong(instruction, f"{instruction.name}: {reason}", "correct this line") from None

    def _words(self, draft: Draft, instruction: DockerfileInstruction) -> list[str]:
        return [self.word(instruction, word, draft.variables()) for word in instruction.args]

    def _text(self, draft: Draft, instruction: DockerfileInstruction) -> str:
        words = self._words(draft, instruction)
        if len(words) != 1 or not words[0]:
            raise self.wrong(instruction, f"{instruction.name} needs one value", "a variable in it may be unset")
        return words[0]

    def _pairs(self, draft: Draft, instruction: DockerfileInstruction) -> dict[str, str]:
        # All of one line is expanded with the variables from before the line, as Docker does.
        words = self._words(draft, instruction)
        return dict(zip(words[::3], words[1::3], strict=True))

    def _flags(self, draft: Draft, instruction: DockerfileInstruction) -> list[tuple[str, str]]:
        pairs = (flag.removeprefix("--").partition("=") for flag in instruction.flags)
        return [(name, self.word(instruction, value, draft.variables())) for name, _, value in pairs]

    def _arguments(
        self,
        instruction: DockerfileInstruction,
        into: dict[str, str],
        variables: Mapping[str, str],
        outer: Mapping[str, str],
    ) -> None:
        for word in instruction.args:
            name, equals, default = word.partition("=")
            if name in self._given:
                into[name] = self._given[name]
            elif equals:
                into[name] = self.word(instruction, default, {**variables, **into})
            elif name in outer:
                into[name] = outer[name]

    def _arg(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        outer = {**_platform(), **self.outer}
        self._arguments(instruction, draft.arguments, draft.variables(), outer)

    def _env(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        draft.environment.update(self._pairs(draft, instruction))

    def _label(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        self._pairs(draft, instruction)  # labels change nothing here, but must be well written

    def _workdir(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        draft.working_dir = draft.path(self._text(draft, instruction))
        draft.steps.append(MakeDirectory(instruction.start_line, draft.working_dir))

    def _user(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        draft.user, draft.user_line = self._text(draft, instruction), instruction.start_line

    def _shell(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        if not instruction.json or not instruction.args:
            raise self.wrong(instruction, "SHELL needs the JSON form", 'write SHELL ["/bin/sh", "-c"]')
        draft.shell = tuple(instruction.args)

    def _form(self, draft: Draft, instruction: DockerfileInstruction) -> tuple[str, ...]:
        if instruction.json or not instruction.args:
            return tuple(instruction.args)
        return (*draft.shell, instruction.args[0])

    def _cmd(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        draft.command, draft.command_is_own = self._form(draft, instruction), True

    def _entrypoint(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        draft.entrypoint = self._form(draft, instruction)
        if not draft.command_is_own:
            draft.command = ()  # the inherited CMD was for the inherited ENTRYPOINT

    def _healthcheck(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        # Loading the project has read it; here it is only held against Docker's rules.
        flags = dict(self._flags(draft, instruction))
        try:
            Healthcheck.of_instruction(instruction.args, flags, exec_form=instruction.json)
        except ValueError as error:
            raise self.wrong(instruction, str(error), "write HEALTHCHECK --interval=30s CMD command") from None

    def _stopsignal(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        draft.stop_signal = self._text(draft, instruction)

    def _expose(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        ports = (port if "/" in port else f"{port}/tcp" for port in self._words(draft, instruction) if port)
        draft.exposed = tuple(dict.fromkeys([*draft.exposed, *ports]))

    def _volume(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        paths = (draft.path(path) for path in self._words(draft, instruction) if path)
        draft.volumes = tuple(dict.fromkeys([*draft.volumes, *paths]))

    def _maintainer(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        pass

    def _add(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        for source in self._words(draft, instruction)[:-1]:
            if _REMOTE.fullmatch(source):
                hint = f"put the files in the build context and COPY them, or {WITH_DOCKER}"
                self._notes.refuse(instruction.start_line, "ADD that downloads is not supported", hint)
                return
        copy = self._copied(draft, instruction, dict(self._flags(draft, instruction)))
        if copy is not None:
            draft.steps.append(replace(copy, unpack=True))

    def _copy(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        copy = self._copied(draft, instruction, dict(self._flags(draft, instruction)))
        if copy is not None:
            draft.steps.append(copy)

    def _copied(self, draft: Draft, instruction: DockerfileInstruction, flags: Mapping[str, str]) -> Copy | None:
        line, words = instruction.start_line, self._words(draft, instruction)
        if len(words) < 2:
            raise self.wrong(instruction, f"{instruction.name} needs a source and a target", "write COPY from to")
        for name in sorted(set(flags) - {"from", "chown", "chmod", "link"}):
            self._notes.refuse(line, f"{instruction.name} --{name} is not supported", WITH_DOCKER)
        if "chown" in flags:
            self._notes.remark(
                line, f"{instruction.name} --chown is skipped: the files belong to whoever runs the service"
            )
        mode = flags.get("chmod", "")
        if mode and not re.fullmatch(r"[0-7]{3,4}", mode):
            self._notes.remark(line, f"COPY --chmod={mode} is skipped: only numbers are understood")
            mode = ""
        origin = self._origin(draft, line, flags["from"]) if "from" in flags else Origin()
        if not origin.known:
            return None
        heredocs = {f"<<{'-' if doc.chomp else ''}{doc.name}": doc for doc in instruction.heredocs}
        sources = [word for word in words[:-1] if word not in heredocs]
        if origin.stage is not None:
            sources = [_from_root(source) for source in sources]
        contents = tuple(
            (heredocs[word].name, self._heredoc(draft, instruction, heredocs[word]).encode())
            for word in words[:-1]
            if word in heredocs
        )
        target = _target_path(draft, words[-1])
        return Copy(line, tuple(sources), target, origin.stage, int(mode, 8) if mode else None, contents)

    def _heredoc(self, draft: Draft, instruction: DockerfileInstruction, heredoc: DockerfileHeredoc) -> str:
        text = chomp_heredoc_content(heredoc.content) if heredoc.chomp else heredoc.content
        if not heredoc.expand or "$" not in text:
            return text
        try:
            lexer = ShellLex(self._escape, skip_process_quotes=True, env=draft.variables(), skip_unset_env=False)
            return lexer.process_word(text)
        except ValueError:
            raise self.wrong(instruction, "this heredoc cannot be expanded", "quote its name: <<'EOF'") from None

    def _do_run(self, draft: Draft, instruction: DockerfileInstruction) -> None:
        binds = []
        for name, value in self._flags(draft, instruction):
            if name != "mount":
                continue  # --network and --security change nothing here
            options = dict(part.partition("=")[::2] for part in value.split(","))
            bind = self._mounted(draft, instruction, options)
            if bind is not None:
                binds.append(bind)
        draft.binds = tuple(binds)
        proxies = {name: value for name, value in self._given.items() if name in _PROXIES}
        draft.arguments = {**proxies, **draft.arguments}
        self._run.read(draft, instruction)
        draft.binds = ()

    def _mounted(self, draft: Draft, instruction: DockerfileInstruction, options: Mapping[str, str]) -> Copy | None:
        kind, line = options.get("type", "bind"), instruction.start_line
        if kind in ("cache", "tmpfs"):
            return None
        if kind != "bind":
            self._notes.refuse(line, f"RUN --mount=type={kind} is not supported", WITH_DOCKER)
            return None
        target = options.get("target") or options.get("dst") or options.get("destination") or "."
        origin = self._origin(draft, line, options["from"]) if "from" in options else Origin()
        source = options.get("source") or options.get("src") or "."
        if not origin.known:
            return None
        source = source if origin.stage is None else _from_root(source)
        return Copy(line, (source,), draft.path(target), origin.stage)


def _from_root(path: str) -> str:
    """A path of another stage: relative ones start at its root."""
    return "/" + posixpath.normpath(path).lstrip("/")


def _target_path(draft: Draft, word: str) -> str:
    """The target of a COPY, with a trailing slash when it is a directory."""
    path = draft.path(word)
    folder = word.endswith(("/", "/.")) or word == "." or path in BASE_DIRECTORIES
    return path.rstrip("/") + "/" if folder else path


def _platform() -> dict[str, str]:
    """The variables that BuildKit declares for the platform."""
    import platform

    machine = platform.machine().lower()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    both = {"OS": "linux", "ARCH": arch, "PLATFORM": f"linux/{arch}", "VARIANT": ""}
    return {f"{side}{key}": value for side in ("TARGET", "BUILD") for key, value in both.items()}


@dataclass(frozen=True, slots=True)
class Instruction:
    """A row of the table of instructions: what it means here. For a refused one, without `read`, it is the fix."""

    support: Support
    meaning: str
    read: Callable[[InstructionReader, Draft, DockerfileInstruction], None] | None = None


_HONOURED, _REFUSED = Support.HONOURED, Support.REFUSED
_I = InstructionReader

INSTRUCTIONS: Mapping[str, Instruction] = {
    "ADD": Instruction(_HONOURED, "as COPY; tar archives are unpacked; what would be downloaded is refused", _I._add),
    "ARG": Instruction(_HONOURED, "before and after FROM; `build.args` wins over the default", _I._arg),
    "CMD": Instruction(_HONOURED, "both forms; `uv run` syncs nothing", _I._cmd),
    "COPY": Instruction(
        _HONOURED, "from the build context, a stage or a heredoc; `--chown` is skipped with a note", _I._copy
    ),
    "ENTRYPOINT": Instruction(_HONOURED, "both forms; `uv run` syncs nothing", _I._entrypoint),
    "ENV": Instruction(_HONOURED, "both forms", _I._env),
    "EXPOSE": Instruction(_HONOURED, "known, and not published, as in Docker", _I._expose),
    "FROM": Instruction(_HONOURED, "several stages; the images are in a table below; `--platform` changes nothing"),
    "HEALTHCHECK": Instruction(_HONOURED, "run where the service runs", _I._healthcheck),
    "LABEL": Instruction(_HONOURED, "changes nothing here", _I._label),
    "MAINTAINER": Instruction(_HONOURED, "changes nothing here", _I._maintainer),
    "ONBUILD": Instruction(_REFUSED, "write the instruction itself where it is to work; here it does nothing"),
    "RUN": Instruction(
        _HONOURED, "shell form, JSON form and heredocs, by the commands below; mounts of type bind, cache and tmpfs",
        _I._do_run,
    ),
    "SHELL": Instruction(_HONOURED, "for CMD and ENTRYPOINT", _I._shell),
    "STOPSIGNAL": Instruction(_HONOURED, "sent to stop the service", _I._stopsignal),
    "USER": Instruction(_HONOURED, "by name or number: in the sandbox the uid, in the portable way yours", _I._user),
    "VOLUME": Instruction(_HONOURED, "a new directory at each start, with what the image has there", _I._volume),
    "WORKDIR": Instruction(_HONOURED, "is made when it is not there", _I._workdir),
}  # fmt: skip
"""The instructions and what they mean; FROM is read by `dockerfile.py`."""
