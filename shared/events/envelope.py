"""The CloudEvents 1.0 envelope (structured JSON) around every event between services."""

import builtins
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from shared.events.decoding import RejectedMessageError, decode_object, may_be_deep
from shared.events.topics import MAX_MESSAGE_BYTES, Topic
from shared.events.vocabulary import ActivityEventType

CONTENT_TYPE: Final = "application/cloudevents+json"
SPEC_VERSION: Final = "1.0"

Contract = TypeVar("Contract", bound=Struct)


@dataclass(frozen=True, slots=True)
class EventType:
    """One kind of event: its name on the wire, where it goes and what it carries.

    ``feed_types`` are the feed types that it may have, empty for an event that the feed never shows. A ``snapshot``
    repeats the state as of the subject's last event: it has that event's sequence, not a new one.
    """

    name: str
    topic: Topic
    source: str
    subject: str
    data: type[Struct]
    when: str
    feed_types: tuple[ActivityEventType, ...] = ()
    snapshot: bool = False

    @property
    def dataschema(self) -> str:
        """The schema's name in the AsyncAPI document; the version is part of it."""
        return _dataschema(self.name)


@cache
def _dataschema(name: str) -> str:
    return f"urn:quality-compass:{name.removeprefix('compass.')}"


class Envelope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event as it travels. ``data`` stays undecoded, since most readers need only the envelope."""

    # Without a default on purpose: `omit_defaults` would leave a constant out of the message.
    specversion: Annotated[str, Meta(pattern=r"^1\.0$(?!\n)", description="Version of CloudEvents.")]
    id: Annotated[UUID, Meta(description="Of this event.")]
    source: Annotated[str, Meta(min_length=1, description="`/services/<name>`.")]
    type: Annotated[str, Meta(min_length=1, description="`compass.<event>.v<version>`.")]
    subject: Annotated[UUID, Meta(description="The signal's or user's id.")]
    time: Annotated[datetime, Meta(tz=True, description="When it happened.")]
    datacontenttype: Annotated[str, Meta(description="Always application/json.")]
    dataschema: Annotated[str, Meta(description="Name of the schema of `data`.")]
    sequence: Annotated[int, Meta(ge=1, le=2_147_483_647, description="Per source and subject, from 1, without gaps.")]
    data: msgspec.Raw
    actorid: Annotated[UUID | None, Meta(description="The user who did it; absent for the system.")] = None
    correlationid: Annotated[str | None, Meta(description="Joins all that one request or message caused.")] = None
    traceparent: Annotated[str | None, Meta(description="W3C trace context.")] = None
    feedtype: Annotated[
        str | None, Meta(description="Type in the activity feed; absent when the feed shows nothing.")
    ] = None
    summary: Annotated[str | None, Meta(description="One sentence for the feed.")] = None

    def data_as(self, contract: "builtins.type[Contract]") -> Contract:
        """Validate ``data`` against a contract; fields that the contract does not know are ignored.

        Raises:
            RejectedMessageError: naming the field and what is wrong with it.
        """
        try:
            return msgspec.json.decode(self.data, type=contract)
        except msgspec.ValidationError as error:
            raise RejectedMessageError("invalid_field", f"{error} (in data).") from None
        except UnicodeDecodeError:
            # The envelope only finds out where it ends.
            raise RejectedMessageError("invalid_utf8", "`data` is not valid UTF-8.") from None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Envelope).decode


def encode(envelope: Envelope) -> bytes:
    """The bytes of one event."""
    return _encode(envelope)


def decode(raw: bytes | None) -> Envelope:
    """Decode and validate one event's envelope; unknown extension attributes are ignored.

    Raises:
        RejectedMessageError: for bytes that are no event.
    """
    if raw is not None and len(raw) <= MAX_MESSAGE_BYTES and b"\\u0000" not in raw and not may_be_deep(raw):
        # Whatever it was, it is said better below.
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _decode(raw)
    decode_object(raw)
    try:
        return _decode(raw or b"")
    except msgspec.ValidationError as error:
        raise RejectedMessageError("invalid_field", f"{error}.") from None


def choose(event_type: str, known: Mapping[str, EventType]) -> EventType | None:
    """The contract for an event's type, or None for an event that the reader does not care about.

    Raises:
        RejectedMessageError: ``future_version`` for a known event in a newer version than this code knows. It is
            parked as a dead letter, to be replayed after an upgrade, rather than misread.
    """
    if (contract := known.get(event_type)) is not None:
        return contract
    name, _, version = event_type.rpartition(".v")
    versions = [int(other.rpartition(".v")[2]) for other in known if other.rpartition(".v")[0] == name]
    if versions and version.isdecimal() and int(version) > max(versions):
        raise RejectedMessageError(
            "future_version", f"{event_type} is newer than version {max(versions)}, the latest known here."
        )
    return None
