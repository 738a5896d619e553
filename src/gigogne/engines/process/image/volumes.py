"""What Docker does with a new volume: it gets the files that the image has at the mount's target.

Only once, while it is empty. A volume that is not empty hides the image's files, newer ones too: after a change the
old code still runs. `hidden_files` finds that out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from gigogne.engines.process.cache import remove_tree
from gigogne.engines.process.image.tree import Entry, Tree
from gigogne.errors import EngineError

__all__ = ["hidden_files", "seed_volume"]

# Files that a service writes, rather than runs.
_DATA = frozenset(
    ".bin .csv .db .feather .h5 .json .jsonl .joblib .lock .log .ndjson .npy .npz .onnx .parquet .pid .pkl .pt .pth "
    ".pyc .safetensors .sqlite .sqlite3 .tsv .xlsx".split()
)
_LARGEST = 1 << 20  # code is smaller


def seed_volume(volume: Path, target: str, root: Path, environments: Mapping[str, Path], lock: Path) -> None:
    """Make `volume` and, when it is new or empty, copy into it what the image has at `target`.

    It gets all or nothing: the files are copied beside it, then moved. A start that was interrupted while they were
    moved is finished by the next one. The directory itself stays the same, because another service may have it
    mounted. Two services that start at once do it once: the second one waits for the first, at `lock`.

    Args:
        volume: The directory that is the volume.
        target: Where it is mounted.
        root: The files of the image.
        environments: The environments of the image, by their paths in it.
        lock: The file to lock.

    Raises:
        EngineError: The files cannot be copied.
    """
    sources = [(place, source) for place, source in _sources(target, root, environments) if source.is_dir()]
    if not sources:
        volume.mkdir(parents=True, exist_ok=True)
        return
    from filelock import FileLock

    lock.parent.mkdir(parents=True, exist_ok=True)
    unfinished, finished = (volume.with_name(f"{volume.name}.{state}") for state in ("copying", "copied"))
    with FileLock(lock):
        if not volume.is_dir():
            remove_tree(finished)  # it was for a volume that is gone
            volume.mkdir(parents=True)
        try:
            if not finished.is_dir() and not any(volume.iterdir()):
                remove_tree(unfinished)
                for place, source in sources:
                    shutil.copytree(source, unfinished / place, symlinks=True, dirs_exist_ok=True)
                unfinished.rename(finished)
            if finished.is_dir():
                for child in list(finished.iterdir()):
                    child.rename(volume / child.name)
                shutil.copystat(finished, volume)
                finished.rmdir()
        except (OSError, shutil.Error) as error:
            hint = "see that the disk is not full, then run it again"
            raise EngineError(
                f"the files of the image at {target} cannot be copied to {volume}: {error}", hint
            ) from None


def _sources(target: str, root: Path, environments: Mapping[str, Path]) -> Iterator[tuple[PurePosixPath, Path]]:
    """Directories of this machine that hold what the image has at `target`, each with its place under it."""
    inside = PurePosixPath(target)
    for path, source in {"/": root, **environments}.items():
        place = PurePosixPath(path)
        if inside.is_relative_to(place):
            yield PurePosixPath(), source / inside.relative_to(place)
        elif place.is_relative_to(inside):
            yield place.relative_to(inside), source


def hidden_files(volume: Path, target: str, tree: Tree) -> list[str]:
    """The files of the image under `target` that `volume` hides: it lacks them, or has them with other content.

    Only what looks like code counts. There are none when the volume is empty, because it will get them.
    """
    try:
        if not any(volume.iterdir()):
            return []
    except OSError:
        return []  # new, or not ours to look at
    entries = sorted(tree.below(target))
    return [path for path, entry in entries if _is_code(path, entry) and not _same(volume / path, entry)]


def _is_code(path: str, entry: Entry) -> bool:
    if entry.is_directory or entry.link is not None or entry.size > _LARGEST:
        return False
    return PurePosixPath(path).suffix.lower() not in _DATA


def _same(there: Path, entry: Entry) -> bool:
    try:
        status = os.stat(there)  # noqa: PTH116 - a hot loop
        unchanged = (status.st_size, status.st_mtime_ns) == (entry.size, entry.stamp)
        return (unchanged and entry.stamp > 0) or there.read_bytes() == entry.read()
    except OSError:
        return False
