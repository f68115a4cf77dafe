"""What the API's description says of this service: everything described, and examples that are what is answered."""

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from deploy.gateway import openapi
from deploy.gateway.routes import find
from services.signals import (
    examples,
    schemas,
    schemas_dead_letters,
    schemas_details,
    schemas_insights,
    schemas_metrics,
    schemas_options,
)

MODULES = (schemas, schemas_dead_letters, schemas_details, schemas_insights, schemas_metrics, schemas_options)
DOCUMENT = openapi.document()


def _models(module: ModuleType) -> Iterator[type[BaseModel]]:
    for model in vars(module).values():
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__:
            yield model


EXAMPLES = [
    pytest.param(model, example, id=f"{model.__name__}-{place}")
    for module in MODULES
    for model in _models(module)
    if isinstance(extra := model.model_config.get("json_schema_extra"), dict)
    for place, example in enumerate(extra["examples"])  # type: ignore[arg-type]
]


def _of_this_service(path: str) -> bool:
    route = find(path.replace("{", "").replace("}", ""))
    return route is not None and route.service == "signals"


OPERATIONS = [
    pytest.param(operation, id=operation["operationId"])
    for _, path, operation in openapi.operations(DOCUMENT["paths"])
    if _of_this_service(path)
]
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """What a part of the document is, or refers to."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def undescribed(schema: dict[str, Any], place: str, seen: set[str]) -> Iterator[str]:
    """The fields of a schema, and of all that it holds, that nothing is said about."""
    if "$ref" in schema:
        if schema["$ref"] in seen:
            return
        seen.add(schema["$ref"])
        place = schema["$ref"].rsplit("/", 1)[1]
        schema = resolved(schema)
    for name, field in schema.get("properties", {}).items():
        if not field.get("description"):
            yield f"{place}.{name}"
        yield from undescribed(field, f"{place}.{name}", seen)
    for part in (*schema.get("anyOf", ()), *([items] if (items := schema.get("items")) else ())):
        yield from undescribed(part, place, seen)


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each body of an operation by what it is: the request's, and each answer's by its status."""
    if "requestBody" in operation:
        yield "request", operation["requestBody"]["content"]["application/json"]
    for status, response in operation["responses"].items():
        for content in resolved(response).get("content", {}).values():
            yield status, content


@pytest.mark.parametrize(("model", "example"), EXAMPLES)
def test_an_example_is_one_of_its_model(model: type[BaseModel], example: dict[str, Any]) -> None:
    read = model.model_validate_json(json.dumps(example))
    shown = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
    if issubclass(model, schemas.Request):
        assert set(shown) == set(example)
    else:
        assert shown == example, "an answer's example has all that it shows, and nothing else"
        assert set(model.model_fields) == set(example)


@EVERY_OPERATION
def test_an_operation_and_its_parameters_are_described(operation: dict[str, Any]) -> None:
    assert len(operation["description"]) > 20
    for parameter in operation.get("parameters", ()):
        assert parameter.get("description"), parameter["name"]


@EVERY_OPERATION
def test_every_field_that_is_taken_or_answered_is_described(operation: dict[str, Any]) -> None:
    seen: set[str] = set()
    for place, content in contents(operation):
        assert not list(undescribed(content["schema"], place, seen))


@EVERY_OPERATION
def test_every_body_has_an_example(operation: dict[str, Any]) -> None:
    found = dict(contents(operation))
    assert "200" in found
    for place, content in found.items():
        assert "example" in content or resolved(content["schema"]).get("examples"), place


def test_what_adds_up_adds_up_in_the_examples() -> None:
    for shown in (examples.SIGNAL_DETAIL, examples.TECHNICAL):
        calculation = shown["simplified_severity_calculation"]
        steps = sum(step["adjustment"] for step in calculation["refinements"])
        assert calculation["base_severity"] + steps == calculation["final_severity"] == shown["simplified_severity"]
    parts = [part["contribution"] for part in examples.CONTRIBUTIONS["contributions"]]
    assert sum(parts) + examples.CONTRIBUTIONS["unexplained"] == pytest.approx(examples.CONTRIBUTIONS["excess"])


def test_there_are_operations_and_examples() -> None:
    assert len(OPERATIONS) == 21
    assert len(EXAMPLES) > 20
