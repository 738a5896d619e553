"""Signing in: passwords, tokens, and the file of users, with real Argon2 and real tokens."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from argon2 import PasswordHasher, Type
from fastapi import Depends, FastAPI
from tests.conftest import REPOSITORY
from tests.stack.conftest import environment

from job.errors import SettingError
from web import users as users_module
from web.auth import Auth
from web.problems import add_handlers
from web.users import Users, hash_password

KEY = "k" * 32
PASSWORD = "correct horse"
ARGON2I = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=Type.I).hash(PASSWORD)
GREEDY = "$argon2id$v=19$m=4194304,t=2,p=1$OaHGDhi3gBFdx+IGxtQSgA$QT2nfYunISUqQose/j3cNIhGaWCXgn5KC0AZYPl8zJE"
Ask = Callable[..., httpx2.Response]


class Watched(PasswordHasher):
    """Argon2, which knows how often it is asked, and by how many at once; nothing passes while its gate is shut."""

    def __init__(self) -> None:
        super().__init__(time_cost=2, memory_cost=19_456, parallelism=1)
        self.asked = self.at_once = self._now = 0
        self._lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002 - argon2's name
        """As ever."""
        with self._lock:
            self.asked, self._now = self.asked + 1, self._now + 1
            self.at_once = max(self.at_once, self._now)
        try:
            self.gate.wait(60)
            return super().verify(hash, password)
        finally:
            with self._lock:
                self._now -= 1


@pytest.fixture
def argon2(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The hasher of the users, watched."""
    watched = Watched()
    monkeypatch.setattr(users_module, "HASHER", watched)
    return watched


@pytest.fixture(scope="module")
def alice() -> Users:
    """One user."""
    return Users({"alice": hash_password(PASSWORD)})


def served(users: Users, limit: Callable[[str], float] = lambda client: 0.0) -> httpx2.AsyncClient:
    """An application with a route for users alone, and a client of it."""
    auth = Auth(users, KEY, 30, realm="tests", limit=limit)
    app = FastAPI()
    app.include_router(auth.router)
    add_handlers(app)

    @app.get("/me")
    async def me(name: str = Depends(auth.user)) -> str:
        return name

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api")


@pytest.fixture
def ask(alice: Users) -> Ask:
    """One request to an application that knows alice."""

    def send(method: str, path: str, **options: Any) -> httpx2.Response:
        async def run() -> httpx2.Response:
            async with served(alice) as client:
                return await client.request(method, path, **options)

        return asyncio.run(run())

    return send


def sign_in(ask: Ask, name: str = "alice", password: str = PASSWORD) -> httpx2.Response:
    """What POST /token answers."""
    return ask("POST", "/token", data={"username": name, "password": password})


def test_a_password_gives_a_token_that_says_who_asks(ask: Ask) -> None:
    """The token is a bearer's, is good for the minutes that were set, and is stored by nobody on its way."""
    answer = sign_in(ask)
    assert answer.status_code == 200
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 1800)
    assert answer.headers["cache-control"] == "no-store"
    me = ask("GET", "/me", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
    assert (me.status_code, me.json()) == (200, "alice")


def test_a_wrong_password_and_an_unknown_name_are_one_answer_at_one_cost(ask: Ask, argon2: Watched) -> None:
    """Who tries names learns nothing: the words are the same, and so is the work."""
    wrong, unknown = sign_in(ask, password="wrong"), sign_in(ask, name="bob")
    assert argon2.asked == 2
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert wrong.headers["www-authenticate"].startswith("Bearer")


def test_the_password_of_another_user_is_no_password_of_an_unknown_one(ask: Ask) -> None:
    """The hash that is checked in the place of a missing one lets nobody in."""
    assert sign_in(ask, name="bob", password=PASSWORD).status_code == 401


def made(key: str = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    """A token of somebody else's making; a claim of None is left out."""
    now = datetime.now(UTC)
    full = {"sub": "alice", "iat": now, "exp": now + timedelta(days=1), **claims}
    return jwt.encode({name: value for name, value in full.items() if value is not None}, key, algorithm)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "needs a token"),
        ("Basic YWxpY2U6eA==", "needs a token"),
        ("Bearer rubbish", "not valid"),
        (f"Bearer {made(key='x' * 32)}", "not valid"),
        (f"Bearer {made(key='', algorithm='none')}", "not valid"),
        (f"Bearer {made(key=KEY * 2, algorithm='HS512')}", "not valid"),
        (f"Bearer {made(exp=None)}", "not valid"),
        (f"Bearer {made(sub=None)}", "not valid"),
        (f"Bearer {made(sub=7)}", "not valid"),
        (f"Bearer {made(exp=datetime(2020, 1, 1, tzinfo=UTC))}", "expired"),
        (f"Bearer {made(sub='mallory')}", "no more"),
    ],
    ids="absent basic rubbish forged unsigned algorithm eternal nameless number expired unknown".split(),
)
def test_a_token_that_is_not_good_is_401(ask: Ask, header: str | None, said: str) -> None:
    """Whatever is wrong with it, the answer names the scheme (RFC 6750) and what to do."""
    answer = ask("GET", "/me", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert ("invalid_token" in answer.headers["www-authenticate"]) == (said != "needs a token")


def test_who_tries_too_often_is_told_to_wait_and_costs_nothing(alice: Users, argon2: Watched) -> None:
    """The limit is asked before the password is checked, and by the client's address."""
    asked: list[str] = []

    def limit(client: str) -> float:
        asked.append(client)
        return 5.2

    async def run() -> httpx2.Response:
        async with served(alice, limit) as client:
            return await client.post("/token", data={"username": "alice", "password": PASSWORD})

    answer = asyncio.run(run())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "6")
    assert (asked, argon2.asked) == (["127.0.0.1"], 0)


def test_of_many_who_sign_in_at_once_one_is_checked_at_a_time(alice: Users, argon2: Watched) -> None:
    """Passwords take one core at most, a short queue waits, the rest is told to come back; other requests go on."""

    async def run() -> tuple[list[httpx2.Response], httpx2.Response]:
        async with served(alice) as client:
            argon2.gate.clear()
            form = {"username": "alice", "password": PASSWORD}
            logins = [asyncio.create_task(client.post("/token", data=form)) for _ in range(30)]
            while sum(login.done() for login in logins) < 9:
                await asyncio.sleep(0.01)
            other = await client.get("/me")
            argon2.gate.set()
            return await asyncio.gather(*logins), other

    answers, other = asyncio.run(run())
    codes = [answer.status_code for answer in answers]
    assert other.status_code == 401
    assert (argon2.at_once, argon2.asked) == (1, 21)
    assert (codes.count(200), codes.count(429)) == (21, 9)
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("# users\n\n:alice\n", 3, "a name and a colon"),
        ("alice:hunter2\n", 1, "no hash"),
        (f"al ice:{GREEDY}\n", 1, "a name and a colon"),
        (f"alice:{ARGON2I}\n", 1, "not of Argon2id"),
        (f"alice:{GREEDY}\n", 1, "too much"),
        ("alice:{0}\r\nalice:{0}\r\n", 2, "second line"),
    ],
    ids="colon hash name type cost twice".split(),
)
def test_a_malformed_file_of_users_is_refused_by_its_line(
    tmp_path: Path, alice: Users, text: str, line: int, said: str
) -> None:
    """It names the file, the line and the command that makes a right one; never what the line says."""
    path = tmp_path / "users"
    path.write_text(text.replace("{0}", alice.hashes["alice"]), encoding="utf-8")
    with pytest.raises(SettingError) as refused:
        Users.read(path, "API_USERS_FILE")
    message = str(refused.value)
    assert message.startswith(f"{path}:{line}: ")
    assert said in message
    assert "python -m web.users hash NAME" in message
    assert "hunter2" not in message
    assert "$" not in message


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"", "has no user"), (b"\xff\xfe", "no text in UTF-8")],
    ids=["missing", "empty", "binary"],
)
def test_a_file_that_names_nobody_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    """Nobody could sign in, and nobody would know why."""
    path = tmp_path / "users"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match=said):
        Users.read(path, "API_USERS_FILE")


def test_the_default_user_is_the_one_that_the_readme_names() -> None:
    """Name admin, password changeme, with a comment before it."""
    users = Users.read(REPOSITORY / "docker" / "api" / "users", "API_USERS_FILE")
    assert users.matches("admin", "changeme")
    assert not users.matches("admin", "admin")
    assert "admin" not in repr(users)


def test_a_password_is_the_same_from_every_keyboard(alice: Users) -> None:
    """An é of one character, and one of two."""
    users = Users({"rene": hash_password(unicodedata.normalize("NFC", "motdepassé"))})
    assert users.matches("rene", unicodedata.normalize("NFD", "motdepassé"))


def test_a_password_that_is_too_long_is_wrong_at_no_cost(alice: Users, argon2: Watched) -> None:
    """Marks above and below by turns: to bring so many into one form would take a minute of the whole process."""
    assert not alice.matches("alice", "a" + "\u0301\u0323" * 150_000)
    assert not Users().matches("alice", PASSWORD) and argon2.asked == 0
    longest = "\u0323" * 256
    assert Users({"bob": hash_password(longest)}).matches("bob", longest)


def test_without_users_nobody_gets_in() -> None:
    """No file, no user, no login."""
    assert not Users().matches("admin", "")


def hashed(*words: str, given: str) -> subprocess.CompletedProcess[str]:
    """`python -m web.users hash WORDS`, the password by a pipe."""
    command = [sys.executable, "-m", "web.users", "hash", *words]
    return subprocess.run(
        command, input=given, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_prints_the_line_of_a_user(tmp_path: Path) -> None:
    """From a pipe, for scripts: the line goes to the file as it is."""
    result = hashed("carol", given="a long password\n")
    assert (result.returncode, result.stderr) == (0, "")
    (tmp_path / "users").write_text(result.stdout, encoding="utf-8")
    assert Users.read(tmp_path / "users", "API_USERS_FILE").matches("carol", "a long password")


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [
        ("car ol", "a long password", "letters, digits"),
        ("carol", "short", "8 characters"),
        ("carol", "", "8 char"),
        ("carol", "a" * 257, "256 at most"),
    ],
)
def test_the_command_refuses_what_would_not_do(name: str, password: str, said: str) -> None:
    """One line, and nothing on stdout that could end up in the file."""
    result = hashed(name, given=password)
    assert (result.returncode, result.stdout) == (1, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX terminal")
@pytest.mark.parametrize("again", ["a long password", "another password"], ids=["same", "differs"])
def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(tmp_path: Path, again: str) -> None:
    """What the terminal shows has the questions and no password; two that differ make no line."""
    import pty

    us, terminal = pty.openpty()
    command = [sys.executable, "-m", "web.users", "hash", "carol"]
    with subprocess.Popen(
        command, stdin=terminal, stderr=terminal, stdout=subprocess.PIPE, env=environment(), start_new_session=True
    ) as process:
        os.close(terminal)
        shown = b""
        for question, answer in ((b"Password: ", "a long password"), (b"Again: ", again)):
            while not shown.endswith(question):
                shown += os.read(us, 1024)
            os.write(us, answer.encode() + b"\n")
        line = process.communicate(timeout=60)[0].decode()
    os.close(us)
    assert b"password\r" not in shown
    assert b"a long" not in shown
    if again == "a long password":
        (tmp_path / "users").write_text(line, encoding="utf-8")
        assert Users.read(tmp_path / "users", "API_USERS_FILE").matches("carol", again)
    else:
        assert (process.returncode, line) == (1, "")
