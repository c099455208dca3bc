"""What documents are refused for and warned about."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from services.notifications.rules.journey.checking import check
from services.notifications.rules.journey.document import JourneyDocument
from services.notifications.rules.journey.lint import lint
from shared.programs.faults import DocumentError
from shared.programs.kind import dump
from tests.notifications.journeys.machinery import PURCHASE, REVIEW, send

NOW = datetime(2026, 3, 1, tzinfo=UTC)

WIN_BACK: dict[str, Any] = {
    "name": {"en": "Win back"},
    "enabled": True,
    "trigger": {"on": "inactivity", "of": PURCHASE, "days": 60},
    "when": [{"kind": "tier_in", "values": ["gold", "silver"]}],
    "again": {"kind": "after_days", "days": 90},
    "not_after_hours": 48,
    "steps": [
        {"kind": "send", "template": "win_back", "channels": ["push", "email"], "mode": "first"},
        {"kind": "wait", "days": 3, "at": "10:00"},
        {"kind": "stop_if", "when": [{"kind": "happened", "type": PURCHASE}]},
        {"kind": "split", "experiment": "win-back-2", "arms": {"control": [], "bonus": [send("win_back_bonus")]}},
    ],
}


def document(**changes: Any) -> JourneyDocument:
    base: dict[str, Any] = {
        "name": {"en": "Test"},
        "trigger": {"on": "event", "type": PURCHASE},
        "steps": [send()],
    }
    return JourneyDocument.model_validate(base | changes)


def faults(found: JourneyDocument) -> list[str]:
    try:
        check(found)
    except DocumentError as error:
        return [fault.pointer for fault in error.faults]
    return []


def test_the_example_of_the_contract_is_accepted_and_kept_as_it_is():
    example = JourneyDocument.model_validate(WIN_BACK)
    check(example)
    assert lint(example, NOW) == []
    assert JourneyDocument.model_validate(dump(example)) == example


def nested(depth: int) -> dict[str, Any]:
    inner = [send()] if depth == 1 else [nested(depth - 1)]
    return {"kind": "wait_for", "type": REVIEW, "within_days": 1, "then": inner, "else": []}


@pytest.mark.parametrize(
    "changes, pointer",
    [
        ({"trigger": {"on": "event", "type": "shop.nothing.v1"}}, "/trigger/type"),
        ({"trigger": {"on": "event", "type": "shop.customer.erased.v1"}}, "/trigger/type"),
        ({"trigger": {"on": "event", "type": "loyalty.message.sent.v1"}}, "/trigger/type"),
        ({"trigger": {"on": "inactivity", "of": "nothing", "days": 3}}, "/trigger/of"),
        ({"when": [{"kind": "happened", "type": PURCHASE}]}, "/when/0/within_days"),
        ({"when": [{"kind": "happened", "type": "x", "within_days": 3}]}, "/when/0/type"),
        ({"when": [{"kind": "field", "path": "total", "op": "in", "value": "9"}]}, "/when/0/value"),
        ({"when": [{"kind": "field", "path": "total", "op": "eq", "value": ["9"]}]}, "/when/0/value"),
        ({"when": [{"kind": "field", "path": "total", "op": "exists", "value": 1}]}, "/when/0/value"),
        (
            {"trigger": {"on": "event", "type": PURCHASE, "where": [{"path": "a", "op": "lt", "value": True}]}},
            "/trigger/where/0/value",
        ),
        ({"steps": [{"kind": "wait"}, send()]}, "/steps/0"),
        ({"steps": [{"kind": "wait", "days": 365, "hours": 1}, send()]}, "/steps/0"),
        ({"steps": [send(), {"kind": "digest", "hours": 2}]}, "/steps/1"),
        (
            {"steps": [{"kind": "split", "experiment": "e", "arms": {"a": [{"kind": "digest", "hours": 1}], "b": []}}]},
            "/steps/0/arms/a/0",
        ),
        ({"steps": [{"kind": "wait_for", "type": "x", "within_days": 1}]}, "/steps/0/type"),
        ({"steps": [{"kind": "stop_if", "when": [{"kind": "happened", "type": "x"}]}]}, "/steps/0/when/0/type"),
        ({"steps": [send(channels=["email", "email"])]}, "/steps/0/channels/1"),
        ({"steps": [nested(5)]}, "/steps"),
        ({"steps": [{"kind": "split", "experiment": "e", "arms": {"a": [send()] * 40, "b": [send()] * 40}}]}, "/steps"),
    ],
)
def test_a_contradiction_is_refused_with_its_place(changes: dict[str, Any], pointer: str):
    assert pointer in faults(document(**changes))


def test_steps_are_nested_five_deep():
    assert faults(document(steps=[nested(4)])) == []


@pytest.mark.parametrize(
    "changes, place",
    [
        ({"steps": []}, ("steps",)),
        ({"steps": [send()] * 51}, ("steps",)),
        ({"steps": [{"kind": "wait", "days": 366}]}, ("steps", 0, "wait", "days")),
        ({"steps": [{"kind": "wait", "at": "24:00"}]}, ("steps", 0, "wait", "at")),
        ({"steps": [send(channels=["fax"])]}, ("steps", 0, "send", "channels", 0)),
        ({"steps": [{"kind": "jump"}]}, ("steps", 0)),
        ({"again": {"kind": "after_days"}}, ("again", "after_days", "days")),
        ({"topic": "points"}, ("topic",)),
        ({"name": {}}, ("name",)),
    ],
)
def test_what_the_model_refuses(changes: dict[str, Any], place: tuple[str | int, ...]):
    with pytest.raises(ValidationError) as caught:
        document(**changes)
    assert place in [error["loc"] for error in caught.value.errors()]


@pytest.mark.parametrize(
    "changes, pointer",
    [
        ({"steps": [{"kind": "wait", "days": 1}]}, "/steps"),
        ({"enabled": False}, "/enabled"),
        ({"trigger": {"on": "before", "what": "points_expiry", "days": 14}}, "/trigger/days"),
        ({"trigger": {"on": "date", "field": "birth_date"}, "again": {"kind": "never"}}, "/again"),
        ({"when": [{"kind": "field", "path": "amount", "op": "gt", "value": "1"}]}, "/when/0/path"),
        ({"steps": [send(), send("other")]}, "/steps/1"),
        ({"steps": [{"kind": "stop_if", "when": [{"kind": "tier_in", "values": ["x"]}]}, send()]}, "/steps/0"),
        ({"steps": [{"kind": "split", "experiment": "e", "arms": {"a": [], "b": []}}, send()]}, "/steps/0/arms"),
    ],
)
def test_what_is_doubtful_is_warned_about(changes: dict[str, Any], pointer: str):
    found = document(**changes)
    check(found)
    assert pointer in [fault.pointer for fault in lint(found, NOW)]


def test_fields_of_events_are_no_doubt():
    fields = [{"kind": "field", "path": path, "op": "exists", "value": True} for path in ("total", "lines.0.sku")]
    assert lint(document(when=fields), NOW) == []
    tier = {"on": "event", "type": "loyalty.tier.promoted.v1", "where": [{"path": "from", "op": "eq", "value": "x"}]}
    assert lint(document(trigger=tier), NOW) == []
