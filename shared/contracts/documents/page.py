"""docs/events.md: the contract to read, with an example of each event."""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, Final, cast

from shared.contracts import topics
from shared.contracts.documents import glossary, schemas
from shared.contracts.documents.schemas import Schema
from shared.contracts.examples import EXAMPLES
from shared.contracts.registry import TYPES, EventType

_ATTRIBUTES: Final = (
    ("specversion", "yes", "`1.0`."),
    ("id", "yes", "1 to 128 characters. With `source` it names the event."),
    ("source", "yes", "A URI-reference of 1 to 128 characters: who publishes."),
    ("type", "yes", "One of the types below."),
    (
        "time",
        "yes",
        (
            "Strict RFC 3339 with offset: when it happened. Rules are judged at this time, not at arrival. Any age is "
            "welcome; more than 24 hours ahead of the record's Kafka timestamp is refused."
        ),
    ),
    ("subject", "", "The customer id, if it is there at all."),
    (
        "correlationid",
        "",
        (
            "The root cause: an event, an API call or, where points fall due, the transaction that booked them. "
            "Wafa sets it on all it publishes."
        ),
    ),
    ("causationid", "", "The event, or the API call, that caused this one. Wafa sets it too."),
    ("traceparent", "", "W3C trace context, carried through."),
    ("data", "yes", "As the type has it."),
)

_NATURAL_KEYS: Final = (
    ("an order", "`customer_id`, `order_id`"),
    ("a refund", "`customer_id`, `order_id`, `refund_id`"),
    ("a delivery", "`customer_id`, `order_id`"),
    ("a review, and its withdrawal", "`customer_id`, `review_id`"),
    ("an activity", "`customer_id`, `activity_id`"),
    ("an answer to a survey", "`customer_id`, `answer_id`"),
)


def page() -> str:
    """The whole page, in Markdown."""
    text = (files("shared.contracts.documents") / "events.template.md").read_text(encoding="utf-8")
    for name, part in {
        "topics": _topics(),
        "envelope": _table(("attribute", "required", "rule"), ((f"`{name}`", *rest) for name, *rest in _ATTRIBUTES)),
        "values": _table(("type", "rule"), sorted((name, rule) for name, rule in glossary.VALUES.items())),
        "natural_keys": _table(("what", "key"), _NATURAL_KEYS),
        "reasons": _table(("reason", "meaning"), ((f"`{name}`", said) for name, said in glossary.REASONS.items())),
        "types": "\n\n".join(_types()),
    }.items():
        text = text.replace(f"<<{name}>>", part)
    return text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _topics() -> str:
    def row(event: EventType) -> tuple[str, ...]:
        by = "backends" if event.topic in topics.SHOP else "Wafa"
        return f"`{event.topic}`", f"[`{event.name}`](#{_anchor(event.name)})", by, glossary.TYPES[event.name]

    return _table(("topic", "type", "published by", "meaning"), (row(event) for event in TYPES.values()))


def _anchor(title: str) -> str:
    """The fragment that GitHub gives a heading."""
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")


def _types() -> Iterable[str]:
    """A section per topic and, in it, the fields once per model and an example per type."""
    for topic, on_topic in groupby(TYPES.values(), key=lambda event: event.topic):
        yield f"## {topic}"
        for _, alike in groupby(on_topic, key=lambda event: event.model):
            family = list(alike)
            for event in family:
                yield f"### {event.name}\n{glossary.TYPES[event.name]}"
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


def _fields_of(schema: Schema) -> str:
    required = schema.get("required", ())
    return _table(
        ("field", "type", "required", "meaning"),
        (
            (f"`{name}`", _type(field), "yes" if name in required else "", field["description"])
            for name, field in cast("dict[str, Schema]", schema["properties"]).items()
        ),
    )


def _type(schema: Schema) -> str:
    """A field's type in a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix("#/$defs/")
    if "anyOf" in schema:
        return " or ".join(_type(branch) for branch in schema["anyOf"] if branch != {"type": "null"})
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
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
