"""Trace contexts of the W3C, and the tracer, which is there only where somebody collects spans.

A context travels as the text of a `traceparent`: in HTTP and Kafka headers, and in the envelope of every event. Spans
are made by `shared.tracing_http` and `shared.tracing_messages`; `shared.tracing_export` starts and ends all of it.
Without a collector there is no tracer, no span is made, and the texts go on as they came.
"""

import re
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, Tracer

_TRACEPARENT: Final = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<rest>-.*)?",
    re.ASCII,
)
_LONGEST: Final = 512

_tracer: Tracer | None = None


def tracer() -> Tracer | None:
    """What makes spans; None where nobody collects them."""
    return _tracer


def use(tracer: Tracer | None) -> None:
    """Make spans with this from now on, or none."""
    global _tracer
    _tracer = tracer


def parse(received: str | bytes | None) -> SpanContext | None:
    """The context that a `traceparent` names; None for none, and for what is no such thing.

    As the W3C has it, a later version than 00 is read as far as 00 goes. Of the flags only `sampled` is kept.
    """
    if not received or len(received) > _LONGEST:
        return None
    text = received.decode("latin-1") if isinstance(received, bytes) else received
    found = _TRACEPARENT.fullmatch(text)
    if found is None or (found["rest"] and found["version"] == "00"):
        return None
    return SpanContext(
        int(found["trace"], 16),
        int(found["span"], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found["flags"], 16) & TraceFlags.SAMPLED),
    )


def normal(received: str | bytes | None) -> str | None:
    """A `traceparent` that was received, as it is sent on; None where there is none to send on."""
    context = parse(received)
    return None if context is None else traceparent(context)


def traceparent(context: SpanContext) -> str:
    """The text of a context."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & TraceFlags.SAMPLED:02x}"


def traceparent_of(span: Span) -> str:
    """The text by which others become children of a span."""
    return traceparent(span.get_span_context())


def trace_id(traceparent: str | None) -> str | None:
    """The trace's id, as 32 hexadecimal digits."""
    return traceparent[3:35] if traceparent else None


def below(parent: SpanContext | None) -> Context:
    """Where a span begins: under a parent, or as the first of a new trace."""
    # A context of its own, so that nothing which happens to be current in this thread becomes the parent.
    return Context() if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), Context())
