"""What the running services answer to Prometheus is what docs/metrics.md says, and there is something in it."""

import subprocess

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.stack import LocalStack
from shared.events.decoding import CODES
from shared.events.topics import ALL
from tests.e2e.api import api, id_of, send
from tests.e2e.stories import new_signal
from tests.support.eventually import eventually
from tests.support.metrics import SERVICES, documented
from tests.support.promtool import program

GROUPS = {
    "signals": {"signals.ingest", "signals.insights", "signals.workflow", "signals.users", "signals.access"},
    "workflow": {"workflow.signals", "workflow.users", "workflow.access"},
    "activity": {
        "activity.signals",
        "activity.workflow",
        "activity.auth",
        "activity.operations",
        "activity.users",
        "activity.access",
    },
    "auth": set(),
}


def scrape(stack: LocalStack, service: str) -> dict[str, Metric]:
    """The families of our own metrics, by the names that their samples have."""
    answer = httpx.get(f"{stack.service(service).url}/metrics", timeout=10)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in families
        if family.name.startswith("compass_")
    }


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    family = families[name.removesuffix("_count")]
    return sum(
        sample.value for sample in family.samples if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_the_documented_metrics_and_no_others(stack: LocalStack, service: str) -> None:
    rows = {name: row for name, row in documented().items() if service in row.services}
    families = scrape(stack, service)
    assert families.keys() == rows.keys()
    for name, family in families.items():
        row = rows[name]
        assert (family.type, family.documentation) == (row.kind, row.help), name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == row.labels, name


@pytest.mark.parametrize("service", SERVICES)
def test_names_are_as_prometheus_wants_them(stack: LocalStack, service: str) -> None:
    promtool = program("promtool")
    text = httpx.get(f"{stack.service(service).url}/metrics", timeout=10).text
    ours = "".join(line for line in text.splitlines(keepends=True) if "compass_" in line)
    ran = subprocess.run([promtool, "check", "metrics"], input=ours, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


async def test_a_signals_way_is_counted_by_every_service(stack: LocalStack) -> None:
    clinical, signal = api(stack, "clinical"), new_signal()
    await clinical.login()
    before = {service: scrape(stack, service) for service in SERVICES}
    await send(stack, [signal])
    await eventually(
        lambda: clinical.get("/api/feed", signal_id=str(id_of(signal))), lambda page: len(page["events"]) == 1
    )
    await clinical.get(f"/api/signals/{id_of(signal)}")

    def grown(service: str, name: str, **labels: str) -> float:
        return value(scrape(stack, service), name, **labels) - value(before[service], name, **labels)

    async def counted() -> dict[str, bool]:
        return {
            "ingest": grown("signals", "compass_messages_consumed_total", group="signals.ingest") >= 1,
            "its time": grown("signals", "compass_batch_seconds_count", group="signals.ingest") >= 1,
            "relay": grown("signals", "compass_outbox_relayed_total", topic="compass.signals.v1") >= 1,
            "workflow": grown("workflow", "compass_message_delay_seconds_count", group="workflow.signals") >= 1,
            "audit": grown("activity", "compass_activity_audited_total", topic="compass.signals.v1") >= 1,
            "request": grown(
                "signals", "compass_http_request_seconds_count", route="/api/signals/{signal_id}", status="200"
            )
            >= 1,
        }

    await eventually(counted, lambda seen: all(seen.values()))


async def test_state_is_told_by_every_service(stack: LocalStack) -> None:
    for service in SERVICES:

        async def state(service: str = service) -> dict[str, float]:
            families = scrape(stack, service)
            lag = {sample.labels["group"] for sample in families["compass_consumer_lag"].samples}
            up = {sample.labels["group"] for sample in families["compass_consumer_up"].samples if sample.value == 1}
            return {
                "groups with a lag": lag == GROUPS[service],
                "groups that consume": up == GROUPS[service],
                "database": value(families, "compass_database_up"),
                "keys": value(families, "compass_keys_known"),
                "relay": value(families, "compass_outbox_relay_active"),
                "workers": all(sample.value == 1 for sample in families["compass_worker_up"].samples),
                "pool": value(families, "compass_database_connections_max", pool="sessions") > 0,
                "outbox is empty": value(families, "compass_outbox_messages") == 0,
            }

        await eventually(state, lambda seen: all(seen.values()), seconds=45)


@pytest.mark.parametrize("service", SERVICES)
async def test_what_may_be_counted_is_there_before_it_happens(stack: LocalStack, service: str) -> None:
    async def begun() -> dict[str, set[str]]:
        families = scrape(stack, service)
        return {
            "rejections": {
                f"{sample.labels['group']} {sample.labels['code']}"
                for sample in families["compass_messages_rejected_total"].samples
            },
            "topics": {sample.labels["topic"] for sample in families["compass_outbox_relayed_total"].samples},
            "failures": {sample.name for sample in families["compass_http_failures_total"].samples},
        }

    expected = {
        "rejections": {f"{group} {code}" for group in GROUPS[service] for code in CODES},
        "topics": {topic.name for topic in ALL if topic.producer == service},
        "failures": {"compass_http_failures_total"},
    }

    def all_there(seen: dict[str, set[str]]) -> bool:
        return all(seen[what] >= names for what, names in expected.items())

    await eventually(begun, all_there, seconds=45)


async def test_streams_of_the_feed_are_counted_while_they_are_open(stack: LocalStack) -> None:
    viewer = api(stack, "viewer")
    await viewer.login()

    async def readers() -> float:
        return value(scrape(stack, "activity"), "compass_activity_stream_readers")

    before = await readers()
    async with viewer.client.stream("GET", "/api/feed/stream") as stream:
        assert stream.status_code == 200
        await eventually(readers, lambda seen: seen == before + 1)
    await eventually(readers, lambda seen: seen == before)
