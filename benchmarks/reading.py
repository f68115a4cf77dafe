"""Reading signals: the list, single filters, the deep cursor, detail and filter options, at 100,000 and 1,000,000.

The smaller size is a copy of the database, with an instance of the service of its own.

Two things are held against limits of the same run. The middle answer of one connection, straight to the service,
against the endpoint's own SQL through asyncpg; and the answers per second at 16 connections through the gateway,
against an endpoint of the same service that only finds out who asks.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import psutil

from benchmarks.instance import instance
from benchmarks.load import ask
from benchmarks.many_signals import PUBLISHED, multiply, publish, stack_with_probe
from benchmarks.measure import Figures, Report
from benchmarks.sides import Side, compare, side
from benchmarks.signals_with_probe import PROBE
from deploy.local.postgres import DATABASE
from deploy.local.stack import LocalStack
from services.signals.main import create
from services.signals.settings import SignalsSettings
from tests.e2e.tokens import login
from tests.support.service import service_settings

_TIMES = 10
_RESIDENT_MIB = 250.0
_READY_SECONDS = 120.0
_REQUESTS = 200
_COPY = "fewer_signals"
_CONNECTIONS = 16
_SECONDS = 3.0
# How much of the probe's rate each reaches.
_RATES = {"list": 0.4, "detail": 0.7, "filter options": 0.7}


async def run(rounds: int) -> list[Report]:
    """Measure on a stack of its own; takes several minutes, most of them to fill it."""
    with stack_with_probe() as stack:
        connection = await _connect(stack)
        await publish(stack, connection)
        reports = [_memory(stack)]
        await multiply(connection, 1)
        paths = await _paths(stack)
        await connection.close()
        await _copy(stack)
        connection = await _connect(stack)
        await multiply(connection, _TIMES)
        await connection.close()
        async with AsyncExitStack() as cleanup:
            small = await cleanup.enter_async_context(_side(stack, paths, _COPY))
            large = await cleanup.enter_async_context(_side(stack, paths, DATABASE))
            reports += await compare("", (PUBLISHED, PUBLISHED * _TIMES), small, large, _REQUESTS)
        return reports + await _rates(stack, paths, rounds)


async def _connect(stack: LocalStack, database: str = DATABASE) -> asyncpg.Connection:
    """As the superuser, in the services' database or another of the server."""
    return await asyncpg.connect(
        stack.postgres.admin_url,
        database=database,
        server_settings={"search_path": "signals", "timezone": "UTC"},
        command_timeout=1800,
    )


async def _copy(stack: LocalStack) -> None:
    """Keep the database as it is under another name; nobody may be connected meanwhile."""
    for service in stack.services.values():
        service.stop()
    connection = await _connect(stack, "postgres")
    await connection.execute(f"CREATE DATABASE {_COPY} TEMPLATE {DATABASE} STRATEGY FILE_COPY")
    await connection.close()
    for service in stack.services.values():
        service.start()
    for service in stack.services.values():
        service.wait_until_ready(_READY_SECONDS)


@asynccontextmanager
async def _side(stack: LocalStack, paths: Mapping[str, str], database: str) -> AsyncIterator[Side]:
    kafka = stack.kafka.bootstrap_servers
    database_url = stack.postgres.service_url("signals", database)
    async with AsyncExitStack() as cleanup:
        url = stack.service("signals").url
        if database != DATABASE:
            url = await cleanup.enter_async_context(instance("signals", database_url, kafka))
        connection = await _connect(stack, database)
        cleanup.push_async_callback(connection.close)
        app = create(service_settings(SignalsSettings, database_url, kafka))
        opened = side(app, url, connection, _headers(stack), paths, first="/api/metrics")
        yield await cleanup.enter_async_context(opened)


async def _paths(stack: LocalStack) -> dict[str, str]:
    """What is asked for, by its name: every sort, every filter by itself, a page far down, one signal, the options."""
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers=_headers(stack), timeout=60) as client:

        async def get(path: str) -> Any:
            answer = await client.get(path)
            answer.raise_for_status()
            return answer.json()

        first = (await get("/api/signals?limit=1"))["signals"][0]
        deep = (await get(f"/api/signals?offset={PUBLISHED // 10}&limit=100"))["cursor"]
        for _ in range(50):
            deep = (await get(f"/api/signals?limit=100&cursor={deep}"))["cursor"]
        me = (await get("/api/auth/me"))["id"]
    words = first["facility"].split()[0]
    filters = {
        "domain": first["domain"],
        "facility": first["facility"],
        "facility_id": first["facility_id"],
        "system_name": first["system_name"],
        "service_line": first["service_line"],
        "metric_id": first["metric_id"],
        "signal_type": "critical_trajectory",
        "min_severity": "90",
        "magnitude_tier": "critical",
        "status": "in_progress",
        "assignee_id": me,
        "unassigned": "true",
        "detected_from": first["detected_at"],
        "dimension.unit": first["entity_dimensions"]["unit"],
        "q": words,
    }
    return {
        "list": "/api/signals",
        "deep cursor": f"/api/signals?cursor={deep}",
        **{f"sort {sort}": f"/api/signals?sort_by={sort}" for sort in ("priority", "metric_id", "facility")},
        **{f"filter {name}": f"/api/signals?{name}={quote(value)}" for name, value in filters.items()},
        "filter status new": "/api/signals?status=new&sort_by=priority",
        "filter q without a match": "/api/signals?q=nothing+is+called+that",
        "detail": f"/api/signals/{first['id']}",
        "filter options": "/api/signals/filter-options",
        "facilities": "/api/signals/facilities",
        "summary": "/api/signals/summary",
    }


def _headers(stack: LocalStack) -> Mapping[str, str]:
    return {"authorization": f"Bearer {login(stack, 'nursing')}"}


def _memory(stack: LocalStack) -> Report:
    resident = {
        name: psutil.Process(part.process.pid).memory_info().rss / 2**20 for name, part in stack.services.items()
    }
    return Report(
        "memory",
        Figures("the largest service after 100,000 signals", "MiB", [max(resident.values())]),
        Figures("  to stay below", "MiB", [_RESIDENT_MIB]),
        to_reach=1.0,
        less_is_better=True,
        notes=[", ".join(f"{name} {mib:.0f}" for name, mib in resident.items())],
    )


async def _rates(stack: LocalStack, paths: Mapping[str, str], rounds: int) -> list[Report]:
    """Answers per second through the gateway, each path and the probe in turn."""
    rates: dict[str, list[float]] = {PROBE: [], **{paths[name]: [] for name in _RATES}}
    for number in range(rounds + 1):
        headers = _headers(stack)
        for path, values in rates.items():
            load = await ask(stack.gateway_url, path, headers, connections=_CONNECTIONS, seconds=_SECONDS)
            if number:
                values.append(load.per_second)
    return [
        Report(
            f"{name} by the probe",
            Figures(f"{name}, {_CONNECTIONS} connections", "answers/s", rates[paths[name]]),
            Figures("  an endpoint that only knows who asks", "answers/s", rates[PROBE]),
            to_reach,
        )
        for name, to_reach in _RATES.items()
    ]
