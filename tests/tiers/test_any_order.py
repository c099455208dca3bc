"""On a real database: any order of arrival, batches, sweeps and marks end as the slow model says, and all is told."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from pydantic_core import from_json

from services.tiers.handlers import day, judging, standing
from services.tiers.handlers.arrivals import Arrival
from services.tiers.rules.judging.state import decode_standing, decode_state
from services.tiers.store import assignments, customers, programs
from shared.contracts.envelope import Cause, Event
from shared.contracts.values import UNITS
from shared.postgres.ids import new_id
from shared.postgres.pool import Pool
from tests.support import postgres
from tests.support.depth import examples
from tests.tiers import shop
from tests.tiers.applied import apply
from tests.tiers.histories import cut, cuts
from tests.tiers.oracles.facts import Assignment, Bought, Counted, Earned, Fact
from tests.tiers.oracles.histories import History, histories
from tests.tiers.oracles.model import METRICS, Outcome
from tests.tiers.programs import DEFAULT

_numbers = itertools.count()

FIRST: Final[dict[str, Any]] = {
    "currency": "USD",
    "rates": {"SAR": "0.2667"},
    "time_zone": "Africa/Cairo",
    "period": {"kind": "rolling_days", "days": 10},
    "tiers": [
        {"id": "member", "name": {"en": "Member"}},
        {
            "id": "silver",
            "name": {"en": "Silver"},
            "points_multiplier": "1.25",
            "enter": [[{"metric": "spend", "at_least": "100"}], [{"metric": "points", "at_least": 2}]],
            "keep": [[{"metric": "reviews", "at_least": 1}]],
        },
        {
            "id": "gold",
            "name": {"en": "Gold"},
            "points_multiplier": "1.5",
            "enter": [[{"metric": "spend", "at_least": "300"}, {"metric": "orders", "at_least": 2}]],
        },
    ],
    "downgrade": {"to": "one_step", "grace_days": 3, "on_refund": "revoke"},
}
AT_ONCE: Final[dict[str, Any]] = {
    **FIRST,
    "time_zone": "UTC",
    "downgrade": {"to": "earned", "when": "at_once", "on_refund": "keep"},
    "on_publish": "full",
}
YEARS: Final[dict[str, Any]] = {
    **FIRST,
    "period": {"kind": "anniversary"},
    "tiers": [FIRST["tiers"][0], {**FIRST["tiers"][2], "permanent": True}],
    "downgrade": {"to": "earned", "on_refund": "revoke"},
    "moves": {"silver": "member"},
}
# The histories begin in spring 2026, at its end, and in 2028.
VERSIONS: Final[Sequence[tuple[datetime | None, Mapping[str, Any]]]] = (
    (None, DEFAULT),
    (datetime(2025, 1, 1, tzinfo=UTC), FIRST),
    (datetime(2026, 3, 12, tzinfo=UTC), AT_ONCE),
    (datetime(2028, 3, 2, 22, tzinfo=UTC), YEARS),
)


async def publish(pool: Pool) -> None:
    """Publish the versions after the first."""
    for number, (effective_at, document) in enumerate(VERSIONS[1:], 2):
        await pool.execute(
            "INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)"
            " VALUES ('tier_program', '', $1, $2, now(), now(), $3)",
            *(number, document, effective_at),
        )


@pytest.fixture
def any_order_pool(postgres_url: str) -> Iterator[tuple[asyncio.Runner, Pool]]:
    """A database with the versions, and an event loop of its own."""
    with asyncio.Runner() as runner:
        database = postgres.database(postgres_url, "tiers")
        pool = runner.run(database.__aenter__())
        try:
            runner.run(publish(pool))
            yield runner, pool
        finally:
            runner.run(database.__aexit__(None, None, None))


def events_of(fact: Fact, customer_id: str) -> Iterator[Event]:
    """The events that tell a fact."""
    own: Any = {"customer_id": customer_id}
    if isinstance(fact, Bought):
        yield shop.purchase(fact.order_id, fact.total, fact.at, currency=fact.currency, **own)
        for number, (at, amount) in enumerate(fact.refunds):
            yield shop.refund(fact.order_id, f"r{number}", amount, at, currency=fact.currency, **own)
    elif isinstance(fact, Earned):
        own["reason"] = {"kind": "review", "review_id": fact.transaction_id}
        yield shop.points(fact.transaction_id, fact.points, fact.at, **own)
        for number, (at, points) in enumerate(fact.reversals):
            yield shop.points(f"{fact.transaction_id}-{number}", points, at, verb="reversed", **own)
    else:
        yield from _counted(fact, own)


def _counted(fact: Counted, own: Any) -> Iterator[Event]:
    if fact.metric == "reviews":
        yield shop.review(fact.id, fact.at, **own)
        if fact.taken_at:
            yield shop.withdrawal(fact.id, fact.taken_at, **own)
    elif fact.metric == "referrals":
        yield shop.referral(fact.id, fact.at, **own)
        if fact.taken_at:
            yield shop.referral(fact.id, fact.taken_at, verb="voided", **own)
    else:
        yield shop.activity(fact.id, fact.at, name=fact.name, **own)


async def give(pool: Pool, customer_id: str, given: Assignment, now: datetime) -> None:
    """Give a tier by hand, as a request at that instant which is handled only now."""
    stored = assignments.Assignment(new_id(), customer_id, given.at, given.tier, given.until, given.locked, "s", "n")
    cause = Cause.of_request("request")
    async with pool.acquire() as connection, connection.transaction():
        locked = await customers.lock(connection, [customer_id])
        await assignments.add(connection, stored)
        arrival = Arrival(cause, "/wafa/tiers", "request", given.at, assignments=(judging.assignment_of(stored),))
        await judging.judge(connection, await programs.load_all(connection), locked, {customer_id: [arrival]}, now)


async def touch(pool: Pool, customer_id: str, now: datetime) -> None:
    """Judge a customer up to now, as the job that applies versions does."""
    async with pool.acquire() as connection, connection.transaction():
        locked = await customers.lock(connection, [customer_id])
        await day.apply_due(connection, await programs.load_all(connection), locked, now)


def has_tier(given: Assignment) -> bool:
    """Whether the version in force at the instant of an assignment has the tier."""
    document = [document for at, document in VERSIONS if at is None or at <= given.at][-1]
    return given.tier in {tier["id"] for tier in document["tiers"]}


@pytest.mark.timeout(240)
@examples(
    20,
    deep=120,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # the model is slow: shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    history=histories(first=FIRST, most_versions=1, most_steps=10),
    sizes=cuts,
    most=st.sampled_from([0, 2, 2_000]),
    data=st.data(),
)
def test_any_order_of_arrival(
    any_order_pool: tuple[asyncio.Runner, Pool], history: History, sizes: Sequence[int], most: int, data: st.DataObject
):
    runner, pool = any_order_pool
    customer_id = f"customer-{next(_numbers)}"
    given = [own for own in history.assignments if has_tier(own) and own.at <= history.now]
    whole = replace(history, versions=VERSIONS, assignments=given)
    events = [event for fact in whole.facts for event in events_of(fact, customer_id) if event.time <= whole.now]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "MOST_INLINE", most)
        for batch in cut(data.draw(st.permutations([*events, *given])), sizes):
            clock = data.draw(st.sampled_from([whole.now, max(moment_of(happening) for happening in batch)]))
            own = [happening for happening in batch if isinstance(happening, Event)]
            assert not own or runner.run(apply(pool, *own, now=clock)) == []
            for happening in batch:
                if isinstance(happening, Assignment):
                    runner.run(give(pool, customer_id, happening, clock))
            if data.draw(st.booleans()):
                runner.run(day.run(pool, clock))
    if given or any(fact.changes() for fact in whole.facts):
        expected = whole.judge()
        runner.run(check_read(pool, customer_id, expected, whole.now))
        runner.run(day.run(pool, whole.now))
        runner.run(touch(pool, customer_id, whole.now))
        runner.run(check_read(pool, customer_id, expected, whole.now))
        runner.run(check(pool, customer_id, expected))


def moment_of(happening: Event | Assignment) -> datetime:
    """When something happened."""
    return happening.time if isinstance(happening, Event) else happening.at


async def check_read(pool: Pool, customer_id: str, expected: Outcome, now: datetime) -> None:
    """Compare what a read sees with the outcome of the model, whether it was stored yet or not."""
    status = (await standing.read(pool, programs.Programs(), customer_id, now)).status
    own = status.standing
    assert (own.tier, own.since, own.valid_until) == (expected.tier, expected.since, expected.valid_until)
    assert (own.grace_until, own.locked_until) == (expected.grace_until, expected.locked_until)
    assert {metric: status.values.get(metric, 0) for metric in METRICS} == {
        metric: value * UNITS if metric == "spend" else value for metric, value in expected.metrics.items()
    }


async def check(pool: Pool, customer_id: str, expected: Outcome) -> None:
    """Compare what is stored of a customer with the outcome of the model, and what was told with what is stored."""
    row = await pool.fetchrow("SELECT state, tier, valid_until FROM customer WHERE customer_id = $1", customer_id)
    assert row is not None
    state = decode_state(row["state"])
    own = state.standing
    assert (own.tier, own.since, own.valid_until) == (expected.tier, expected.since, expected.valid_until)
    assert (own.grace_until, state.version) == (expected.grace_until, expected.version)
    assert (row["tier"], row["valid_until"]) == (expected.tier, expected.valid_until)
    entries = await pool.fetch(
        "SELECT effective_at, tier, points_multiplier, kind, valid_until, reason, state FROM timeline"
        " WHERE customer_id = $1 ORDER BY effective_at",
        customer_id,
    )
    shown = [tuple(entry)[:6] for entry in entries if entry["kind"]]
    assert shown == [
        (entry.at, entry.tier, entry.points_multiplier, entry.kind, entry.valid_until, entry.reason)
        for entry in expected.entries
    ]
    if entries:
        assert decode_standing(entries[-1]["state"]) == own
    assert steps(told(await published(pool, customer_id))) == steps([tuple(entry)[:3] for entry in entries])


async def published(pool: Pool, customer_id: str) -> list[dict[str, Any]]:
    rows = await pool.fetch("SELECT value FROM outbox WHERE key = $1 ORDER BY id", customer_id.encode())
    return [from_json(row["value"]) for row in rows]


def told(events: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The timeline as readers know it: each event replaces what was known from its `effective_at` on."""
    known: dict[datetime, tuple[Any, ...]] = {}
    for event in events:
        since = datetime.fromisoformat(event["data"]["effective_at"])
        known = {at: entry for at, entry in known.items() if at < since}
        for entry in event["data"]["timeline"]:
            at = datetime.fromisoformat(entry["effective_at"])
            known[at] = (at, entry["tier"], entry["points_multiplier"])
    return [known[at] for at in sorted(known)]


def steps(entries: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The entries that change the tier or its multiplier, after the first tier."""
    found: list[tuple[Any, ...]] = []
    last: tuple[Any, ...] = ("member", "1")
    for entry in entries:
        if entry[1:] != last:
            found.append(entry)
            last = entry[1:]
    return found
