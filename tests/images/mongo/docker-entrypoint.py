#!/opt/secantusdb/bin/python
"""What the official image's entrypoint does as far as the stack uses it: `mongod` with its root user, as `mongodb`."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pymongo

STORE = Path("/data/db/secantusdb")
MONGODB = 999
FLAGS = {"--port", "--dbpath", "--bind_ip"}
NAMES = ("MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD")


def value_of(name: str) -> str:
    """A variable, or what is in the file that NAME_FILE names."""
    file = os.environ.get(f"{name}_FILE")
    return Path(file).read_text(encoding="utf-8").rstrip("\n") if file else os.environ.get(name, "")


def server(host: str, port: int, *flags: str) -> list[str]:
    """The command line of the server."""
    return [sys.executable, "-m", "secantus", "--host", host, "--port", str(port), "--storage-path", str(STORE),
            "--log-level", "WARNING", "--standalone", "--sync-on-commit", "--cache-size", "256M", *flags]  # fmt: skip


def initialise(user: str, password: str) -> None:
    """Make the data directory, and the root user, on a port that only this container can reach."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first = subprocess.Popen(server("127.0.0.1", port))
    client: pymongo.MongoClient[Any] = pymongo.MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=60_000)
    client.admin.command("ping")
    if user:
        client.admin.command("createUser", user, pwd=password, roles=[{"role": "root", "db": "admin"}])
    client.close()
    first.send_signal(signal.SIGINT)
    first.wait()


def port_of(words: list[str]) -> int:
    """The port that mongod's flags ask for; any flag that this server does not have ends the container."""
    port = 27017
    while words:
        name, equals, value = words.pop(0).partition("=")
        if name in FLAGS and not equals:
            value = words.pop(0)
        elif name not in FLAGS | {"--auth", "--bind_ip_all"}:
            sys.exit(f"{name} is unknown to this stand-in for mongod")
        if name == "--dbpath" and value != "/data/db":
            sys.exit("this stand-in for mongod keeps its data in /data/db")
        port = int(value) if name == "--port" else port
    return port


def main() -> None:
    """Become the server, or the command that was given."""
    words = sys.argv[1:]
    if words[0].startswith("-"):
        words.insert(0, "mongod")
    if words[0] != "mongod":
        os.execvp(words[0], words)
    port = port_of(words[1:])
    if os.geteuid() == 0:
        for path in (Path("/data/db"), *Path("/data/db").rglob("*")):
            os.chown(path, MONGODB, MONGODB)
        os.setgroups([])
        os.setgid(MONGODB)
        os.setuid(MONGODB)
        os.environ["HOME"] = "/data/db"
    user, password = (value_of(name) for name in NAMES)
    if bool(user) is not bool(password):
        sys.exit(f"error: {' and '.join(NAMES)} have to be set both, or none")
    os.chdir("/data/db")
    if not STORE.exists():
        initialise(user, password)
    os.execv(sys.executable, server("0.0.0.0", port, *(["--auth"] if user else [])))


main()
