"""The AsyncAPI 3.0 document: topics as channels, event types as messages, keys as Kafka bindings."""

from collections.abc import Iterable
from typing import Any, Final

from shared.contracts import topics
from shared.contracts.envelope import STRUCTURED
from shared.contracts.examples import EXAMPLES
from shared.contracts.registry import TYPES, EventType

_JSON_SCHEMA: Final = "application/schema+json;version=draft-2020-12"
_BINDING: Final = "0.5.0"
_CONTENT_TYPE: Final = STRUCTURED.decode()

Document = dict[str, Any]


def document() -> Document:
    """The document; payloads refer to the schema files beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Wafa events",
            "version": "1.0.0",
            "description": "The events that backends publish to Wafa and the events that Wafa publishes: CloudEvents "
            "1.0 on Kafka, keyed by customer id. Binary mode is accepted too; docs/events.md has the rules.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _CONTENT_TYPE,
        "channels": {topic: _channel(topic, _types_on(topic)) for topic in topics.ALL},
        "operations": {
            **{f"receive.{topic}": _operation("receive", topic) for topic in topics.SHOP},
            **{f"send.{topic}": _operation("send", topic) for topic in topics.LOYALTY},
        },
        "components": {"messages": {event.name: _message(event) for event in TYPES.values()}},
    }


def _types_on(topic: str) -> list[EventType]:
    return [event for event in TYPES.values() if event.topic == topic]


def _channel(topic: str, events: Iterable[EventType]) -> Document:
    return {
        "address": topic,
        "messages": {event.name: {"$ref": f"#/components/messages/{event.name}"} for event in events},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": _BINDING}},
    }


def _operation(action: str, topic: str) -> Document:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic}"}}


def _message(event: EventType) -> Document:
    payload = {
        "allOf": [{"$ref": "./cloudevent.json"}],
        "properties": {"type": {"const": event.name}, "data": {"$ref": f"./{event.name}.json"}},
    }
    return {
        "name": event.name,
        "title": event.name,
        "summary": event.description,
        "contentType": _CONTENT_TYPE,
        "headers": {
            "type": "object",
            "properties": {"content-type": {"type": "string", "const": _CONTENT_TYPE}},
        },
        "payload": {"schemaFormat": _JSON_SCHEMA, "schema": payload},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "The customer id, UTF-8."},
                "bindingVersion": _BINDING,
            }
        },
        "examples": [{"payload": EXAMPLES[event.name].envelope()}],
        **({} if event.is_published else {"x-not-yet-published": True}),
    }
