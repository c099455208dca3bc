"""The templates that ship with the product: there is one for each send step of the shipped journeys, without faults."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.notifications.rendering.compiled import Template, compiled
from services.notifications.rendering.kind import facts_of
from services.notifications.rendering.renderer import Reader
from services.notifications.rules.journey.checking import walk
from services.notifications.rules.journey.document import JourneyDocument, Send
from services.notifications.rules.message import Channel
from services.notifications.rules.template.document import TemplateDocument
from services.notifications.rules.trigger import triggers
from shared.contracts.envelope import Event
from shared.contracts.examples import EXAMPLES
from tests.notifications.templates.documents import TEMPLATES
from tests.notifications.world import event

FOLDER = Path("services/notifications/documents")
NAMES = sorted(file.stem for file in (FOLDER / "template").iterdir())
DOCUMENTS = {
    name: TemplateDocument.model_validate_json((FOLDER / "template" / f"{name}.json").read_text(encoding="utf-8"))
    for name in NAMES
}
LAYLA = Reader("c-1042", "ليلى حداد", "ar-JO", "Asia/Amman", "silver", 340, 129, "https://shop.example/u/token")
OMAR = Reader("c-2077")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid_and_beyond_doubt(name: str):
    TEMPLATES.check(DOCUMENTS[name])
    doubts = {fault.pointer for fault in TEMPLATES.lint(DOCUMENTS[name], datetime.now(UTC))}
    assert doubts <= {"/kind"}  # surveys about an order


@pytest.mark.parametrize("name", NAMES)
def test_it_speaks_english_and_arabic_on_each_channel(name: str):
    for channel in Channel:
        texts = DOCUMENTS[name].of(channel)
        assert texts is None or set(texts) == {"en", "ar"}, channel


def test_there_is_one_for_each_step_of_the_journeys():
    used: set[str] = set()
    for file in (FOLDER / "journey").iterdir():
        journey = JourneyDocument.model_validate_json(file.read_text(encoding="utf-8"))
        for _, step in walk(journey.steps):
            if isinstance(step, Send):
                used.add(step.template)
                for channel in step.channels:
                    assert DOCUMENTS[step.template].of(channel), (file.name, channel)
    assert used == set(NAMES)


STARTED_BY = {
    "points_earned": "loyalty.points.earned.v1",
    "points_taken_back": "loyalty.points.reversed.v1",
    "points_expiring": "loyalty.points.expiring.v1",
    "reward_redeemed": "loyalty.points.redeemed.v1",
    "tier_reached": "loyalty.tier.promoted.v1",
    "tier_lost": "loyalty.tier.demoted.v1",
    "tier_at_risk": "loyalty.tier.at_risk.v1",
    "referral_approved": "loyalty.referral.approved.v1",
    "welcome": "shop.customer.registered.v1",
    "thank_you": "shop.purchase.completed.v1",
    "csat": "shop.purchase.completed.v1",
    "order_delivered": "shop.purchase.delivered.v1",
    "review_request": "shop.purchase.delivered.v1",
}
WITHOUT_FACTS = {"birthday", "nps", "win_back"}


def test_each_has_a_trigger():
    assert set(STARTED_BY) | WITHOUT_FACTS == set(NAMES)


def example(type_: str, without: tuple[str, ...] = ()) -> Event:
    data = json.loads(json.dumps(EXAMPLES[type_].data))
    return event(type_, {name: value for name, value in data.items() if name not in without})


def all_texts(template: Template, facts: Any, reader: Reader) -> str:
    texts: list[str] = []
    for channel, locale in template.places():
        rendered = TEMPLATES.render(template, channel, locale, facts, reader)
        texts += [value for name in rendered.__slots__ if (value := getattr(rendered, name)) and name != "html"]
    return "\n".join(texts)


@pytest.mark.parametrize("reader", [LAYLA, OMAR], ids=["layla", "omar"])
@pytest.mark.parametrize("name", sorted(STARTED_BY))
def test_it_renders_from_the_event_that_starts_its_journey(name: str, reader: Reader):
    # Nothing optional may be needed, apart from what each such event has.
    optional = {"thank_you": ("lines",), "tier_lost": ("progress", "from"), "tier_at_risk": ("needs", "valid_until")}
    for without in ((), optional.get(name, ())):
        for trigger in triggers(example(STARTED_BY[name], without)):
            text = all_texts(compiled(1, DOCUMENTS[name]), trigger.facts, reader)
            assert not re.search(r"[{}%]|None|LQ\d|  \S", text.replace("  * ", ""))


@pytest.mark.parametrize("name", sorted(WITHOUT_FACTS))
@pytest.mark.parametrize("reader", [LAYLA, OMAR], ids=["layla", "omar"])
def test_those_without_facts(name: str, reader: Reader):
    assert all_texts(compiled(1, DOCUMENTS[name]), {}, reader)


def text(name: str, channel: Channel, language: str, facts: dict[str, Any], **customer: Any) -> Any:
    template = compiled(1, DOCUMENTS[name])
    facts = facts_of(template.document) | facts
    return TEMPLATES.render(template, channel, language, facts, Reader("c", **customer))


@pytest.mark.parametrize(
    "zone, day", [("Asia/Tokyo", "March 15, 2027"), ("America/Los_Angeles", "March 14, 2027"), (None, "March 14, 2027")]
)
def test_the_last_day_of_points_is_in_the_customers_zone(zone: str | None, day: str):
    shown = text(
        "points_expiring", Channel.IN_APP, "en", {"expires_at": "2027-03-14T20:00:00Z"}, locale="en", time_zone=zone
    )
    assert f"until {day};" in shown.body
    assert shown.title == f"Use 104 points by {day}"


def test_points_that_expire_are_told_from_others_and_from_pending_ones():
    balance = {"available": 104, "pending": 7, "held": 0, "debt": 0}
    shown = text("points_expiring", Channel.IN_APP, "en", {"balance": balance})
    assert shown.body.endswith("You have no other points. 7 points that you have earned are not available yet.")
    shown = text("points_expiring", Channel.IN_APP, "en", {"balance": balance | {"available": 105, "pending": 0}})
    assert shown.body.endswith("Your other 1 point is valid for longer.")


def test_a_tier_at_risk_lists_what_is_missing():
    needs = [
        {"metric": "spend", "missing": "120.50"},
        {"metric": "reviews", "missing": 11},
        {"metric": "activities", "activity": "event", "missing": 1},
        {"metric": "of tomorrow", "missing": 1},
    ]
    mail = text("tier_at_risk", Channel.EMAIL, "en", {"needs": needs})
    assert "  * orders worth $120.50\n  * 11 reviews\n  * one activity\n" in mail.text
    assert mail.html.count("<li>") == 3
    assert "- 11 تقييماً\n- نشاط واحد" in text("tier_at_risk", Channel.IN_APP, "ar", {"needs": needs}).body


def test_care_notes_go_by_category():
    lines = [
        {"sku": "a", "category": "SHOES"},
        {"sku": "b"},
        {"sku": "c", "category": "shoes"},
        {"sku": "d", "category": "منزل"},
    ]
    mail = text("thank_you", Channel.EMAIL, "en", {"lines": lines})
    assert mail.html.count("<li>") == 1
    assert "  * Shoes:" in mail.text
