"""A collector of OpenTelemetry spans over OTLP/HTTP, as a server in the test's own process."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan


@dataclass(frozen=True)
class Collected:
    """One span as it was exported."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    """The traces that it is linked to."""
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def service(self) -> str:
        """The service that made it."""
        return str(self.resource["service.name"])


class Collector:
    """What was received: spans, and the bodies byte for byte."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bodies: list[bytes] = []
        self.url = ""

    def receive(self, body: bytes) -> None:
        """Take one export."""
        with self._lock:
            self._bodies.append(body)

    @property
    def bodies(self) -> list[bytes]:
        """All exports, decompressed."""
        with self._lock:
            return list(self._bodies)

    @property
    def spans(self) -> list[Collected]:
        """All spans so far."""
        found = []
        for body in self.bodies:
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = {each.key: _value(each.value) for each in of_resource.resource.attributes}
                for of_scope in of_resource.scope_spans:
                    found += [_collected(span, resource) for span in of_scope.spans]
        return found

    def trace(self, trace_id: str) -> list[Collected]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]


def _collected(span: WireSpan, resource: dict[str, Any]) -> Collected:
    return Collected(
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple(link.trace_id.hex() for link in span.links),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes={each.key: _value(each.value) for each in span.attributes},
        resource=resource,
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine; its ``url`` is what OTEL_EXPORTER_OTLP_ENDPOINT takes."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self._body()
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            known = self.path == "/v1/traces"
            if known:
                collector.receive(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if known else 404)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers["content-length"]))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
