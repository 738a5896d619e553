"""What comes before Airflow: a look at what makes it unsafe or useless, then its database.

init.py SECRETS DEFAULTS SOCKET
"""

import ipaddress
import os
import sys
from pathlib import Path


def unsafe(address: str, secrets: Path, defaults: Path) -> str:
    """Why Airflow must not listen there; empty where it may."""
    if address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback:
        return ""
    ours = {_text(file) for file in secrets.iterdir()}
    public = [file.name for file in sorted(defaults.iterdir()) if _text(file) in ours]
    if not public:
        return ""
    return (
        f"BIND_ADDRESS is {address}, and everybody knows these secrets: {', '.join(public)}. "
        "Copy docker/airflow/secrets to a folder of your own, write your own values, and set AIRFLOW_SECRETS to it"
    )


def useless(socket: Path) -> str:
    """Why no DAG could start a container; empty where it can, or where there is no Docker."""
    if not socket.is_socket() or os.access(socket, os.W_OK):
        return ""
    return f"Airflow's user may not use {socket}: write DOCKER_GID={socket.stat().st_gid} to .env"


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()


def main() -> None:
    """Refuse, or become `airflow db migrate`."""
    secrets, defaults, socket = map(Path, sys.argv[1:])
    if reason := unsafe(os.environ["BIND_ADDRESS"], secrets, defaults) or useless(socket):
        sys.exit(f"error: {reason}")
    os.execvp("airflow", ["airflow", "db", "migrate"])  # noqa: S606


if __name__ == "__main__":
    main()
