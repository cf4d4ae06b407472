"""The interface as an OpenAPI 3.1 document, from the table of routes, and as one page that loads nothing else."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from serving.access import OPEN
from serving.scoring import Answer, Scorer
from serving.tensor_rows import MAX_ID
from tidemill import __version__

if TYPE_CHECKING:
    from serving.routing import Route

PAGE_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
]

_ERRORS = {
    "400": "Not JSON, or tensors that do not fit",
    "401": "No API key, where one is needed",
    "404": "No such endpoint, model or version",
    "413": "Body too large",
    "422": "A field is missing or wrong; `field` names it",
    "429": "Too many requests at once; see Retry-After",
    "503": "Not ready; see Retry-After",
}

_WITHOUT_BODY = ("400", "413", "422")
_EXPLAIN = ("explain", "boolean", "Give the reasons")


Parameter = str | int | float | bool


class InferTensor(msgspec.Struct, omit_defaults=True):
    """A tensor in JSON, its `data` nested or flat; or by its length among the bytes that follow the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] = []
    parameters: dict[str, Parameter] = {}


class InferOutput(msgspec.Struct, omit_defaults=True):
    """An output that is wanted."""

    name: str
    parameters: dict[str, Parameter] = {}


class InferParameters(msgspec.Struct, omit_defaults=True):
    """Of a request."""

    binary_data_output: bool = False
    event_ids: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]] | bool | None,
        msgspec.Meta(description="One for each row, all different; false: the answer does not list them"),
    ] = None


class InferBody(msgspec.Struct, omit_defaults=True):
    """A request of the Open Inference Protocol."""

    inputs: list[InferTensor]
    id: Annotated[str, msgspec.Meta(max_length=MAX_ID)] = ""
    outputs: list[InferOutput] = []
    parameters: InferParameters = msgspec.field(default_factory=InferParameters)


class InferFacts(msgspec.Struct, omit_defaults=True):
    """Of an answer: how new the model's state is, and the event id of each row, by which a label joins it."""

    delta: int
    staleness: float
    event_ids: list[str] | None = None


class InferAnswer(msgspec.Struct):
    """An answer of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str
    parameters: InferFacts
    outputs: list[InferTensor]


def document(routes: Sequence[Route], scorers: Mapping[str, Scorer]) -> dict[str, Any]:
    """The OpenAPI document of the scoring server's routes; a scoring route per endpoint, with its fields."""
    security = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    found = describe("Tidemill scoring", routes, security, _ERRORS, open_without=True)
    _, components = msgspec.json.schema_components([Answer], ref_template=_REF)
    found["components"]["schemas"].update(components)
    for route in (r for r in routes if r.path == "/score/{endpoint}"):
        answering = route._replace(gives=Answer, query=(_EXPLAIN,))
        general = _operation(answering, {"type": "object"}, security, _ERRORS, True)
        found["paths"][route.path]["post"] = general
        for name, scorer in scorers.items():
            path = f"/score/{name}"
            operation = _operation(answering._replace(path=path), scorer.request_schema(), security, _ERRORS, True)
            found["paths"].setdefault(path, {})["post"] = operation
    return found


def describe(
    title: str,
    routes: Sequence[Route],
    security: Mapping[str, Any],
    errors: Mapping[str, str],
    *,
    open_without: bool = False,
) -> dict[str, Any]:
    """The OpenAPI document of exactly these routes, by the types each takes and gives; `errors` are meanings by status.
    With `open_without`, credentials may be left out where none are set."""
    types = {kind for route in routes for kind in (route.takes, route.gives) if kind is not None}
    _, components = msgspec.json.schema_components(sorted(types, key=str), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        body = _reference(route.takes) if route.takes is not None else {"type": "object"}
        operation = _operation(route, body, security, errors, open_without)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    components["Error"] = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "field": {"type": "string"}},
        "required": ["error"],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": dict(security)},
    }


_REF = "#/components/schemas/{name}"


def _reference(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return schema


def _operation(
    route: Route,
    body: Mapping[str, Any],
    security: Mapping[str, Any],
    errors: Mapping[str, str],
    open_without: bool,
) -> dict[str, Any]:
    ok: dict[str, Any] = {"description": "The answer"}
    if route.gives is not None:
        ok["content"] = {"application/json": {"schema": _reference(route.gives)}}
    error = {"application/json": {"schema": _reference_to("Error")}}
    codes = errors if route.method == "POST" else {c: d for c, d in errors.items() if c not in _WITHOUT_BODY}
    operation: dict[str, Any] = {
        "summary": route.about,
        "parameters": [
            *({"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in _names(route.path)),
            *({"name": n, "in": "query", "schema": {"type": t}, "description": d} for n, t, d in route.query),
        ],
        "responses": {"200": ok, **{c: {"description": d, "content": error} for c, d in codes.items()}},
    }
    if route.method == "POST":
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(body)}}}
    if route.rule != OPEN:
        operation["security"] = [*({name: []} for name in security), *([{}] if open_without else [])]
    return operation


def _names(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _reference_to(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def page(doc: Mapping[str, Any]) -> str:
    """The document as HTML."""
    title = html.escape(doc["info"]["title"])
    rows = []
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            fields = json.dumps(body.get("properties"), indent=1) if body.get("properties") else ""
            shown = f"<details><summary>fields</summary><pre>{html.escape(fields)}</pre></details>" if fields else ""
            rows.append(
                f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
                f"<td>{html.escape(operation['summary'])}{shown}</td></tr>"
            )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>"
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
        "td{padding:.3rem .8rem .3rem 0;vertical-align:top;border-top:1px solid #8884}table{border-collapse:collapse}"
        f"</style><h1>{title}</h1><p>The same as OpenAPI: <a href=/openapi.json>/openapi.json</a></p>"
        f"<table>{''.join(rows)}</table></html>"
    )
