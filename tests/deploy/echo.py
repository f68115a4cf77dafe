"""A service that answers what it was asked, for what a gateway does on the way."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Echo:
    """One such service.

    ``requests`` are the paths that reached it, ``more`` lets its stream and its slow answers go on, ``breaks`` makes it
    cut connections, ``breaks_once`` the next one; ``cut`` counts them.
    """

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.requests: list[str] = []
        self.more = threading.Event()
        self.breaks = False
        self.breaks_once = False
        self.cut = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen, in a thread."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self.more.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def echo(name: str, port: int) -> Iterator[Echo]:
    """An echo that listens."""
    made = Echo(name, port)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def _handler(service: Echo) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer({})
            elif self.path == "/api/feed/stream":
                self._stream()
            elif service.breaks or service.breaks_once:
                # Gone without an answer.
                service.breaks_once = False
                service.cut += 1
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                service.requests.append(self.path)
                length = int(self.headers.get("content-length", 0))
                headers = [[name.lower(), value] for name, value in self.headers.items()]
                received = len(self.rfile.read(length))
                if self.path.endswith("/slow"):
                    service.more.wait(30)
                self._answer({"service": service.name, "path": self.path, "headers": headers, "received": received})

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names given by the base class

        def _answer(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: first\n\n")
            service.more.wait(30)
            self.wfile.write(b"data: second\n\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep quiet."""

    return Handler
