"""Sending spans to a collector, over OTLP, as the standard's own environment variables say.

`OTEL_EXPORTER_OTLP_ENDPOINT`, or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, turns it on; `OTEL_TRACES_SAMPLER`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*` and the exporter's other variables are the SDK's. Spans are sent by a thread
of the SDK's, from a queue that drops what it cannot hold: a collector that is away costs nobody anything.
"""

import asyncio
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from shared import tracing
from shared.supervision import happens

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

logger = structlog.get_logger(__name__)

NAMESPACE: Final = "quality-compass"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"
_LAST_SPANS_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Export:
    """What sends a process's spans until it is stopped."""

    provider: "TracerProvider"
    exporter: "SpanExporter"

    async def stop(self) -> None:
        """Make no more spans, and send the last ones; a collector that does not take them in seconds goes without."""
        tracing.use(None)
        sent = asyncio.Event()
        loop = asyncio.get_running_loop()

        def send_the_rest() -> None:
            self.provider.shutdown()
            loop.call_soon_threadsafe(sent.set)

        # No thread of a pool: the process would wait for it however long it takes.
        threading.Thread(target=send_the_rest, name="last-spans", daemon=True).start()
        if not await happens(sent, _LAST_SPANS_SECONDS):
            logger.warning("the last spans could not be sent")
            self.exporter.shutdown()


def start(service: str) -> Export | None:
    """Make spans and send them, where the environment names a collector; else do nothing at all."""
    if not _is_wanted():
        return None
    # The SDK takes half a second and 15 MB, which nobody pays who does not use it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if (protocol := _first(_PROTOCOLS) or _PROTOCOL) != _PROTOCOL:
        logger.warning("spans are sent by another protocol than the environment asks for", asked=protocol)
    attributes = {"service.namespace": NAMESPACE, "service.instance.id": str(uuid4())}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = service
    exporter = OTLPSpanExporter()
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracing.use(provider.get_tracer(NAMESPACE))
    logger.info("spans are sent", service=service)
    return Export(provider, exporter)


def _is_wanted() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return bool(_first(_ENDPOINTS)) and not disabled and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"


def _first(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)
