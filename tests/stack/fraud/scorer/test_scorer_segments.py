"""What is on the disk before it is answered: segments, and what is made of those that were left."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.stack.fraud.scorer.conftest import record

from fraud import rows
from fraud.landing import batches, sweep
from fraud.scoring import segments as segments_module
from fraud.scoring.said import Said, read
from fraud.scoring.segments import SegmentError, Segments, claim, recover
from fraud.transactions import RejectedError, parse
from job.errors import JobError, SettingError


def run(folder: Path, *groups: list[bytes]) -> tuple[list[str], list[Path]]:
    """Append lines, each group at once; the batches that they are in, and those that were sealed."""
    sealed: list[Path] = []

    async def append() -> list[str]:
        writer = Segments(folder, sealed.append)
        writer.start()
        names: list[str] = []
        for group in groups:
            names += await asyncio.gather(*map(writer.append, group))
            # On the disk, and yet no batch that a logger would take.
            assert sum(map(len, group)) <= sum(path.stat().st_size for path in folder.iterdir())
        await writer.close()
        await asyncio.sleep(0)
        return names

    return asyncio.run(append()), sealed


def test_lines_are_in_the_batch_that_they_were_told(tmp_path: Path) -> None:
    """Each once, in the order in which they came; the batch is whole, and the open segment is no more."""
    lines = [b"%d\n" % number for number in range(10)]
    names, sealed = run(tmp_path, lines[:1], lines[1:7], lines[7:])
    (batch,) = batches(tmp_path)
    assert set(names) == {batch.name} and sealed == [batch]
    assert batch.read_bytes() == b"".join(lines) and list(tmp_path.iterdir()) == [batch]


def test_those_who_wait_together_share_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once cost a few, and ten in turn ten."""
    flushed: list[int] = []
    flush = os.fsync

    def count(file: int) -> None:
        flushed.append(file)
        flush(file)

    monkeypatch.setattr(os, "fsync", count)
    monkeypatch.setattr(segments_module, "sync_folder", lambda folder: None)
    run(tmp_path, [b"a\n"] * 100)
    assert 1 <= len(flushed) < 20
    flushed.clear()
    run(tmp_path, *[[b"a\n"]] * 10)
    assert len(flushed) == 10


@pytest.mark.parametrize(("seconds", "rows"), [(0.05, 1000), (60, 3)], ids=["half a second", "a thousand rows"])
def test_a_segment_becomes_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, rows: int) -> None:
    """After a while, also where nothing more comes; or when it has many rows."""
    monkeypatch.setattr(segments_module, "SEGMENT_SECONDS", seconds)
    monkeypatch.setattr(segments_module, "SEGMENT_ROWS", rows)

    async def append() -> None:
        sealed = asyncio.Event()
        writer = Segments(tmp_path, lambda path: sealed.set())
        writer.start()
        for number in range(3):
            await writer.append(b"%d\n" % number)
        await asyncio.wait_for(sealed.wait(), 20)
        assert b"".join(path.read_bytes() for path in batches(tmp_path)) == b"0\n1\n2\n"
        await writer.close()

    asyncio.run(append())


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not on the disk is refused, and leaves nothing behind; with room, the next line is taken."""
    full, flush = False, os.fsync
    monkeypatch.setattr(segments_module, "RETRY_SECONDS", 0.02)

    def fails(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(file)

    monkeypatch.setattr(os, "fsync", fails)

    async def append() -> str:
        nonlocal full
        writer = Segments(tmp_path, lambda path: None)
        writer.start()
        await writer.append(b"before\n")
        full = True
        with pytest.raises(SegmentError, match="No space left"):
            await writer.append(b"torn\n")
        trouble, full = writer.trouble, False
        # Nobody need ask for it to be well again: as long as it is not, nobody does.
        while writer.trouble:
            await asyncio.sleep(0.01)
        await writer.append(b"after\n")
        await writer.close()
        return trouble

    assert "make room" in asyncio.run(append())
    full = True
    sealed = list[Path]()

    async def refuse() -> None:
        writer = Segments(tmp_path, sealed.append)
        writer.start()
        with pytest.raises(SegmentError, match="No space left"):
            await writer.append(b"torn\n")
        await writer.close()

    asyncio.run(refuse())
    assert sealed == []
    assert b"".join(path.read_bytes() for path in batches(tmp_path)) == b"before\nafter\n"


def test_a_batch_that_cannot_have_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again; meanwhile lines are taken as ever, and none is lost or doubled."""
    rename, refused = Path.rename, 3

    def fails(path: Path, target: Path) -> Path:
        nonlocal refused
        if refused:
            refused -= 1
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(segments_module, "SEGMENT_SECONDS", 0.01)
    monkeypatch.setattr(segments_module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(Path, "rename", fails)

    async def append() -> None:
        sealed = asyncio.Event()
        writer = Segments(tmp_path, lambda path: sealed.set())
        writer.start()
        for number in range(5):
            await writer.append(b"%d\n" % number)
            await asyncio.sleep(0.03)
        await asyncio.wait_for(sealed.wait(), 20)
        await writer.close()

    asyncio.run(append())
    assert refused == 0 and b"".join(path.read_bytes() for path in batches(tmp_path)) == b"0\n1\n2\n3\n4\n"


@pytest.mark.parametrize(
    ("left", "kept"),
    [(b"a\nb\n", b"a\nb\n"), (b"a\nb", b"a\n"), (b"a", None), (b"", None)],
    ids="whole torn line empty".split(),
)
def test_what_a_killed_scorer_left_is_completed(tmp_path: Path, left: bytes, kept: bytes | None) -> None:
    """Whole lines become a batch; a line without an end was answered to nobody. The logger sees it only then."""
    (tmp_path / ".scorer-00000000000000000001.jsonl.part").write_bytes(left)
    (tmp_path / ".sparkov-0001.jsonl.4711.tmp").write_bytes(b"another's")
    sweep(tmp_path, older_than=-1)
    assert batches(tmp_path) == []
    recover(tmp_path)
    assert [path.read_bytes() for path in batches(tmp_path)] == ([] if kept is None else [kept])
    assert not list(tmp_path.glob(".scorer*"))


def test_one_scorer_has_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one is refused, until the first is no more."""
    monkeypatch.setattr(segments_module, "LOCK_SECONDS", 0.05)
    refused = pytest.raises(SettingError, match="another scorer has LANDING_DIR=")
    with claim(tmp_path), refused, claim(tmp_path):
        pass
    with claim(tmp_path):
        pass


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """It is named, with what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot be written"), claim(tmp_path / "file" / "landing"):
        pass


def test_a_folder_that_cannot_be_mended(tmp_path: Path) -> None:
    """Something of another kind by the name of a segment: one line, no traceback."""
    (tmp_path / ".scorer-1.jsonl.part").mkdir()
    with pytest.raises(JobError, match="cannot complete what a scorer left"):
        recover(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"amt": 3.5},
        {"amt": "003.50"},
        {"amt": 5, "lat": "-0", "long": 1e-05},
        {"merchant": 'é "quoted" \\ \u2028', "street": "\U0001f600", "zip": "5156"},
        {"trans_date_trans_time": "01/02/2025 00:09", "unix_time": 1738368540},
        {"cc_num": "2.29e+15", "dob": "1938-04-26"},
    ],
)
def test_a_line_is_what_the_logger_reads(changed: dict[str, Any]) -> None:
    """It takes from our line what it would take from the body of the request, with the prediction; and so do we."""
    given = record(3, **changed)
    values = read(json.dumps(given).encode())
    said = Said(values, True, 0.1 + 0.2, 7)
    assert parse(said.line()) == (*values, "t", "0.30000000000000004", "7")
    assert Said.of_line(said.line()) == said
    # And quickly, where nothing about it is odd.
    assert changed or rows.LINE(said.line())
    # And from the request itself, but for the spelling of amounts.
    predicted = parse(json.dumps({**given, "is_fraud": True}).encode())[:-3]
    assert [each for each, name in zip(predicted, given, strict=True) if name != "amt"] == [
        each for each, name in zip(values, given, strict=True) if name != "amt"
    ]


def test_an_amount_has_one_spelling() -> None:
    """However it comes: a repeat that spells it in another way is a repeat."""
    spelled = [read(json.dumps(record(3, amt=amount)).encode()) for amount in (3.5, "3.50", "003.5", "3.5e0")]
    assert len(set(spelled)) == 1


def test_what_is_no_transaction_is_none_here_either() -> None:
    """For the reason that the logger would have; and a prediction is not the client's to make."""
    with pytest.raises(RejectedError, match=r"^amt: 'lots' is not a number"):
        read(json.dumps(record(3, amt="lots")).encode())
    with pytest.raises(RejectedError, match="unknown 'is_fraud'"):
        read(json.dumps({**record(3), "is_fraud": True}).encode())
