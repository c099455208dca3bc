"""Draws steps (events, commands, time), applies each to the database and to the mirror, and compares the two."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import strategies as st

from services.points.handlers import day, holding, spending
from services.points.handlers.balances import balance_as_of
from services.points.handlers.commands import InsufficientPointsError
from services.points.handlers.holding import NotOpenError, Reservation
from services.points.handlers.spending import ForReference, ReferenceUsedError
from services.points.rules.ledger.accounts import Account
from shared.contracts.envelope import Event
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseDelivered
from shared.postgres.pool import Pool
from tests.points import books, shop
from tests.points.books import Balances
from tests.points.oracles.mirror import Mirror
from tests.points.oracles.mirror_records import CHANGE, Hold, Redemption
from tests.support.documents import put_into_force

START: Final = datetime(2026, 2, 28, 20, 59, 59, tzinfo=UTC)
"""A second before March in Riyadh."""

Step = tuple[Any, ...]


def version(points: int, coffee: int) -> dict[str, Any]:
    """A version of the earning rules; the mirror implements the same."""
    return {
        "currency": "USD",
        "time_zone": "Asia/Riyadh",
        "rules": [
            {
                "id": "base",
                "on": "purchase",
                "award": {"kind": "per_amount", "points": points, "amount": "1.00"},
                "activate": {"kind": "after_days", "days": 3},
                "expire": {"kind": "after_months", "months": 1},
            },
            {
                "id": "coffee",
                "on": "purchase",
                "when": [{"kind": "sku_in", "values": ["coffee"]}],
                "award": {"kind": "fixed", "points": coffee},
                "limits": [{"count": 2, "per": "month", "scope": "customer"}],
                "expire": {"kind": "after_days", "days": 40},
            },
            {
                "id": "delivery",
                "on": "purchase",
                "when": [{"kind": "amount_at_least", "amount": "20.00"}],
                "award": {"kind": "fixed", "points": 20},
                "activate": {"kind": "on_delivery", "cancel_after_days": 10},
                "expire": {"kind": "after_days", "days": 5},
            },
            {
                "id": "review",
                "on": "review",
                "when": [{"kind": "verified_purchase"}],
                "award": {"kind": "fixed", "points": 50},
                "limits": [
                    {"count": 1, "per": "ever", "scope": "customer_sku"},
                    {"points": 120, "per": "month", "scope": "customer"},
                ],
                "activate": {"kind": "after_days", "days": 2},
                "expire": {"kind": "after_days", "days": 30},
            },
        ],
    }


async def publish(pool: Pool, document: dict[str, Any], since: datetime) -> None:
    """Publish earning rules that are in force from an instant on."""
    await put_into_force(pool, "earning_rules", document, since)


# Events.

_BASKETS = (
    (("", "7.77"),),
    (("", "19.9999"),),
    (("", "20.00"),),
    (("", "45.00"),),
    (("tea", "30.00"), ("coffee", "12.50")),
    (("tea", "0.005"), ("coffee", "19.995")),
    (("coffee", "10.00"),),
)
_AGO = st.sampled_from(
    [timedelta(), timedelta(), timedelta(), timedelta(hours=1), *map(timedelta, (-0.8, 0.5, 2, 9, 11, 20, 50))]
)
_ORDER = st.integers(0, 3)
_AMOUNT = st.sampled_from(("0.01", "5.00", "9.99", "10.00", "12.50", "20.00", "45.00"))
_MULTIPLIERS = ("1", "1.25", "1.5", "2", "1.333333333")

_SHOP = st.one_of(
    st.tuples(st.just("buy"), _ORDER, st.sampled_from(_BASKETS), _AGO),
    st.tuples(st.just("buy"), _ORDER, st.sampled_from(_BASKETS), _AGO),
    st.tuples(st.just("refund"), _ORDER, st.integers(0, 2), _AMOUNT, st.sampled_from(("", "", "tea", "coffee")), _AGO),
    st.tuples(st.just("refund"), _ORDER, st.integers(0, 2), _AMOUNT, st.sampled_from(("", "", "tea", "coffee")), _AGO),
    st.tuples(st.just("deliver"), _ORDER, _AGO),
    st.tuples(st.just("review"), st.integers(0, 3), st.integers(0, 2), st.sampled_from((True, True, None)), _AGO),
    st.tuples(st.just("withdraw"), st.integers(0, 3), _AGO),
    st.tuples(st.just("tier"), st.lists(st.tuples(_AGO, st.sampled_from(_MULTIPLIERS)), min_size=1, max_size=2)),
    st.tuples(st.just("repeat"), st.integers(0, 9), st.booleans()),
)

# Commands; a share is of the available points, in quarters.

_SHARE = st.sampled_from((1, 2, 4, 4, 5))
_LASTS = st.sampled_from([timedelta(minutes=1), timedelta(days=2), timedelta(days=60)])
_SPENDING = st.one_of(
    st.tuples(st.just("redeem"), _SHARE, st.just(timedelta())), st.tuples(st.just("hold"), _SHARE, _LASTS)
)
_WHICH = st.integers(0, 5)

_STEP = st.one_of(
    st.tuples(st.just("receive"), st.lists(_SHOP, min_size=1, max_size=1)),
    st.tuples(st.just("receive"), st.lists(_SHOP, min_size=1, max_size=5)),
    _SPENDING,
    st.tuples(st.just("again"), _WHICH),
    st.tuples(st.just("cancel"), _WHICH),
    st.tuples(st.just("capture"), _WHICH, st.sampled_from((1, 2, 4))),
    st.tuples(st.just("release"), _WHICH),
    st.tuples(st.just("adjust"), st.sampled_from((1, 40, -1, -15, -80))),
    st.tuples(st.just("race"), _SPENDING, _SPENDING),
    st.tuples(st.just("pass"), st.sampled_from([timedelta(seconds=1), *map(timedelta, (0.5, 1, 4, 11, 35, 70))])),
    st.tuples(st.just("pass"), st.sampled_from([timedelta(seconds=1), *map(timedelta, (0.5, 1, 4, 11, 35, 70))])),
    st.tuples(st.just("to_due"), st.sampled_from([timedelta(), timedelta(), timedelta(microseconds=-1)])),
    st.tuples(st.just("to_due"), st.sampled_from([timedelta(), timedelta(), timedelta(microseconds=-1)])),
    st.tuples(st.just("sweep")),
)
steps = st.lists(_STEP, min_size=3, max_size=24)
"""The steps of one customer."""


@dataclass
class Machine:
    """The database and the mirror, both at `now`."""

    pool: Pool
    mirror: Mirror = field(default_factory=Mirror)
    now: datetime = START
    received: list[Event] = field(default_factory=list)
    redemptions: list[tuple[UUID, Redemption]] = field(default_factory=list)
    references: list[tuple[ForReference, UUID, Redemption]] = field(default_factory=list)
    holds: list[tuple[UUID, Hold]] = field(default_factory=list)
    read: dict[datetime, Balances] = field(default_factory=dict)

    async def run(self, performed: Sequence[Step]) -> None:
        """Run the steps; compare after each, and all earlier balances at the end."""
        await books.empty(self.pool)
        await publish(self.pool, version(1, 15), datetime(2020, 1, 1, tzinfo=UTC))
        await publish(self.pool, version(2, 25), CHANGE)
        for name, *parameters in performed:
            await getattr(self, f"_{name}")(*parameters)
            self.read[self.now] = await books.balances(self.pool, now=self.now)
            assert self.read[self.now] == self.mirror.balances(), (name, self.now)
        await books.check_books(self.pool)
        for moment, balances in self.read.items():
            assert _balances((await balance_as_of(self.pool, "ann", moment)).account) == balances, moment

    async def _receive(self, several: Sequence[Step]) -> None:
        seen = {event.id for event in self.received}
        new = [event for step in several if (event := self._event(*step)) is not None]
        self.received += new
        await books.deliver(self.pool, *new, now=self.now)
        for event in new:
            if event.id not in seen:
                self.mirror.apply(event, self.now)
            seen.add(event.id)

    def _event(self, name: str, *given: Any) -> Event | None:
        """The event of a step; None where there is none to repeat."""
        match name, given:
            case "tier", [entries]:
                # Of two entries at the same instant only one counts.
                return shop.tier(sorted({self.now - ago: multiplier for ago, multiplier in entries}.items()))
            case "repeat", [back, anew]:
                return self._repeated(back, anew)
            case _, [*parameters, ago]:
                return _shop_event(name, self.now - ago, *parameters)
        raise ValueError(name)

    def _repeated(self, back: int, anew: bool) -> Event | None:
        """An earlier event, redelivered or, `anew`, under a new id (not a timeline, which would replace later ones)."""
        if back >= len(self.received):
            return None
        event = self.received[-1 - back]
        return shop.again(event) if anew and ".tier." not in event.type else shop.redelivered(event)

    async def _redeem(self, share: int, _: timedelta) -> None:
        points = self._points(share)
        wanted = ForReference(points, f"reference-{len(self.references)}")
        if points > self.mirror.available:
            with pytest.raises(InsufficientPointsError) as refused:
                await self._call(spending.redeem_for_reference, wanted)
            assert refused.value.missing == points - self.mirror.available
        else:
            self._redeemed(await self._call(spending.redeem_for_reference, wanted), wanted)

    def _redeemed(self, made: Any, wanted: ForReference) -> None:
        redemption = self.mirror.redeem(wanted.points)
        self.redemptions.append((made.id, redemption))
        self.references.append((wanted, made.id, redemption))

    async def _again(self, which: int) -> None:
        if self.references:
            wanted, made, redemption = self.references[which % len(self.references)]
            if redemption.cancelled:
                with pytest.raises(ReferenceUsedError) as refused:
                    await self._call(spending.redeem_for_reference, wanted)
                assert refused.value.first.id == made
            else:
                assert (await self._call(spending.redeem_for_reference, wanted)).id == made

    async def _cancel(self, which: int) -> None:
        if self.redemptions:
            id_, redemption = self.redemptions[which % len(self.redemptions)]
            async with self.pool.acquire() as connection, connection.transaction():
                await spending.cancel(connection, id_, books.call(now=self.now))
            self.mirror.cancel(redemption, self.now)

    async def _hold(self, share: int, lasts: timedelta) -> None:
        points = self._points(share)
        wanted = Reservation(points, f"hold-{len(self.holds)}", lasts)
        if points > self.mirror.available:
            with pytest.raises(InsufficientPointsError):
                await self._call(holding.reserve, wanted)
        else:
            self._held(await self._call(holding.reserve, wanted), wanted)

    def _held(self, made: Any, wanted: Reservation) -> None:
        self.holds.append((made.id, self.mirror.hold(wanted.points, self.now + wanted.expires_in)))

    async def _capture(self, which: int, share: int) -> None:
        if not self.holds:
            return
        id_, hold = self.holds[which % len(self.holds)]
        points = max(1, hold.points * share // 4)
        async with self.pool.acquire() as connection, connection.transaction():
            if not hold.open:
                with pytest.raises(NotOpenError):
                    await holding.capture(connection, id_, books.call(now=self.now), points)
                return
            made = await holding.capture(
                connection, id_, books.call(now=self.now), None if points == hold.points else points
            )
        assert made.redemption_id is not None
        self.redemptions.append((made.redemption_id, self.mirror.capture(hold, points, self.now)))

    async def _release(self, which: int) -> None:
        if not self.holds:
            return
        id_, hold = self.holds[which % len(self.holds)]
        async with self.pool.acquire() as connection, connection.transaction():
            if hold.captured:
                with pytest.raises(NotOpenError):
                    await holding.release(connection, id_, books.call(now=self.now))
            else:
                await holding.release(connection, id_, books.call(now=self.now))
        if hold.open:
            self.mirror.release(hold)
            self.mirror.pass_to(self.now)

    async def _adjust(self, points: int) -> None:
        if points + self.mirror.available < 0:
            with pytest.raises(InsufficientPointsError):
                await books.adjust(self.pool, "ann", points, self.now)
        else:
            await books.adjust(self.pool, "ann", points, self.now)
            self.mirror.adjust(points, self.now)

    async def _race(self, *two: Step) -> None:
        """Run two commands concurrently: the first to commit gets its points, the other the rest, or nothing."""
        wanted: list[ForReference | Reservation] = []
        for number, (name, share, lasts) in enumerate(two):
            points, reference = self._points(share), f"race-{len(self.references)}-{len(self.holds)}-{number}"
            wanted.append(
                ForReference(points, reference) if name == "redeem" else Reservation(points, reference, lasts)
            )
        commands = {ForReference: spending.redeem_for_reference, Reservation: holding.reserve}
        calls = (self._call(commands[type(command)], command) for command in wanted)
        made = await asyncio.gather(*calls, return_exceptions=True)
        order = await self.pool.fetch("SELECT reason FROM transaction ORDER BY sequence")
        place = {id_: number for number, row in enumerate(order) for id_ in row["reason"].values()}
        pairs = list(zip(made, wanted, strict=True))
        won = [(result, command) for result, command in pairs if not isinstance(result, BaseException)]
        for result, command in sorted(won, key=lambda pair: place[str(pair[0].id)]):
            assert command.points <= self.mirror.available
            self._redeemed(result, command) if isinstance(command, ForReference) else self._held(result, command)
        for result, command in pairs:
            if isinstance(result, BaseException):
                assert isinstance(result, InsufficientPointsError)
                assert command.points > self.mirror.available, "a refused command asks for more than is left"

    async def _pass(self, by: timedelta) -> None:
        self.now += by
        self.mirror.pass_to(self.now)

    async def _to_due(self, by: timedelta) -> None:
        """Move the clock to the next instant at which something falls due, or just before it."""
        if (at := self.mirror.next_due()) is not None:
            await self._pass(max(timedelta(), at + by - self.now))

    async def _sweep(self) -> None:
        await asyncio.gather(day.sweep(self.pool, self.now), day.sweep(self.pool, self.now))

    async def _call(self, command: Any, wanted: Any) -> Any:
        async with self.pool.acquire() as connection, connection.transaction():
            return await command(connection, books.call(now=self.now), wanted)

    def _points(self, share: int) -> int:
        return max(1, self.mirror.available * share // 4)


def _shop_event(name: str, at: datetime, number: int, *parameters: Any) -> Event:
    match name, parameters:
        case "buy", [basket]:
            return bought(f"o{number}", basket, at)
        case "refund", [refund, amount, part]:
            return shop.refund(f"o{number}", f"r{refund}", amount, at, lines=[(part, amount)] if part else ())
        case "deliver", _:
            data = PurchaseDelivered(customer_id="ann", order_id=f"o{number}")
            return shop.event("shop.purchase.delivered.v1", at, data)
        case "review", [sku, verified]:
            return shop.review(f"v{number}", f"s{sku}", at, verified=verified)
        case _:
            return shop.withdrawal(f"v{number}", at)


def bought(order_id: str, basket: Sequence[tuple[str, str]], at: datetime) -> Event:
    """A purchase; the ids of its lines are their skus."""
    lines = tuple(Line(sku, sku, 1, amount) for sku, amount in basket if sku)
    total = str(sum(Decimal(amount) for _, amount in basket))
    data = PurchaseCompleted(customer_id="ann", order_id=order_id, currency="USD", total=total, lines=lines)
    return shop.event("shop.purchase.completed.v1", at, data)


def _balances(account: Account) -> Balances:
    return Balances(account.available, account.pending, account.held, account.debt, account.earned, account.redeemed)
