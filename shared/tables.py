"""The tables that several services have, each in its own schema: outbox, inbox, dead letters, access, answers.

They are plain Core tables without a schema; `shared.db.declarative_base` copies those that a service needs into the
service's metadata, and the connection's search path says whose they are.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

NAMING_CONVENTION: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

_metadata: Final = MetaData(naming_convention=NAMING_CONVENTION)

outbox: Final = Table(
    "outbox",
    _metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("topic", String(249), nullable=False),
    Column("key", LargeBinary, comment="The message's key; NULL as received, for a dead letter without one."),
    Column("value", LargeBinary, comment="The message's bytes; NULL only for a dead letter that had none."),
    Column("headers", JSONB, comment="[[name, base64 or null], ...]; NULL for a plain event."),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    comment="Messages that wait for the relay; a row is deleted once Kafka has acknowledged it.",
    # Every row is inserted and deleted once: vacuum by number of dead rows, not by share of a table that is empty. So
    # many are some 4 MiB, and what a peak has left is given back within minutes of an ordinary day.
    postgresql_with={
        "autovacuum_vacuum_scale_factor": "0",
        "autovacuum_vacuum_threshold": "5000",
        "autovacuum_vacuum_insert_scale_factor": "0",
        "autovacuum_vacuum_insert_threshold": "200000",
    },
)

event_sequences: Final = Table(
    "event_sequences",
    _metadata,
    Column("subject", Uuid, primary_key=True),
    Column("last", Integer, nullable=False),
    comment="The last sequence number given to an event of each subject.",
)

inbox: Final = Table(
    "inbox",
    _metadata,
    Column("consumer_group", String(100), primary_key=True),
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("last_timestamp", BigInteger, nullable=False, comment="Broker's append time of the last message, in ms."),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="How far each partition's effects are stored; locked while a batch is processed.",
)

dead_letters: Final = Table(
    "dead_letters",
    _metadata,
    Column("id", Uuid, primary_key=True, comment="UUIDv5 of group, topic, partition and offset."),
    Column("consumer_group", String(100), nullable=False),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("code", String(50), nullable=False),
    Column("detail", Text, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", JSONB, nullable=False, comment="[[name, base64 or null], ...]"),
    Column("appended_at", DateTime(timezone=True), nullable=False, comment="When the broker took the message."),
    Column("rejected_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("replayed_at", DateTime(timezone=True)),
    UniqueConstraint("consumer_group", "topic", "partition", "offset"),
    Index("ix_dead_letters_rejected_at_id", "rejected_at", "id"),
    comment="Messages that could not be processed, with their bytes and the reason.",
)

verification_keys: Final = Table(
    "verification_keys",
    _metadata,
    Column("kid", String(100), primary_key=True),
    Column("public_jwk", JSONB, nullable=False),
    Column("not_after", DateTime(timezone=True)),
    comment="The auth service's public keys, as its events told them.",
)

access_revocations: Final = Table(
    "access_revocations",
    _metadata,
    Column("user_id", Uuid, primary_key=True),
    Column(
        "session_id",
        Uuid,
        primary_key=True,
        server_default=text("'00000000-0000-0000-0000-000000000000'"),
        comment="All zeros for every session of the user.",
    ),
    Column("issued_before", DateTime(timezone=True), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Index("ix_access_revocations_until", "until"),
    comment="Tokens that are refused though they have not expired.",
)

access_users: Final = Table(
    "access_users",
    _metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("is_active", Boolean, nullable=False),
    comment="The last event heard of each user, so that an older one changes nothing.",
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    _metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 of method, path and body."),
    Column("status", SmallInteger, comment="NULL only inside the first transaction."),
    Column("etag", String(100)),
    Column("body", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

PRODUCER_TABLES: Final = (outbox, event_sequences)
CONSUMER_TABLES: Final = (inbox, dead_letters)
ACCESS_TABLES: Final = (verification_keys, access_revocations, access_users)
IDEMPOTENCY_TABLES: Final = (idempotency_keys,)
