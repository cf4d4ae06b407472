"""The interface as an OpenAPI 3.1 document, from the table of routes, and as one page that loads nothing else."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from serving.scoring import Answer, Scorer
from tidemill import __version__

if TYPE_CHECKING:
    from serving.http import Route

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


def document(routes: Sequence[Route], scorers: Mapping[str, Scorer]) -> dict[str, Any]:
    """The OpenAPI document of exactly these routes; a scoring route per endpoint, with its fields."""
    _, components = msgspec.json.schema_components([Answer], ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.path == "/score/{endpoint}":
            for name, scorer in scorers.items():
                operation = _operation(route, "Answer", scorer.request_schema())
                operation["parameters"] = [_explain()]
                paths.setdefault(f"/score/{name}", {})["post"] = operation
        operation = _operation(route, "Answer" if route.path.startswith("/score/{") else "", {"type": "object"})
        names = re.findall(r"{(\w+)}", route.path)
        operation["parameters"] = [
            {"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names
        ] + ([_explain()] if "endpoint" in names else [])
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    components["Error"] = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "field": {"type": "string"}},
        "required": ["error"],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidemill scoring", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _explain() -> dict[str, Any]:
    return {"name": "explain", "in": "query", "schema": {"type": "boolean"}, "description": "Give the reasons"}


def _operation(route: Route, answer: str, request: Mapping[str, Any]) -> dict[str, Any]:
    ok: dict[str, Any] = {"description": "The answer"}
    if answer:
        ok["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    codes = _ERRORS if route.method == "POST" else {c: _ERRORS[c] for c in ("401", "404", "429", "503")}
    operation: dict[str, Any] = {
        "summary": route.about,
        "responses": {"200": ok, **{c: {"description": d, "content": error} for c, d in codes.items()}},
    }
    if route.method == "POST":
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(request)}}}
    if route.rule == "key":
        operation["security"] = [{"bearer": []}, {"key": []}, {}]
    return operation


def page(doc: Mapping[str, Any]) -> str:
    """The document as HTML."""
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
        "<!doctype html><html lang=en><meta charset=utf-8><title>Tidemill scoring</title><style>"
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
        "td{padding:.3rem .8rem .3rem 0;vertical-align:top;border-top:1px solid #8884}table{border-collapse:collapse}"
        "</style><h1>Tidemill scoring</h1><p>The same as OpenAPI: <a href=/openapi.json>/openapi.json</a></p>"
        f"<table>{''.join(rows)}</table></html>"
    )
