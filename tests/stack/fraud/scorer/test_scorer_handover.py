"""What waits for logger_sql: its rows are the card's past, until they are in the table; and there is an end to it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.stack.fraud.scorer.conftest import record, series

from fraud.database import Address
from fraud.model import Detector
from fraud.scoring import handover as handover_module
from fraud.scoring.handover import Handover
from fraud.scoring.history import History
from fraud.scoring.metrics import Metrics
from fraud.scoring.model import Champion, Model, Thresholds
from fraud.scoring.said import Said, read, transaction
from fraud.scoring.scorer import Scorer, UnavailableError
from fraud.scoring.segments import Segments
from job.errors import JobError

NOWHERE = Address("host=127.0.0.1 port=9", "", "nobody", "127.0.0.1:9", "none")


def scored(count: int) -> list[Said]:
    """Transactions of a card, with what was said of them."""
    return [Said(read(json.dumps(each).encode()), False, 0.25, 3) for each in series(8, count)]


def test_what_a_former_scorer_left_is_the_past(tmp_path: Path) -> None:
    """Its segments are read: what was said is known by its number, and the card has its transactions."""
    made = scored(5)
    (tmp_path / "scorer-1.jsonl").write_bytes(b"".join(each.line() for each in made[:3]))
    (tmp_path / "scorer-2.jsonl").write_bytes(b"".join(each.line() for each in made[3:]))
    (tmp_path / "sparkov-1.jsonl").write_bytes(b"somebody else's\n")
    metrics = Metrics()
    handover = Handover(History(NOWHERE, metrics), metrics)
    handover.load(tmp_path)
    assert [handover.said(f"8-{number}") for number in range(5)] == made and handover.said("8-5") is None
    assert handover.of_card(8) == [transaction(each.values) for each in made] and handover.of_card(9) == []
    assert metrics.registry.get_sample_value("scorer_segment_waiting") == 5


def test_a_segment_that_is_none(tmp_path: Path) -> None:
    """It is named by its line: what is in it might be the past of some card."""
    (tmp_path / "scorer-1.jsonl").write_bytes(scored(1)[0].line() + b'{"amt": 1}\n')
    with pytest.raises(JobError, match=r"scorer-1\.jsonl:2 is no line of a scorer: move the file elsewhere"):
        Handover(History(NOWHERE, Metrics()), Metrics()).load(tmp_path)


def test_a_segment_that_cannot_be_read(tmp_path: Path) -> None:
    """It is named, with the reason."""
    (tmp_path / "scorer-1.jsonl").mkdir()
    with pytest.raises(JobError, match=r"cannot read .*scorer-1\.jsonl: Is a directory; correct its owner"):
        Handover(History(NOWHERE, Metrics()), Metrics()).load(tmp_path)


def test_who_is_gone_does_not_have_it_said_twice(
    tmp_path: Path, detectors: tuple[Detector, Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is cancelled while its line is on the way to the disk: asked again, there is one line."""
    metrics, thresholds = Metrics(), Thresholds(tmp_path)
    history = History(NOWHERE, metrics)
    handover = Handover(history, metrics)
    segments = Segments(tmp_path, handover.sealed)
    champion: Any = SimpleNamespace(model=Model(3, detectors[0]), reason="")
    scorer = Scorer(champion, thresholds, history, handover, segments, metrics)
    monkeypatch.setattr(history, "past", lambda now: ([], False))
    body = json.dumps(record(0)).encode()

    async def ask() -> None:
        append, reached = segments.append, asyncio.Event()

        async def slowly(line: bytes) -> str:
            reached.set()
            await asyncio.sleep(0.05)
            return await append(line)

        monkeypatch.setattr(segments, "append", slowly)
        async with scorer.working():
            first = asyncio.create_task(scorer.score(body))
            await reached.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert (await scorer.score(body))["model"]["version"] == 3
            last = asyncio.create_task(scorer.score(json.dumps(record(1)).encode()))
            reached.clear()
            await reached.wait()
            last.cancel()

    asyncio.run(ask())
    left = sorted(tmp_path.glob("scorer-*.jsonl"))
    numbers = [json.loads(line)["trans_num"] for path in left for line in path.read_bytes().splitlines()]
    assert numbers == [record(0)["trans_num"], record(1)["trans_num"]]
    for path in left:
        handover._forget(path.name)
    assert metrics.registry.get_sample_value("scorer_segment_waiting") == 0


def test_a_transaction_in_two_segments_is_forgotten_once(tmp_path: Path) -> None:
    """As a scorer of before may have left it."""
    (made,) = scored(1)
    for name in ("scorer-1.jsonl", "scorer-2.jsonl"):
        (tmp_path / name).write_bytes(made.line())
    handover = Handover(History(NOWHERE, Metrics()), Metrics())
    handover.load(tmp_path)
    for name in ("scorer-1.jsonl", "scorer-2.jsonl"):
        handover._forget(name)
    assert handover.said("8-0") is None and handover.of_card(8) == []


def test_too_many_wait(tmp_path: Path, detectors: tuple[Detector, Detector], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: a transaction is refused, and who asks is told to start the logger; repeats are answered."""
    monkeypatch.setattr(handover_module, "MOST_WAITING", 5)
    (tmp_path / "scorer-1.jsonl").write_bytes(b"".join(each.line() for each in scored(5)))
    metrics, thresholds = Metrics(), Thresholds(tmp_path)
    thresholds.keep(3, 0.5)
    history = History(NOWHERE, metrics)
    handover = Handover(history, metrics)
    handover.load(tmp_path)
    champion = Champion("http://127.0.0.1:9", 10, thresholds, metrics)
    scorer = Scorer(champion, thresholds, history, handover, Segments(tmp_path, handover.sealed), metrics)
    champion.model = Model(3, detectors[0])

    async def ask() -> None:
        async with scorer.working():
            with pytest.raises(UnavailableError, match="docker compose up -d logger_live"):
                await scorer.score(json.dumps(record(0)).encode())
            assert any("logger_sql has not taken the last" in line for line in scorer.lacking())
            repeat = await scorer.score(json.dumps(series(8, 1)[0]).encode())
            assert (repeat["score"], repeat["threshold"], repeat["model"]["version"]) == (0.25, 0.5, 3)

    asyncio.run(ask())


def test_thresholds_outlive_the_process(tmp_path: Path) -> None:
    """Whoever asks again after a restart hears the threshold that was told; a file that is damaged is begun anew."""
    Thresholds(tmp_path).keep(3, 0.1 + 0.2)
    Thresholds(tmp_path).keep(4, 0.5)
    again = Thresholds(tmp_path)
    assert (again.of(3), again.of(4), again.of(5)) == (0.1 + 0.2, 0.5, None)
    (tmp_path / ".scorer-thresholds.json").write_text('{"3":')
    assert Thresholds(tmp_path).of(3) is None
