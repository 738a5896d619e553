"""Names and ports: who reaches whom."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour, job

__all__ = ["BEHAVIOURS"]

_SERVE = """\
    import http.server, pathlib, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(sys.argv[1].encode())

    server = http.server.HTTPServer(("0.0.0.0", int(sys.argv[2])), Handler)
    pathlib.Path(sys.argv[3]).touch()
    server.serve_forever()
    """
_ASK = """\
    import sys, urllib.request

    for url in sys.argv[1:]:
        try:
            print(urllib.request.urlopen(url, timeout=5).read().decode())
        except OSError:
            print("nobody")
    """
_CODE = {"code/serve.py": _SERVE, "code/ask.py": _ASK}


def _server(name: str, port: int, more: str = "") -> str:
    """A web server that answers with its name, and says in `out/` when it listens."""
    keys = "".join(f"    {line}\n" for line in more.splitlines())
    return f"""\
  {name}:
    image: python:3.12-slim
    command: python /code/serve.py {name} {port} /out/{name}
    volumes: ["./code:/code", "./out:/out"]
    stop_grace_period: 0s
    expose: ["{port}"]
{keys}"""


def _asks(servers: str, urls: str, more: str = "") -> str:
    """A job that asks addresses once these servers listen, and prints what they answer."""
    listen = " && ".join(f"test -e /out/{name}" for name in servers.split())
    keys = "".join(f"    {line}\n" for line in more.splitlines())
    return f"""\
  job:
    image: python:3.12-slim
    command: sh -c 'until {listen}; do sleep 0.05; done; python /code/ask.py {urls}'
    volumes: ["./code:/code", "./out:/out"]
    depends_on: [{servers.replace(" ", ", ")}]
{keys}"""


def _project(*services: str, more: str = "") -> str:
    return "services:\n" + "".join(services) + more


BEHAVIOURS = (
    Behaviour(
        "service-name",
        "a server is reached by the name of its service, at the port that it listens on",
        _project(_server("web", 8101), _asks("web", "http://web:8101")),
        _CODE,
    ),
    Behaviour(
        "two-servers-one-port",
        "two servers may listen on one port",
        _project(_server("web", 8103), _server("api", 8103), _asks("web api", "http://web:8103 http://api:8103")),
        _CODE,
    ),
    Behaviour(
        "aliases",
        "`aliases:` are further names of a server",
        _project(
            _server("web", 8104, "networks: {default: {aliases: [www, www.example.internal]}}"),
            _asks("web", "http://www:8104 http://www.example.internal:8104"),
        ),
        _CODE,
    ),
    Behaviour(
        "container-name-of-server",
        "its `container_name:` is one, too",
        _project(_server("web", 8111, "container_name: conformance-web"), _asks("web", "http://conformance-web:8111")),
        _CODE,
    ),
    Behaviour(
        "localhost",
        "`localhost` is the container itself, and nobody else",
        _project(_server("web", 8105), _asks("web", "http://localhost:8105")),
        _CODE,
        told=dict.fromkeys(("sandbox", "portable"), "share this machine's network"),
    ),
    Behaviour(
        "networks-apart",
        "who is on no common network is not reached",
        _project(
            _server("web", 8106, "networks: [back]"),
            _server("api", 8107, "networks: [front, back]"),
            _asks("web api", "http://web:8106 http://api:8107", more="networks: [front]"),
            more="networks: {front: , back: }\n",
        ),
        _CODE,
    ),
    Behaviour(
        "published-port",
        "a published port answers on this machine, though it is another one inside",
        _project(
            _server("web", 8108, "ports: ['127.0.0.1:28108:8108']"),
            """\
  job:
    image: python:3.12-slim
    command: sh -c 'until test -e /out/answer; do sleep 0.05; done; cat /out/answer'
    volumes: ["./out:/out"]
    depends_on: [web]
""",
        ),
        _CODE,
        probe=28108,
    ),
    Behaviour(
        "extra-hosts",
        "`extra_hosts:` are names of addresses",
        job("""
            extra_hosts: ["db.internal:192.0.2.7", "cache.internal=192.0.2.8"]
            command:
              - python
              - -c
              - "import socket; print(*map(socket.gethostbyname, ['db.internal', 'cache.internal']))"
        """),
        told={"portable": "names that the code itself spells out are not"},
    ),
    Behaviour(
        "hostname",
        "`hostname:` is the name of the container for itself",
        job("""
            hostname: worker-7
            command: [python, -c, "import os, socket; print(socket.gethostname(), os.environ['HOSTNAME'])"]
        """),
        told={"portable": "the code sees this machine's files, paths, host name and process ids"},
    ),
    Behaviour(
        "network-none",
        "`network_mode: none`: nobody is reached",
        job("""
            network_mode: none
            command: sh -c 'ls /sys/class/net | grep -v -e lo -e tun -e gre -e sit -e ip -e vti -e erspan | wc -l'
        """),
    ),
    Behaviour(
        "links",
        "`links:` are further names for one service",
        _project(_server("web", 8110), _asks("web", "http://site:8110", more="links: ['web:site']")),
        _CODE,
    ),
)
