"""Every route and every field of every API is described in its OpenAPI document."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from services import SERVICES


def document(service: str) -> dict[str, Any]:
    settings = importlib.import_module(f"services.{service}.settings").Settings()
    found: dict[str, Any] = importlib.import_module(f"services.{service}.__main__").DOOR.app(settings, None).openapi()
    return found


def undescribed_routes(found: dict[str, Any]) -> Iterator[str]:
    for path, item in found["paths"].items():
        for method, operation in item.items():
            route = f"{method.upper()} {path}"
            yield from (f"{route}: {part}" for part in ("summary", "description") if not operation.get(part))
            for parameter in operation.get("parameters", ()):
                if not parameter.get("description"):
                    yield f"{route}: parameter {parameter['name']}"


def undescribed_fields(found: dict[str, Any]) -> Iterator[str]:
    schemas = found["components"]["schemas"]
    for name, schema in schemas.items():
        for field, content in schema.get("properties", {}).items():
            # Pydantic drops a description that the model has too; `kind: "tier_in"` is described by its model.
            referenced = schemas.get(content.get("$ref", "").rpartition("/")[2], {})
            if not (content.get("description") or referenced.get("description") or "const" in content):
                yield f"{name}.{field}"


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_has_a_summary_and_a_description(service: str):
    assert list(undescribed_routes(document(service))) == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_field_has_a_description(service: str):
    assert list(undescribed_fields(document(service))) == []


def test_what_is_not_described_is_found():
    operation = {"summary": "List", "parameters": [{"name": "id"}]}
    schemas = {"View": {"properties": {"id": {"type": "string"}, "kind": {"const": "view"}}}}
    found = {"paths": {"/v1/views": {"get": operation}}, "components": {"schemas": schemas}}
    assert list(undescribed_routes(found)) == ["GET /v1/views: description", "GET /v1/views: parameter id"]
    assert list(undescribed_fields(found)) == ["View.id"]
