"""Directories that are made once, whole or not at all, by one maker at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["make_once", "prune", "remove_tree", "touch"]


def make_once(place: Path, make: Callable[[Path], None], progress: Callable[[str], None]) -> Path:
    """`place`, made by `make` when it is not there; `make` gets the path of an absent directory beside it.

    Because a finished directory arrives by one rename, its being there is proof that it is whole.
    """
    if place.is_dir():
        return place
    from filelock import FileLock, Timeout

    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_name(f"{place.name}.lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        progress("waiting for another gigogne that makes the same")
        lock.acquire()
    try:
        if not place.is_dir():
            unfinished = place.with_name(f"{place.name}.new")
            remove_tree(unfinished)  # what an interrupted maker left
            try:
                make(unfinished)
                unfinished.rename(place)
            except BaseException:
                remove_tree(unfinished)
                raise
    finally:
        lock.release()
    return place


def remove_tree(path: Path) -> None:
    """Remove a directory and everything in it, also what forbids it; nothing happens when it is not there."""

    def allow(_function: Callable[[str], object], name: str, error: object) -> None:
        raised = error[1] if isinstance(error, tuple) else error  # as `onerror` and as `onexc` have it
        if not isinstance(raised, PermissionError):
            return
        try:
            for place in (Path(name).parent, Path(name)):
                if place.is_relative_to(path):  # what lies above is not ours to change
                    place.chmod(0o700)
            if Path(name).is_dir() and not Path(name).is_symlink():
                shutil.rmtree(name, ignore_errors=True)
            else:
                Path(name).unlink(missing_ok=True)
        except OSError:
            pass  # gone, or not ours: the next run tries again

    if not path.is_dir():
        return
    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=allow)
    else:
        shutil.rmtree(path, onerror=allow)


def prune(folder: Path, *, keep: int, days: float) -> None:
    """Remove what is in `folder` and was not used for `days`, but always keep the `keep` most recent."""
    used: list[tuple[float, Path]] = []
    for path in folder.iterdir():
        try:
            used.append((path.stat().st_mtime, path))
        except OSError:
            continue
    directories = sorted((each for each in used if each[1].is_dir()), reverse=True)
    limit = time.time() - days * 86400
    for when, path in directories[keep:]:
        if when < limit:
            remove_tree(path)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)


def touch(path: Path) -> None:
    """Note that `path` is used now."""
    with contextlib.suppress(OSError):  # a cache that cannot be written to is still a cache
        os.utime(path)
