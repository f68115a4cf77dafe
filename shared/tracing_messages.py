"""Spans of messages, received and sent in batches, after OpenTelemetry's conventions for messaging and Kafka.

The work is done by the batch, and so are the spans: one for the batch, and one in each trace that messages of it belong
to, which says how far they have come. Messages with the same context, as all events of one request have, share it. A
batch may be of a thousand messages with a thousand contexts: the number of spans is bounded, and what gets none of its
own passes its context on. So a trace may lack a step, and is never broken.

Attributes hold counts and places, never keys or values.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec
from msgspec import Struct
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from shared import tracing
from shared.inbox import Message

HEADER: Final = "traceparent"
MOST_SPANS: Final = 100
"""Of one batch, beside its own."""
_MOST_LINKS: Final = 128

Attributes = dict[str, str | int]
_Source = TypeVar("_Source")

# From the header that a message came with, None for no header, to the `traceparent` that its effects go out with.
_present: ContextVar[Mapping[bytes | None, str] | None] = ContextVar("present", default=None)


def for_effects_of(message: Message) -> str | None:
    """What the effects of a message belong to: the span that processes it here, else what the message came with."""
    received = _received(message)
    contexts = _present.get()
    if contexts is None:
        return tracing.normal(received)
    return contexts.get(received) or tracing.normal(received)


def _received(message: Message) -> bytes | None:
    return next((value for name, value in message.headers if name == HEADER and value), None)


class Processing:
    """The spans of one attempt to store the effects of a batch; a context manager. Without a tracer it does nothing."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._spans: list[Span] = []

    def __enter__(self) -> Self:
        return self

    def begin(self, messages: Sequence[Message]) -> str | None:
        """Begin them, now that it is known which messages are new.

        Answers the `traceparent` for what the batch as a whole causes. A batch whose messages all have one context
        belongs to that trace; any other begins one, with links to where its messages come from.
        """
        tracer = tracing.tracer()
        if tracer is None:
            return None
        by_header: dict[bytes | None, list[Message]] = {}
        for message in messages:
            by_header.setdefault(_received(message), []).append(message)
        contexts = {header: tracing.parse(header) for header in by_header}
        only = next(iter(contexts.values())) if len(contexts) == 1 else None
        sampled = {header: found for header, found in contexts.items() if found and found.trace_flags.sampled}
        linked = [] if len(contexts) == 1 else list(sampled.values())[:_MOST_LINKS]
        whole = self._span(tracer, only, messages, linked)
        present = {
            header: tracing.traceparent_of(whole) if found is None or found is only else tracing.traceparent(found)
            for header, found in contexts.items()
        }
        if len(contexts) > 1:
            origin = whole.get_span_context()
            for header, context in _chosen(sampled):
                span = self._span(tracer, context, by_header[header], [origin] if origin.trace_flags.sampled else [])
                present[header] = tracing.traceparent_of(span)
        _present.set(present)
        return tracing.traceparent_of(whole)

    def _span(
        self, tracer: Tracer, parent: SpanContext | None, messages: Sequence[Message], linked: Iterable[SpanContext]
    ) -> Span:
        topic = messages[0].topic
        attributes = _attributes("process", topic, len(messages)) | {"messaging.consumer.group.name": self._group}
        if len(messages) == 1:
            attributes["messaging.destination.partition.id"] = str(messages[0].partition)
            attributes["messaging.kafka.offset"] = messages[0].offset
        span = tracer.start_span(
            f"process {topic}",
            context=tracing.below(parent),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(context) for context in linked],
        )
        self._spans.append(span)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spans:
            _present.set(None)
            # The error's kind only: its text may hold what the message held.
            _end(self._spans, None if kind is None else kind.__name__)


class _Traced(Struct):
    """All that is read of an event to send it."""

    traceparent: str | None = None


_read: Final = msgspec.json.Decoder(_Traced).decode


class Sending:
    """The spans of the events that the relay sends after one look at the outbox."""

    def __init__(self, tracer: Tracer, events: Iterable[tuple[str, bytes]]) -> None:
        origins = [(topic, _origin(value)) for topic, value in events]
        counts = Counter(origins)
        contexts = {origin: tracing.parse(origin[1]) for origin in counts}
        sampled = {origin: found for origin, found in contexts.items() if found and found.trace_flags.sampled}
        passed_on = {origin: tracing.traceparent(found) for origin, found in contexts.items() if found}
        self._spans: list[Span] = []
        first = [(origin, found) for origin, found in contexts.items() if found is None]
        for origin, context in [*first, *_chosen(sampled)]:
            span = tracer.start_span(
                f"send {origin[0]}",
                context=tracing.below(context),
                kind=SpanKind.PRODUCER,
                attributes=_attributes("send", origin[0], counts[origin]),
            )
            self._spans.append(span)
            passed_on[origin] = tracing.traceparent_of(span)
        self.headers: Sequence[tuple[str, bytes]] = [(HEADER, passed_on[origin].encode()) for origin in origins]
        """For each event the header that it is sent with."""

    @classmethod
    def begin(cls, events: Iterable[tuple[str, bytes]]) -> Self | None:
        """Begin them, for events as their topics and bytes; None without a tracer, and nothing is read then."""
        tracer = tracing.tracer()
        return None if tracer is None else cls(tracer, events)

    def end(self, error: str | None = None) -> None:
        """End them, with the kind of error by which some were not sent."""
        _end(self._spans, error)


def _origin(event: bytes) -> str | None:
    try:
        return _read(event).traceparent
    except msgspec.MsgspecError:
        return None


def _chosen(sampled: Mapping[_Source, SpanContext]) -> list[tuple[_Source, SpanContext]]:
    """Those that get a span of their own: by the trace's id, so that every service chooses the same traces."""
    return sorted(sampled.items(), key=lambda item: item[1].trace_id)[:MOST_SPANS]


def _attributes(operation: str, topic: str, count: int) -> Attributes:
    attributes: Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }
    if count > 1:
        attributes["messaging.batch.message_count"] = count
    return attributes


def _end(spans: Sequence[Span], error: str | None) -> None:
    for span in spans:
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end()
