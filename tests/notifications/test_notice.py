"""The notices that each event triggers."""

import pytest

from services.notifications.rules.notice import Trigger, notices
from shared.contracts.envelope import Cause, Event
from tests.notifications.world import NOW, earned, erased, moved, referral, registered, reversed_, tier, updated
from tests.notifications.world import event as happened

USED = happened(
    "loyalty.tier.benefit_used.v1",
    {"customer_id": "c", "benefit_id": "gift", "kind": "gift", "reference": "g-1", "tier": "gold"},
    NOW,
)


@pytest.mark.parametrize(
    "event, expected",
    [
        (registered("c"), [("c", Trigger.WELCOME)]),
        (updated("c", name="Mona"), []),
        (erased("c"), []),
        (earned("c", 5), [("c", Trigger.POINTS_EARNED)]),
        (earned("c", 5, reason={"kind": "review"}), [("c", Trigger.POINTS_EARNED)]),
        (earned("c", 500, reason={"kind": "referral", "referral_id": "r"}), []),
        (reversed_("c", 5), [("c", Trigger.POINTS_TAKEN_BACK)]),
        (reversed_("c", 500, reason={"kind": "referral_voided"}), [("c", Trigger.POINTS_TAKEN_BACK)]),
        (moved("redeemed", "c", 5), []),
        (moved("expired", "c", 5), []),
        (tier("promoted", "c", "gold"), [("c", Trigger.TIER_REACHED)]),
        (tier("promoted", "c", "gold", reason="program"), [("c", Trigger.TIER_REACHED)]),
        (tier("corrected", "c", "gold"), []),
        (tier("retained", "c", "gold"), []),
        (tier("at_risk", "c", "silver", timeline=[]), []),
        (USED, []),
        (tier("demoted", "c", "member"), []),
        (referral("qualified", "ada", "ben"), []),
        (referral("voided", "ada", "ben"), []),
        (
            referral("approved", "ada", "ben"),
            [("ada", Trigger.REFERRAL_APPROVED), ("ben", Trigger.REFERRAL_APPROVED)],
        ),
    ],
    ids=lambda value: value.type if isinstance(value, Event) else "",
)
def test_the_notices_of_each_event(event: Event, expected: list[tuple[str, Trigger]]):
    assert [(notice.customer_id, notice.trigger) for notice in notices(event)] == expected


def test_each_customer_of_a_referral_gets_their_own_points():
    advocate, friend = notices(referral("approved", "ada", "ben"))
    assert advocate.facts == {"role": "advocate", "points": 500}
    assert friend.facts == {"role": "friend", "points": 200}


@pytest.mark.parametrize("nothing", [0, None])
def test_a_side_without_points_gets_no_message(nothing: int | None):
    [friend] = notices(referral("approved", "ada", "ben", advocate_points=nothing, reason="cap"))
    assert (friend.customer_id, friend.facts["points"]) == ("ben", 200)
    [advocate] = notices(referral("approved", "ada", "ben", friend_points=nothing))
    assert advocate.customer_id == "ada"


@pytest.mark.parametrize("activates_at, expected", [("2026-03-01T12:00:00Z", None), ("2026-03-15T12:00:00Z", ...)])
def test_points_that_are_active_at_once_have_no_date(activates_at: str, expected: object):
    (notice,) = notices(earned("c", 5, NOW, activates_at=activates_at))
    assert notice.facts["activates_at"] == (activates_at if expected is ... else None)


def test_a_notice_carries_its_cause():
    event = earned("c", 5)
    (notice,) = notices(event)
    assert notice.cause == Cause(event.correlation_id, event.id, None)
    assert notice.occurred_at == event.time


def test_each_transaction_has_one_key():
    def trigger_and_key(event: Event) -> tuple[str, str]:
        (notice,) = notices(event)
        return notice.trigger, notice.key

    first = trigger_and_key(earned("c", 5, transaction_id="t"))
    assert first == trigger_and_key(earned("c", 5, transaction_id="t"))
    assert first != trigger_and_key(earned("c", 5, transaction_id="u"))
    assert first != trigger_and_key(reversed_("c", 5, transaction_id="t"))
    assert trigger_and_key(registered("c")) == trigger_and_key(registered("c", name="Mona"))
