"""Say where in the user's files a complaint of Docker Compose comes from, and what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from gigogne.compose.binary import run_compose
from gigogne.compose.host_container import HostContainer
from gigogne.compose.nodes import field, fields, items, read_yaml
from gigogne.core.model import Problem
from gigogne.core.suggestion import did_you_mean
from gigogne.errors import ComposeError

__all__ = ["Location", "Places", "compose_error"]

_YAML = re.compile(
    r"(?:failed to parse (?P<file>.+?): )?go-yaml load error.* at L(?P<line>\d+)\.C\d+(?:-\S+)?: (?P<what>.*)", re.S
)
_PATH = re.compile(r"\b((?:services|volumes|networks|secrets|configs|include)(?:\.[\w.-]+?)+)(?=[.,:]?(?:\s|$))")
_UNKNOWN = re.compile(
    r"(?P<path>\S+)\.(?P<key>[^.\s]+) false schema|(?P<within>\S+) additional propert\S+ '(?P<added>[^']+)'"
)
_UNKNOWN_AT_TOP = re.compile(r"validating (?P<file>.+?):\s+additional propert\S+ '(?P<key>[^']+)' not allowed")
_QUOTED = re.compile(r'service "(?P<service>[^"]+)" (?P<verb>depends on|refers to) (?P<what>.*)')
_BARE = re.compile(r'service "(?P<service>[^"]+)" has neither an image nor a build context')
_CYCLE = re.compile(r"dependency cycle detected: (?P<first>\S+) -> (?P<second>\S+)")
_REQUIRED = re.compile(r"required variable (?P<name>\w+) is missing a value(?:: (?P<why>.*))?")
_MISSING = re.compile(r"\b(?:open|stat|lstat) (?P<file>.+?): no such file or directory")
_ENV_FILE = re.compile(r"env file (?P<file>.+?) not found|couldn't find env file: (?P<given>.+)")

TOP_LEVEL_KEYS = "configs include models name networks secrets services version volumes x-gigogne".split()
# The keys of a service in the Compose specification, to suggest the one that was meant.
SERVICE_KEYS = (
    "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name "
    "cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec "
    "depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file "
    "environment expose extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc "
    "isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit "
    "models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_stop "
    "privileged profiles provider pull_policy read_only restart runtime scale secrets security_opt shm_size stdin_open "
    "stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits user userns_mode uts volumes volumes_from "
    "working_dir"
).split()
DEPENDENCY_KEYS = ("condition", "required", "restart")


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's files. `line` counts from 1; None where only the file is known."""

    file: Path
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


def compose_error(stderr: str, files: Sequence[Path]) -> ComposeError:
    """Compose's complaint as an error that names the file and the line, where they can be found, and the cure."""
    said = "\n".join(line for line in stderr.strip().splitlines() if "level=warning" not in line) or stderr.strip()
    for reader in (_no_files, _yaml_error, _unknown_key, _missing_env_file, _missing_file, _about_service, _about_key):
        error = reader(said, files)
        if error is not None:
            return error
    return ComposeError(said, f"the files read were: {', '.join(map(str, files)) or 'none'}")


def _no_files(said: str, files: Sequence[Path]) -> ComposeError | None:
    missing = [file for file in files if not file.is_file()]
    if missing:
        return ComposeError(f"{missing[0]}: no such Compose file", "check the names after -f, or COMPOSE_FILE")
    if "no configuration file provided" in said:
        return ComposeError(
            f"no Compose file in {Path.cwd()} or above it",
            "go to the folder of your docker-compose.yml, or name the file: gigogne -f path/to/docker-compose.yml run",
        )
    return None


def _yaml_error(said: str, files: Sequence[Path]) -> ComposeError | None:
    match = _YAML.search(said)
    if match is None:
        return None
    file = Path(match["file"]) if match["file"] else _file_that_fails(files)
    place = f"{file}:{match['line']}" if file else f"line {match['line']}"
    what = match["what"].strip()
    if "cannot start any token" in what and file and "\t" in _line(file, int(match["line"])):
        return ComposeError(f"{place}: a tab; YAML is indented with spaces only", "replace the tab by spaces")
    return ComposeError(
        f"{place}: not valid YAML: {what}", "check the indentation and the quotes at and above this line"
    )


def _unknown_key(said: str, files: Sequence[Path]) -> ComposeError | None:
    top = _UNKNOWN_AT_TOP.search(said)
    if top is not None:
        file, key = Path(top["file"]), top["key"]
        place = Location(file, _deepest(read_yaml(file), key)[0] or None)
        hint = _key_hint(key, TOP_LEVEL_KEYS)
        return ComposeError(f"{place}: {key}: Compose knows no such key at the top level", hint)
    match = _UNKNOWN.search(said)
    if match is None:
        return None
    key, path = match["key"] or match["added"], match["path"] or match["within"]
    known = SERVICE_KEYS if path.count(".") == 1 else DEPENDENCY_KEYS if ".depends_on." in path else ()
    hint = _key_hint(key, known)
    return ComposeError(f"{_place(f'{path}.{key}', files)}: {path}.{key}: Compose knows no such key", hint)


def _key_hint(key: str, known: Sequence[str]) -> str:
    return did_you_mean(key, known, quote="`") or "remove it, or name it x-… to keep it as a note"


def _missing_env_file(said: str, files: Sequence[Path]) -> ComposeError | None:
    match = _ENV_FILE.search(said)
    if match is None:
        return None
    if match["given"]:
        return ComposeError(f"{match['given']} does not exist", "correct the name after --env-file, or make the file")
    name = Path(match["file"]).name
    example = next((f"cp {e.name} {name}" for e in Path(match["file"]).parent.glob(f"{name}.*") if e.is_file()), "")
    hint = f"make it ({example or 'one NAME=value a line'}), or write `required: false` beside its path"
    place = _line_with(name, files)
    return ComposeError(f"{place}env file {match['file']} is missing", hint)


def _about_service(said: str, files: Sequence[Path]) -> ComposeError | None:
    cycle = _CYCLE.search(said)
    if cycle:
        place = _place(f"services.{cycle['first']}.depends_on", files)
        return ComposeError(f"{place}: {said}", "remove one of these depends_on: nothing could start first")
    if bare := _BARE.search(said):
        name = bare["service"]
        place = _place(f"services.{name}", files)
        others = (each for each in _names("services", files) if each != name)
        hint = did_you_mean(name, others) or "write one of them, or correct the name of the service"
        return ComposeError(f'{place}: service "{name}" has no image: and no build:', hint)
    match = _QUOTED.search(said)
    if match is None:
        return None
    key = "depends_on" if match["verb"] == "depends on" else (match["what"].split() or [""])[1] + "s"
    place = _place(f"services.{match['service']}.{key}", files)
    what = match["what"].removesuffix(": invalid compose project")
    kind, _, name = what.removeprefix("undefined ").partition(" ")
    if meant := did_you_mean(name.strip('"'), _names(f"{kind}s", files)):
        hint = meant
    elif kind == "service":
        hint = "correct the name, or define it (a service that has profiles must have them switched on: --profile)"
    else:
        hint = f"correct the name, or define it under {kind}s: at the top level"
    return ComposeError(f'{place}: service "{match["service"]}" {match["verb"]} {what}', hint)


def _names(key: str, files: Sequence[Path]) -> list[str]:
    """The names under a top-level key of the files."""
    return [name.value for _, root in _with_includes(files) for name, _ in fields(field(root, key))]


def _missing_file(said: str, files: Sequence[Path]) -> ComposeError | None:
    """A file that `extends`, `include` or `label_file` names."""
    match = _MISSING.search(said)
    if match is None:
        return None
    file = Path(match["file"])
    beside = [path.name for path in file.parent.glob("*")]
    hint = did_you_mean(file.name, beside) or "correct the path, or make the file"
    return ComposeError(f"{_line_with(file.name, files)}{file} does not exist", hint)


def _about_key(said: str, files: Sequence[Path]) -> ComposeError | None:
    match = _PATH.search(said)
    if match is None:
        return None
    required = _REQUIRED.search(said)
    if required:
        why = f": {required['why']}" if required["why"] else ""
        name, hint = required["name"], f"set it in the shell or in .env: {required['name']}=…"
        if host_container := HostContainer.of(os.environ):
            reason, hint = host_container.loss(name)
            why += f"; {reason}"
        return ComposeError(
            f"{_place(match[1], files)}: {match[1]} needs the variable {name}, which is not set{why}", hint
        )
    what = said[said.index(": ") + 2 :] if said.startswith("validating ") else said  # the place has the file
    return ComposeError(f"{_place(match[1], files)}: {what}", "correct this key")


def _place(path: str, files: Sequence[Path]) -> str:
    """`file:line` of a dotted path, or the names of the files where no line is found."""
    found = Places(files).find(path)
    return str(found) if found else ", ".join(map(str, files)) or "Compose files"


class Places:
    """Where keys stand in Compose files and those that they include: each file is read once, for all questions."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(_with_includes(files))

    def find(self, path: str) -> Location | None:
        """The place of a dotted path, or of as much of it as there is.

        The deepest place wins; of those, that of the last file, which is the one that Compose takes.
        """
        best, depth = None, 2
        for file, root in self._files:
            line, found = _deepest(root, path)
            if found >= depth:
                best, depth = Location(file, line), found
        return best

    def located(self, problem: Problem, here: Path | None = None) -> Problem:
        """The problem with the file and the line of its key; a file below `here` as it is seen from there."""
        place = self.find(problem.where)
        if place is None:
            return problem
        if here is not None and place.file.is_relative_to(here):
            place = replace(place, file=place.file.relative_to(here))
        return replace(problem, where=f"{place}: {problem.where}")


def _line_with(text: str, files: Sequence[Path]) -> str:
    for file, _ in _with_includes(files):
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if text in line and not line.lstrip().startswith("#"):
                return f"{file}:{number}: "
    return ""


def _deepest(node: yaml.Node | None, path: str) -> tuple[int, int]:
    """The line (from 1) of the deepest part of a dotted path below a node, and how many parts that are."""
    line, depth, rest = 0, 0, path
    while isinstance(node, yaml.MappingNode) and rest:
        # Keys may hold dots themselves, so take the longest key that the rest of the path begins with.
        fits = [pair for pair in node.value if rest == pair[0].value or rest.startswith(f"{pair[0].value}.")]
        if not fits:
            return line, depth
        key, node = max(fits, key=lambda pair: len(pair[0].value))
        line, depth, rest = key.start_mark.line + 1, depth + 1, rest[len(key.value) + 1 :]
    if isinstance(node, yaml.SequenceNode) and rest:
        # `depends_on: [db]`, `environment: [NAME=value]`
        entries = [e for e in node.value if isinstance(e, yaml.ScalarNode) and e.value.partition("=")[0] == rest]
        if entries:
            return entries[-1].start_mark.line + 1, depth + 1
    return line, depth


def _with_includes(files: Sequence[Path]) -> Iterator[tuple[Path, yaml.Node | None]]:
    """The files, then those that they include (as far as the names are plain: no variables), each with its YAML."""
    queue, seen = list(files), set[Path]()
    while queue:
        file = queue.pop(0)
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        root = read_yaml(file)
        yield file, root
        for entry in items(field(root, "include")):
            paths = items(field(entry, "path")) if isinstance(entry, yaml.MappingNode) else [entry]
            queue += [file.parent / path.value for path in paths]


def _file_that_fails(files: Sequence[Path]) -> Path | None:
    """Which of several files is broken: Compose does not say, so each is asked for alone."""
    if len(files) == 1:
        return files[0]
    for file in files:
        if "go-yaml" in run_compose(["-f", str(file), "config", "--quiet", "--no-interpolate"]).stderr:
            return file
    return None


def _line(file: Path, number: int) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[number - 1] if 0 < number <= len(lines) else ""
