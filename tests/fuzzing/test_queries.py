"""Queries that nobody would send: understood or refused by each operation, and what is understood can be said again."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from fastapi.dependencies.utils import request_params_to_args
from fastapi.encoders import jsonable_encoder
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.datastructures import QueryParams

from deploy.gateway.openapi import applications
from services.signals.schemas import SignalQuery
from shared.errors import InvalidError
from tests.fuzzing.document import DOCUMENT
from tests.support.fuzzing import texts

Parameters = Mapping[str, Any]
CALLER: Final = UUID("16b060a4-8a84-5d16-9d21-d9dc1281e631")
GOOD: Final = (
    *("1", "0", "25", "100", "101", "-1", "1.0", "1e1", "true", "false", "yes", "on", "null", "", "me", str(CALLER)),
    *("2026-07-01T00:00:00Z", "2026-07-01t00:00:00.5+01:00", "2026-07-01", "1767225600", "0001-01-01T00:00:00+14:00"),
    *("9999-12-31T23:59:59.999999-14:00", "2026-07-01 00:00:00Z", "2026-02-30T00:00:00Z", "a,b", "%", "_", "\\", "'"),
)
"""What some parameter takes, or nearly takes."""


def described() -> dict[str, list[dict[str, Any]]]:
    """The query parameters of each operation that has some, as the API document names them."""
    document = json.loads(DOCUMENT.read_text())
    found = {
        path: [one for one in item["get"].get("parameters", ()) if one["in"] == "query"]
        for path, item in document["paths"].items()
        if "get" in item
    }
    return {path: parameters for path, parameters in found.items() if parameters}


PARAMETERS: Final = described()
ROUTES: Final = {
    context.path: context.original_route
    for app in applications().values()
    for context in iter_route_contexts(app.routes)
    if isinstance(context.original_route, APIRoute) and "GET" in (context.methods or ()) and context.path in PARAMETERS
}


def values_of(schema: Any) -> Iterator[str]:
    """Values that the description of a parameter names, wherever it does."""
    if isinstance(schema, dict):
        for name in ("enum", "examples"):
            for value in schema.get(name, ()):
                yield from (str(one) for one in (value if isinstance(value, list) else [value]))
        for part in schema.values():
            yield from values_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from values_of(part)


def queries(path: str) -> st.SearchStrategy[str]:
    """Query strings of an operation, most of them nearly right."""
    names = [one["name"] for one in PARAMETERS[path]]
    own = {one["name"]: sorted(set(values_of(one["schema"])) | set(GOOD)) for one in PARAMETERS[path]}
    pairs = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(own[name]) | texts))
    odd = st.tuples(st.sampled_from(("dimension.department", "dimension.", "", "Limit", "limit[]")) | texts, texts)
    return st.lists(pairs | pairs | pairs | odd, max_size=6).map(said)


def said(pairs: list[tuple[str, str]]) -> str:
    # As bytes that are no UTF-8 come, too.
    return "&".join("=".join(quote(part.encode(errors="surrogatepass")) for part in pair) for pair in pairs)


def understood(route: APIRoute, query: str) -> Parameters | None:
    """What an operation gets of a query; None where it answers 422."""
    values, errors = request_params_to_args(route.dependant.query_params, QueryParams(query))
    return None if errors else values


def canonical(route: APIRoute, parameters: Parameters) -> str:
    """The same, said as plainly as possible."""
    plain: dict[str, Any] = {}
    aliases = {field.name: field.alias for field in route.dependant.query_params}
    for name, value in parameters.items():
        if isinstance(value, BaseModel):
            plain |= value.model_dump(mode="json", by_alias=True, exclude_none=True)
        elif value is not None:
            plain[aliases[name]] = jsonable_encoder(value)
    return urlencode({name: str(v).lower() if isinstance(v, bool) else v for name, v in plain.items()}, doseq=True)


def test_every_operation_with_a_query_is_here() -> None:
    assert ROUTES.keys() == PARAMETERS.keys()


@pytest.mark.parametrize("path", sorted(PARAMETERS))
@given(st.data())
def test_what_is_understood_of_a_query_can_be_said_again(path: str, data: st.DataObject) -> None:
    query = data.draw(queries(path))
    if (parameters := understood(ROUTES[path], query)) is not None:
        assert understood(ROUTES[path], canonical(ROUTES[path], parameters)) == parameters


@given(queries("/api/signals"))
@example("dimension.department=1&dimension.department=2&dimension.a%20b=")
@example("assignee_id=me&assignee_id=" + str(CALLER).upper())
def test_filters_of_signals_are_the_same_when_they_are_said_again(query: str) -> None:
    route = ROUTES["/api/signals"]

    def filters(parameters: Parameters | None) -> Any:
        asked = (parameters or {}).get("query")
        if not isinstance(asked, SignalQuery):
            return None
        try:
            return asked.filters(CALLER)
        except InvalidError as error:
            return error.code

    if (parameters := understood(route, query)) is not None:
        assert filters(understood(route, canonical(route, parameters))) == filters(parameters)
