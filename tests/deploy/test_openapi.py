"""The merged API document: complete, sound, and good to make a client from."""

import ast
import json
import keyword
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from deploy.gateway import client, openapi
from deploy.gateway.openapi_problems import add_problems
from deploy.gateway.routes import ROUTES, find
from deploy.local.processes import PROJECT_ROOT
from shared.auth import PERMISSIONS, Permission
from shared.errors import CONTENT_TYPE, ConflictError

DOCUMENT = openapi.document()
OPERATIONS = list(openapi.operations(DOCUMENT["paths"]))
EVERY_OPERATION = pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[operation["operationId"] for _, _, operation in OPERATIONS]
)

PUBLIC = {
    ("post", "/api/auth/login"),
    ("post", "/api/auth/refresh"),
    ("get", "/.well-known/jwks.json"),
}
"""Nobody can have a token yet, or needs one to look at public keys."""


def resolve(reference: str) -> Any:
    """What a reference within the document points to."""
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


@EVERY_OPERATION
def test_every_operation_declares_a_permission_or_is_public(method: str, path: str, operation: dict[str, Any]) -> None:
    declared = [scopes for scheme in operation.get("security", ()) for scopes in scheme.values()]
    if (method, path) in PUBLIC:
        assert declared == []
    else:
        assert len(declared) == 1, f"{method.upper()} {path} declares no permission"
        assert len(declared[0]) == 1
        assert Permission(declared[0][0])


def test_what_is_public_exists_and_is_open_at_the_gateway_too() -> None:
    assert {(method, path) for method, path, _ in OPERATIONS} >= PUBLIC
    assert {path for _, path in PUBLIC} <= {route.path for route in ROUTES if route.public}


@EVERY_OPERATION
def test_every_failure_is_told_as_problem_details(method: str, path: str, operation: dict[str, Any]) -> None:
    responses = {
        code: resolve(response["$ref"]) if "$ref" in response else response
        for code, response in operation["responses"].items()
    }
    failures = {code for code in responses if code[0] not in "23"}
    assert {"429", "503", "default"} <= failures
    for code in failures:
        assert set(responses[code]["content"]) == {CONTENT_TYPE}, code
        assert responses[code]["description"]
    permissions = [scopes[0] for scheme in operation.get("security", ()) for scopes in scheme.values()]
    expected = {"401"} if permissions else set()
    if any(Permission(name) not in held for name in permissions for held in PERMISSIONS.values()):
        expected.add("403")
    if "{" in path and (method, path) != ("put", "/api/metrics/{metric_id}"):
        expected.add("404")
    elif "{" in path:
        assert "404" not in failures
    if "requestBody" in operation or "parameters" in operation:
        expected.add("422")
    assert expected <= failures


def raised_conflicts() -> set[str]:
    """The codes of every `ConflictError` that the services raise."""
    codes = set()
    for file in (PROJECT_ROOT / "services").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Name)
                and call.func.id == ConflictError.__name__
            ):
                code = call.args[1] if len(call.args) > 1 else ast.Constant(ConflictError.default_code)
                assert isinstance(code, ast.Constant), f"{file}:{call.lineno}"
                codes.add(str(code.value))
    return codes


def test_conflicts_are_told_of_where_they_may_happen_by_their_codes() -> None:
    told = {
        (method, path): set(re.findall(r"`(\w+)`", operation["responses"]["409"]["description"]))
        for method, path, operation in OPERATIONS
        if "409" in operation["responses"]
    }
    assert set.union(*told.values()) == raised_conflicts()
    assert not {("patch", "/api/signals/{signal_id}"), ("put", "/api/metrics/{metric_id}")} & set(told)


def test_names_make_functions() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name), name
        assert not keyword.iskeyword(name)


@EVERY_OPERATION
def test_every_operation_is_described(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["description"]
    sections = {tag["name"] for tag in DOCUMENT["tags"]}
    assert set(operation["tags"]) <= sections
    assert find(re.sub(r"\{\w+\}", "7", path)) is not None


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    text = json.dumps(DOCUMENT)
    references = set(re.findall(r'"\$ref": "([^"]+)"', text))
    for reference in references:
        assert resolve(reference)
    used = {reference.rsplit("/", 1)[1] for reference in references if "/schemas/" in reference}
    assert used == set(DOCUMENT["components"]["schemas"])


def test_it_names_no_server_and_its_schemas_are_schemas() -> None:
    assert "servers" not in DOCUMENT
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def api(path: str, **schemas: Any) -> dict[str, Any]:
    """A service's document with one path that refers to all its schemas."""
    content = {name: {"schema": {"$ref": f"#/components/schemas/{name}"}} for name in schemas}
    return {"paths": {path: {"get": {"responses": {"200": {"content": content}}}}}, "components": {"schemas": schemas}}


def test_schemas_of_one_name_are_one_where_they_are_alike() -> None:
    schemas, _ = openapi._merge({"a": api("/a", Same={"type": "string"}), "b": api("/b", Same={"type": "string"})})
    assert schemas == {"Same": {"type": "string"}}


def test_schemas_that_only_share_a_name_are_told_apart_with_all_that_refers_to_them() -> None:
    holder = {"properties": {"item": {"$ref": "#/components/schemas/Item"}}}
    schemas, paths = openapi._merge(
        {
            "a": api("/a", Item={"type": "string"}, Holder=holder),
            "b": api("/b", Item={"type": "integer"}, Holder=holder),
        }
    )
    assert set(schemas) == {"AItem", "BItem", "AHolder", "BHolder"}
    assert schemas["BHolder"]["properties"]["item"] == {"$ref": "#/components/schemas/BItem"}
    assert "#/components/schemas/AHolder" in json.dumps(paths["/a"])


def test_two_services_cannot_answer_the_same() -> None:
    with pytest.raises(ValueError, match="two services answer GET /a"):
        openapi._merge({"a": api("/a"), "b": api("/a")})


def test_what_an_operation_says_of_its_own_failures_stays() -> None:
    operation: dict[str, Any] = {"responses": {"200": {}, "409": {"description": "Taken.", "content": {"x": {}}}}}
    add_problems("/api/users", "post", operation)
    assert operation["responses"]["409"]["description"] == "Taken."
    assert set(operation["responses"]["409"]["content"]) == {CONTENT_TYPE}


@EVERY_OPERATION
def test_no_parameter_may_be_null(method: str, path: str, operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        assert {"type": "null"} not in parameter["schema"].get("anyOf", ()), parameter["name"]
        assert parameter["schema"], parameter["name"]


def test_every_better_name_is_of_an_operation() -> None:
    assert set(openapi._OPERATION_IDS) <= {(method, path) for method, path, _ in OPERATIONS}


def test_the_client_is_made_without_a_warning_and_always_the_same(tmp_path: Path) -> None:
    first, second = client.make(tmp_path / "first"), client.make(tmp_path / "second")
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) > len(OPERATIONS)
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
    before = (first / "client.py").stat().st_mtime_ns
    assert client.make(tmp_path / "first") == first
    assert (first / "client.py").stat().st_mtime_ns == before
