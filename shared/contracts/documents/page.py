"""docs/events.md: the contract for people, with an example of each event."""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, Final, cast

from shared.contracts import topics
from shared.contracts.documents import schemas
from shared.contracts.documents.schemas import Schema
from shared.contracts.examples import EXAMPLES
from shared.contracts.reasons import Reason
from shared.contracts.registry import TYPES, EventType

_NATURAL_KEYS: Final = (
    ("an order", "`customer_id`, `order_id`"),
    ("a refund", "`customer_id`, `order_id`, `refund_id`"),
    ("a delivery", "`customer_id`, `order_id`"),
    ("a review, and its withdrawal", "`customer_id`, `review_id`"),
    ("an activity", "`customer_id`, `activity_id`"),
    ("an answer to a survey", "`customer_id`, `answer_id`"),
)


def page() -> str:
    """The page, in Markdown."""
    text = (files("shared.contracts.documents") / "events.template.md").read_text(encoding="utf-8")
    for name, part in {
        "topics": _topics(),
        "envelope": _attributes(),
        "values": _table(
            ("type", "rule"), sorted((name, value["description"]) for name, value in schemas.VALUES.items())
        ),
        "natural_keys": _table(("what", "key"), _NATURAL_KEYS),
        "reasons": _table(("reason", "meaning"), ((f"`{reason}`", reason.meaning) for reason in Reason)),
        "types": "\n\n".join(_types()),
    }.items():
        text = text.replace(f"<<{name}>>", part)
    return text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _attributes() -> str:
    return _fields_of(schemas.of_envelope(), "attribute")


def _topics() -> str:
    def row(event: EventType) -> tuple[str, ...]:
        by = "backends" if event.topic in topics.SHOP else "Wafa" if event.is_published else "nobody yet"
        return f"`{event.topic}`", f"[`{event.name}`](#{_anchor(event.name)})", by, event.meaning

    return _table(("topic", "type", "published by", "meaning"), (row(event) for event in TYPES.values()))


def _anchor(title: str) -> str:
    """The fragment by which GitHub links to a heading."""
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")


def _types() -> Iterable[str]:
    """A section per topic; in it, the fields once per model and an example per type."""
    for topic, on_topic in groupby(TYPES.values(), key=lambda event: event.topic):
        yield f"## {topic}"
        for _, events in groupby(on_topic, key=lambda event: event.model):
            family = list(events)
            for event in family:
                yield f"### {event.name}\n{event.description}"
                if event is family[0]:
                    yield from _fields(schemas.of_data(event))
                else:
                    yield f"Fields as in [`{family[0].name}`](#{_anchor(family[0].name)})."
                yield f"```json\n{_compact(EXAMPLES[event.name].envelope())}\n```"


def _fields(schema: Schema) -> Iterable[str]:
    """The fields of an event's data, and of the parts in it."""
    yield _fields_of(schema)
    for name, part in cast("dict[str, Schema]", schema["$defs"]).items():
        if "properties" in part:
            yield f"**{name}**"
            yield _fields_of(part)


def _fields_of(schema: Schema, what: str = "field") -> str:
    required = schema.get("required", ())
    return _table(
        (what, "type", "required", "meaning"),
        (
            (f"`{name}`", _type(field), "yes" if name in required else "", field["description"])
            for name, field in cast("dict[str, Schema]", schema["properties"]).items()
        ),
    )


def _type(schema: Schema) -> str:
    """The type of a field, in short."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix("#/$defs/")
    if "anyOf" in schema:
        return " or ".join(_type(branch) for branch in schema["anyOf"] if branch != {"type": "null"})
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema["type"]) + _bounds(schema)


def _bounds(schema: Schema) -> str:
    if "exclusiveMinimum" in schema:
        return f" > {schema['exclusiveMinimum']}"
    if "maximum" in schema:
        return f" {schema['minimum']} to {schema['maximum']}"
    return f" ≥ {schema['minimum']}" if "minimum" in schema else ""


def _compact(envelope: dict[str, Any]) -> str:
    """JSON with a line per attribute and per field of `data`."""
    lines = [f"  {_json(name)}: {_json(value)}" for name, value in envelope.items() if name != "data"]
    inner = ",\n".join(f"    {_json(name)}: {_json(value)}" for name, value in envelope["data"].items())
    return "{\n" + ",\n".join([*lines, f'  "data": {{\n{inner}\n  }}']) + "\n}"


def _json(value: object) -> str:
    """JSON on one line; of a list of objects, a line for each."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    if items and all(isinstance(item, dict) for item in items):
        return "[\n" + ",\n".join(f"      {_json(item)}" for item in items) + "\n    ]"
    return json.dumps(value, ensure_ascii=False)
