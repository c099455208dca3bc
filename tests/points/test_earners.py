"""The table of what earns points: one row for each kind of the rules, and texts that are stored and published.

Planted and caught here: a kind without a row; two kinds with one origin; an event type that the contract lacks; a
reason without its id; the id of an origin cut at its second slash.
"""

from typing import get_args

import pytest

from services.points.rules.program import earning
from services.points.rules.program.earning import EARNERS, Origin
from services.points.rules.program.values import On
from shared.contracts.registry import TYPES
from tests.points.shop import NOON, purchase, referral, review, tier, withdrawal


def test_every_kind_of_the_rules_has_a_row_and_origins_of_its_own():
    assert set(EARNERS) == set(get_args(On))
    assert len({earner.prefix for earner in EARNERS.values()}) == len(EARNERS)


def test_each_event_type_is_of_the_contract_and_reports_one_kind():
    events = [name for earner in EARNERS.values() for name in earner.events]
    assert len(events) == len(set(events))
    followed = [name for earner in EARNERS.values() for name in earner.follow_ups]
    assert {*events, *followed} <= TYPES.keys()
    assert {name for types in earning.topics().values() for name in types} == {*events, *followed}


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("order/A-1", {"kind": "purchase", "order_id": "A-1"}),
        ("review/r/1", {"kind": "review", "review_id": "r/1"}),
        ("activity/a", {"kind": "activity", "activity_id": "a"}),
        ("survey/s", {"kind": "survey", "answer_id": "s"}),
        ("referral/f", {"kind": "referral", "referral_id": "f"}),
        ("registration", {"kind": "registration"}),
        ("tier/gold/2", {"kind": "tier"}),
        ("birthday/2026", {"kind": "birthday"}),
        ("adjustment/x", {"kind": "adjustment"}),
    ],
)
def test_an_origin_has_its_text_and_its_published_reason(origin: str, reason: dict[str, str]):
    assert earning.reason_of(origin) == reason
    assert str(Origin.parse(origin)) == origin


def test_an_event_reports_what_it_earns_for_unless_it_takes_back_or_does_not_decide_alone():
    reported = earning.accruing(review("7", "s"))
    assert reported is not None
    assert (reported.on, reported.origin, reported.facts["sku"]) == ("review", "review/7", "s")
    approved = earning.accruing(referral("approved", "f"))
    assert approved is not None
    assert (approved.on, approved.origin, approved.facts) == ("referral", "referral/f", {})
    silent = (purchase("1", "1.00"), withdrawal("7"), referral("voided", "f"), tier([(NOON, "2")]))
    assert [earning.accruing(event) for event in silent] == [None] * 4
