"""What pods are configured by: variables that the code knows, secrets by reference only, the order of a rollout."""

import re
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from deploy.gateway.settings import GatewaySettings, TokenSettings
from deploy.kubernetes import secrets
from deploy.kubernetes.places import TOPICS_FILE
from deploy.kubernetes.rollout import in_stages
from deploy.kubernetes.topics import REPLICATION_FACTOR, render
from deploy.local.postgres import INITDB_LOCALE
from deploy.topics import TopicSettings, configuration
from services.activity.settings import ActivitySettings
from services.auth.settings import AuthSettings
from services.signals.settings import SignalsSettings
from services.workflow.settings import WorkflowSettings
from shared.events.topics import ALL
from shared.migrations import VARIABLE
from shared.settings import PREFIX
from tests.kubernetes.conftest import rendered
from tests.kubernetes.manifests import SERVICES, Overlay, environment

SETTINGS: dict[str, type[BaseSettings]] = {
    "signals": SignalsSettings,
    "workflow": WorkflowSettings,
    "activity": ActivitySettings,
    "auth": AuthSettings,
}


def variables(*classes: type[BaseSettings]) -> set[str]:
    """The names of the variables that settings are read from."""
    return {
        f"{settings.model_config['env_prefix']}{name}".upper() for settings in classes for name in settings.model_fields
    }


EVERYWHERE = variables(TopicSettings, *SETTINGS.values())
"""What the ConfigMap of all may hold: each process takes what is its own."""


def test_every_variable_is_one_that_the_code_reads(overlay: Overlay) -> None:
    for name, _, container in overlay.containers:
        given = {variable for variable in environment(overlay, container) if variable.startswith(PREFIX)}
        match container.get("args"):
            case ["gateway", *_]:
                known = variables(GatewaySettings, TokenSettings)
            case ["migrate", _]:
                known = EVERYWHERE | {VARIABLE}
            case [service, *_] if service in SETTINGS:
                own = {variable["name"] for variable in container["env"] if variable["name"].startswith(PREFIX)}
                assert own <= variables(SETTINGS[service]), name
                known = EVERYWHERE
            case ["topics"]:
                known = variables(TopicSettings) | EVERYWHERE
            case _:
                known = EVERYWHERE | {f"COMPASS_{role}_PASSWORD" for role in _roles()}
        assert given <= known, name


def _roles() -> set[str]:
    return {f"{service.upper()}{owner}" for service in SERVICES for owner in ("", "_OWNER")}


@pytest.mark.parametrize("service", SERVICES)
def test_settings_accept_what_a_service_is_given(
    overlay: Overlay, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = overlay.one("Deployment", service)["spec"]["template"]["spec"]["containers"]
    made = {secret["metadata"]["name"]: secret["stringData"] for secret in secrets.make()}
    given: dict[str, str] = {}
    for name, value in environment(overlay, container).items():
        if value is not None:
            given[name] = re.sub(r"\$\((\w+)\)", lambda found: given[found[1]], value)
            continue
        (reference,) = (
            variable["valueFrom"]["secretKeyRef"] for variable in container["env"] if variable["name"] == name
        )
        if not reference.get("optional"):
            given[name] = made[reference["name"]][reference["key"]]
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings: Any = SETTINGS[service]()
    assert settings.database_url.hosts()[0]["username"] == f"compass_{service}"
    assert getattr(settings, f"{service}_port") == container["ports"][0]["containerPort"]


def test_a_service_has_its_own_password_and_never_that_of_an_owner(overlay: Overlay) -> None:
    for service in SERVICES:
        (container,) = overlay.one("Deployment", service)["spec"]["template"]["spec"]["containers"]
        assert _secrets_of(container) == {f"database-{service}"} | ({"auth-keys"} if service == "auth" else set())
    schema = overlay.one("Job", "schema")["spec"]["template"]["spec"]
    for container in schema["containers"]:
        assert _secrets_of(container) == {f"database-{container['args'][1]}-owner"}
    assert _secrets_of(overlay.one("Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]) == set()


def _secrets_of(container: dict[str, Any]) -> set[str]:
    return {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for variable in container.get("env", ())
        if "secretKeyRef" in variable.get("valueFrom", {})
    }


def test_no_secret_is_written_down(overlay: Overlay) -> None:
    assert overlay.kind("Secret") == []
    for name, _, container in overlay.containers:
        for variable, value in environment(overlay, container).items():
            if re.search("PASSWORD|KEY|SECRET|TOKEN(?!_ISSUER|_AUDIENCE)", variable):
                assert value is None, f"{name}: {variable}"
            if value and "://" in value and "@" in value:
                assert re.search(r"://\$\(\w+\):\$\(\w+\)@", value), f"{name}: {variable}"


def test_every_secret_that_dev_refers_to_is_made_by_the_command(overlay: Overlay) -> None:
    referred = {
        (variable["valueFrom"]["secretKeyRef"]["name"], variable["valueFrom"]["secretKeyRef"]["key"])
        for _, _, container in overlay.containers
        for variable in container.get("env", ())
        if "secretKeyRef" in variable.get("valueFrom", {}) and not variable["valueFrom"]["secretKeyRef"].get("optional")
    }
    made = {(secret["metadata"]["name"], key) for secret in secrets.make() for key in secret["stringData"]}
    assert referred <= made
    values = [value for secret in secrets.make() for key, value in secret["stringData"].items() if key != "username"]
    assert len(set(values)) == len(values)


def test_servers_come_first_then_jobs_then_services(overlay: Overlay) -> None:
    servers, jobs, services = in_stages(overlay.documents)
    assert {document["kind"] for document in jobs} == {"Job", "ServiceAccount"}
    assert {document["metadata"]["name"] for document in services if document["kind"] == "Deployment"} == {
        *SERVICES,
        "gateway",
    }
    assert not {"Deployment", "Job"} & {document["kind"] for document in servers}
    assert {"NetworkPolicy", "ConfigMap", "Namespace"} <= {document["kind"] for document in servers}


def test_the_database_is_prepared_before_the_migrations(overlay: Overlay) -> None:
    spec = overlay.one("Job", "schema")["spec"]["template"]["spec"]
    assert [container["name"] for container in spec["initContainers"]] == ["database"]
    assert [container["args"] for container in spec["containers"]] == [["migrate", service] for service in SERVICES]
    sql = overlay.one("ConfigMap", spec["volumes"][0]["configMap"]["name"])["data"]
    assert "CREATE EXTENSION IF NOT EXISTS pg_trgm" in sql["database.sql"]
    assert set(sql) == {"init.sh", "database.sql", "service.sql"}


def test_dev_orders_text_as_everything_else_does() -> None:
    (container,) = rendered("dev").one("StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"]
    (given,) = (entry["value"] for entry in container["env"] if entry["name"] == "POSTGRES_INITDB_ARGS")
    assert given.split() == [*INITDB_LOCALE]


def test_topics_are_those_of_the_list(production: Overlay) -> None:
    assert TOPICS_FILE.read_text() == render(), "run python -m deploy.kubernetes topics"
    found = {topic["metadata"]["name"]: topic for topic in production.kind("KafkaTopic")}
    assert set(found) == {topic.name for topic in ALL}
    for topic in ALL:
        spec = found[topic.name]["spec"]
        assert (spec["partitions"], spec["replicas"]) == (topic.partitions, REPLICATION_FACTOR)
        assert spec["config"] == configuration(topic, REPLICATION_FACTOR)
        assert found[topic.name]["metadata"]["labels"]["strimzi.io/cluster"] == "kafka"
    production.one("Kafka", "kafka")
