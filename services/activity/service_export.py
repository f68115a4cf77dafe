"""The audit log as one long answer, in constant memory: whoever reads slowly makes PostgreSQL wait."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from services.activity import repository_export as repository
from services.activity.repository_audit_pages import AuditFilters
from services.activity.repository_export import CSV, NDJSON
from services.activity.schemas_audit import ExportFormat
from shared.db import SessionMaker
from shared.errors import TooManyRequestsError

_CHUNK_BYTES: Final = 256 * 1024
_CHUNKS_AHEAD: Final = 4
_STALLED_SECONDS: Final = 60.0
_FORMS: Final[dict[ExportFormat, dict[str, Any]]] = {ExportFormat.NDJSON: NDJSON, ExportFormat.CSV: CSV}


class Exports:
    """The exports that run on this instance. Each holds a connection of the pool while it is read."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.running = 0

    def check(self) -> None:
        """Refuse one too many.

        Raises:
            TooManyRequestsError: while as many run as may.
        """
        if self.running >= self._limit:
            detail = f"{self._limit} exports are running: wait until one has ended."
            raise TooManyRequestsError(detail, "too_many_exports", headers={"retry-after": "10"})

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


class _Chunks:
    """From the lines of PostgreSQL to pieces worth sending, with an end to how many wait."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_CHUNKS_AHEAD)
        self._pending = bytearray()

    async def take(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= _CHUNK_BYTES:
            await self._flush()

    async def end(self, failure: Exception | None) -> None:
        if failure is None and self._pending:
            await self._flush()
        await self._queue.put(failure)

    async def next(self) -> bytes | None:
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def _flush(self) -> None:
        chunk, self._pending = bytes(self._pending), bytearray()
        async with asyncio.timeout(_STALLED_SECONDS):
            await self._queue.put(chunk)


async def export(
    exports: Exports, session_maker: SessionMaker, filters: AuditFilters, form: ExportFormat
) -> AsyncGenerator[bytes, None]:
    """All entries that match, as of now; ends, statement in hand included, when its reader leaves.

    Raises:
        TimeoutError: for a reader that takes nothing for a minute, so that no transaction stays open for it.
    """
    chunks = _Chunks()

    async def write() -> None:
        try:
            if form is ExportFormat.CSV:
                await chunks.take(",".join(repository.COLUMNS).encode() + b"\n")
            await repository.write(session_maker, filters, _FORMS[form], chunks.take)
        except Exception as failure:  # noqa: BLE001 - raised where it is read
            await chunks.end(failure)
        else:
            await chunks.end(None)

    with exports.counted():
        writing = asyncio.ensure_future(write())
        try:
            while (chunk := await chunks.next()) is not None:
                yield chunk
        finally:
            writing.cancel()
            await asyncio.wait((writing,))
