"""What operators see: JSON logs with request and correlation ids, and Prometheus metrics."""

import logging
import re
import secrets
import sys
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import tracing
from shared.tracing_http import UNMATCHED, RequestSpan

# When each series began, as a series of its own: nobody asks, and Prometheus would keep all of them.
disable_created_metrics()  # type: ignore[no-untyped-call]

REQUESTS: Final = Histogram(
    "compass_http_request_seconds",
    "Time to answer a request, by route template.",
    ("method", "route", "status"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
# Without labels it is there as 0 from the start: an increase is seen also of an operation's first failure.
FAILURES: Final = Counter("compass_http_failures_total", "Requests answered with a 5xx, probes left out.")
CONSUMED: Final = Counter("compass_messages_consumed_total", "Messages whose effects are stored.", ("group", "topic"))
REDELIVERED: Final = Counter(
    "compass_messages_redelivered_total", "Messages that came again and had no second effect.", ("group", "topic")
)
REJECTED: Final = Counter("compass_messages_rejected_total", "Messages dead-lettered.", ("group", "topic", "code"))
CONSUMER_LAG: Final = Gauge(
    "compass_consumer_lag", "Messages that wait in a partition.", ("group", "topic", "partition")
)
BATCH_SECONDS: Final = Histogram(
    "compass_batch_seconds",
    "Time to store the effects of a batch, attempts that failed included.",
    ("group",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
MESSAGE_DELAY: Final = Histogram(
    "compass_message_delay_seconds",
    "From Kafka's taking the oldest message of a batch until its effects are stored.",
    ("group",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
CONSUMER_RETRIES: Final = Counter(
    "compass_consumer_retries_total", "Batches tried again after a failure that may pass.", ("group",)
)
CONSUMER_REWOUND: Final = Counter(
    "compass_consumer_rewound_total",
    "Partitions read again because the database ended before Kafka's offsets: it was restored, or lost transactions.",
    ("group", "topic"),
)
CONSUMER_RESTARTS: Final = Counter("compass_consumer_restarts_total", "Consumers made anew.", ("group",))
WORKER_RESTARTS: Final = Counter("compass_worker_restarts_total", "Background workers begun again.", ("worker",))
RELAYED: Final = Counter("compass_outbox_relayed_total", "Messages acknowledged by Kafka.", ("topic",))
RELAY_FAILURES: Final = Counter("compass_outbox_failures_total", "Relay rounds that failed and were tried again.")
RELAY_ACTIVE: Final = Gauge("compass_outbox_relay_active", "1 where this process relays its service's outbox.")


@dataclass(frozen=True, slots=True)
class Cause:
    """What an event or a log line is a consequence of."""

    correlation_id: str | None = None
    traceparent: str | None = None


_cause: ContextVar[Cause] = ContextVar("cause", default=Cause())  # noqa: B039 - frozen


def current_cause() -> Cause:
    """The cause of the present work; empty outside of requests and messages."""
    return _cause.get()


def set_cause(cause: Cause) -> None:
    """Name the cause of all that this task does from now on."""
    _cause.set(cause)
    structlog.contextvars.bind_contextvars(
        correlation_id=cause.correlation_id, trace_id=tracing.trace_id(cause.traceparent)
    )


def configure_logging(service: str, level: str) -> None:
    """JSON lines on standard output for everything, the libraries' records included."""
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        timestamp,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common[:3],
            timestamp,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _name_service(service),
                structlog.processors.format_exc_info,
                _render_without_secrets,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    # One line per answered request is written by RequestContext, with the ids that uvicorn does not know.
    logging.getLogger("uvicorn.access").disabled = True
    for noisy in ("aiokafka", "faststream", "sqlalchemy.engine", "httpx"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))


_SECRET: Final = re.compile(
    r"\$2[abxy]\$\d\d\$[./0-9A-Za-z]{53}"  # bcrypt
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a token
    r"|(?i:bearer )[\w.~+/-]+=*"
    r"|(?<=://)[^\s:/@\"\\]*:[^\s/@\"\\]+(?=@)"  # of a URL
)


_render: Final = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)


def _render_without_secrets(logger: object, name: str, event: structlog.typing.EventDict) -> str:
    """Nobody logs a secret on purpose; an error's text, of the database for one, may hold what it is about."""
    return _SECRET.sub("***", str(_render(logger, name, event)))


def _name_service(service: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    return add


logger = structlog.get_logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_QUIET_PATHS: Final = frozenset({"/healthz", "/readyz", "/readyz/requests", "/metrics"})
_STREAM: Final = b"text/event-stream"


class RequestContext:
    """ASGI middleware: ids in, ids out, one log line, one measurement and, where they are collected, one span each.

    A stream is measured until it begins: how long somebody goes on reading says nothing of the service.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request_id = headers.get(b"x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = str(uuid4())
        received = tracing.normal(headers.get(b"traceparent"))
        span = None if scope["path"] in _QUIET_PATHS else RequestSpan.begin(scope, received, request_id)
        if span is not None:
            traceparent = span.traceparent
        else:
            traceparent = received or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        set_cause(Cause(correlation_id=request_id, traceparent=traceparent))
        status = 499  # the client went away before an answer
        started = time.perf_counter()
        measured = False

        def measure() -> None:
            nonlocal measured
            if not measured:
                measured = True
                REQUESTS.labels(scope["method"], _route(scope), str(status)).observe(time.perf_counter() - started)
                if status >= 500 and scope["path"] not in _QUIET_PATHS:
                    FAILURES.inc()
                if span is not None:
                    span.end(_route(scope), status)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", [])
                if any(name == b"content-type" and value.startswith(_STREAM) for name, value in given):
                    measure()
                message["headers"] = [*given, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            measure()
            seconds = time.perf_counter() - started
            route = _route(scope)
            if scope["path"] not in _QUIET_PATHS:
                logger.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    route=route,
                    status=status,
                    milliseconds=round(seconds * 1000, 1),
                )


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", UNMATCHED)
