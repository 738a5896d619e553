"""MLflow's tracking server and model registry, in one process.

It makes its database when there is none, brings its tables up to date, and serves. `mlflow server` would do the last
of these by a second process: both import all of MLflow, which doubles the memory and the time to healthy.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import re
import sys
from contextlib import suppress

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

# Two servers that start at once on one database: the second one waits, and finds the tables made.
LOCK = "SELECT pg_advisory_lock(hashtext('mlflow-server'))"


def exposed(address: str, chosen_hosts: str) -> str:
    """Why MLflow must not listen there; empty where it may."""
    if chosen_hosts or address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback:
        return ""
    return (
        f"BIND_ADDRESS is {address}, and MLflow asks nobody for a password: put a proxy that does in front, and set "
        "MLFLOW_ALLOWED_HOSTS to the names by which MLflow may be asked for; or leave BIND_ADDRESS out"
    )


def plain(url: str) -> str:
    """The address as libpq reads it; SQLAlchemy's may name a driver, of which there is one here.

    Raises:
        ValueError: It cannot be read; the message has nothing of it, since a password may be anywhere in it.
    """
    url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
    with suppress(psycopg.ProgrammingError):
        parts = conninfo_to_dict(url)
        if "dbname" in parts and "@" not in str(parts.get("host", "")):
            return url
    raise ValueError(
        "MLFLOW_BACKEND_STORE_URI cannot be read: write postgresql://HOST:PORT/DATABASE and set PGUSER and PGPASSWORD, "
        "or postgresql://USER:PASSWORD@HOST:PORT/DATABASE with the special characters percent-encoded"
    )


def connect(url: str) -> psycopg.Connection:
    """A connection to the database that `url` names, which is made when its server has none of that name."""
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError:
        name = str(conninfo_to_dict(url)["dbname"])
        with (
            psycopg.connect(url, dbname="postgres", autocommit=True) as server,
            suppress(errors.DuplicateDatabase, errors.UniqueViolation),
        ):
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return psycopg.connect(url, autocommit=True)


def migrate(url: str) -> None:
    """What `mlflow db upgrade` does, in this process: a URL on a command line can be read by others."""
    with connect(url) as database:
        from mlflow.db import upgrade  # seconds: what is wrong with the database is told before

        database.execute(LOCK)
        upgrade.callback(url)


def serve(url: str, artifacts: str) -> None:
    """MLflow's own application under uvicorn, told what `mlflow server` tells it.

    Artifacts go through the server: whoever logs or loads a model needs no credentials of S3.
    """
    gc.disable()  # a sixth of the time to import all of MLflow, of which nothing is garbage
    # Its own pages, under each name by which it may be asked for; all others' are refused. It is read at the import.
    hosts = filter(None, os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"].split(","))
    origins = ",".join(f"{scheme}://{host}" for host in hosts for scheme in ("http", "https"))
    os.environ.setdefault("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", origins)
    import uvicorn
    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = url
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = url
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = artifacts
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    from mlflow.server.fastapi_app import app

    gc.freeze()
    gc.enable()
    uvicorn.run(
        app,
        host=os.environ["MLFLOW_HOST"],
        port=int(os.environ["MLFLOW_PORT"]),
        access_log=False,
        timeout_graceful_shutdown=5,
    )


def main() -> None:
    """Refuse what is unsafe; else prepare the database, and serve until SIGTERM."""
    if reason := exposed(os.environ["BIND_ADDRESS"], os.environ.get("MLFLOW_ALLOWED_HOSTS", "")):
        sys.exit(f"error: {reason}")
    try:
        url = plain(os.environ["MLFLOW_BACKEND_STORE_URI"])
        migrate(url)
    except ValueError as error:
        sys.exit(f"error: {error}")
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[0]
        sys.exit(f"error: PostgreSQL: {said}; is it running, and is MLFLOW_BACKEND_STORE_URI right?")
    serve(url, os.environ["MLFLOW_ARTIFACTS_DESTINATION"])


if __name__ == "__main__":
    main()
