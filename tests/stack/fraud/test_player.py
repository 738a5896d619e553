"""The player, run as users run it, against a small scorer whose faults can be asked for, and against the real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import free_port
from tests.stack.conftest import Run
from tests.stack.fraud.conftest import new_database
from tests.stack.fraud.scorer.conftest import fitted, scoring
from tests.stack.web.served import StandIn

from fraud.generator import Generator
from fraud.scenario.days import PER_DAY

Answer = tuple[int, dict[str, Any]]
Start = Callable[..., subprocess.Popen[str]]
PASSWORD = "not to be shown"


class Scorer(ThreadingHTTPServer):
    """A scorer that remembers what it took; `answer` may have it say something else."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.taken: list[dict[str, Any]] = []
        self.truths: dict[str, bool] = {}
        self.answer: Callable[[str, dict[str, Any]], Answer | None] = lambda path, body: None
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, path: str, token: str, body: dict[str, Any]) -> Answer:
        """Answer a request as the scorer does."""
        if path == "/token":
            return 200, {"access_token": "a token"}
        if path == "/transactions":
            self.taken.append(body)
            return 200, {"trans_num": body["trans_num"], "is_fraud": body["amt"] > 500}
        if token != "Bearer a token":
            return 401, {"detail": "sign in"}
        told = body["confirmations"]
        assert len(told) <= 1000
        outcomes = ["repeated" if each["trans_num"] in self.truths else "confirmed" for each in told]
        self.truths |= {each["trans_num"]: each["is_fraud"] for each in told}
        return 200, {"confirmations": [{"outcome": outcome} for outcome in outcomes]}

    def order_of(self, card: int) -> list[str]:
        """The transactions of a card in the order in which they came, each as it came first."""
        return list(dict.fromkeys(each["trans_num"] for each in self.taken if each["cc_num"] == card))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Scorer

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = {} if self.path == "/token" else json.loads(raw)
        if self.path == "/token":
            assert raw.decode() == "username=admin&password=not+to+be+shown"
        with self.server.lock:
            status, said = self.server.answer(self.path, body) or self.server.take(
                self.path, self.headers.get("Authorization", ""), body
            )
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    """A scorer that takes everything."""
    made = Scorer()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def settings(scorer: Scorer, tmp_path: Path) -> dict[str, object]:
    """What a player of it is told: as fast as it goes, with confirmations."""
    return {
        "PLAYER_URL": scorer.url,
        "PLAYER_SPEED": 0,
        "PLAYER_STATE": tmp_path / "state.json",
        "PLAYER_USER": "admin",
        "PLAYER_PASSWORD": PASSWORD,
    }


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that comes about."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come about within a minute")


def test_everything_is_played_once_and_confirmed(run: Run, scorer: Scorer, settings: dict[str, object]) -> None:
    """All transactions, no prediction among their columns, those of a card in order; and the truths that are due."""
    start, count = 9 * PER_DAY, 1_000
    done = run("player", START=start, TRANSACTIONS=count, **settings)
    assert done.returncode == 0, done.stderr
    events = list(Generator(42).events(start, start + count))
    played = {each["trans_num"]: each for each in scorer.taken}
    assert len(scorer.taken) == count and played == {e.truth.trans_num: e.transaction for e in events}
    for card in {event.transaction["cc_num"] for event in events}:
        assert scorer.order_of(card) == [e.truth.trans_num for e in events if e.transaction["cc_num"] == card]
    due = Generator(42).confirmations(Generator(42).event(start - 1).at, events[-1].at)
    assert scorer.truths == {truth.trans_num: truth.is_fraud for truth in due} and len(due) > 500
    called = sum(event.transaction["amt"] > 500 for event in events)
    assert f"1,000 transactions until {events[-1].at}" in done.stdout
    assert f"{called:,} called frauds" in done.stdout and f"{len(due):,} confirmations" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    again = run("player", START=start, TRANSACTIONS=count, **settings)
    assert again.returncode == 0 and len(scorer.taken) == count


def test_a_scorer_that_is_away_is_asked_again(run: Run, start: Start, tmp_path: Path) -> None:
    """Nobody listens, it is not ready, it is busy: that is said once, and nothing is lost or out of order."""
    port, refusals = free_port(), [503, 429, 500, 408] * 20
    process = start(
        "player",
        PLAYER_URL=f"http://127.0.0.1:{port}",
        PLAYER_SPEED=0,
        PLAYER_STATE=tmp_path / "state.json",
        TRANSACTIONS=200,
    )
    assert process.stderr is not None
    assert "PLAYER_USER is not set: nothing is confirmed" in process.stderr.readline()
    assert "the scorer takes no transactions, it is asked again: no answer" in process.stderr.readline()
    scorer = Scorer(port)
    refused = iter(range(16))
    scorer.answer = lambda path, body: (
        (refusals[number], {"detail": "later"}) if (number := next(refused, None)) is not None else None
    )
    try:
        out, err = process.communicate(timeout=60)
    finally:
        scorer.shutdown()
        scorer.server_close()
    assert process.returncode == 0 and "200 transactions" in out
    assert 1 + err.count("takes no transactions") == err.count("takes transactions again") <= 17
    events = list(Generator(42).events(0, 200))
    assert sorted(e["trans_num"] for e in scorer.taken) == sorted(e.truth.trans_num for e in events)
    for card in {event.transaction["cc_num"] for event in events}:
        assert scorer.order_of(card) == [e.truth.trans_num for e in events if e.transaction["cc_num"] == card]


def test_a_killed_player_goes_on_where_it_stood(start: Start, scorer: Scorer, settings: dict[str, object]) -> None:
    """Nothing is left out, whenever it is killed; what comes again is what came before."""
    first, count = 9 * PER_DAY, 900
    for enough in (200, 500):
        process = start("player", START=first, TRANSACTIONS=count, **settings)
        until(lambda enough=enough: len({each["trans_num"] for each in scorer.taken}) >= enough)  # type: ignore[misc]
        process.kill()
        process.communicate()
    process = start("player", START=first, TRANSACTIONS=count, **settings)
    assert process.communicate(timeout=60) and process.returncode == 0
    events = list(Generator(42).events(first, first + count))
    came = defaultdict(list)
    for each in scorer.taken:
        came[each["trans_num"]].append(each)
    assert {number: all(each == found[0] for each in found) for number, found in came.items()} == {
        event.truth.trans_num: True for event in events
    }
    due = Generator(42).confirmations(Generator(42).event(first - 1).at, events[-1].at)
    assert scorer.truths == {truth.trans_num: truth.is_fraud for truth in due}


def test_sigterm_ends_it_while_the_scorer_is_silent(
    start: Start, run: Run, scorer: Scorer, settings: dict[str, object]
) -> None:
    """It does not wait for answers, and keeps where it stands."""
    silent, heard = threading.Event(), threading.Event()

    def fall_silent(path: str, body: dict[str, Any]) -> None:
        if len(scorer.taken) >= 50:
            heard.set()
            silent.wait(60)

    scorer.answer = fall_silent
    process = start("player", TRANSACTIONS=100, **settings)
    assert heard.wait(60)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=8)
    assert process.returncode == 143 and err.endswith("stopped by SIGTERM\n")
    stand = json.loads(Path(str(settings["PLAYER_STATE"])).read_text())
    before = {event.truth.trans_num for event in Generator(42).events(0, stand["next"])}
    assert before and before <= {each["trans_num"] for each in scorer.taken} and "50 transactions" in out
    silent.set()
    scorer.answer = lambda path, body: None
    assert run("player", TRANSACTIONS=100, **settings).returncode == 0
    assert len({each["trans_num"] for each in scorer.taken}) == 100


def test_what_is_refused_for_good_is_shown_and_passed_over(
    run: Run, scorer: Scorer, settings: dict[str, object]
) -> None:
    """The first three with the scorer's reason; the rest goes on."""
    scorer.answer = lambda path, body: (422, {"detail": "zip: not here"}) if body.get("state") == "NY" else None
    done = run("player", TRANSACTIONS=300, **settings)
    lost = sum(event.transaction["state"] == "NY" for event in Generator(42).events(0, 300))
    assert done.returncode == 0 and f"{lost} refused" in done.stdout and lost > 3
    assert done.stderr.count("422 zip: not here") == 3
    assert len(scorer.taken) == 300 - lost


def test_a_token_that_has_run_out_is_asked_for_again(run: Run, scorer: Scorer, settings: dict[str, object]) -> None:
    """The scorer was started again with another key, say."""
    refusals = iter([(401, {"detail": "the token has run out"})])
    scorer.answer = lambda path, body: next(refusals, None) if path == "/confirmations" else None
    done = run("player", START=9 * PER_DAY, TRANSACTIONS=100, **settings)
    assert done.returncode == 0 and len(scorer.truths) > 50


def test_time_goes_by(run: Run, scorer: Scorer, settings: dict[str, object]) -> None:
    """At ten thousand times its speed, five hours take two seconds at least."""
    begun = time.monotonic()
    assert run("player", TRANSACTIONS=250, **{**settings, "PLAYER_SPEED": 10_000}).returncode == 0
    event = Generator(42).event(249).at
    assert time.monotonic() - begun >= (event - Generator(42).event(0).at).total_seconds() / 10_000 > 1


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        ({"PLAYER_URL": "scorer:8002"}, 2, "PLAYER_URL='scorer:8002' is not an address"),
        ({"PLAYER_URL": f"htp://ann:{PASSWORD}@scorer:8002"}, 2, "PLAYER_URL='htp://scorer:8002' is not an address"),
        ({"PLAYER_URL": f"ann:{PASSWORD}@scorer:8002"}, 2, "PLAYER_URL='scorer:8002' is not an address"),
        ({"START": "99999999999"}, 2, "START + TRANSACTIONS is 100,000,000,000: 159,792,500 is the most"),
        ({"PLAYER_SPEED": "fast"}, 2, "PLAYER_SPEED='fast' is not a whole number"),
        ({"DRIFT": "night"}, 2, "DRIFT: 'night' is not KIND:FACTOR@DAY"),
        ({"PLAYER_STATE": "/dev/null/state"}, 2, "PLAYER_STATE /dev/null/state cannot be read"),
        ({"PLAYER_STATE": "/proc/state"}, 1, "cannot write /proc/state"),
        ({"PLAYER_STATE": __file__}, 2, "is no state of a player: remove it, and it begins at START"),
        ({"SEED": "7"}, 2, "is of seed-42, and SEED and DRIFT ask for seed-7"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Run, settings: dict[str, object], changed: dict[str, object], code: int, message: str
) -> None:
    """Wrong settings end with 2, the world's faults with 1, each with one line on stderr."""
    kept = Path(str(settings["PLAYER_STATE"]))
    kept.write_text('{"name": "seed-42", "next": 3, "confirmed": "2025-01-01T00:00:00"}\n')
    done = run("player", TRANSACTIONS=1, **{**settings, **changed})
    assert done.returncode == code
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr and PASSWORD not in done.stderr


def test_who_an_address_names_is_not_shown(run: Run, scorer: Scorer, settings: dict[str, object]) -> None:
    """A password before the host stays where it was."""
    url = scorer.url.replace("://", "://ann:hunter2@")
    done = run("player", TRANSACTIONS=10, **{**settings, "PLAYER_URL": url})
    assert done.returncode == 0 and f"on to {scorer.url}, as fast" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_a_wrong_password_is_said(run: Run, scorer: Scorer, settings: dict[str, object]) -> None:
    """Not the password itself."""
    scorer.answer = lambda path, body: (401, {"detail": "no"}) if path == "/token" else None
    done = run("player", START=9 * PER_DAY, TRANSACTIONS=100, **settings)
    assert done.returncode == 2
    assert "the scorer does not know PLAYER_USER=admin with PLAYER_PASSWORD: correct them" in done.stderr
    assert PASSWORD not in done.stderr + done.stdout


def test_health_is_a_state_that_is_touched(run: Run, tmp_path: Path) -> None:
    """None, a fresh one, an old one."""
    state = tmp_path / "state.json"
    assert run("playing.health", PLAYER_STATE=state).returncode == 1
    state.touch()
    assert run("playing.health", PLAYER_STATE=state).returncode == 0
    os.utime(state, (1, 1))
    done = run("playing.health", PLAYER_STATE=state)
    assert done.returncode == 1 and "was not touched for" in done.stderr


def test_the_real_scorer_records_each_transaction_once(
    start: Start, run: Run, postgres_url: str, tmp_path: Path, query: Callable[[str, str], list[tuple[object, ...]]]
) -> None:
    """The player is killed, and the scorer too; the rows and the truths are those of the scenario, each once."""
    first, count = 9 * PER_DAY, 1_500
    registry = StandIn()
    registry.promote(fitted(2))
    with new_database(postgres_url) as database:
        address = f"127.0.0.1:{free_port()}"
        service = {
            "SCORER_PORT": address.rpartition(":")[2],
            "MLFLOW_TRACKING_URI": registry.url,
            "LOGGER_SQL_URI": database,
            "LANDING_DIR": tmp_path / "landing",
        }
        player = {
            "PLAYER_URL": f"http://{address}",
            "PLAYER_SPEED": 0,
            "PLAYER_STATE": tmp_path / "state.json",
            "PLAYER_USER": "admin",
            "PLAYER_PASSWORD": "changeme",
            "START": first,
            "TRANSACTIONS": count,
        }
        with scoring(**service) as scorer:
            scorer.serves(1)
            process = start("player", **player)
            until(lambda: _next(tmp_path) > first + 20)
            process.kill()
            process.communicate()
            process = start("player", **player)
            until(lambda: _next(tmp_path) > first + 100)
            scorer.process.kill()
        with scoring(**service) as scorer:
            out, err = process.communicate(timeout=90)
            # Unlike kill -9, after which the next one would hand over what is on the disk.
            assert scorer.end() == 0
        assert process.returncode == 0 and f"until {Generator(42).event(first + count - 1).at}" in out, err
        done = run("logger_sql", **service)
        assert done.returncode == 0, done.stderr
        rows = query(database, "SELECT trans_num, amt::float, score IS NULL FROM fraud_detection_2_table ORDER BY 1")
        played = list(Generator(42).events(first, first + count))
        assert rows == sorted((e.truth.trans_num, e.transaction["amt"], False) for e in played)
        due = Generator(42).confirmations(Generator(42).event(first - 1).at, played[-1].at)
        kept = query(database, "SELECT trans_num, is_fraud FROM fraud_detection_2_confirmations ORDER BY 1")
        assert kept == sorted((truth.trans_num, truth.is_fraud) for truth in due)
    registry.stop()


def _next(folder: Path) -> int:
    try:
        return int(json.loads((folder / "state.json").read_text())["next"])
    except FileNotFoundError:
        return 0
