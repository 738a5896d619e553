"""HTTP as uvicorn speaks it, with two more answers: to what is no HTTP, and to who does not finish a request's head."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from web.problems import problem

__all__ = ["Protocol"]

# For the head of a request; `limits` has the time for its body.
HEAD_SECONDS = 10.0


class Protocol(HttpToolsProtocol):
    """A connection of a client."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: it has so long to ask."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is there no more."""
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came: perhaps no beginning of a request, and yet it has ended uvicorn's own wait for one."""
        super().data_received(data)
        idle = self.cycle is None or self.cycle.response_complete
        if idle and not (self._head_timer or self.timeout_keep_alive_task or self.transport.is_closing()):
            self._await_head()

    def on_message_begin(self) -> None:
        """A request begins, perhaps not the first one."""
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._have_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(400, "This is no HTTP request that can be read.")

    def _await_head(self) -> None:
        slow = f"The head of the request took longer than {HEAD_SECONDS:g} s: send it at once."
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._refuse, 408, slow)

    def _have_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, detail: str) -> None:
        """Send a problem, and end the connection; where an answer is due before, with that one."""
        self._have_head()
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        # But to what breaks the body that it waits for, this is the answer.
        if answering and (self.pipeline or cycle.response_started or not cycle.more_body):
            cycle.keep_alive = False
            return
        refusal = problem(status, detail, {"Connection": "close"})
        lines = [name + b": " + value for name, value in (*self.server_state.default_headers, *refusal.raw_headers)]
        head = STATUS_LINE[status] + b"\r\n".join(lines)
        if not self.transport.is_closing():
            self.transport.write(head + b"\r\n\r\n" + bytes(refusal.body))
            self.transport.close()
