"""The journeys that ship with the product, driven by real events: they say what the product said before."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.notifications.rules import notice
from services.notifications.rules.journey.checking import walk
from services.notifications.rules.journey.document import Send
from services.notifications.rules.journey.kind import KIND
from services.notifications.rules.trigger import Request, triggers
from shared.contracts.envelope import Event
from shared.contracts.examples import EXAMPLES
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from shared.programs import store
from shared.programs.kind import Key, dump, examine
from shared.programs.store import SINCE_EVER
from tests.notifications.journeys.test_moving import DAY
from tests.notifications.journeys.test_sweeping import Office
from tests.notifications.world import NOW, ago, earned, erased, event, moved, referral, registered, reversed_, tier

HOME = Path("services/notifications/documents/journey")
ENABLED = {
    "welcome",
    "points_earned",
    "points_taken_back",
    "points_expiring_30",
    "points_expiring_7",
    "points_expiring_1",
    "tier_reached",
    "tier_at_risk",
    "tier_lost",
    "referral_approved",
    "reward_redeemed",
}


@pytest.fixture
def office() -> Office:
    return Office()


def shipped() -> dict[str, Any]:
    return {path.stem: KIND.model.model_validate_json(path.read_text("utf-8")) for path in sorted(HOME.glob("*.json"))}


async def test_the_documents_are_in_force_since_ever_as_version_1(pool: Pool):
    summaries = await store.summaries(pool, KIND.name, NOW, None, 200)
    assert {each.id: (each.newest, each.in_force) for each in summaries} == dict.fromkeys(shipped(), (1, 1))
    for id_, document in shipped().items():
        version = await store.find(pool, Key(KIND.name, id_), 1)
        assert version is not None
        assert (version.document, version.effective_at) == (dump(document), SINCE_EVER)
    assert {id_ for id_, document in shipped().items() if document.enabled} == ENABLED


@pytest.mark.parametrize("id_", sorted(shipped()))
def test_nothing_is_doubtful_about_them(id_: str):
    assert [fault for fault in examine(KIND, shipped()[id_], NOW) if fault.pointer != "/enabled"] == []


@pytest.mark.parametrize("id_", sorted(shipped()))
def test_what_they_send_ships_too(id_: str):
    for _, step in walk(shipped()[id_].steps):
        if isinstance(step, Send):
            template = json.loads((HOME.parent / "template" / f"{step.template}.json").read_text("utf-8"))
            assert [channel for channel in step.channels if not template.get(channel)] == []


def said(requests: list[Request]) -> list[tuple[str, str, str]]:
    return [(each.trigger.customer_id, each.journey, each.trigger.key) for each in requests]


async def test_events_lead_to_the_messages_of_before_with_the_keys_of_before(pool: Pool, office: Office):
    events = [
        registered("mona", ago(hours=5)),
        earned("mona", 5, transaction_id="t-1"),
        earned("mona", 5, transaction_id="t-2", reason={"kind": "referral", "referral_id": "r"}),
        reversed_("mona", 5, transaction_id="t-3"),
        tier("promoted", "mona", "silver"),
        tier("corrected", "mona", "silver"),
        referral("approved", "mona", "ben"),
        referral("approved", "ann", "fay", advocate_points=0),
    ]
    await office.handle(pool, NOW, *events)
    notices = [each for event in events for each in notice.notices(event)]
    assert said(office.requests) == [(each.customer_id, str(each.trigger), each.key) for each in notices]
    assert [each.trigger.facts for each in office.requests] == [each.facts for each in notices]
    assert {(each.template == each.journey, each.step, each.mode, each.run_id) for each in office.requests} == {
        (True, "0", "all", None)
    }
    assert await pool.fetchval("SELECT count(*) FROM run") == 0


async def test_points_that_expire_are_announced_by_the_journey_of_the_days_left(pool: Pool, office: Office):
    def expiring(days: float) -> Event:
        ends = format_instant(NOW + days * DAY)
        return moved("expiring", "mona", 50, expires_at=ends, reason={"kind": "expiry"}, balance={"available": 80})

    await office.handle(pool, NOW, expiring(30), expiring(7), expiring(6.5), expiring(1), expiring(0.1))
    assert [each.journey for each in office.requests] == [
        "points_expiring_30",
        "points_expiring_7",
        "points_expiring_7",
        "points_expiring_1",
        "points_expiring_1",
    ]
    assert office.requests[0].trigger.key == f"points_expiry/{format_instant(NOW + 30 * DAY)}"


async def test_nothing_is_said_of_points_that_nobody_has_any_more(pool: Pool, office: Office):
    ends = format_instant(NOW + 7 * DAY)
    gone = moved("expiring", "mona", 50, expires_at=ends, reason={"kind": "expiry"}, balance={"available": 0})
    await office.handle(pool, NOW, gone)
    assert office.requests == []


async def test_tiers_and_rewards(pool: Pool, office: Office):
    at_risk = EXAMPLES["loyalty.tier.at_risk.v1"].envelope()["data"]
    await office.handle(
        pool,
        NOW,
        event("loyalty.tier.at_risk.v1", at_risk),
        tier("demoted", "mona", "member"),
        moved("redeemed", "mona", 100, reason={"kind": "redemption", "reward_id": "mug"}),
    )
    assert [each.journey for each in office.requests] == ["tier_at_risk", "tier_lost", "reward_redeemed"]


async def test_an_erased_customer_gets_nothing_until_they_register_again(pool: Pool, office: Office):
    await office.handle(pool, NOW, registered("mona", ago(hours=3)), erased("mona", ago(hours=1)))
    await office.handle(pool, NOW, earned("mona", 5), event("shop.purchase.completed.v1", bought("mona")))
    assert office.requests == []
    assert await pool.fetchval("SELECT count(*) FROM happened") == 0
    await office.handle(pool, NOW, registered("mona", ago(minutes=1)))
    assert said(office.requests) == [("mona", "welcome", "registration")]


def bought(customer_id: str) -> dict[str, Any]:
    return {"customer_id": customer_id, "order_id": "o-1", "currency": "USD", "total": "20.00"}


@pytest.mark.parametrize("type_", sorted(TYPES))
def test_every_event_has_a_key_and_facts_without_personal_data(type_: str):
    data = EXAMPLES[type_].envelope()["data"] if type_ in EXAMPLES else None
    if data is None or type_ == "shop.customer.erased.v1":
        pytest.skip("nothing to tell")
    found = triggers(event(type_, data))
    assert found
    for each in found:
        assert 0 < len(each.key) <= 300
        text = str(each.facts)
        assert not any(data[name] in text for name in ("name", "email", "phone", "ip", "device_id") if data.get(name))


def test_the_facts_of_a_large_basket_are_bounded():
    lines = [{"line_id": str(n), "sku": f"sku-{n}", "quantity": 1, "amount": "1.00"} for n in range(3_000)]
    [trigger] = triggers(event("shop.purchase.completed.v1", bought("mona") | {"total": "3000.00", "lines": lines}))
    assert len(str(trigger.facts)) < 16_384
    assert trigger.facts["total"] == "3000.00"
