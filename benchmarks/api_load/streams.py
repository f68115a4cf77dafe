"""One leader's live feed: cheap to read, for readers share the machine with the API, and no event escapes it."""

import re
from array import array
from collections.abc import Callable
from datetime import datetime
from time import time
from typing import Protocol
from urllib.parse import urlsplit

import gevent
from gevent import socket

_EVENT = re.compile(rb"id: (\d+)\nevent: activity\n")
_ID = re.compile(rb"(?:^|\n)id: (\d+)\n")
_CREATED = re.compile(rb'"created_at":"([^"]{20,40})","read":')
_PATIENCE_SECONDS = 45.0
"""Three heartbeats: a stream that is silent for longer is dead."""


class Connection(Protocol):
    """What a stream is read from."""

    def recv(self, bufsize: int, /) -> bytes:
        """Some bytes; none at its end."""


class Stream:
    """A stream that is resumed wherever it ends, by its last id; it notes every event's position.

    `token` answers a good access token whenever one is needed.
    """

    def __init__(self, url: str, query: str, token: Callable[[], str]) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._query = query
        self._token = token
        self._last: int | None = None
        self.query = query
        self.begun: int | None = None
        """The position after which everything that fits has to come."""
        self.positions = array("q")
        self.connections = 0
        self.troubles: list[str] = []
        """Why a stream was not had or ended, but for a token's end."""
        self.milliseconds: list[float] = []
        """From an event's own time until it was read; one of each heap that came at once."""

    @property
    def reached(self) -> int | None:
        """The position up to which the stream is known to be complete."""
        return self._last

    def run(self) -> None:
        """Read until the greenlet is killed."""
        while True:
            try:
                self._read()
            except (OSError, ValueError) as error:
                self.troubles.append(f"{type(error).__name__}: {error}"[:120])
            # A second, as the stream itself asks of readers (`retry`).
            gevent.sleep(1.0)

    def _read(self) -> None:
        resume = "" if self._last is None else f"last-event-id: {self._last}\r\n"
        request = (
            f"GET /api/feed/stream{self._query} HTTP/1.1\r\nhost: gateway\r\n"
            f"authorization: Bearer {self._token()}\r\n{resume}\r\n"
        )
        connection = socket.create_connection(self._address, timeout=_PATIENCE_SECONDS)
        try:
            connection.sendall(request.encode())
            head, rest = _head(connection)
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(head.split(b"\r\n", 1)[0].decode("latin-1"))
            self.connections += 1
            self.follow(connection, Chunks(rest))
        finally:
            connection.close()

    def follow(self, connection: Connection, chunks: "Chunks") -> None:
        """Note what comes until the stream ends; ConnectionError where it is cut."""
        text = b""
        while True:
            text += chunks.take()
            whole, separator, text = text.rpartition(b"\n\n")
            if separator:
                self._note(whole + separator)
            if chunks.ended:
                return
            data = connection.recv(256 * 1024)
            if not data:
                raise ConnectionError("the stream was cut")
            chunks.feed(data)

    def _note(self, frames: bytes) -> None:
        found = [int(position) for position in _EVENT.findall(frames)]
        self.positions.extend(found)
        ids = [int(position) for position in _ID.findall(frames)]
        if self.begun is None and ids:
            self.begun = ids[0]
        if ids:
            self._last = ids[-1]
        if found and (created := _CREATED.findall(frames)):
            self.milliseconds.append((time() - datetime.fromisoformat(created[-1].decode()).timestamp()) * 1000)
        if b"event: end\n" in frames and b"expired_token" not in frames:
            self.troubles.append("ended: " + frames.partition(b"event: end\n")[2].decode("utf-8", "replace")[:100])


class Chunks:
    """A body in chunks (RFC 9112), put together as it comes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.ended = False

    def feed(self, data: bytes) -> None:
        """More bytes of it."""
        self._data += data

    def take(self) -> bytes:
        """What has come of the body since the last look."""
        whole = []
        while (line := self._data.find(b"\r\n")) >= 0:
            size = int(self._data[:line], 16)
            end = line + 2 + size
            if len(self._data) < end + 2:
                break
            whole.append(self._data[line + 2 : end])
            self._data = self._data[end + 2 :]
            if size == 0:
                self.ended = True
                break
        return b"".join(whole)


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(64 * 1024)
        if not more:
            raise ConnectionError("there was no answer")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest
