"""The HTTP API as an OpenAPI 3.1 document, from the table of operations; the schemas are pydantic's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaMode

from api.http.problems import KINDS, MEDIA_TYPE
from api.http.requests import Places, plain
from api.operations.base import AnyOperation, Route
from api.operations.table import OPERATIONS

Schema = dict[str, Any]
_REF = "#/components/schemas/{model}"
_PROBLEM: Schema = {
    "type": "object",
    "description": "problem details; docs/reference/http.md lists the types",
    "required": ["type", "title", "status", "detail", "hint"],
    "properties": {
        "type": {"type": "string", "examples": [f"urn:hive:{kind.slug}" for kind in KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "retry_after": {"type": "number"},
        "log": {"type": "string"},
    },
}


@lru_cache(maxsize=1)
def document(version: str) -> bytes:
    """Return the document as JSON. `version` is hive's revision."""
    with_routes = [operation for operation in OPERATIONS if operation.routes]
    types: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = []
    for operation in with_routes:
        types.append((operation.name, "validation", TypeAdapter(operation.input)))
        types.append((operation.name, "serialization", TypeAdapter(operation.json_output)))
    schemas, shared = TypeAdapter.json_schemas(types, ref_template=_REF)
    components: dict[str, Schema] = shared.get("$defs", {})
    paths: dict[str, dict[str, Schema]] = {}
    for operation in with_routes:
        request = _resolve(schemas[operation.name, "validation"], components)
        answer = schemas[operation.name, "serialization"]
        for number, route in enumerate(operation.routes):
            entry = _operation(operation, route, request, answer, number)
            paths.setdefault(route.path, {})[route.method.lower()] = entry
    openapi = {
        "openapi": "3.1.0",
        "info": {"title": "hive", "version": version or "unknown", "description": "The operator's API on http.sock."},
        "paths": paths,
        "components": {"schemas": {**_used(paths, components), "Problem": _PROBLEM}},
    }
    return json.dumps(openapi, ensure_ascii=False, separators=(",", ":")).encode()


def _operation(operation: AnyOperation, route: Route, request: Schema, answer: Schema, number: int) -> Schema:
    places, fields = Places(operation.input, route), request.get("properties", {})
    parameters = [
        *(_parameter(name, "path", fields[name], field) for name, field in places.path.items()),
        *(_parameter(name, "query", fields[name], field) for name, field in places.query.items()),
        *(
            _parameter(header, "header", fields[name], field)
            for (header, field), name in zip(places.headers.items(), route.headers.values(), strict=True)
        ),
    ]
    content = {
        media: {"schema": answer if media == "application/json" else {"type": "string"}} for media in route.media
    }
    described: Schema = {
        "operationId": operation.name if number == 0 else f"{operation.name}_{number + 1}",
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            str(route.status): {"description": "done", "content": content},
            "default": {
                "description": "not done, with the reason",
                "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
            },
        },
    }
    if route.method == "POST":
        required = [name for name in request.get("required", []) if name in places.body]
        body: Schema = {
            "type": "object",
            "properties": {name: fields[name] for name in places.body},
            "additionalProperties": False,
        }
        if required:
            body["required"] = required
        content = {"application/json": {"schema": body}}
        described["requestBody"] = {"required": bool(required), "content": content}
    return described


def _parameter(name: str, place: str, schema: Schema, field: FieldInfo) -> Schema:
    """Return a parameter. It is a text or absent, so its schema has no null; a boolean is 0 or 1."""
    description = schema.get("description")
    bare = {key: value for key, value in schema.items() if key not in ("title", "description", "anyOf", "default")}
    for choice in schema.get("anyOf", ()):
        bare |= choice if choice != {"type": "null"} else {}
    if schema.get("default") is not None:
        bare["default"] = schema["default"]
    if plain(field.annotation) is bool:
        bare = {"type": "integer", "enum": [0, 1], "default": int(bool(schema.get("default")))}
    described: Schema = {"name": name, "in": place, "required": place == "path" or field.is_required(), "schema": bare}
    return {**described, "description": description} if description else described


def _resolve(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    reference = schema.get("$ref")
    return components[str(reference).rpartition("/")[2]] if reference else schema


def _used(paths: object, components: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the components that the paths refer to, directly or not."""
    used: dict[str, Schema] = {}
    waiting = list(_references(paths))
    while waiting:
        name = waiting.pop()
        if name in components and name not in used:
            used[name] = components[name]
            waiting += _references(components[name])
    return dict(sorted(used.items()))


def _references(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for child in value.values():
            yield from _references(child)
    elif isinstance(value, list):
        for child in value:
            yield from _references(child)
