"""Every message has one example, and the examples are what the contracts and their published schemas say."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from shared.events import asyncapi, envelope, registry
from shared.events.decoding import RejectedMessageError, convert, decode_object
from shared.events.engine import EngineInsight, EngineSignal
from shared.events.envelope import EventType

EXAMPLES = Path(__file__).parent / "examples"
DOCUMENT = asyncapi.document()
EVERY_EVENT = pytest.mark.parametrize("event", registry.ALL, ids=lambda event: event.name)
ENGINE_MESSAGES = pytest.mark.parametrize(
    ("name", "contract"), [("engine.signal", EngineSignal), ("engine.insight", EngineInsight)]
)


def example(name: str) -> bytes:
    return (EXAMPLES / f"{name}.json").read_bytes()


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Check a value against a schema of the published document."""
    whole = schema | {"components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).validate(value)


def test_examples_and_messages_are_the_same_set() -> None:
    names = {event.name for event in registry.ALL} | {"engine.signal", "engine.insight"}
    assert {file.stem for file in EXAMPLES.iterdir()} == names


@EVERY_EVENT
def test_the_example_is_an_event_of_its_contract(event: EventType) -> None:
    decoded = envelope.decode(example(event.name))
    assert (decoded.type, decoded.dataschema) == (event.name, event.dataschema)
    assert decoded.source == event.source or event.source == "/services/<name>"
    data = decoded.data_as(event.data)
    # Encoding it again gives back every field: the example has none that the contract does not know.
    assert msgspec.json.decode(msgspec.json.encode(data)) == msgspec.json.decode(decoded.data)


@EVERY_EVENT
def test_the_example_is_shown_as_the_contract_allows(event: EventType) -> None:
    decoded = envelope.decode(example(event.name))
    if event.feed_types:
        assert decoded.feedtype in event.feed_types
        assert decoded.summary
        assert decoded.summary.endswith(".")
    else:
        assert decoded.feedtype is None


@EVERY_EVENT
def test_the_example_passes_the_published_schema(event: EventType) -> None:
    validate(json.loads(example(event.name)), DOCUMENT["components"]["messages"][event.name]["payload"])


@EVERY_EVENT
def test_the_published_schema_refuses_a_missing_field(event: EventType) -> None:
    broken = json.loads(example(event.name))
    schema = DOCUMENT["components"]["schemas"][event.data.__name__]
    del broken["data"][schema["required"][0]]
    with pytest.raises(jsonschema.ValidationError):
        validate(broken, DOCUMENT["components"]["messages"][event.name]["payload"])


@ENGINE_MESSAGES
def test_the_engines_example_is_accepted(name: str, contract: type[msgspec.Struct]) -> None:
    document = decode_object(example(name))
    convert(document, contract)
    validate(document, DOCUMENT["components"]["messages"][name]["payload"])


@ENGINE_MESSAGES
def test_every_required_field_is_required(name: str, contract: type[msgspec.Struct]) -> None:
    document = decode_object(example(name))
    for field in msgspec.structs.fields(contract):
        if field.required:
            with pytest.raises(RejectedMessageError, match=field.name):
                convert({key: value for key, value in document.items() if key != field.name}, contract)


def test_what_the_engine_must_send() -> None:
    required = {field.name for field in msgspec.structs.fields(EngineSignal) if field.required}
    assert required == {
        "canonical_node_id",
        "metric_id",
        "domain",
        "facility",
        "service_line",
        "description",
        "metric_value",
        "detected_at",
    }


def test_every_field_is_described() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    def described(schema: dict[str, Any]) -> bool:
        if "$ref" in schema:
            return described(schemas[schema["$ref"].rpartition("/")[2]])
        return "description" in schema or any(described(choice) for choice in schema.get("anyOf", ()))

    # msgspec.Raw has no schema of its own; each message's payload says what its data is.
    missing = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, declared in schema.get("properties", {}).items()
        if not described(declared) and (name, field) != ("Envelope", "data")
    ]
    assert missing == []


def test_the_committed_document_is_what_the_contracts_say() -> None:
    committed = Path(__file__).parents[2] / "docs" / "asyncapi.json"
    assert committed.read_text() == asyncapi.render()


@pytest.mark.parametrize(
    "change",
    [
        {"entity_dimensions_hash": "0" * 32 + "\n"},
        {"metric_trend_timeline": [{"period": "2026-01\n", "value": 1}]},
        {"metric_trend_timeline": [{"period": "٢٠٢٦-01", "value": 1}]},
        {"metric_trend_timeline": [{"period": "2026-13", "value": 1}]},
        {"facility_id": ""},
        {"detected_at": "2026-07-01T00:00:00"},
        {"detected_at": 1782864000},
        {"metric_value": "0.21"},
        {"metric_value": True},
        {"encounters": 2**31},
        {"entity_dimensions": {"department": 1}},
    ],
    ids=str,
)
def test_what_the_engine_may_not_send(change: dict[str, Any]) -> None:
    document = decode_object(example("engine.signal")) | change
    with pytest.raises(RejectedMessageError, match=next(iter(change))):
        convert(document, EngineSignal)
