"""Rules, dashboards and runbook agree with each other and with the metrics that there are."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.local.processes import PROJECT_ROOT
from tests.support.metrics import SERVICES, documented, gateway_series
from tests.support.promtool import program

FOLDER: Final = PROJECT_ROOT / "deploy" / "observability"
TRIED: Final = ("alerts_test.yaml", "alerts_silence_test.yaml")
DASHBOARDS: Final = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))
# Of Prometheus itself, of its client for Python, and what it makes of rules.
OTHERS: Final = {
    "up": {"service", "instance", "job"},
    "process_start_time_seconds": set(),
    "process_resident_memory_bytes": set(),
    "process_cpu_seconds_total": set(),
    "ALERTS": {"alertname", "alertstate"},
    # Of the node exporter, and of CloudNativePG.
    "node_filesystem_avail_bytes": {"mountpoint"},
    "node_filesystem_size_bytes": {"mountpoint"},
    "cnpg_pg_replication_streaming_replicas": set(),
    "cnpg_pg_replication_lag": set(),
    "cnpg_pg_stat_archiver_last_failed_time": set(),
    "cnpg_pg_stat_archiver_last_archived_time": set(),
    "cnpg_collector_last_available_backup_timestamp": set(),
}
TARGET_LABELS: Final = {"service", "instance", "job", "namespace", "pod"}
_SELECTOR: Final = re.compile(r"\b((?:compass|envoy|process|node|cnpg)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_BY: Final = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


def read(name: str) -> Any:
    """One of the files, parsed."""
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


RULES: Final[list[dict[str, Any]]] = [rule for group in read("alerts.yaml")["groups"] for rule in group["rules"]]
PANELS: Final = [
    pytest.param(target["expr"], id=f"{path.stem}: {panel['title']}")
    for path in DASHBOARDS
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
    for target in panel["targets"]
]


def series() -> dict[str, frozenset[str]]:
    """The labels of what can be asked for, by the names of samples."""
    ours = {sample: row.labels for name, row in documented().items() for sample in row.series(name)}
    return ours | gateway_series()


@pytest.mark.parametrize("expression", [*[pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES], *PANELS])
def test_what_is_asked_for_is_there(expression: str) -> None:
    """Every metric exists and has the labels by which it is chosen and grouped."""
    known, labels = series(), set(TARGET_LABELS)
    # Some labels of Envoy's are named as its metrics are.
    asked = _SELECTOR.findall(_BY.sub(" ", expression))
    assert asked
    for name, matchers in asked:
        assert name in known or name in OTHERS, name
        own = set(known[name]) if name in known else set(OTHERS[name])
        own |= {"le"} if name.endswith("_bucket") else set()
        assert set(_MATCHER.findall(matchers)) <= own | TARGET_LABELS, matchers
        labels |= own
    grouped = {label.strip() for found in _BY.findall(expression) for label in found.split(",")}
    assert grouped <= labels


def test_every_metric_of_ours_is_shown_on_a_dashboard() -> None:
    shown = {name for panel in PANELS for name, _ in _SELECTOR.findall(str(panel.values[0]))}
    assert [name for name, row in documented().items() if not shown & set(row.series(name))] == []
    of_the_gateway = {re.sub("_(bucket|sum|count)$", "", name) for name in gateway_series()}
    assert [name for name in of_the_gateway if not shown & {name, f"{name}_bucket"}] == []


def test_what_comes_from_elsewhere_is_documented() -> None:
    text = (PROJECT_ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in OTHERS if name.startswith(("node_", "cnpg_")) and f"`{name}`" not in text] == []


def test_every_alert_has_an_entry_in_the_runbook_and_the_other_way_round() -> None:
    text = (PROJECT_ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    assert sorted(entries) == sorted(rule["alert"] for rule in RULES)
    for rule in RULES:
        entry = entries[rule["alert"]]
        for part in ("**Symptom.**", "**See it.**", "**Do.**"):
            assert entry.count(part) == 1, rule["alert"]
        assert f"*{rule['labels']['severity'].capitalize()}.*" in entry, rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"].endswith(".")
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)", text, re.M)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors
    for link in re.findall(r"\]\((\w+\.md)\)", text):
        assert (PROJECT_ROOT / "docs" / link).is_file(), link


def test_what_the_operators_book_points_to_is_there() -> None:
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    entries = re.findall(r"\[(\w+)\]\(runbook\.md#(\w+)\)", text)
    assert entries
    names = {rule["alert"] for rule in RULES}
    assert [name for name, anchor in entries if name not in names or anchor != name.lower()] == []
    for link in re.findall(r"\]\(([\w/.-]+\.md)\)", text):
        assert (PROJECT_ROOT / "docs" / link).is_file(), link


def test_what_the_runbook_names_is_there() -> None:
    text = (PROJECT_ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:compass|envoy|node|cnpg)_[a-z_]+[a-z]", text))
    assert named <= set(series()) | set(documented()) | OTHERS.keys()
    modules = re.findall(r"python -m ([\w.<>]+)", text)
    assert modules
    for module in modules:
        path = PROJECT_ROOT / module.replace("<name>", "signals").replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    logged = {quoted for quoted in re.findall(r"`([a-z][a-z ,']+ [a-z ,']+)`", text) if " " in quoted}
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("shared", "services")
        for path in sorted(PROJECT_ROOT.joinpath(folder).rglob("*.py"))
    )
    others = {"idle in transaction"}
    missing = [
        line for line in logged if line not in sources and line not in others and not line.startswith("kubectl ")
    ]
    assert missing == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_can_be_given(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["uid"].startswith("compass-")
    assert board["title"].startswith("Quality Compass: ")
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    source = read("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]["uid"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} == {source}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_dashboard_has_a_uid_of_its_own() -> None:
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards) == 5


def test_prometheus_asks_every_service_of_compose_at_its_port() -> None:
    compose = yaml.safe_load((PROJECT_ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    jobs = {job["job_name"]: job for job in read("prometheus.yaml")["scrape_configs"]}
    for number, service in enumerate(SERVICES, 8101):
        [found] = jobs[service]["dns_sd_configs"]
        assert (found["names"], found["port"]) == ([service], number)
        assert service in compose
        assert {"target_label": "service", "replacement": service} in jobs[service]["relabel_configs"]
    [gateway] = jobs["gateway"]["dns_sd_configs"]
    port = compose["gateway-configuration"]["environment"]["COMPASS_GATEWAY_METRICS_PORT"]
    assert (gateway["names"], gateway["port"]) == (["gateway"], port)
    assert not any(str(port) in published for published in compose["gateway"]["ports"])
    assert {"target_label": "service", "replacement": "gateway"} in jobs["gateway"]["relabel_configs"]
    [machine] = jobs["machine"]["static_configs"]
    assert machine["targets"] == ["node-exporter:9100"]
    assert "node-exporter" in compose
    assert "otel-collector" in jobs
    assert "otel-collector" in compose


def test_the_collector_listens_where_services_are_told_to_send() -> None:
    collector = read("otel-collector.yaml")
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")
    [pipeline] = collector["service"]["pipelines"].values()
    assert pipeline["processors"][0] == "memory_limiter"
    assert set(pipeline["exporters"]) <= collector["exporters"].keys()


def test_every_alert_is_tried_where_it_fires_and_where_it_must_not() -> None:
    tried = {test["name"] for file in TRIED for test in read(file)["tests"]}
    assert tried == {f"{rule['alert']} {what}" for rule in RULES for what in ("fires", "stays calm")}


def test_promtool_agrees() -> None:
    """Prometheus' own tool says so: the rules are valid and do what they are for."""
    promtool = program("promtool")
    for command in (
        ["check", "config", "--syntax-only", "prometheus.yaml"],
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", *TRIED],
    ):
        ran = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
