"""Strimzi's KafkaTopic resources, from the one list of topics."""

from typing import Any, Final

import yaml

from deploy.topics import configuration
from shared.events.topics import ALL, Topic

REPLICATION_FACTOR: Final = 3
CLUSTER: Final = "kafka"
"""The Kafka resource that the topics belong to."""

_HEADER: Final = """\
# Made from shared/events/topics.py: python -m deploy.kubernetes topics. make check finds it out of date.
"""


def render() -> str:
    """All topics as one YAML file."""
    return _HEADER + yaml.safe_dump_all((resource(topic) for topic in ALL), sort_keys=False, width=120)


def resource(topic: Topic) -> dict[str, Any]:
    """One topic, as the topic job would make it with three copies."""
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": topic.name, "labels": {"strimzi.io/cluster": CLUSTER}},
        "spec": {
            "partitions": topic.partitions,
            "replicas": REPLICATION_FACTOR,
            "config": configuration(topic, REPLICATION_FACTOR),
        },
    }
