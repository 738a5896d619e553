"""An HTTP server that answers as a test says: for the faults that a real MLflow or Airflow cannot show on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Answer", "StandIn", "standing_in"]

Answer = Callable[[str, str], tuple[int, bytes]]
"""Status and body for a method and a path."""


@dataclass
class StandIn:
    """Such a server: where it is, and what it was asked."""

    address: str
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def standing_in(answer: Answer) -> Iterator[StandIn]:
    """A server that answers so, for as long as this holds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.asked.append((self.command, self.path))
            status, body = answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = StandIn(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
