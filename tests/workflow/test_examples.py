"""The examples in the API's description are what the models take and answer."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from services.workflow import schemas, schemas_rules, schemas_snooze, schemas_summary

EXAMPLES = [
    pytest.param(model, example, id=f"{model.__name__}-{place}")
    for module in (schemas, schemas_rules, schemas_snooze, schemas_summary)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__
    if isinstance(extra := model.model_config.get("json_schema_extra"), dict)
    for place, example in enumerate(extra["examples"])  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("model", "example"), EXAMPLES)
def test_an_example_is_one_of_its_model(model: type[BaseModel], example: dict[str, Any]) -> None:
    read = model.model_validate_json(json.dumps(example))
    shown = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
    if issubclass(model, schemas.Request):
        assert read.model_fields_set == {"from_" if name == "from" else name for name in example}
    else:
        assert shown == example, "an answer's example has all that it shows, and nothing else"
        assert {field.alias or name for name, field in model.model_fields.items()} == set(example)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 15
