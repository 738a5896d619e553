"""Locks between trainers, on a real PostgreSQL: one holder at a time, and messages in the words of the project."""

from __future__ import annotations

import threading

import psycopg
import pytest
from tests.stack.conftest import ESCAPED

from job.errors import JobError, SettingError
from registry.errors import RegistryError
from registry.lock import Database, locked


def nobody(line: str) -> None:
    """Nothing is to be told of."""
    raise AssertionError(line)


@pytest.mark.parametrize(
    ("uri", "kind", "said"),
    [
        ("postgresql://user:secret-7@[bad", SettingError, "FRAUD_DATABASE_URI is not an address that PostgreSQL"),
        ("postgresql://user:secret-7@127.0.0.1:9/db", RegistryError, "and is FRAUD_DATABASE_URI right?"),
    ],
)
def test_the_variable_that_is_wrong_is_named(uri: str, kind: type[JobError], said: str) -> None:
    """That of the program which asks, with the exit code of its kind, and without the password."""
    database = Database(uri, "FRAUD_DATABASE_URI", "train_fraud")
    with pytest.raises(JobError) as refused, locked(database, "a lock", nobody):
        pass
    assert type(refused.value) is kind and refused.value.exit_code == (2 if kind is SettingError else 1)
    assert said in str(refused.value) and "secret-7" not in f"{refused.value} {database}"


def test_a_wrong_password_is_named(postgres_url: str) -> None:
    """As the variable to correct."""
    wrong = Database(postgres_url.replace(ESCAPED, "secret-7"), "FRAUD_DATABASE_URI", "train_fraud")
    with pytest.raises(RegistryError, match="correct FRAUD_DATABASE_URI"), locked(wrong, "a lock", nobody):
        pass


def test_one_holder_at_a_time(postgres_url: str) -> None:
    """The second one says that it waits, and goes on when the first has ended; another lock is free all the while."""
    database = Database(postgres_url, "FRAUD_DATABASE_URI", "train_fraud")
    waits, entered, said = threading.Event(), threading.Event(), list[str]()

    def tell(line: str) -> None:
        said.append(line)
        waits.set()

    def second() -> None:
        with locked(database, "a lock", tell):
            entered.set()

    other = threading.Thread(target=second)
    with locked(database, "a lock", nobody) as check, locked(database, "another lock", nobody):
        other.start()
        assert waits.wait(30) and not entered.is_set()
        check()
    assert entered.wait(30)
    other.join()
    assert said == ["waiting for another trainer, which holds the lock 'a lock'"]


def test_a_holder_that_lost_its_server_is_told(postgres_url: str) -> None:
    """PostgreSQL shows it under its program's name; when its connection has ended, it holds nothing."""
    database = Database(postgres_url, "FRAUD_DATABASE_URI", "train_fraud.lost")
    with locked(database, "a lock", nobody) as check:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
            assert connection.execute(ended, ("train_fraud.lost",)).fetchall() == [(True,)]
        with pytest.raises(RegistryError, match="lost the connection to PostgreSQL, and the lock with it"):
            check()
        with locked(database, "a lock", nobody):
            pass
