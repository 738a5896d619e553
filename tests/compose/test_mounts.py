"""Explaining: the chain of paths of each mount, what is at its start, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compose.answers import explain, service

from gigogne.compose import LoadOptions


def test_each_mount_has_its_chain(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binds, volumes, tmpfs in short and long form, with their lines, what they resolve to and what is there."""
    monkeypatch.delenv("SRC", raising=False)
    body = """\
        volumes:
          - ${SRC:-./full}:/full:ro
          - ./empty:/empty
          - ./nothing:/nothing
          - data:/data
          - /anonymous
          - type: bind
            source: ./full/file.txt
            target: /etc/file.txt
            bind: {create_host_path: false}
        tmpfs: /scratch:size=1m
    """
    files = service(body)
    files["docker-compose.yml"] += "volumes: {data: }\n"
    Path("empty").mkdir()
    made = explain({**files, "full/file.txt": "12345"})
    full = made.mount("/full")
    assert (full.kind, full.written, made.short(full.where)) == (
        "bind",
        "${SRC:-./full}:/full:ro",
        "docker-compose.yml:5",
    )
    assert full.source == str(here / "full") and full.read_only and full.content == "1 entry" and not full.problem
    empty, nothing = made.mount("/empty"), made.mount("/nothing")
    assert empty.content == "empty" and "sees no files at /empty" in empty.problem
    assert nothing.content == "not there" and "empty directory" in nothing.problem
    data = made.mount("/data")
    assert (data.kind, data.source, data.place) == ("volume", f"{here.name.lower()}_data", Path("kept/data"))
    assert made.mount("/anonymous").kind == "anonymous volume" and made.mount("/scratch").kind == "tmpfs"
    long = made.mount("/etc/file.txt")
    assert (long.written, made.short(long.where)) == ("./full/file.txt", "docker-compose.yml:10")
    assert long.content == "a file of 5 bytes" and made.short(made.mount("/scratch").where) == "docker-compose.yml:14"


def test_a_later_file_mounts_over_an_earlier_one() -> None:
    """At one target the later file wins, and says over which line."""
    files = {
        "one.yml": "services:\n  s:\n    image: x\n    volumes:\n      - ./one:/t\n      - ./two:/u\n",
        "two.yml": "services:\n  s:\n    volumes: ['./new:/t']\n",
    }
    made = explain(files, LoadOptions(files=("one.yml", "two.yml")))
    mount = made.mount("/t")
    assert (made.short(mount.source), made.short(mount.where)) == ("new", "two.yml:3")
    assert [made.short(where) for where in mount.overrides] == ["one.yml:5"] and made.mount("/u").overrides == ()


def test_a_file_and_a_directory_do_not_fit() -> None:
    """A directory at a target that looks like a file (Docker made it, once), and a file where the module works."""
    Path("config.yml").mkdir()
    body = "working_dir: /app\nvolumes: ['./config.yml:/app/config.yml', './file:/app', './set:/rows.parquet']\n"
    made = explain({**service(body), "file": "x", "set/part-0": "x"})
    assert not made.mount("/rows.parquet").problem, "a directory with files in it is meant to be one"
    assert "looks like a file" in made.mount("/app/config.yml").problem
    assert "is a file" in made.mount("/app").problem


def test_secrets_and_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each comes from, by its line; never its content."""
    monkeypatch.delenv("DB", raising=False)
    text = """
        services:
          s: {image: x, secrets: [f, {source: e, target: /run/e}], configs: [c]}
        secrets:
          f:
            file: ./f.txt
          e:
            environment: DB
        configs:
          c:
            content: "password = hunter2"
    """
    made = explain({"docker-compose.yml": text, "f.txt": "secret"})
    secret, variable, config = made.mount("/run/secrets/f"), made.mount("/run/e"), made.mount("/c")
    assert (secret.kind, secret.written, made.short(secret.where)) == (
        "secret",
        "file: ./f.txt",
        "docker-compose.yml:5",
    )
    assert secret.content == "a file of 6 bytes" and secret.read_only
    assert (variable.content, made.short(variable.where)) == ("not set", "docker-compose.yml:7") and variable.problem
    assert (config.kind, config.content) == ("config", "inline text") and "hunter2" not in repr(made.made)
