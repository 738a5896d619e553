"""The result of a job: what it writes to the path in `GIGOGNE_RESULT`."""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gigogne.core.engine import RESULT_LIMIT, RESULT_VARIABLE
from gigogne.engines.process.launch import Launch, PlacedMount
from gigogne.errors import EngineError

__all__ = ["RESULT", "read_result", "with_result"]

RESULT = "result"
"""The directory, beside the scratch of a service, in which its result lies."""

# Inside: a directory, so that a result may also be written beside its place and renamed.
_FOLDER, _FILE = "/.gigogne", "result.json"


def with_result(launch: Launch, folder: Path) -> tuple[Launch, Path]:
    """The launch with a place for its result, and where that lies on this machine.

    The service's own value wins: it lies where its mount has it, or, elsewhere in the image, is a file of `folder`.

    Args:
        launch: The launch.
        folder: A new directory on this machine, which outlives the scratch of the launch.
    """
    folder.mkdir()
    own = launch.environment.get(RESULT_VARIABLE)
    if not own:
        environment = {**launch.environment, RESULT_VARIABLE: f"{_FOLDER}/{_FILE}"}
        return replace(_with_mount(launch, PlacedMount(folder, _FOLDER)), environment=environment), folder / _FILE
    inside = PurePosixPath(posixpath.normpath(posixpath.join(launch.working_dir, own)))
    around = [mount for mount in launch.mounts if inside.is_relative_to(mount.target)]
    source = around[-1].source if around else None  # the innermost one comes last
    if source is not None:
        return launch, source / inside.relative_to(around[-1].target)
    file = folder / _FILE
    file.touch()
    return _with_mount(launch, PlacedMount(file, str(inside))), file


def _with_mount(launch: Launch, mount: PlacedMount) -> Launch:
    mounts = sorted((*launch.mounts, mount), key=lambda each: PurePosixPath(each.target).parts)
    return replace(launch, mounts=tuple(mounts))


def read_result(place: Path, began: float) -> bytes | None:
    """What a job that was started at `began` wrote; None where it wrote nothing, or no file of its own.

    Raises:
        EngineError: It is too large.
    """
    # A link may lead out of what the job could reach, and a pipe would be waited for.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(place, flags)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        # In a volume there may be that of another run; a second is how fine some file systems tell the time.
        if not stat.S_ISREG(found.st_mode) or max(found.st_mtime, found.st_ctime) < began - 1:
            return None
        content = file.read(RESULT_LIMIT + 1)
    if len(content) > RESULT_LIMIT:
        raise EngineError(
            f"the result in {RESULT_VARIABLE} is larger than {RESULT_LIMIT // 2**20} MiB",
            "write the data to a volume, and its path as the result",
        )
    return content or None
