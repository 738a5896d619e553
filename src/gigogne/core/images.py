"""What the name of an image says: where it comes from, which version, and what well-known images are."""

from __future__ import annotations

from collections.abc import Iterator

from gigogne.core.model import Service

__all__ = ["default_credentials", "is_server_image", "names_no_version", "repository"]

# Official and very common images whose own command serves until it is stopped.
_SERVERS = frozenset(
    "postgres mysql mariadb mongo redis valkey/valkey memcached rabbitmq nats nginx httpd caddy traefik haproxy "
    "elasticsearch opensearchproject/opensearch neo4j influxdb cassandra couchdb clickhouse/clickhouse-server "
    "zookeeper apache/kafka grafana/grafana prom/prometheus adminer dpage/pgadmin4 mongo-express postgis/postgis "
    "pgvector/pgvector timescale/timescaledb chromadb/chroma qdrant/qdrant registry jupyter/base-notebook "
    "jupyter/scipy-notebook jupyter/datascience-notebook".split()
)
# The programs of these images, for commands that name them.
_PROGRAMS = frozenset("postgres mysqld mariadbd mongod redis-server rabbitmq-server nginx".split())
# Images that serve with these commands only.
_SUBCOMMANDS = {"minio/minio": ("server",), "chrislusf/seaweedfs": ("mini", "server")}
# Images that take their own password from the environment, and the variables that hold it.
_PASSWORDS: dict[str, tuple[str, ...]] = {
    "bitnami/postgresql": ("POSTGRESQL_PASSWORD", "POSTGRESQL_POSTGRES_PASSWORD", "POSTGRES_PASSWORD"),
    "bitnami/redis": ("REDIS_PASSWORD",),
    "chrislusf/seaweedfs": ("AWS_SECRET_ACCESS_KEY", "WEED_ADMIN_PASSWORD"),
    "clickhouse/clickhouse-server": ("CLICKHOUSE_PASSWORD",),
    "couchdb": ("COUCHDB_PASSWORD",),
    "dpage/pgadmin4": ("PGADMIN_DEFAULT_PASSWORD",),
    "elasticsearch": ("ELASTIC_PASSWORD",),
    "elasticsearch/elasticsearch": ("ELASTIC_PASSWORD",),
    "grafana/grafana": ("GF_SECURITY_ADMIN_PASSWORD",),
    "grafana/grafana-oss": ("GF_SECURITY_ADMIN_PASSWORD",),
    "influxdb": ("DOCKER_INFLUXDB_INIT_PASSWORD",),
    "mariadb": ("MARIADB_ROOT_PASSWORD", "MARIADB_PASSWORD", "MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD"),
    "minio/minio": ("MINIO_ROOT_PASSWORD", "MINIO_SECRET_KEY"),
    "mongo": ("MONGO_INITDB_ROOT_PASSWORD",),
    "mongo-express": ("ME_CONFIG_BASICAUTH_PASSWORD",),
    "mssql/server": ("MSSQL_SA_PASSWORD", "SA_PASSWORD"),
    "mysql": ("MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD"),
    "neo4j": ("NEO4J_AUTH",),
    "pgvector/pgvector": ("POSTGRES_PASSWORD",),
    "postgis/postgis": ("POSTGRES_PASSWORD",),
    "postgres": ("POSTGRES_PASSWORD",),
    "rabbitmq": ("RABBITMQ_DEFAULT_PASS",),
    "timescale/timescaledb": ("POSTGRES_PASSWORD",),
}
# Settings of the same images that let everybody in, and the values that do.
_OPEN = {
    "ALLOW_EMPTY_PASSWORD": ("yes", "true", "1"),
    "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD": ("yes", "true", "1"),
    "MYSQL_ALLOW_EMPTY_PASSWORD": ("yes", "true", "1"),
    "NEO4J_AUTH": ("none",),
    "POSTGRES_HOST_AUTH_METHOD": ("trust",),
}
# The passwords of examples, which are the first that anybody tries.
_WELL_KNOWN = frozenset(
    "1234 12345 123456 12345678 123456789 admin admin123 administrator airflow change-me change_me changeit changeme "
    "default example grafana guest letmein minio minio123 minio123456 minioadmin mongo mysql neo4j pass passw0rd "
    "password password123 postgres qwerty rabbitmq redis root secret test toor user".split()
)


def repository(image: str) -> str:
    """The repository of an image reference, without registry, tag and digest (`registry:443/a/b:1` → `a/b`)."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = head + slash + tail.partition(":")[0]
    first, slash, rest = name.partition("/")
    # Docker's own rule: a first part with a dot or a port, or localhost, is a registry.
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    return name.removeprefix("library/")


def names_no_version(image: str) -> bool:
    """Whether the reference has no tag or the tag `latest`, and no digest: what is pulled changes with the day."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return "@" not in image and tag in ("", "latest")


def is_server_image(service: Service) -> bool:
    """Whether the service is a well-known server image that does what it is for."""
    if service.build is not None or service.entrypoint:
        return False
    first, name = next(iter(service.command or ()), ""), repository(service.image)
    # Words that begin with a dash are flags for the image's own program.
    return (name in _SERVERS and (not first or first.startswith("-") or first in _PROGRAMS)) or (
        first in _SUBCOMMANDS.get(name, ())
    )


def default_credentials(service: Service) -> Iterator[tuple[str, str]]:
    """The variables with which a well-known image lets in whoever knows its examples, and how, in words."""
    names = _PASSWORDS.get(repository(service.image))
    if names is None:
        return
    for name in names:
        value = service.environment.get(name)
        if value is not None and _is_well_known(value):
            yield name, "an empty password" if value == "" else "a well-known default password"
    for name, values in _OPEN.items():
        if service.environment.get(name, "").lower() in values:
            yield name, "no password"


def _is_well_known(value: str) -> bool:
    user, slash, password = value.partition("/")  # neo4j/password
    return value == "" or value.lower() in _WELL_KNOWN or (slash != "" and user == "neo4j" and password in _WELL_KNOWN)
