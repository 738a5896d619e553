"""The landing folder, as the scorer writes it: lines that are on the disk before they are answered.

Lines go to an open segment, a hidden file that no logger looks at; those that wait together are flushed to the disk
together. It gets its name as a batch half a second after its first line, or when it has a thousand.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from filelock import FileLock, Timeout

from fraud.landing import BATCH_SUFFIX, sync_folder
from job.errors import JobError, SettingError

__all__ = ["SegmentError", "Segments", "claim", "recover", "segments"]

PREFIX, OPEN_SUFFIX = "scorer-", ".part"
SEGMENT_SECONDS, SEGMENT_ROWS = 0.5, 1000
LOCK = ".scorer.lock"
# That a predecessor, which is about to end, has to let go.
LOCK_SECONDS = 2.0
# Until a disk that took nothing is asked again to give an open segment its name.
RETRY_SECONDS = 1.0

Kept = asyncio.Future[str]
Line = tuple[bytes, Kept]

log = logging.getLogger("fraud.scorer")


class SegmentError(Exception):
    """The disk did not take a line: it is not kept."""


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Have a landing folder, which one scorer has at a time; the lock goes with the process, however that ends.

    Raises:
        SettingError: Another one has it, or the folder cannot be written.
    """
    lock = FileLock(folder / LOCK, timeout=LOCK_SECONDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        hint = "end that one, or give this one a folder of its own"
        raise SettingError(f"another scorer has LANDING_DIR={folder}: {hint}") from None
    except OSError as error:
        raise SettingError(f"LANDING_DIR={folder} cannot be written ({error.strerror}): correct its owner") from None
    try:
        yield
    finally:
        lock.release()


def recover(folder: Path) -> None:
    """Complete the open segments of a scorer that was killed. A line without an end was answered to nobody.

    Raises:
        JobError: The disk does not let it.
    """
    try:
        for left in sorted(folder.glob(f".{PREFIX}*{OPEN_SUFFIX}")):
            whole = left.read_bytes().rpartition(b"\n")
            if not whole[1]:
                left.unlink()
                continue
            with left.open("r+b") as file:
                file.truncate(len(whole[0]) + 1)
                os.fsync(file.fileno())
            left.rename(_named(left))
        sync_folder(folder)
    except OSError as error:
        raise JobError(f"cannot complete what a scorer left in {folder}: {error.strerror}") from None


def segments(folder: Path) -> list[Path]:
    """The whole segments of the folder, oldest first."""
    return sorted(folder.glob(f"{PREFIX}*{BATCH_SUFFIX}"))


class Segments:
    """What is to be written, and the thread that writes it.

    Args:
        folder: The landing folder.
        sealed: Told, by the event loop of who appends, of each segment that logger_sql may take.

    Attributes:
        trouble: Why the disk did not take the last lines; empty where it did.
    """

    def __init__(self, folder: Path, sealed: Callable[[Path], None]) -> None:
        self.trouble = ""
        self._folder, self._sealed = folder, sealed
        self._queue: SimpleQueue[Line | None] = SimpleQueue()
        self._open: Segment | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="segments")

    def start(self) -> None:
        """Begin to write; what is sealed is told to the event loop that runs."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def append(self, line: bytes) -> str:
        """Add a line; the name of the batch that it will be in, once it is on the disk.

        Raises:
            SegmentError: It will not be.
        """
        kept: Kept = self._loop.create_future()
        self._queue.put((line, kept))
        return await kept

    async def close(self) -> None:
        """Write what is there, and seal it."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._ended:
            taken = self._take()
            if taken or self.trouble:  # nobody may ask until a write has succeeded
                self._keep(taken)
            if self._open is not None and (self._ended or self._open.is_due()):
                self._seal(self._open)

    def _take(self) -> list[Line]:
        """All lines that wait; none, where the open segment is due first, or a disk that was full to be tried again."""
        taken: list[Line] = []
        left = RETRY_SECONDS if self.trouble else None
        try:
            if self._open is not None:
                left = max(self._open.due - time.monotonic(), 0.0)
            while True:
                each = self._queue.get(timeout=left)
                if each is None:
                    self._ended = True
                else:
                    taken.append(each)
                left = 0.0
        except Empty:
            return taken

    def _keep(self, taken: Sequence[Line]) -> None:
        """Bring lines to the disk, and tell those who wait for them."""
        name, error = "", None
        try:
            if self._open is None:
                self._open = Segment(self._folder)
            self._open.write([line for line, _ in taken])
            name, self.trouble = self._open.batch.name, ""
        except Exception as failed:  # whatever it is, those who wait hear of it, and this thread goes on
            self._fails(failed)
            error = SegmentError(self.trouble)
        self._loop.call_soon_threadsafe(_tell, [kept for _, kept in taken], name, error)

    def _seal(self, segment: Segment) -> None:
        """Give a segment its name. One that cannot have it now is tried again, and at the next start at the latest."""
        try:
            named = segment.seal()
        except Exception as failed:
            self._fails(failed)
            segment.due = time.monotonic() + RETRY_SECONDS
            return
        self._open = None
        if named:
            self._loop.call_soon_threadsafe(self._sealed, segment.batch)

    def _fails(self, error: Exception) -> None:
        why = getattr(error, "strerror", None) or type(error).__name__
        trouble = f"the landing folder takes nothing more ({why}): make room, or correct its owner"
        if trouble != self.trouble:
            log.error("%s: %s", self._folder, trouble)
        self.trouble = trouble


class Segment:
    """A file that lines are added to until it is a batch; what is torn by a full disk is cut off again.

    Attributes:
        batch: What it will be.
        due: When it is to be sealed, by the monotonic clock.
    """

    def __init__(self, folder: Path) -> None:
        self.batch = folder / f"{PREFIX}{time.time_ns():020d}{BATCH_SUFFIX}"
        self.due = time.monotonic() + SEGMENT_SECONDS
        self._path = folder / f".{self.batch.name}{OPEN_SUFFIX}"
        self._file = self._path.open("xb", buffering=0)
        self._rows, self._size, self._torn = 0, 0, False
        try:
            sync_folder(folder)
        except OSError:
            self._file.close()
            self._path.unlink()
            raise

    def is_due(self) -> bool:
        """Whether it is time to seal it."""
        return self._rows >= SEGMENT_ROWS or time.monotonic() >= self.due

    def write(self, lines: Sequence[bytes]) -> None:
        """Add lines, and wait until they are on the disk.

        Raises:
            OSError: None of them is.
        """
        if self._torn or self._file.closed:
            self._mend()
        body = b"".join(lines)
        try:
            self._torn = True
            left = memoryview(body)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
            self._torn = False
        except OSError:
            with suppress(OSError):
                self._mend()
            raise
        self._size, self._rows = self._size + len(body), self._rows + len(lines)

    def seal(self) -> bool:
        """Make a batch of it, or nothing where it has no line; whether it is one.

        Raises:
            OSError: It is as it was.
        """
        try:
            if self._torn:
                self._mend()
        finally:
            self._file.close()  # Windows renames no open file
        if self._rows:
            self._path.rename(self.batch)
        else:
            self._path.unlink()
        with suppress(OSError):  # the other name, should it come back, is of a segment that a killed scorer left
            sync_folder(self.batch.parent)
        return self._rows > 0

    def _mend(self) -> None:
        """Have the file open, without what may be there of lines that were not kept."""
        if self._file.closed:
            self._file = self._path.open("r+b", buffering=0)
        self._file.truncate(self._size)
        self._file.seek(self._size)
        os.fsync(self._file.fileno())
        self._torn = False


def _tell(waiting: Sequence[Kept], name: str, error: SegmentError | None) -> None:
    for kept in waiting:
        if kept.cancelled():
            continue
        if error is None:
            kept.set_result(name)
        else:
            kept.set_exception(error)


def _named(left: Path) -> Path:
    """The batch that an open segment is to be."""
    return left.with_name(left.name.removeprefix(".").removesuffix(OPEN_SUFFIX))
