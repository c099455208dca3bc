"""Documents of templates, and what is wrong about them."""

from typing import Any

from services.notifications.rendering.kind import Templates
from services.notifications.rendering.renderer import Renderer
from services.notifications.rules.template.document import TemplateDocument
from shared.programs.faults import DocumentError

TEMPLATES = Templates(Renderer("Wafa"))


def document(**changes: Any) -> dict[str, Any]:
    """A valid document with changes."""
    return {
        "topic": "points",
        "kind": "transactional",
        "samples": {"points": 120, "order_id": "A-1"},
        "in_app": {"en": {"title": "{{ points | number }} points", "body": "For {{ order_id | isolate }}."}},
        **changes,
    }


def in_app(body: str) -> dict[str, Any]:
    return {"en": {"title": "Title", "body": body}}


def email(**texts: str) -> dict[str, Any]:
    return {"en": {"subject": "Subject", **texts}}


def model(**changes: Any) -> TemplateDocument:
    return TemplateDocument.model_validate(document(**changes))


def faults(**changes: Any) -> dict[str, str]:
    """The faults for which a document is refused, by pointer; empty if it is valid."""
    try:
        TEMPLATES.check(model(**changes))
    except DocumentError as error:
        return {fault.pointer: fault.message for fault in error.faults}
    return {}
