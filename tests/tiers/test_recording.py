"""What counts is recorded once, whatever the order of arrival, and sums of it are those of the set of events."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.tiers.handlers.verifying import verify
from services.tiers.rules import refunding
from services.tiers.rules.metrics import Change, Request
from services.tiers.store import metrics
from shared.contracts.envelope import Event
from shared.contracts.values import UNITS
from shared.postgres.pool import Pool
from tests.support.depth import examples
from tests.tiers import counting
from tests.tiers.applied import NOW, apply
from tests.tiers.conftest import Counted
from tests.tiers.histories import BEGIN, TIMES, cut, cuts, histories
from tests.tiers.shop import NOON, activity, day, points, purchase, referral, refund, review, withdrawal

_numbers = itertools.count()


async def changes_of(pool: Pool, customer_id: str = "ann") -> list[Change]:
    """All recorded changes of a customer."""
    async with pool.acquire() as connection, connection.transaction():
        return (await metrics.load_changes(connection, {customer_id: None}))[customer_id].changes


async def found(pool: Pool, customer_id: str = "ann") -> list[tuple[str, str, object]]:
    """The recorded changes by metric, instant (days after the tests' first noon) and amount."""
    return [
        (
            change.metric,
            f"{(change.at - NOON) / timedelta(days=1):g}",
            change.amount / UNITS if change.metric == "spend" else change.amount,
        )
        for change in sorted(await changes_of(pool, customer_id))
    ]


async def waiting(pool: Pool) -> int:
    return await pool.fetchval("SELECT count(*) FROM waiting")


class TestReviews:
    async def test_each_counts_once_also_of_one_sku(self, tiers_pool: Pool, counted: Counted):
        await apply(tiers_pool, review("1"), review("2", day(1)), review("1"))
        await apply(tiers_pool, review("2", day(1)), review("1", rating=4), review("1", day(3)))
        assert await found(tiers_pool) == [("reviews", "0", 1), ("reviews", "1", 1)]
        assert counted() == {"natural_key": 2, "repeat_differs": 2}

    async def test_a_withdrawal_lowers_the_day_of_its_review(self, tiers_pool: Pool, counted: Counted):
        await apply(tiers_pool, review("1"))
        await apply(tiers_pool, withdrawal("1", day(5)), withdrawal("1", day(5)))
        await apply(tiers_pool, withdrawal("1", day(6)))
        assert counting.sums(await changes_of(tiers_pool)) == Counter(
            {Change(day(0), day(0), "reviews", "", 0): 1, Change(day(5), day(0), "reviews", "", 0, is_taking=True): -1}
        )
        assert counted() == {"natural_key": 1, "repeat_differs": 1}

    async def test_a_withdrawal_waits_for_its_review_and_counts_from_it_on(self, tiers_pool: Pool):
        await apply(tiers_pool, withdrawal("1", day(-1)))
        assert await waiting(tiers_pool) == 1
        await apply(tiers_pool, review("2"), review("1"))
        assert await found(tiers_pool) == [("reviews", "0", -1), ("reviews", "0", 1), ("reviews", "0", 1)]
        assert await waiting(tiers_pool) == 0

    async def test_both_in_one_batch(self, tiers_pool: Pool):
        await apply(tiers_pool, withdrawal("1", day(2)), review("1"), review("2"), withdrawal("2", day(3)))
        assert Counter(await found(tiers_pool)) == {
            ("reviews", "0", 1): 2,
            ("reviews", "2", -1): 1,
            ("reviews", "3", -1): 1,
        }
        assert await tiers_pool.fetchval("SELECT count(*) FROM counted WHERE taken_at IS NOT NULL") == 2


class TestReferrals:
    async def test_one_counts_from_its_approval_until_it_is_voided(self, tiers_pool: Pool):
        await apply(tiers_pool, referral("r", day(1)))
        await apply(tiers_pool, referral("r", day(1)), referral("r", day(4), verb="voided"))
        assert await found(tiers_pool) == [("referrals", "1", 1), ("referrals", "4", -1)]

    async def test_a_void_without_an_approval_counts_nothing(self, tiers_pool: Pool):
        await apply(tiers_pool, referral("r", day(4), verb="voided"))
        assert await found(tiers_pool) == []
        await apply(tiers_pool, referral("r", day(1)))
        assert await found(tiers_pool) == [("referrals", "1", 1), ("referrals", "4", -1)]


class TestActivities:
    async def test_each_counts_once_by_its_name(self, tiers_pool: Pool, counted: Counted):
        await apply(tiers_pool, activity("1"), activity("2", name="visit"), activity("1"), activity("1", name="share"))
        assert [(change.metric, change.name) for change in sorted(await changes_of(tiers_pool))] == [
            ("activities", "quiz"),
            ("activities", "visit"),
        ]
        assert counted() == {"natural_key": 1, "repeat_differs": 1}

    async def test_the_order_of_properties_makes_no_difference(self, tiers_pool: Pool, counted: Counted):
        await apply(tiers_pool, activity("1", properties={"a": 1, "b": 2}))
        await apply(tiers_pool, activity("1", properties={"b": 2, "a": 1}), activity("1", properties={"a": 2, "b": 2}))
        assert counted() == {"natural_key": 1, "repeat_differs": 1}


class TestOrders:
    async def test_a_free_order_changes_nothing(self, tiers_pool: Pool):
        await apply(tiers_pool, purchase("1", "0.00"), refund("1", "r", "0.00", day(1)))
        assert await found(tiers_pool) == []

    async def test_an_order_of_which_nothing_is_kept_is_no_order(self, tiers_pool: Pool):
        await apply(tiers_pool, purchase("1", "10.00", currency="EUR"))
        await apply(tiers_pool, refund("1", "r", "4.00", day(1), currency="EUR"))
        assert ("orders", "1", -1) not in await found(tiers_pool)
        await apply(tiers_pool, refund("1", "s", "9.00", day(4), currency="EUR"))
        expected = [("orders", "0", 1), ("spend", "0", 10), ("spend", "1", -4), ("orders", "4", -1), ("spend", "4", -6)]
        assert await found(tiers_pool) == expected
        assert await tiers_pool.fetchval("SELECT gone_at FROM purchase") == day(4)

    async def test_a_late_refund_moves_that_instant(self, tiers_pool: Pool):
        await apply(tiers_pool, purchase("1", "10.00"), refund("1", "s", "10.00", day(4)))
        await apply(tiers_pool, refund("1", "r", "10.00", day(1)))
        assert counting.sums(await changes_of(tiers_pool)) == counting.sums(
            [
                Change(day(0), day(0), "spend", "USD", 10 * UNITS),
                Change(day(0), day(0), "orders", "", 1),
                Change(day(1), day(0), "spend", "USD", -10 * UNITS, is_taking=True),
                Change(day(1), day(0), "orders", "", -1, is_taking=True),
            ]
        )
        assert await tiers_pool.fetchval("SELECT gone_at FROM purchase") == day(1)

    async def test_a_refund_of_what_is_gone_changes_nothing(self, tiers_pool: Pool):
        await apply(tiers_pool, purchase("1", "10.00"), refund("1", "s", "10.00", day(4)))
        before = await found(tiers_pool)
        await apply(tiers_pool, refund("1", "r", "10.00", day(5)))
        assert await found(tiers_pool) == before


REFUNDED = {"kind": "refund", "order_id": "1", "refund_id": "r"}


class TestPoints:
    async def test_a_transaction_counts_once(self, tiers_pool: Pool, counted: Counted):
        await apply(tiers_pool, points("t", 10), points("t", 10))
        await apply(tiers_pool, points("t", 10), points("t", 11))
        assert await found(tiers_pool) == [("points", "0", 10)]
        assert counted() == {"natural_key": 2, "repeat_differs": 1}

    @pytest.mark.parametrize("sign", [1, -1])
    async def test_a_reversal_lowers_the_day_of_the_same_reason(self, tiers_pool: Pool, sign: int):
        other = {"kind": "review", "review_id": "1"}
        await apply(tiers_pool, points("t", 10), points("u", 5, day(1), reason=other))
        await apply(tiers_pool, points("v", 4 * sign, day(2), verb="reversed", reason=REFUNDED))
        [taking] = [change for change in await changes_of(tiers_pool) if change.is_taking]
        assert taking == Change(day(2), day(0), "points", "", -4, is_taking=True)

    async def test_a_reversal_waits_for_what_was_earned(self, tiers_pool: Pool):
        await apply(tiers_pool, points("v", 4, day(2), verb="reversed", reason=REFUNDED))
        await apply(tiers_pool, points("u", 7, reason={"kind": "purchase", "order_id": "2"}))
        assert await waiting(tiers_pool) == 1
        await apply(tiers_pool, points("t", 10))
        assert await found(tiers_pool) == [("points", "0", 7), ("points", "0", 10), ("points", "2", -4)]

    async def test_points_never_go_below_nothing(self, tiers_pool: Pool):
        await apply(tiers_pool, points("t", 10), points("v", 25, day(2), verb="reversed"))
        assert await found(tiers_pool) == [("points", "0", 10), ("points", "2", -10)]

    async def test_what_does_not_qualify_is_not_recorded(self, tiers_pool: Pool):
        await apply(tiers_pool, points("t", 0), points("v", 0, verb="reversed"))
        assert await tiers_pool.fetchval("SELECT (SELECT count(*) FROM counted) + (SELECT count(*) FROM waiting)") == 0

    async def test_numbers_beyond_64_bits_are_exact(self, tiers_pool: Pool):
        await apply(tiers_pool, points("t", 10**30), points("v", 10**30 - 1, day(1), verb="reversed"))
        assert await found(tiers_pool) == [("points", "0", 10**30), ("points", "1", 1 - 10**30)]


Made = Callable[[str], Event]
"""An event of a customer."""


@st.composite
def lives(draw: st.DrawFn) -> list[Made]:
    """Events of all kinds of a customer, with repeats."""
    made: list[Made] = [happening.event for happening in draw(histories())]

    def add(make: Callable[..., Event], *arguments: Any, **fields: Any) -> None:
        time = draw(TIMES)
        made.append(lambda customer_id: make(*arguments, time, customer_id=customer_id, **fields))

    for number in range(draw(st.integers(0, 3))):
        add(activity, f"{number}", name=f"a{number % 2}")
        add(review, f"{number}")
        if draw(st.booleans()):
            add(withdrawal, f"{number}")
    for number in range(draw(st.integers(0, 2))):
        add(referral, f"{number}")
        if draw(st.booleans()):
            add(referral, f"{number}", verb="voided")
    for number in range(draw(st.integers(0, 7))):
        verb = draw(st.sampled_from(("earned", "earned", "reversed")))
        about = {"kind": "purchase", "order_id": draw(st.sampled_from("12"))}
        add(points, f"t{number}", draw(st.sampled_from((0, 1, 10, 25))), verb=verb, reason=about)
    return [*made, *draw(st.lists(st.sampled_from(made), max_size=3))]


async def rows(pool: Pool, customer_id: str) -> list[list[tuple[object, ...]]]:
    """The rows of a customer, without those states that have several forms."""
    statements = (
        "SELECT order_id, purchased_at, total, gone_at FROM purchase WHERE customer_id = $1",
        "SELECT order_id, refund_id, refunded_at, amount FROM refund WHERE customer_id = $1",
        "SELECT kind, key, earned_at, amount, name, about, taken_at, digest FROM counted WHERE customer_id = $1",
        "SELECT about, natural_id FROM waiting WHERE customer_id = $1",
        """SELECT earned_at, at, metric, name, about, sum(amount / divisor) FROM taken WHERE customer_id = $1
           GROUP BY 1, 2, 3, 4, 5 HAVING sum(amount / divisor) <> 0""",
    )
    return [sorted(tuple(row) for row in await pool.fetch(statement, customer_id)) for statement in statements]


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries ask for few refunds, so that a few refunds are enough for the tests."""
    monkeypatch.setattr(refunding, "_FEW", 1)


@pytest.mark.usefixtures("_few")
@given(life=lives(), sizes=cuts, chance=st.randoms(use_true_random=False))
@examples(15, deep=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_of_arrival_is_recorded_alike(
    tiers_pool: Pool, life: Sequence[Made], sizes: Sequence[int], chance: random.Random
):
    """Changes are those of the set of events, and rows do not depend on the order or the size of batches."""
    recorded: list[list[list[tuple[object, ...]]]] = []
    for _ in range(2):
        customer_id = f"customer-{next(_numbers)}"
        events = [make(customer_id) for make in chance.sample(life, len(life))]
        for batch in cut(events, sizes):
            assert await apply(tiers_pool, *batch) == []
        assert counting.sums(await changes_of(tiers_pool, customer_id)) == counting.sums(counting.changes(events))
        recorded.append(await rows(tiers_pool, customer_id))
    assert recorded[0] == recorded[1]
    assert [(check.name, check.offenders) async for check in verify(tiers_pool, 1_000, NOW) if check.offenders] == []


ZONES = (None, "UTC", "America/Havana", "America/Santiago", "America/St_Johns", "Asia/Beirut", "Asia/Riyadh")


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Requests with and without limits; those by day have some."""
    zone = draw(st.sampled_from(ZONES))
    since, before, known = (draw(st.none() | TIMES) for _ in range(3))
    if zone is not None:
        since, known = since or BEGIN, known or BEGIN + timedelta(days=800)
    return Request(since, before, known, zone)


@given(life=lives(), asked=st.lists(requests(), min_size=1, max_size=6))
@examples(20, deep=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_requests_are_answered_by_what_is_recorded(
    tiers_pool: Pool, life: Sequence[Made], asked: Sequence[Request]
):
    customer_id = f"customer-{next(_numbers)}"
    events = [make(customer_id) for make in life]
    await apply(tiers_pool, *events)
    known = counting.changes(events)
    async with tiers_pool.acquire() as connection:
        answers = await metrics.load_answers(
            connection, [*((customer_id, request) for request in asked), ("nobody", asked[0])]
        )
    assert answers == [*(counting.answer(known, request) for request in asked), {}]
