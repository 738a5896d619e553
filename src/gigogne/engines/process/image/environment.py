"""Makes the Python environments of an image with uv, once: `environments/<key>` in the cache.

The key says everything that decides what is installed, so a ready environment is found without starting uv.
It is made beside its place and renamed whole, by one maker at a time: an interrupted run leaves nothing that
a later one would believe.

Like a layer of Docker's own cache, an environment made for `pandas>=2` keeps its versions until what names
them changes. It is first resolved offline, from what uv has at hand, which takes a tenth of the time: the
versions may therefore be older than the newest. Pin them, or use a lock file, where that matters.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gigogne.engines.process.cache import make_once
from gigogne.engines.process.image.interpreter import Interpreter
from gigogne.engines.process.image.layout import Installation
from gigogne.engines.process.image.recipe import ImagePath
from gigogne.engines.process.image.tree import Tree
from gigogne.engines.process.uv import Failed, run_uv
from gigogne.errors import EngineError

__all__ = ["editable_paths", "executables", "prepare_environment", "site_packages"]

_INCLUDED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)", re.MULTILINE)
_LOCAL = re.compile(r"^\s*(?:(?:-e|--editable)[\s=]|\.{1,2}(?:/|$|\[)|/|.*@\s*file:)", re.MULTILINE)


def executables(environment: Path) -> Path:
    """The directory of an environment that holds `python` and the console scripts."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def site_packages(environment: Path) -> Path:
    """The directory of an environment that holds the installed packages."""
    if not (environment / "pyvenv.cfg").is_file():
        return environment  # a plain directory of packages
    if os.name == "nt":
        return environment / "Lib" / "site-packages"
    return next((environment / "lib").glob("python3*/site-packages"))


def prepare_environment(
    commands: Sequence[Installation],
    interpreter: Interpreter,
    cache: Path,
    progress: Callable[[str], None],
) -> Path:
    """The directory of the environment in which `commands` have run, from the cache or made now.

    Where all of them are for a plain directory of packages, it is one.

    Raises:
        EngineError: uv cannot install what a command names.
    """
    key = _key(commands, interpreter)

    def make(place: Path) -> None:
        if commands:  # an empty one takes no time
            progress(f"making an environment with Python {interpreter.version}")
        if commands and all(command.step.plain for command in commands):
            place.mkdir(parents=True)
        else:
            _make_venv(place, interpreter)
        for command in commands:
            _install(command, place, interpreter, progress)

    return make_once(cache / "environments" / key, make, progress)


def _make_venv(place: Path, interpreter: Interpreter) -> None:
    try:
        run_uv(["venv", "--relocatable", "--no-project", "--python", str(interpreter.executable), str(place)])
    except Failed as failure:
        hint = "see `gigogne doctor`; on Debian, python3 needs the package libpython3-stdlib"
        raise EngineError(f"no environment could be made: {failure}", hint) from None


def _key(commands: Sequence[Installation], interpreter: Interpreter) -> str:
    from hashlib import sha256

    digest = sha256()

    def add(*facts: object) -> None:
        digest.update(repr(facts).encode("utf-8", "surrogateescape"))

    add("1", str(interpreter.executable), interpreter.version, interpreter.stamp, sys.platform, os.name)
    for command in commands:
        step = command.step
        add(step.verb, step.arguments, step.directory, sorted(step.variables.items()), step.plain)
        for path, content in _named_files(command):
            add(path, content)
        for folder in step.folders:
            add(folder)
            for fact in _folder(command.tree, folder).signature():
                add(fact)
    return digest.hexdigest()[:32]


def _folder(tree: Tree, folder: str) -> Tree:
    return Tree(tree.below(folder))


def _named_files(command: Installation) -> Iterator[tuple[str, bytes]]:
    """The files that decide what is installed, and what they hold: those named, and those they include."""
    waiting, seen = list(command.step.files), set[str]()
    while waiting:
        path = waiting.pop()
        entry = command.tree.get(path)
        if path in seen or entry is None:
            continue
        seen.add(path)
        content = entry.read()
        yield path, content
        if path.endswith((".txt", ".in")):
            text = content.decode("utf-8", "replace")
            folder = posixpath.dirname(path)
            waiting += [posixpath.normpath(posixpath.join(folder, name)) for name in _INCLUDED.findall(text)]
            if _LOCAL.search(text):  # it installs from a directory: any file there may count
                yield folder, b"".join(command.tree.signature())


def _install(
    command: Installation,
    place: Path,
    interpreter: Interpreter,
    progress: Callable[[str], None],
) -> None:
    step = command.step
    files = place.with_name(f"{place.name}.files")
    shutil.rmtree(files, ignore_errors=True)
    try:
        if step.files or step.folders or any(isinstance(argument, ImagePath) for argument in step.arguments):
            command.tree.write(files)
        directory = files / step.directory.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        arguments = [_argument(argument, files) for argument in step.arguments]
        common = ["--compile-bytecode"]
        own = dict(step.variables)
        if step.verb == ("sync",):
            own["UV_PROJECT_ENVIRONMENT"] = str(place)
        elif (place / "pyvenv.cfg").is_file():
            common += ["--python", str(place)]
        else:
            common += ["--python", str(interpreter.executable), "--target", str(place)]
        _run([*step.verb, *common, *arguments], directory, own, command, interpreter, progress)
        _name_image_paths(place, files)
    finally:
        shutil.rmtree(files, ignore_errors=True)


def _argument(argument: str | ImagePath, files: Path) -> str:
    if isinstance(argument, str):
        return argument
    return str(files / argument.path.lstrip("/")) + argument.suffix


def _run(
    arguments: list[str],
    directory: Path,
    own: dict[str, str],
    command: Installation,
    interpreter: Interpreter,
    progress: Callable[[str], None],
) -> None:
    try:
        run_uv([*arguments, "--offline"], directory=directory, own=own)
        return
    except Failed:
        pass  # something is not in uv's cache
    try:
        run_uv(arguments, directory=directory, own=own, progress=lambda line: _report(line, progress))
    except Failed as failure:
        text = "\n".join(f"  {line}" for line in failure.lines)
        raise EngineError(f"{command.where}: uv cannot do this:\n{text}", _hint(text, interpreter)) from None


def _report(line: str, progress: Callable[[str], None]) -> None:
    if not line.startswith("Using "):  # it names the unfinished directory
        progress(line)


def _hint(text: str, interpreter: Interpreter) -> str:
    """What to do about uv's last words."""
    if re.search(r"dns error|error sending request|timed out|certificate|Connect", text):
        return "the package index does not answer: check the network, UV_DEFAULT_INDEX and SSL_CERT_FILE"
    if re.search(r"Failed to build|build backend|Call to .* failed", text):
        return "a package has no wheel for this machine: install what building it needs (a compiler, headers)"
    if not interpreter.exact and "Python" in text:
        return f"install Python {interpreter.wanted}: {interpreter.version} stands in for it here"
    if re.search(r"No solution found|not found in the package registry|no version", text):
        return "correct the names and versions that this line installs, then run it again"
    return "correct this line of the Dockerfile, or what it names, then run it again"


def _name_image_paths(environment: Path, files: Path) -> None:
    """Make editable installs name the path in the image: uv saw them in a directory that goes away."""
    for file in _editables(environment):
        text = file.read_text(encoding="utf-8")
        if str(files) in text:
            file.write_text(text.replace(str(files), ""), encoding="utf-8")


def editable_paths(environment: Path) -> Iterator[str]:
    """The directories of the image that editable installs put on `sys.path`.

    They are found by their absolute paths: a line of a `.pth` file, or the packages in setuptools' mapping.
    """
    for file in _editables(environment):
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".pth":
            yield from (line.strip() for line in text.splitlines() if line.startswith("/"))
        else:
            mapping = re.search(r"^MAPPING[^=]*= (\{.*\})$", text, re.MULTILINE)
            packages = ast.literal_eval(mapping[1]) if mapping else {}
            yield from (posixpath.dirname(path) for path in packages.values())


def _editables(environment: Path) -> list[Path]:
    packages = site_packages(environment)
    return sorted([*packages.glob("*.pth"), *packages.glob("__editable__*.py")])
