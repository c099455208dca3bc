"""JSON Schemas (2020-12): of every event type's data, and of the CloudEvent around it."""

from typing import Any, Final, cast

from pydantic.json_schema import GenerateJsonSchema

from shared.contracts.documents import glossary
from shared.contracts.registry import EventType
from shared.contracts.topics import LOYALTY

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def of_data(event: EventType) -> Schema:
    """The schema of an event type's `data`. What Wafa publishes never holds null; what it reads may."""
    generated = event.model.model_json_schema(schema_generator=_Untitled)
    models = cast("dict[str, Schema]", generated.pop("$defs", {}))
    writer = _Writer(without_null=event.topic in LOYALTY)
    body = writer.model(generated)
    parts = {name: writer.model(models[name]) for name in sorted(models)}
    return {
        "$schema": DIALECT,
        "$id": f"urn:wafa:event:{event.name}",
        "title": event.name,
        "description": glossary.TYPES[event.name],
        "x-topic": event.topic,
        **{key: found for key, found in body.items() if key != "title"},
        "$defs": {**parts, **dict(sorted(writer.values.items()))},
    }


def of_envelope() -> Schema:
    """The schema of a CloudEvent in structured mode, whatever its type."""
    name = {"type": "string", "minLength": 1, "maxLength": 128}
    properties = {
        "specversion": {"const": "1.0"},
        "id": {**name, "description": "With `source` it names the event: a second one has no effect."},
        "source": {**name, "format": "uri-reference", "description": "Who publishes."},
        "type": {"type": "string", "minLength": 1, "description": "Which event it is; unknown ones are skipped."},
        "time": {"type": "string", "format": "date-time", "description": "When it happened (RFC 3339 with offset)."},
        "subject": {"type": "string", "description": "The customer id, where it is there at all."},
        "datacontenttype": {"const": "application/json"},
        "correlationid": {**name, "description": "The root cause, such as an event or an API call."},
        "causationid": {**name, "description": "The event, or the API call, that caused this one."},
        "traceparent": {"type": "string", "description": "W3C trace context, carried through."},
        "data": {"type": "object", "description": "As the schema of the type has it."},
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:wafa:cloudevent",
        "title": "CloudEvent",
        "description": "CloudEvents 1.0 in structured mode, as Wafa publishes it and reads it.",
        "type": "object",
        "properties": properties,
        "required": ["specversion", "id", "source", "type", "time", "data"],
    }


class _Untitled(GenerateJsonSchema):
    """Titles only where the contract gives one: those name its value types."""

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


class _Writer:
    """Rewrites pydantic's schemas: value types by reference, each field with its meaning, no null where none comes."""

    def __init__(self, *, without_null: bool) -> None:
        self._without_null = without_null
        self.values: dict[str, Schema] = {}

    def model(self, schema: Schema) -> Schema:
        """The schema of a model, its fields described."""
        name: str = schema["title"]
        properties = cast("dict[str, Schema]", schema["properties"])
        described = {
            field: {**self._value(found), "description": glossary.of_field(name, field)}
            for field, found in properties.items()
        }
        kept = {"title": name, "type": "object", "properties": described}
        return kept | ({"required": schema["required"]} if "required" in schema else {})

    def _value(self, schema: Schema) -> Schema:
        title = cast("str | None", schema.get("title"))
        if title is not None:
            self.values[title] = {**schema, "description": glossary.VALUES[title]}
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
