"""A real Prometheus asks the running stack: rules and dashboards find what they look for, and an alert goes off."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from deploy.local.ports import free_port
from deploy.local.processes import PROJECT_ROOT, Command, ManagedProcess, poll_until
from deploy.local.stack import LocalStack
from tests.e2e.api import api, id_of, send
from tests.e2e.reconfigured import reconfigured
from tests.e2e.stories import new_signal
from tests.support.eventually import eventually
from tests.support.metrics import SERVICES
from tests.support.promtool import program
from tests.support.stack import temporary_state_dir

FOLDER: Final = PROJECT_ROOT / "deploy" / "observability"
VARIABLES: Final = {"$service": ".*", "$__rate_interval": "1m"}
# Of what has not happened to this stack, or is not a part of it.
MAY_BE_EMPTY: Final = (
    "cnpg_",
    "node_",
    "compass_messages_rejected_total",
    "compass_activity_",
    'status=~"401|403|429"',
    'sum by (method, route, status) (rate(compass_http_request_seconds_count{service=~".*",status=~"5.."}',
)


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def is_ready(self) -> bool:
        """Whether it serves: it listens before its storage is open, and answers everything with 503 until then."""
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=20).status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def value(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found


def configuration(stack: LocalStack, metrics_port: int, folder: Path) -> dict[str, Any]:
    """That of compose, asking this stack every second; its rules wait no longer than a second either."""
    given = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    ports = {name: stack.settings.service_port(name) for name in SERVICES} | {"gateway": metrics_port}
    jobs = [job for job in given["scrape_configs"] if job["job_name"] in ports]
    for job in jobs:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "1s"
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "alerts.yaml")],
        "scrape_configs": jobs,
    }


@pytest.fixture(scope="module")
def prometheus(stack: LocalStack) -> Iterator[Prometheus]:
    """It, and a gateway that tells its metrics."""
    executable, metrics_port, port = program("prometheus"), free_port(), free_port()
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(temporary_state_dir())
        cleanup.enter_context(reconfigured(stack, [], COMPASS_GATEWAY_METRICS_PORT=str(metrics_port)))
        file = folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(configuration(stack, metrics_port, folder)))
        process = ManagedProcess(
            "prometheus",
            Command(
                [
                    executable,
                    f"--config.file={file}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stop_seconds=20,
            ),
            folder,
        )
        cleanup.callback(process.stop)
        process.start()
        running = Prometheus(f"http://127.0.0.1:{port}")
        assert poll_until(running.is_ready, 60.0, interval=0.1), process.log_tail()
        yield running


async def ready(prometheus: Prometheus, expected: set[str]) -> None:
    """Until all of them were asked and have answered."""

    async def up() -> set[str]:
        return {series["metric"]["service"] for series in prometheus.value("up == 1")}

    await eventually(up, lambda found: found == expected, seconds=60)


async def test_gateway_and_services_are_asked_and_no_rule_is_broken(prometheus: Prometheus) -> None:
    await ready(prometheus, {*SERVICES, "gateway"})

    async def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    looked = await eventually(rules, lambda found: bool(found) and all(rule["health"] != "unknown" for rule in found))
    assert [(rule["name"], rule.get("lastError")) for rule in looked if rule["health"] != "ok"] == []


async def test_every_panel_can_be_asked_for_and_shows_what_there_is(stack: LocalStack, prometheus: Prometheus) -> None:
    await ready(prometheus, {*SERVICES, "gateway"})
    clinical, signal = api(stack, "clinical"), new_signal()
    await clinical.login()
    await send(stack, [signal])
    await eventually(
        lambda: clinical.get("/api/feed", signal_id=str(id_of(signal))), lambda page: len(page["events"]) == 1
    )
    asked = {}
    for path in sorted((FOLDER / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in VARIABLES.items():
                    expression = expression.replace(name, value)
                asked[f"{path.stem}: {panel['title']}: {target['refId']}"] = expression
    assert len(asked) > 50

    async def empty() -> dict[str, str]:
        await clinical.get(f"/api/signals/{id_of(signal)}")
        return {
            where: expression
            for where, expression in asked.items()
            if not prometheus.value(expression) and not any(part in expression for part in MAY_BE_EMPTY)
        }

    assert await eventually(empty, lambda found: not found, seconds=60, every=1.0) == {}


async def test_a_service_that_is_gone_is_told_of_and_no_longer_when_it_is_back(
    stack: LocalStack, prometheus: Prometheus
) -> None:
    await ready(prometheus, {*SERVICES, "gateway"})

    async def firing() -> set[tuple[str, str]]:
        return {
            (series["metric"]["alertname"], series["metric"].get("service") or series["metric"]["envoy_cluster_name"])
            for series in prometheus.value('ALERTS{alertstate="firing",alertname=~"Service(Down|Unreachable)"}')
        }

    expected = {("ServiceDown", "workflow"), ("ServiceUnreachable", "workflow")}
    stack.service("workflow").stop()
    try:
        await eventually(firing, lambda found: found == expected, seconds=60)
    finally:
        stack.service("workflow").start()
        stack.service("workflow").wait_until_ready(90)
    await eventually(firing, lambda found: not found, seconds=60)
