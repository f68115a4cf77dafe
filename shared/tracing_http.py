"""The span of one request, named and described after OpenTelemetry's conventions for HTTP servers.

It holds no path and no query: in them are ids of people, and whatever somebody searched for or took for an address. The
route says which operation it was; the request's log line, which has the trace's id, says the rest.
"""

from typing import Any, Final, Self

from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from shared import tracing

UNMATCHED: Final = "unmatched"
"""The route of a request for a path that is not there."""

_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


class RequestSpan:
    """The span of one request of an ASGI server."""

    def __init__(self, span: Span, name: str) -> None:
        self._span = span
        self._name = name
        self.traceparent = tracing.traceparent_of(span)
        """By which all that the request causes belongs to it."""

    @classmethod
    def begin(cls, scope: Any, traceparent: str | bytes | None, request_id: str) -> Self | None:
        """Begin it in the caller's trace, or a new one; None without a tracer."""
        tracer = tracing.tracer()
        if tracer is None:
            return None
        known = scope["method"] in _METHODS
        name = scope["method"] if known else "HTTP"
        span = tracer.start_span(
            name,
            context=tracing.below(tracing.parse(traceparent)),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": name if known else "_OTHER",
                "url.scheme": scope["scheme"],
                "network.protocol.version": scope["http_version"],
                "http.request.header.x-request-id": (request_id,),
            },
        )
        return cls(span, name)

    def end(self, route: str, status: int) -> None:
        """End it. That a client was wrong, or went away (499), is no error of a server's."""
        self._span.set_attribute("http.response.status_code", status)
        if route != UNMATCHED:
            self._span.update_name(f"{self._name} {route}")
            # The path is what the route says of it, without what its parameters held.
            self._span.set_attributes({"http.route": route, "url.path": route})
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
