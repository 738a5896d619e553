"""What was made of files, kept until one of them changes: a DAG file is read every few seconds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["cached"]

_Made = TypeVar("_Made")

# A file that changes within the tick of its clock after it was read would look as if it had been read before.
_TICK = 0.05


def cached(
    folder: Path, key: Sequence[object], make: Callable[[], tuple[Any, Iterable[Path]]], read: Callable[[Any], _Made]
) -> _Made:
    """What `make` makes, kept in the folder as long as the files that it was made of stay as they are.

    Args:
        folder: Where it is kept; where nothing can be written, it is made each time.
        key: All that it depends on besides the files.
        make: Makes it, in plain JSON types, and names the files that it has looked at, there or not.
        read: Makes the result of the plain types.
    """
    record = folder / f"{hashlib.sha256(repr(tuple(key)).encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # not there, or damaged
        kept = json.loads(record.read_bytes())
        if all(_digest(Path(file)) == digest for file, digest in kept["files"].items()):
            return read(kept["made"])
    began = time.time()
    made, files = make()
    digests = {str(file): _digest(file) for file in files}
    text = json.dumps({"files": digests, "made": made})
    if all(_changed(Path(file)) < began - _TICK for file in digests):
        _write(record, text)
    return read(json.loads(text)["made"])


def _digest(file: Path) -> str | None:
    """What the file holds, in short; None where it is not to be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _changed(file: Path) -> float:
    try:
        found = file.stat()
    except OSError:
        return 0.0
    return max(found.st_mtime, found.st_ctime)


def _write(record: Path, text: str) -> None:
    """Write the record whole or not at all."""
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=record.parent, prefix=f"{record.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(record)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
