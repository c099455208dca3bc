"""JSON Schemas (2020-12) of the data of every event type, and of the CloudEvent around it."""

from typing import Any, Final, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from shared.contracts import values
from shared.contracts.registry import EventType
from shared.contracts.topics import LOYALTY

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def of_data(event: EventType) -> Schema:
    """The schema of an event type's `data`. Events that Wafa publishes contain no null, events that it reads may."""
    generated = event.model.model_json_schema(schema_generator=_Untitled)
    models = cast("dict[str, Schema]", generated.pop("$defs", {}))
    writer = _Writer(without_null=event.topic in LOYALTY)
    body = writer.model(generated)
    parts = {name: writer.model(models[name]) for name in sorted(models)}
    return {
        "$schema": DIALECT,
        "$id": f"urn:wafa:event:{event.name}",
        "title": event.name,
        "description": event.description,
        "x-topic": event.topic,
        **({} if event.is_published else {"x-not-yet-published": True}),
        **{key: found for key, found in body.items() if key != "title"},
        "$defs": {**parts, **dict(sorted(writer.values.items()))},
    }


def of_envelope() -> Schema:
    """The schema of a CloudEvent in structured mode, for all types."""
    name = {"type": "string", "minLength": 1, "maxLength": 128}
    properties = {
        "specversion": {"const": "1.0", "description": "Version of CloudEvents."},
        "id": {
            **name,
            "description": "1 to 128 characters. `source` and `id` identify the event: a repeat has no effect.",
        },
        "source": {
            **name,
            "format": "uri-reference",
            "description": "The publisher: a URI-reference of 1 to 128 characters.",
        },
        "type": {"type": "string", "minLength": 1, "description": "The event type; unknown types are skipped."},
        "time": {
            "type": "string",
            "format": "date-time",
            "description": "When it happened: strict RFC 3339 with offset. Rules apply as of this time, not of "
            "arrival. Any age is accepted; a shop's event more than 24 hours ahead of the record's Kafka timestamp is "
            "refused.",
        },
        "subject": {"type": "string", "description": "The customer id, if present."},
        "datacontenttype": {"const": "application/json", "description": "The format of `data`."},
        "correlationid": {
            **name,
            "description": "The root cause: an event, an API call or, for points that fall due, the transaction that "
            "granted them. Wafa sets it on all its events.",
        },
        "causationid": {
            **name,
            "description": "The event or API call that caused this event. Wafa sets it on all its events.",
        },
        "traceparent": {"type": "string", "description": "W3C trace context, passed through."},
        "data": {"type": "object", "description": "The data of the event, by the schema of its type."},
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:wafa:cloudevent",
        "title": "CloudEvent",
        "description": "CloudEvents 1.0 in structured mode, as Wafa publishes and reads it.",
        "type": "object",
        "properties": properties,
        "required": ["specversion", "id", "source", "type", "time", "data"],
    }


class _Untitled(GenerateJsonSchema):
    """Titles only for the value types that the contract names, not for fields."""

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


VALUES: Final = {
    str(schema["title"]): schema
    for schema in (TypeAdapter[Any](value).json_schema(schema_generator=_Untitled) for value in values.NAMED)
}
"""The schemas of the value types that the contract names, by their titles."""


def _description(name: str, field: Schema) -> str:
    """The description of a field, not that of its value type."""
    description = cast("str | None", field.get("description"))
    if description is None or description == VALUES.get(field.get("title", ""), {}).get("description"):
        raise KeyError(f"{name}: the field has no description")
    return description


class _Writer:
    """Rewrites pydantic's schemas: named value types become references, and null goes where it cannot occur."""

    def __init__(self, *, without_null: bool) -> None:
        self._without_null = without_null
        self.values: dict[str, Schema] = {}

    def model(self, schema: Schema) -> Schema:
        """The schema of a model.

        Raises:
            KeyError: a field has no description of its own.
        """
        fields = cast("dict[str, Schema]", schema["properties"])
        properties = {
            name: {**self._value(field), "description": _description(name, field)} for name, field in fields.items()
        }
        model = {"title": schema["title"], "type": "object", "properties": properties}
        return model | ({"required": schema["required"]} if "required" in schema else {})

    def _value(self, schema: Schema) -> Schema:
        title = cast("str | None", schema.get("title"))
        if title is not None:
            self.values[title] = VALUES[title]
            return {"$ref": f"#/$defs/{title}"}
        rewritten = {key: found for key, found in schema.items() if not (key == "default" and found is None)}
        if "items" in schema:
            rewritten["items"] = self._value(schema["items"])
        if "anyOf" in schema:
            branches = [self._value(branch) for branch in schema["anyOf"] if not self._is_dropped(branch)]
            del rewritten["anyOf"]
            rewritten |= branches[0] if len(branches) == 1 else {"anyOf": branches}
        return rewritten

    def _is_dropped(self, branch: Schema) -> bool:
        return self._without_null and branch == {"type": "null"}
