"""A simulation, and then the publication: exactly the predicted moves, on random histories and on the grocer's year."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from deploy.sample.grocer import HOUSEHOLDS, Year
from services.tiers.handlers.assigning import Given, assign
from services.tiers.handlers.opening import Call
from services.tiers.handlers.simulating import simulate
from services.tiers.store.programs import load_all
from shared.postgres.pool import Pool
from tests.support import postgres
from tests.support.depth import examples
from tests.tiers import programs, shop, what_if
from tests.tiers.applied import apply
from tests.tiers.histories import BEGIN, Happening, cut, histories

CUSTOMERS = 4
NOW = BEGIN + timedelta(days=500, hours=7)

_PERIODS = st.sampled_from(
    (
        {"kind": "rolling_days", "days": 365},
        {"kind": "rolling_days", "days": 100},
        {"kind": "calendar_year"},
        {"kind": "anniversary"},
        {"kind": "lifetime"},
    )
)


@st.composite
def documents(draw: st.DrawFn, *, lacks_gold: bool = False) -> dict[str, Any]:
    """A valid program with the tiers of version 1, perhaps without Gold, in any combination of periods and falls."""
    period = draw(_PERIODS)
    at_once = period["kind"] in {"rolling_days", "lifetime"} and draw(st.booleans())
    downgrade: dict[str, Any] = {
        "to": draw(st.sampled_from(("one_step", "earned", "never"))),
        "on_refund": draw(st.sampled_from(("keep", "revoke"))),
        "when": "at_once" if at_once else "period_end",
        "grace_days": 0 if at_once else draw(st.sampled_from((0, 30))),
    }
    tiers: list[dict[str, Any]] = [{"id": "member", "name": {"en": "Member"}}]
    for name, amounts in (("silver", ("250", "500")), ("gold", ("600", "1500"))):
        if name == "gold" and lacks_gold:
            continue
        lists: list[list[dict[str, Any]]] = [[{"metric": "spend", "at_least": draw(st.sampled_from(amounts))}]]
        if draw(st.booleans()):
            lists.append([{"metric": "orders", "at_least": draw(st.integers(2, 4))}])
        tier = {"id": name, "name": {"en": name}, "enter": lists, "points_multiplier": draw(st.sampled_from("12"))}
        if draw(st.booleans()):
            tier["keep"] = [[{"metric": "spend", "at_least": draw(st.sampled_from(("1", "400", "900")))}]]
        tiers.append(tier | {"permanent": draw(st.integers(0, 5)) == 0})
    return {
        "currency": draw(st.sampled_from(("USD", "EUR"))),
        "rates": {},
        "time_zone": draw(st.sampled_from(("UTC", "Asia/Riyadh", "America/Santiago"))),
        "period": period,
        "tiers": tiers,
        "downgrade": downgrade,
        "on_publish": "full" if at_once or draw(st.booleans()) else "promote_only",
        "moves": {"gold": draw(st.sampled_from(("silver", "member")))} if lacks_gold else {},
    }


def _by_hand(customer_id: str, at: int, tier: str, days: int | None, *, locked: bool) -> tuple[str, datetime, Given]:
    """A tier that is given to a customer some days after the beginning, for some days or for good."""
    until = None if days is None else BEGIN + timedelta(days=at + days)
    return customer_id, BEGIN + timedelta(days=at, hours=1), Given(tier, until, locked and days is not None, "by hand")


_BY_HAND = st.lists(
    st.builds(
        _by_hand,
        st.sampled_from([f"c{number}" for number in range(CUSTOMERS)]),
        st.sampled_from((3, 150, 450)),
        st.sampled_from(("member", "silver", "gold")),
        st.none() | st.sampled_from((40, 360)),
        locked=st.booleans(),
    ),
    max_size=2,
)


async def _give(pool: Pool, given: Sequence[tuple[str, datetime, Given]]) -> None:
    for number, (customer_id, at, own) in enumerate(given):
        async with pool.acquire() as connection, connection.transaction():
            call = Call(customer_id, f"request-{number}", "tests", at)
            await assign(connection, await load_all(connection), call, own)


async def _run(
    pool: Pool, history: tuple[Mapping[str, Sequence[Happening]], Sequence[Any]], versions: Sequence[Any], at: datetime
) -> None:
    """Versions one after the other, the last one simulated; then it is published, and whoever moves was predicted."""
    events, given = history
    now = NOW
    *published, draft = versions
    for number, document in enumerate(published):
        drafted = await what_if.draft(pool, document, now)
        await what_if.publish(pool, drafted.version, BEGIN + timedelta(days=100 * (number + 1)), BEGIN)
    for customer_id, own in events.items():
        for batch in cut([happening.event(customer_id) for happening in own], [3, 2]):
            await apply(pool, *batch, now=now)
    await _give(pool, given)
    drafted = await what_if.draft(pool, draft, now)
    simulation = await what_if.start(pool, drafted, at, now)
    await simulate(pool, now)
    found: Any = await what_if.find(pool, simulation)
    assert found.state == "done", found.failure
    predicted = await what_if.customers_of(pool, simulation)
    assert found.result["customers"] == len(predicted)
    moves = Counter((from_, to) for from_, to, _ in predicted.values() if from_ != to)
    assert {(move["from"], move["to"]): move["customers"] for move in found.result["moves"]} == moves
    assert found.result["promoted"] + found.result["demoted"] + found.result["unchanged"] == len(predicted)
    await what_if.publish_and_apply(pool, drafted.version, at, at)
    assert {name: to for name, (_, to, _) in predicted.items()} == await _tiers_at(pool, at, set(predicted))


async def _tiers_at(pool: Pool, at: datetime, names: set[str]) -> dict[str, str]:
    """The tiers of customers at an instant by their timelines."""
    rows = await pool.fetch(
        "SELECT DISTINCT ON (customer_id) customer_id, tier FROM timeline WHERE effective_at <= $1"
        " ORDER BY customer_id, effective_at DESC",
        at,
    )
    return dict.fromkeys(names, "member") | {row["customer_id"]: row["tier"] for row in rows}


@pytest.mark.timeout(300)
@examples(8, deep=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
async def test_on_random_histories(postgres_url: str, data: st.DataObject):
    events = {f"c{number}": data.draw(histories()) for number in range(CUSTOMERS)}
    versions = [
        *data.draw(st.lists(documents(), max_size=2)),
        data.draw(documents(lacks_gold=data.draw(st.booleans()))),
    ]
    at = data.draw(st.sampled_from((NOW, NOW + timedelta(days=90), BEGIN + timedelta(days=731))))
    async with postgres.database(postgres_url, "tiers", max_size=3) as pool:
        await _run(pool, (events, data.draw(_BY_HAND)), versions, at)


YEAR_END = datetime(2026, 3, 1, tzinfo=UTC)

EARNED = programs.changed(
    programs.DEFAULT,
    ("/tiers/1/enter/0/0/at_least", "700"),
    ("/tiers/2/enter/0", [{"metric": "spend", "at_least": "2000"}, {"metric": "orders", "at_least": 60}]),
    ("/period", {"kind": "calendar_year"}),
    ("/time_zone", "America/New_York"),
    ("/downgrade/to", "earned"),
    ("/on_publish", "full"),
)
TWO_TIERS = programs.changed(
    programs.DEFAULT,
    ("/tiers", programs.DEFAULT["tiers"][:2]),
    ("/period/days", 90),
    ("/downgrade", {"to": "one_step", "grace_days": 7}),
    ("/moves", {"gold": "silver"}),
)


@pytest.mark.deep
@pytest.mark.timeout(300)
async def test_on_the_grocers_year(tiers_pool: Pool):
    year = Year.read(YEAR_END.date()).of_households(HOUSEHOLDS)
    bought = [
        shop.purchase(basket["order_id"], basket["total"], time, customer_id=basket["customer_id"])
        for time, basket in ((basket.time, basket.purchase) for basket in year.baskets())
    ]
    for start in range(0, len(bought), 1000):
        await apply(tiers_pool, *bought[start : start + 1000], now=YEAR_END)
    moved = await _publish_as_predicted(tiers_pool, EARNED, YEAR_END)
    # The year that began two months ago counts, and the whole year before: many fall, nobody to below Silver by right.
    assert moved["gold", "silver"] > 10
    assert moved["silver", "member"] > 0
    moved = await _publish_as_predicted(tiers_pool, TWO_TIERS, YEAR_END + timedelta(days=90))
    assert moved["gold", "silver"] > 10


async def _publish_as_predicted(pool: Pool, document: Any, at: datetime) -> Counter[tuple[str, str]]:
    """Simulate and publish; the moves as they were predicted, and as customers were told of them."""
    before = await _tiers_at(pool, at, set(await what_if.tiers(pool)))
    drafted = await what_if.draft(pool, document, YEAR_END)
    simulation = await what_if.start(pool, drafted, at, YEAR_END)
    await simulate(pool, YEAR_END)
    found: Any = await what_if.find(pool, simulation)
    predicted = await what_if.customers_of(pool, simulation)
    told = await pool.fetchval("SELECT coalesce(max(id), 0) FROM tier_change")
    await what_if.publish_and_apply(pool, drafted.version, at, at)
    after = await what_if.tiers(pool)
    assert {name: (from_, to) for name, (from_, to, _) in predicted.items()} == {
        name: (before[name], tier) for name, tier in after.items()
    }
    moves = Counter((before[name], tier) for name, tier in after.items() if before[name] != tier)
    assert {(move["from"], move["to"]): move["customers"] for move in found.result["moves"]} == moves
    rows = await pool.fetch(
        "SELECT customer_id, from_tier, to_tier FROM tier_change WHERE id > $1 AND from_tier <> to_tier", told
    )
    assert Counter((row["from_tier"], row["to_tier"]) for row in rows) == moves
    return moves
