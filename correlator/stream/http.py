"""/metrics, /healthz and /readyz, served by a thread so that a busy worker still answers.

``/healthz`` is 200 while the event loop runs, ``/readyz`` while the worker owns what the group gave it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from correlator.errors import BrokerError
from correlator.metrics import Metrics

__all__ = ["Http"]

_TEXT: Final = "text/plain; charset=utf-8"


class Http:
    """The HTTP side of a worker. ``pulse`` must be called by the event loop at least every ``dead_after`` seconds."""

    def __init__(self, metrics: Metrics, ready: Callable[[], bool], *, dead_after: float = 30.0) -> None:
        self._metrics, self._ready, self._dead_after = metrics, ready, dead_after
        self._pulse = time.monotonic()
        self._server: ThreadingHTTPServer | None = None

    def pulse(self) -> None:
        """The event loop runs."""
        self._pulse = time.monotonic()

    def start(self, host: str, port: int) -> int:
        """Serve; the port, which the system chooses for 0. Raises :class:`BrokerError` where it is taken."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = outer.answer(self.path, self.headers.get("Accept"))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """No line per request."""

        try:
            server = self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise BrokerError(f"http.host, http.port: cannot listen on {host}:{port}: {error}", reason="http") from None
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
        return int(server.server_address[1])

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str, accept: str | None) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        if path.partition("?")[0] == "/metrics":
            body, kind = self._metrics.exposition(accept)
            return 200, kind, body
        if path == "/healthz":
            alive = time.monotonic() - self._pulse < self._dead_after
            return (200, _TEXT, b"ok\n") if alive else (503, _TEXT, b"the event loop does not run\n")
        if path == "/readyz":
            return (200, _TEXT, b"ready\n") if self._ready() else (503, _TEXT, b"no partitions yet\n")
        return 404, _TEXT, b"try /metrics, /healthz or /readyz\n"
