"""Finds incompatible changes of schemas.

The rules:

- No type, topic or field is removed or renamed.
- The new schema accepts everything that the old one accepted. So backends can publish as before, and records in the
  log can be read again.
- For events that Wafa publishes, the old schema accepts everything that the new one allows. So a published type can
  only gain optional fields; a value added to an enum breaks readers as much as a removed one.

An incompatible change makes a new type (`….v2`) beside the old one.

Schemas are compared structurally by the keywords that pydantic writes. A changed keyword that cannot be compared counts
as incompatible.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

Schema = dict[str, Any]

_ANNOTATIONS: Final = frozenset(
    {"$schema", "$id", "$defs", "$ref", "title", "description", "default", "examples", "x-not-yet-published"}
)
_AT_LEAST: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems"})
_AT_MOST: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems"})


def breaks(old: Schema, new: Schema, *, published: bool) -> list[str]:
    """The incompatible changes between two schemas of a type, a line each; `published` by Wafa or only read."""
    before, after = _Side(old, old), _Side(new, new)
    lines = list(_removed(before, after, "data"))
    lines += [f"no longer accepted: {line}" for line in _refused(wide=after, narrow=before, path="data")]
    if published:
        lines += [f"readers do not expect: {line}" for line in _refused(wide=before, narrow=after, path="data")]
    return lines


@dataclass(frozen=True, slots=True)
class _Side:
    """A schema and the document that its references point into."""

    schema: Schema
    document: Schema

    def at(self, schema: Schema) -> "_Side":
        """A part of the same document, its reference followed."""
        reference = cast("str | None", schema.get("$ref"))
        if reference is None:
            return _Side(schema, self.document)
        name = reference.removeprefix("#/$defs/")
        return _Side({**self.document["$defs"][name], **schema}, self.document)

    def branches(self) -> "list[_Side]":
        """The alternatives, merged with the keywords beside them; the schema itself if there are none."""
        beside = {keyword: value for keyword, value in self.schema.items() if keyword != "anyOf"}
        return [self.at({**beside, **branch}) for branch in self.schema.get("anyOf", ())] or [self]

    @property
    def properties(self) -> dict[str, Schema]:
        return self.schema.get("properties", {})

    @property
    def required(self) -> set[str]:
        return set(self.schema.get("required", ()))


def _removed(old: _Side, new: _Side, path: str) -> Iterator[str]:
    """Removed fields, at any depth."""
    for branch in old.branches():
        peers = [peer for peer in new.branches() if peer.schema.get("type") == branch.schema.get("type")]
        for peer in peers[:1]:
            for name, field in branch.properties.items():
                if name not in peer.properties:
                    yield f"removed: {path}.{name}"
                else:
                    yield from _removed(branch.at(field), peer.at(peer.properties[name]), f"{path}.{name}")
            if "items" in branch.schema and "items" in peer.schema:
                yield from _removed(branch.at(branch.schema["items"]), peer.at(peer.schema["items"]), f"{path}[]")


def _refused(wide: _Side, narrow: _Side, path: str) -> Iterator[str]:
    """Why a value of `narrow` is not a value of `wide`; empty if all are."""
    for branch in narrow.branches():
        attempts = [list(_refused_branch(wide_branch, branch, path)) for wide_branch in wide.branches()]
        if all(attempts):
            # The closest branch gives the best explanation.
            yield from min(attempts, key=len)


def _refused_branch(wide: _Side, narrow: _Side, path: str) -> Iterator[str]:
    for keyword in sorted((wide.schema.keys() | narrow.schema.keys()) - _ANNOTATIONS):
        compare = _COMPARED.get(keyword, _is_same)
        yield from compare(wide, narrow, keyword, path)


def _is_same(wide: _Side, narrow: _Side, keyword: str, path: str) -> Iterator[str]:
    if keyword in wide.schema and wide.schema[keyword] != narrow.schema.get(keyword):
        yield f"{path}: {keyword} {narrow.schema.get(keyword)!r} is not {wide.schema[keyword]!r}"


def _bounds(wide: _Side, narrow: _Side, keyword: str, path: str) -> Iterator[str]:
    if keyword not in wide.schema:
        return
    limit, bound = wide.schema[keyword], narrow.schema.get(keyword)
    fits = bound is not None and (bound >= limit if keyword in _AT_LEAST else bound <= limit)
    if not fits:
        yield f"{path}: {keyword} {bound!r} goes beyond {limit!r}"


def _values(wide: _Side, narrow: _Side, keyword: str, path: str) -> Iterator[str]:
    del keyword
    allowed = _listed(wide)
    if allowed is None:
        return
    values = _listed(narrow)
    more = ["any value"] if values is None else [repr(value) for value in values if value not in allowed]
    if more:
        yield f"{path}: {', '.join(more)} is not among the values {allowed}"


def _listed(side: _Side) -> list[Any] | None:
    """The values of an enum, or the value of a const."""
    if "const" in side.schema:
        return [side.schema["const"]]
    return side.schema.get("enum")


def _required(wide: _Side, narrow: _Side, keyword: str, path: str) -> Iterator[str]:
    del keyword
    for name in sorted(wide.required - narrow.required):
        yield f"{path}.{name}: is required and may be absent"


def _properties(wide: _Side, narrow: _Side, keyword: str, path: str) -> Iterator[str]:
    del keyword
    # A field that only one side names is compatible: readers ignore unknown fields.
    for name in narrow.properties.keys() & wide.properties.keys():
        yield from _refused(wide.at(wide.properties[name]), narrow.at(narrow.properties[name]), f"{path}.{name}")


def _items(wide: _Side, narrow: _Side, keyword: str, path: str) -> Iterator[str]:
    if keyword in wide.schema:
        yield from _refused(wide.at(wide.schema[keyword]), narrow.at(narrow.schema.get(keyword, {})), f"{path}[]")


_Comparison = Callable[[_Side, _Side, str, str], Iterator[str]]

_COMPARED: Final[dict[str, _Comparison]] = {
    **dict.fromkeys(_AT_LEAST | _AT_MOST, _bounds),
    "enum": _values,
    "const": _values,
    "required": _required,
    "properties": _properties,
    "items": _items,
}
