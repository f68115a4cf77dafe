"""A TCP proxy that can cut, silence and slow down what goes through it."""

import asyncio
from contextlib import suppress
from typing import Final

from deploy.local.ports import HOST

_CHUNK_BYTES: Final = 64 * 1024


class Link:
    """Forwards connections from its own port to another one on this machine, until told otherwise."""

    def __init__(self, name: str, port: int, target_port: int) -> None:
        self.name = name
        self.port = port
        self.target_port = target_port
        self.delay_seconds = 0.0
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._forward, HOST, self.port)

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        self.heal()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection that is open now; new ones go through."""
        for writer in list(self._connections):
            writer.transport.abort()

    def silence(self) -> None:
        """Let nothing through, as a network that drops packets does: connections stay open and nothing arrives."""
        self._open.clear()

    def heal(self) -> None:
        """Forward again, at once; what waited in between arrives now."""
        self.delay_seconds = 0.0
        self._open.set()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._connections.add(writer)
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(HOST, self.target_port)
            self._connections.add(far_writer)
            try:
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            finally:
                self._connections.discard(far_writer)
                far_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # Nobody listens there, a side has gone, or all ends: who is left learns it by the reset below.
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            await self._open.wait()
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            writer.write(chunk)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
