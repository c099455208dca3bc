"""Merges several OpenAPI documents into one."""

import copy
from collections.abc import Mapping
from typing import Any, Final

Document = dict[str, Any]

_SCHEMAS: Final = "#/components/schemas/"


def merged(documents: Mapping[str, Document]) -> Document:
    """Merge the documents of several services. No two services share a path.

    If two services have different schemas with the same name, the later one gets its service's name as a prefix.
    """
    whole: Document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Wafa",
            "version": "1",
            "description": "Points, tiers, referrals and messages: the APIs of all services behind one port.",
        },
        "paths": {},
        "components": {},
        "tags": [],
    }
    for service, original in documents.items():
        document = _with_own_names(service, original, whole["components"].get("schemas", {}))
        whole["paths"] |= document.get("paths", {})
        whole["tags"] += document.get("tags", [])
        for kind, entries in document.get("components", {}).items():
            whole["components"].setdefault(kind, {}).update(entries)
    return whole


def _with_own_names(service: str, original: Document, taken: Mapping[str, Any]) -> Document:
    """A copy in which no schema has the name of a different schema in `taken`."""
    document = copy.deepcopy(original)
    schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
    renamed = {name for name, schema in schemas.items() if name in taken and taken[name] != schema}
    # A schema that refers to a renamed schema now differs from its namesake too.
    while more := {
        name for name, schema in schemas.items() if name in taken and name not in renamed and _refers(schema, renamed)
    }:
        renamed |= more
    for name in renamed:
        schemas[f"{service.capitalize()}{name}"] = schemas.pop(name)
    _redirect(document, {_SCHEMAS + name: f"{_SCHEMAS}{service.capitalize()}{name}" for name in renamed})
    return document


def _refers(node: object, names: set[str]) -> bool:
    """Whether a schema refers to one of `names`, by `$ref` or in the mapping of a discriminator."""
    if isinstance(node, dict):
        return any(_refers(value, names) for value in node.values())
    if isinstance(node, list):
        return any(_refers(value, names) for value in node)
    return isinstance(node, str) and node.startswith(_SCHEMAS) and node.removeprefix(_SCHEMAS) in names


def _redirect(node: object, targets: Mapping[str, str]) -> None:
    """Replace references in place."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str):
                node[key] = targets.get(value, value)
            else:
                _redirect(value, targets)
    elif isinstance(node, list):
        for value in node:
            _redirect(value, targets)
