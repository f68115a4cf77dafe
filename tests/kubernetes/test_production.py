"""What only production has: scaling, copies, backups, the way in."""

from collections.abc import Sequence

import yaml

from deploy.container import PORTS
from deploy.local.postgres import INITDB_LOCALE
from deploy.local.processes import PROJECT_ROOT
from services.activity import consumers as activity
from services.signals import consumers as signals
from services.signals.settings import SignalsSettings
from services.workflow import consumers as workflow
from services.workflow.settings import WorkflowSettings
from shared.events.topics import BY_NAME
from shared.kafka import Subscription
from tests.kubernetes.manifests import BEHIND_THE_GATEWAY, Overlay, environment
from tests.kubernetes.network import matches

DATABASE = {"database_url": "postgresql://nobody:nothing@127.0.0.1/none", "kafka_bootstrap_servers": "none:9092"}


def subscriptions() -> dict[str, Sequence[Subscription]]:
    """All that each service consumes, out of its code."""
    return {
        "signals": signals.subscriptions(SignalsSettings.model_validate(DATABASE | {"environment": "local"})),
        "workflow": workflow.subscriptions(WorkflowSettings.model_validate(DATABASE | {"environment": "local"})),
        "activity": activity.SUBSCRIPTIONS,
    }


def test_every_consumer_of_signals_is_scaled_on_the_lag_of_its_own_groups(production: Overlay) -> None:
    scaled = {document["metadata"]["name"]: document["spec"] for document in production.kind("ScaledObject")}
    assert set(scaled) == set(subscriptions())
    for service, spec in scaled.items():
        groups = {(subscription.group, subscription.topic.name) for subscription in subscriptions()[service]}
        asked = {(trigger["metadata"]["consumerGroup"], trigger["metadata"]["topic"]) for trigger in spec["triggers"]}
        assert asked <= groups
        assert spec["scaleTargetRef"] == {"name": service}
        partitions = max(BY_NAME[topic].partitions for _, topic in asked)
        assert 2 <= spec["minReplicaCount"] < spec["maxReplicaCount"] <= partitions, "one more would have nothing to do"


def test_the_lag_is_asked_for_where_the_broker_is(production: Overlay) -> None:
    (container,) = production.one("Deployment", "activity")["spec"]["template"]["spec"]["containers"]
    host, _, port = (environment(production, container)["COMPASS_KAFKA_BOOTSTRAP_SERVERS"] or "").partition(":")
    for document in production.kind("ScaledObject"):
        namespace = document["metadata"]["namespace"]
        for trigger in document["spec"]["triggers"]:
            assert trigger["metadata"]["bootstrapServers"] == f"{host}.{namespace}.svc:{port}"
    assert host == f"{production.kind('Kafka')[0]['metadata']['name']}-kafka-bootstrap"


def test_kafka_bears_the_loss_of_a_broker(production: Overlay) -> None:
    pools = {pool["metadata"]["name"]: pool["spec"] for pool in production.kind("KafkaNodePool")}
    assert {name: pool["replicas"] for name, pool in pools.items()} == {"controllers": 3, "brokers": 3}
    config = production.one("Kafka", "kafka")["spec"]["kafka"]["config"]
    assert config["auto.create.topics.enable"] is False
    assert (config["default.replication.factor"], config["min.insync.replicas"]) == (3, 2)
    assert all(pool["template"]["pod"]["topologySpreadConstraints"] for pool in pools.values())


def test_postgres_has_three_instances_and_backups(production: Overlay) -> None:
    cluster = production.one("Cluster", "postgres")["spec"]
    assert cluster["instances"] == 3
    assert cluster["minSyncReplicas"] == 1, "what was answered for is on two machines"
    assert cluster["imageName"].endswith("postgresql:18")
    initdb = cluster["bootstrap"]["initdb"]
    assert initdb["database"] == "compass"
    flags = {"encoding": "encoding", "localeProvider": "locale-provider", "builtinLocale": "builtin-locale"}
    given = {f"--{flags.get(option, option)}={value}" for option, value in initdb.items()}
    assert given >= set(INITDB_LOCALE), "the same order of text as everywhere else"
    assert cluster["backup"]["barmanObjectStore"]["destinationPath"].startswith("s3://")
    backup = production.one("ScheduledBackup", "nightly")["spec"]
    assert backup["cluster"] == {"name": "postgres"}
    (container,) = production.one("Deployment", "auth")["spec"]["template"]["spec"]["containers"]
    assert environment(production, container)["DATABASE_HOST"] == "postgres-rw", "the primary's, by CloudNativePG"


def test_postgres_has_connections_for_all_instances(production: Overlay) -> None:
    settings = SignalsSettings.model_validate(DATABASE | {"environment": "local"})
    # A pool for writing, one for reading, and the relay's connection; one more of each while they are replaced.
    each = 2 * settings.database_pool_size + 2
    most = {
        document["metadata"]["name"]: document["spec"]["maxReplicaCount"]
        for document in production.kind("ScaledObject")
    }
    instances = sum(most.values()) + 2 + len(most) + 1
    allowed = int(production.one("Cluster", "postgres")["spec"]["postgresql"]["parameters"]["max_connections"])
    assert instances * each < allowed


def test_the_way_in_is_by_https(production: Overlay) -> None:
    front = production.one("Gateway", "front")["spec"]
    listeners = {listener["name"]: listener for listener in front["listeners"]}
    certificate = production.one("Certificate", "front")["spec"]
    assert listeners["https"]["tls"]["certificateRefs"] == [{"name": certificate["secretName"]}]
    assert certificate["dnsNames"] == [listeners["https"]["hostname"]]
    routes = {route["metadata"]["name"]: route["spec"] for route in production.kind("HTTPRoute")}
    (rule,) = routes["front"]["rules"]
    assert rule["backendRefs"] == [{"name": "gateway", "port": 80}]
    assert rule["timeouts"]["request"] == "0s", "streams stay open"
    (redirect,) = routes["to-https"]["rules"]
    assert redirect["filters"][0]["requestRedirect"]["scheme"] == "https"
    (configuration,) = production.one("Deployment", "gateway")["spec"]["template"]["spec"]["initContainers"]
    given = environment(production, configuration)
    assert (given["COMPASS_GATEWAY_HTTPS"], given["COMPASS_GATEWAY_TRUSTED_HOPS"]) == ("true", "1")


def test_every_pod_with_metrics_is_asked_for_them(production: Overlay) -> None:
    monitors = {monitor["metadata"]["name"]: monitor["spec"] for monitor in production.kind("PodMonitor")}
    assert monitors.keys() == {"services", "gateway"}
    for name in BEHIND_THE_GATEWAY:
        template = production.one("Deployment", name)["spec"]["template"]
        [monitor] = [each for each in monitors.values() if matches(each["selector"], template["metadata"]["labels"])]
        [endpoint] = monitor["podMetricsEndpoints"]
        [container] = template["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert endpoint["path"] == "/metrics"
        [label] = endpoint["relabelings"]
        assert (label["sourceLabels"], label["targetLabel"]) == (
            ["__meta_kubernetes_pod_label_app_kubernetes_io_name"],
            "service",
        )
        assert template["metadata"]["labels"]["app.kubernetes.io/name"] == name
        if name == "gateway":
            [configuration] = template["spec"]["initContainers"]
            told = environment(production, configuration)["COMPASS_GATEWAY_METRICS_PORT"]
            assert str(ports[endpoint["port"]]) == told
        else:
            assert ports[endpoint["port"]] == PORTS[name]


def test_the_alerts_are_those_of_compose(production: Overlay) -> None:
    rules = yaml.safe_load((PROJECT_ROOT / "deploy" / "observability" / "alerts.yaml").read_text(encoding="utf-8"))
    assert production.one("PrometheusRule", "quality-compass")["spec"] == rules


def test_production_is_production(production: Overlay) -> None:
    (container,) = production.one("Deployment", "auth")["spec"]["template"]["spec"]["containers"]
    assert environment(production, container)["COMPASS_ENVIRONMENT"] == "production"
    assert [job["metadata"]["name"] for job in production.kind("Job")] == ["schema"], "no demo users, topics by Strimzi"
