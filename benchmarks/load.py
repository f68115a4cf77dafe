"""A client that asks for the same thing again and again, cheaply enough to share the machine with what it measures."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: answers per second, and how long each took, in milliseconds."""

    per_second: float
    milliseconds: list[float]

    @property
    def p50(self) -> float:
        """The middle one."""
        return median(self.milliseconds)

    @property
    def p99(self) -> float:
        """One in a hundred took longer."""
        return quantiles(self.milliseconds, n=100)[98]


class Connection:
    """One connection that is kept; a request at a time. Answers need a Content-Length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect to the server of an address."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=4 * 1024 * 1024)
        return cls(reader, writer, parts.netloc)

    async def get(self, path: str, headers: Mapping[str, str]) -> bytes:
        """The body of a 200.

        Raises:
            RuntimeError: for any other answer.
        """
        lines = [
            f"GET {path} HTTP/1.1",
            f"host: {self._host}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"
        )
        body = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"GET {path}: {head.decode('latin-1')}{body.decode('utf-8', 'replace')}")
        return body

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


async def ask(
    url: str, path: str, headers: Mapping[str, str], *, connections: int, seconds: float, requests: int | None = None
) -> Load:
    """Ask over so many connections at once for so long, or so many times over each."""
    times: list[float] = []

    async def one(connection: Connection, until: float) -> None:
        done = 0
        while perf_counter() < until and (requests is None or done < requests):
            started = perf_counter()
            await connection.get(path, headers)
            times.append((perf_counter() - started) * 1000)
            done += 1

    opened = [await Connection.open(url) for _ in range(connections)]
    for connection in opened:
        await connection.get(path, headers)
    started = perf_counter()
    await asyncio.gather(*(one(connection, started + seconds) for connection in opened))
    per_second = len(times) / (perf_counter() - started)
    for connection in opened:
        await connection.close()
    return Load(per_second, times)
