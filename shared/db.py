"""The database: engine, sessions, one transaction per request, and which of its errors may pass."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any, Final

import asyncpg
import msgspec
from fastapi import Depends, Request
from sqlalchemy import MetaData, Table, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from shared.settings import ServiceSettings
from shared.tables import NAMING_CONVENTION

CONNECT_TIMEOUT_SECONDS: Final = 5.0
_PING_AFTER_SECONDS: Final = 1.0

# Classes and codes of SQLSTATE after which the same statement may succeed: connection (08), serialization, deadlock
# (40), resources (53), shutdown, start-up, statement timeout (57), lock timeout (55P03), a standby (25006), I/O (58).
_TRANSIENT_CLASSES: Final = ("08", "40", "53", "57", "55P03", "25006", "58")

# asyncpg's InternalClientError is what a connection that was cut in the middle of a statement can end in.
_PASSING: Final = (exc.TimeoutError, OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)

SessionMaker = async_sessionmaker[AsyncSession]


def declarative_base(*shared_tables: tuple[Table, ...]) -> type[DeclarativeBase]:
    """A service's declarative base, whose metadata also holds the given tables of `shared.tables`."""

    class Base(DeclarativeBase):
        metadata = MetaData(naming_convention=NAMING_CONVENTION)

    for group in shared_tables:
        for table in group:
            table.to_metadata(Base.metadata)
    return Base


def create_engine(settings: ServiceSettings, schema: str) -> AsyncEngine:
    """An engine whose connections see one schema only. Nothing connects before the first statement."""
    engine = create_async_engine(
        str(settings.database_url).replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        pool_recycle=1800,
        # An error is logged with its statement, never with what the statement held.
        hide_parameters=True,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        connect_args={"timeout": CONNECT_TIMEOUT_SECONDS, "server_settings": _server_settings(settings, schema)},
    )
    _ping_after_idling(engine)
    return engine


def _ping_after_idling(engine: AsyncEngine) -> None:
    """A restarted server leaves dead connections behind; a ping spares whoever comes from finding one.

    SQLAlchemy's own comes before every transaction, a round trip each. A connection that has just been used needs none:
    a server that restarted meanwhile is away for longer.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def note(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["idle_since"] = monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def ping(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if monotonic() - record.info.get("idle_since", monotonic()) < _PING_AFTER_SECONDS:
            return
        try:
            connection.ping()
        except Exception as error:  # whatever it is, this connection is not to be used
            raise exc.InvalidatePoolError from error


def _server_settings(settings: ServiceSettings, schema: str) -> dict[str, str]:
    return {
        "search_path": schema,
        "application_name": f"compass-{schema}",
        "statement_timeout": str(int(settings.statement_timeout_seconds * 1000)),
        "idle_in_transaction_session_timeout": "60000",
        # A connection that was cut, by a crash or in the middle of a stream, ends its statement as well.
        "client_connection_check_interval": "500",
        "timezone": "UTC",
    }


def create_session_maker(engine: AsyncEngine) -> SessionMaker:
    """Sessions that never flush by themselves: statements run where a repository says so."""
    return async_sessionmaker(engine, expire_on_commit=False, autoflush=False)


async def _request_session(request: Request) -> AsyncIterator[AsyncSession]:
    maker: SessionMaker = request.app.state.session_maker
    async with maker() as session, session.begin():
        yield session


DbSession = Annotated[AsyncSession, Depends(_request_session, scope="function")]
"""One transaction per request. The scope ends before the answer is sent, so that a failed commit is never a 2xx."""


class _ReadingConnection(asyncpg.Connection):
    """A connection that is given back as it is: single statements that read leave nothing behind to be reset."""

    def get_reset_query(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a request reads by when nothing has to hold together: a connection on which each statement is its own.

    A session costs a request that only looks something up more than the look itself: a ping, the begin and the end of
    a transaction, and SQLAlchemy around them.
    """

    connection: Any


AnySession = AsyncSession | Reading
"""What a statement that only reads can be run on."""


def create_reading_pool(settings: ServiceSettings, schema: str) -> Any:
    """Connections for `Reading`, as many as `create_engine` has. Nothing connects before the first statement."""
    return asyncpg.create_pool(
        str(settings.database_url),
        min_size=0,
        max_size=settings.database_pool_size,
        timeout=CONNECT_TIMEOUT_SECONDS,
        connection_class=_ReadingConnection,
        server_settings=_server_settings(settings, schema),
    )


async def _request_reading(request: Request) -> AsyncIterator[AnySession]:
    pool = getattr(request.app.state, "reading_pool", None)
    if pool is None:
        # A service under test keeps everything in one transaction of its session.
        maker: SessionMaker = request.app.state.session_maker
        async with maker() as session, session.begin():
            yield session
        return
    async with pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as connection:
        yield Reading(connection)


DbReading = Annotated[AnySession, Depends(_request_reading, scope="function")]
"""For endpoints whose statements each may see another moment."""


class Values(list[Any]):
    """The values of a statement's parameters, for the driver's own connection."""

    def put(self, value: Any) -> str:
        """Add a value; answers how the statement names it."""
        self.append(value)
        return f"${len(self)}"


async def raw_connection(session: AnySession) -> Any:
    """The asyncpg connection under a session, inside the session's transaction.

    SQLAlchemy begins the transaction with its first statement; a COPY before it would survive a rollback. The
    statement here makes sure of it.
    """
    if isinstance(session, Reading):
        return session.connection
    connection = await session.connection()
    if not connection.sync_connection or not _in_server_transaction(connection):
        await connection.exec_driver_sql("SELECT 1")
    return (await connection.get_raw_connection()).driver_connection


def _in_server_transaction(connection: Any) -> bool:
    driver = connection.sync_connection.connection.driver_connection
    return bool(driver.is_in_transaction())


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = getattr(current, "orig", None) or current.__cause__ or current.__context__


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later: the server is away, overloaded, or lost a race.

    Errors of the data or of the code (a violated constraint, a bad cast, a KeyError) are not.
    """
    for link in _chain(error):
        state = getattr(link, "sqlstate", None) or getattr(link, "pgcode", None)
        if state is not None:
            return str(state).startswith(_TRANSIENT_CLASSES)
        if isinstance(link, exc.DBAPIError) and link.connection_invalidated:
            return True
        if isinstance(link, _PASSING):
            return True
    return False
