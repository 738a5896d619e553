"""A Docker daemon behind TLS: certificates of our own, and a relay between a port of this machine and the socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["daemon_behind_tls"]

_SOCKET = "/var/run/docker.sock"


@contextlib.contextmanager
def daemon_behind_tls(folder: Path) -> Iterator[str]:
    """The address of this machine's daemon behind TLS; `folder` gets what its clients need to know and to show."""
    _make_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "key.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, context), daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _make_certificates(folder: Path) -> None:
    """An authority, and two certificates of it on one key: the server's and the clients'."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
    openssl("req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=daemon")
    for name, use in (("server.pem", "serverAuth"), ("cert.pem", "clientAuth")):
        (folder / "extensions").write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={use}\n")
        signed = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "extensions"]
        openssl("x509", "-req", "-in", "request.pem", *signed, "-out", name)


def _serve(server: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):  # it is closed
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_relay, args=(connection, context), daemon=True).start()


def _relay(plain: socket.socket, context: ssl.SSLContext) -> None:
    with (
        contextlib.suppress(OSError),
        plain,
        context.wrap_socket(plain, server_side=True) as client,
        socket.socket(socket.AF_UNIX) as daemon,
    ):
        daemon.connect(_SOCKET)
        back = threading.Thread(target=_copy, args=(daemon, client), daemon=True)
        back.start()
        _copy(client, daemon)
        with contextlib.suppress(OSError):
            daemon.shutdown(socket.SHUT_WR)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
