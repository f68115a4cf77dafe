"""AsyncAPI 3.0 of all topics and messages, made from the contracts themselves.

``python -m shared.events.asyncapi docs/asyncapi.json`` writes it; with ``--check`` it fails where the file is not what
the code says.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.events import topics
from shared.events.engine import EngineInsight, EngineSignal
from shared.events.envelope import CONTENT_TYPE, Envelope, EventType
from shared.events.registry import ALL
from shared.events.topics import Topic
from shared.generated import write_or_check

_REFERENCE: Final = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """The AsyncAPI document as JSON-ready data."""
    contracts = sorted({event.data for event in ALL}, key=lambda contract: contract.__name__)
    _, schemas = msgspec.json.schema_components(
        [EngineSignal, EngineInsight, Envelope, *contracts], ref_template=_REFERENCE
    )
    messages = {
        "engine.signal": _engine_message(EngineSignal, "A finding of the engine."),
        "engine.insight": _engine_message(EngineInsight, "A text of the engine about one of its findings."),
        **{event.name: _event_message(event) for event in ALL},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Quality Compass",
            "version": "1",
            "description": "What travels over Kafka: the engine's findings in, and what the services tell each other.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: _channel(topic) for topic in topics.ALL},
        "operations": _operations(),
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def render() -> str:
    """The document as the text of the committed file."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


def _messages_of(topic: Topic) -> list[str]:
    if topic is topics.ENGINE_SIGNALS:
        return ["engine.signal"]
    if topic is topics.ENGINE_INSIGHTS:
        return ["engine.insight"]
    return [event.name for event in ALL if event.topic is topic]


def _channel(topic: Topic) -> dict[str, Any]:
    retention = "kept for ever" if topic.retention is None else f"{topic.retention.days} days"
    return {
        "address": topic.name,
        "description": f"{topic.description} Key: {topic.key}. Retention: {retention}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages_of(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": int(topic.configuration()["retention.ms"]),
                    "max.message.bytes": topic.max_message_bytes,
                },
            }
        },
    }


def _operations() -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for topic in topics.ALL:
        channel = {"$ref": f"#/channels/{topic.name}"}
        operations[f"{topic.producer} sends {topic.name}"] = {"action": "send", "channel": channel}
        for consumer in topic.consumers:
            operations[f"{consumer} receives {topic.name}"] = {"action": "receive", "channel": channel}
    return operations


def _engine_message(contract: type[msgspec.Struct], summary: str) -> dict[str, Any]:
    return {
        "contentType": "application/json",
        "summary": summary,
        "payload": {"$ref": _REFERENCE.format(name=contract.__name__)},
    }


def _event_message(event: EventType) -> dict[str, Any]:
    shown = f" Shown in the feed as {' or '.join(event.feed_types)}." if event.feed_types else ""
    return {
        "contentType": CONTENT_TYPE,
        "summary": event.when,
        "description": f"From {event.source}; subject: {event.subject}.{shown}",
        "payload": {
            "allOf": [
                {"$ref": _REFERENCE.format(name="Envelope")},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": event.name},
                        "dataschema": {"const": event.dataschema},
                        "data": {"$ref": _REFERENCE.format(name=event.data.__name__)},
                    },
                },
            ]
        },
    }


def main() -> int:
    """Write the document, or compare it with the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    return write_or_check(arguments.file, render(), check=arguments.check)


if __name__ == "__main__":
    sys.exit(main())
