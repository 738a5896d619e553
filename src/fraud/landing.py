"""The landing folder: where batches and confirmations wait, each file of them whole or absent.

A file gets its name only when all of its bytes are on the disk: it is written under a temporary name in the
same folder, flushed to the disk, and renamed. Readers look at ``*.jsonl`` and ``*.csv`` only: they never see a half
file.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from job.errors import JobError

__all__ = [
    "BATCH_SUFFIX",
    "CONFIRMATIONS_SUFFIX",
    "batches",
    "confirmation_files",
    "sweep",
    "sync_folder",
    "write_whole",
]

BATCH_SUFFIX = ".jsonl"
CONFIRMATIONS_SUFFIX = ".csv"
TEMPORARY_SUFFIX = ".tmp"
# A temporary file that nobody has written to for this long belongs to a process that was killed.
ABANDONED_AFTER = 3600.0


def batches(folder: Path) -> list[Path]:
    """The whole batches of the folder, in the order of their names."""
    try:
        return _whole_files(folder, BATCH_SUFFIX)
    except FileNotFoundError:
        hint = "run the simulator, or set LANDING_DIR"
        raise JobError(f"the landing folder {folder} does not exist: {hint}") from None


def confirmation_files(folder: Path) -> list[Path]:
    """The whole files of confirmations, in the order of their names; none where nobody made the folder yet."""
    try:
        return _whole_files(folder, CONFIRMATIONS_SUFFIX)
    except FileNotFoundError:
        return []


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file so that it is there with all of its bytes, or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        hint = f"the folder must be writable by uid {_user()} and have room"
        raise JobError(f"cannot write {path}: {error.strerror}; {hint}") from None


def sweep(folder: Path, older_than: float = ABANDONED_AFTER) -> None:
    """Remove the temporary files that killed processes left behind."""
    limit = time.time() - older_than
    for temporary in folder.glob(f".*.*{TEMPORARY_SUFFIX}"):
        try:
            if temporary.stat().st_mtime < limit:
                temporary.unlink()
        except OSError:
            # Another process removed it first, or it is not ours to remove: it harms nobody.
            continue


def sync_folder(folder: Path) -> None:
    """Put the new name itself on the disk; Windows cannot open a folder, and needs no such step."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole_files(folder: Path, suffix: str) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [each.name for each in entries if each.name.endswith(suffix) and _is_whole(each)]
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JobError(f"cannot read the landing folder {folder}: {error.strerror}") from None
    return [folder / name for name in sorted(names)]


def _is_whole(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_file()


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "?"
