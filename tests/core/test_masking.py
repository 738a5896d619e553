"""Masking: secrets are hidden by name, by form and by randomness; what helps to find a mistake stays readable."""

from __future__ import annotations

import base64
import hashlib
import random
import string
import time

import pytest

from gigogne.core.masking import is_secret_name, mask, oddities, passwords


@pytest.mark.parametrize(
    "name",
    "DB_PASSWORD PGPASSWORD POSTGRES_PASSWD SECRET_KEY AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID GITHUB_TOKEN API_KEY "
    "APIKEY OPENAI_APIKEY awsSecretKey GOOGLE_CREDENTIALS SSH_PRIVATE_KEY AIRFLOW__CORE__FERNET_KEY MYSQL_PWD "
    "MINIO_ROOT_PASSWORD RESTIC_PASSPHRASE REDIS_AUTH dbpassword".split(),
)
def test_a_secret_name_hides_any_value(name: str) -> None:
    """Whatever the value looks like: a word, a number, a path."""
    for value in ("changeme", "123456", "/looks/like/a/path", "true", "a-very-long-passphrase-of-words"):
        shown = mask(name, value)
        assert is_secret_name(name) and value not in shown and f"({len(value)} characters)" in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD_FILE", "/run/secrets/db"),
        ("TOKEN_URL", "https://auth.example.com/oauth/token"),
        ("MAX_TOKENS", "4096"),
        ("TOKEN_TTL_SECONDS", "3600"),
        ("PWD", "/home/me/shop"),
        ("KEYBOARD", "us"),
        ("MONKEY", "banana"),
        ("ENDPOINT", "http://mlflow-server:5000"),
        ("TARGET", "s3://fraud-detection-2-bucket/data/validated.csv"),
        ("HOST", "ec2-12-34-56-78.eu-west-1.compute.amazonaws.com"),
        ("PYTHONPATH", "/usr/local/lib/python3.12/site-packages:/opt/x"),
        ("WHEN", "2026-11-21T10:00:00Z"),
        ("CLASS", "org.apache.hadoop.fs.s3a.S3AFileSystem"),
        ("MODEL", "RandomForestClassifier100"),
        ("IMAGE", "mlops-rakuten/clean-data:latest"),
        ("TYPE", "application/json; charset=UTF-8"),
        ("LINK", "http://host:8000/path?email=a@b"),
        ("FOLDER", "C:\\Users\\me\\Data2024"),
        ("URI", "postgresql://postgres@db:5432/mlops"),
        ("ANNOUNCE", "internationalization_and_localization"),
        ("NUMBERS", "12345678901234567890"),
        ("EMPTY_PASSWORD", ""),
    ],
)
def test_what_is_harmless_stays_readable(name: str, value: str) -> None:
    """Paths, numbers, hosts, URLs without a password; and that a secret is empty is worth knowing."""
    assert mask(name, value) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://me:hunter2@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql+psycopg://me:hun/ter2?@db/x", "postgresql+psycopg://me:***@db/x"),
        ("postgresql://me:hun@ter2@db/x", "postgresql://me:***@db/x"),
        ("redis://:hunter2@redis:6379", "redis://:***@redis:6379"),
        ("postgresql://me@server:hunter2@db:5432/x", "postgresql://me@server:***@db:5432/x"),
        ("a=amqp://u:hunter2@a,b=amqp://u:hunter2@b", "a=amqp://u:***@a,b=amqp://u:***@b"),
        ("host=db user=me password='hunter 2' dbname=x", "host=db user=me password=*** dbname=x"),
        ('{"client_secret": "hunter2", "x": 1}', '{"client_secret": ***, "x": 1}'),
        ("https://x.example.com/?sig=hunter2&a=b", "https://x.example.com/?sig=***&a=b"),
        ("AccountName=me;AccountKey=hunter2==;Suffix=net", "AccountName=me;AccountKey=***;Suffix=net"),
        ("Bearer hunter2", "Bearer ***"),
    ],
)
def test_a_secret_inside_a_value_is_cut_out(value: str, shown: str) -> None:
    """The rest, which says where the service looks, stays."""
    assert mask("ANYTHING", value) == shown


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("postgres://u:hunter2@h/db", {"hunter2"}),
        ("postgres://u:pa/ssword9@h/db", {"pa/ssword9"}),
        ("postgres://u:p#ssword9?@h/db", {"p#ssword9?"}),
        ("postgres://u:p%40ss@h/db", {"p%40ss"}),
        ("postgres://u@server:hunter2@h/db", {"hunter2"}),
        ("redis://:hunter2@h", {"hunter2"}),
        ("url=postgres://u:hunter2@h/db", {"hunter2"}),
        ('["postgres://u:hunter2@h/db"]', {"hunter2"}),
        ("amqp://u:first@h1,amqp://u:second@h2", {"first", "second"}),
        ("amqp://u:fir/st@h1;amqp://u:sec?nd@h2", {"fir/st", "sec?nd"}),
        ('{"url":"redis://:hunter2@h","mail":"me@x.org"}', {"hunter2", 'hunter2@h","mail":"me'}),
        ("postgres://u:hun@ter2@h/db", {"hun", "hun@ter2"}),
        ("http://host:8000/path?email=a@b", set()),
        ("git+ssh://git@host:org/project", set()),
        ("postgresql://me@db:5432/x", set()),
        ("redis://:@h", set()),
    ],
)
def test_the_passwords_of_urls_are_found_wherever_they_stand(value: str, found: set[str]) -> None:
    """Also with what a URL should escape, in lists and in JSON; a user, a port or a path is none."""
    assert passwords(value) == found


def test_a_long_value_without_a_url_is_read_quickly() -> None:
    """A certificate bundle or a list of modules in a variable does not hold up a job's start."""
    began = time.monotonic()
    assert passwords("module." * 15_000) == frozenset()
    assert time.monotonic() - began < 2


def test_random_values_are_hidden_whatever_the_name() -> None:
    """A thousand keys of the usual alphabets: all are hidden, or all but a few in a hundred."""
    chance = random.Random(7)
    for alphabet, least in (
        (string.ascii_letters + string.digits, 0.99),
        (string.ascii_letters + string.digits + "+/", 0.97),
        ("0123456789abcdef", 0.99),
        (string.ascii_lowercase + string.digits, 0.9),
    ):
        keys = ["".join(chance.choices(alphabet, k=40)) for _ in range(1000)]
        assert sum(key not in mask("X", key) for key in keys) >= least * len(keys), alphabet


@pytest.mark.parametrize(
    "value",
    [
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "ghp_" + base64.b64encode(hashlib.sha256(b"1").digest()).decode()[:36],
        hashlib.sha1(b"1").hexdigest(),
        "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        "P@ssw0rd!xK9",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
    ],
)
def test_known_forms_of_secrets_are_hidden(value: str) -> None:
    """Of a long one at most the last two characters are shown, and the length."""
    shown = mask("X", value)
    assert "***" in shown and not any(value[at : at + 5] in shown for at in range(len(value) - 4))


def test_what_nobody_sees_in_a_value_is_said() -> None:
    """Spaces, quotes and carriage returns break logins and are invisible."""
    assert "carriage return" in oddities("secret\r")[0] and "white space" in oddities(" secret")[0]
    assert "quotes" in oddities('"secret"')[0] and oddities("secret") == () and oddities("") == ()
