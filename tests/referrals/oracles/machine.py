"""Plays a history on the model and on another side, which it drives alike, and compares the two."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

from shared.contracts.envelope import Event
from tests.referrals.oracles.histories import PEOPLE, Step
from tests.referrals.oracles.model import Model, stories
from tests.referrals.oracles.records import By, Published, Referral
from tests.referrals.shop import START, event, refunded

BY: Final = By("key:marketing", "looked at it")
LONG_AGO: Final = START - timedelta(days=1_000)
CODES: Final[dict[str, str]] = dict(
    zip(PEOPLE, ("CDFGHJKM", "NPQRTVWX", "23456789", "C2F3H4K5", "N6Q7T8W9", "HHHH2222"), strict=True)
)
HOUR: Final = timedelta(hours=1)

Key = tuple[str, str]
"""The friend and the code of a referral."""


class Row(NamedTuple):
    """What is stored of a referral, and what people see of it."""

    state: str
    reason: str | None
    score: int
    signals: dict[str, tuple[str, int]]
    order_id: str | None
    due_at: datetime | None
    points: tuple[int, int]
    history: list[tuple[str, datetime, str, str | None]]

    @classmethod
    def of(cls, referral: Referral) -> "Row":
        """What the model says of a referral."""
        return cls(
            referral.state,
            referral.reason,
            referral.score,
            {id_: (found.action, found.weight) for id_, found in referral.signals.items()},
            referral.order.order_id if referral.order else None,
            referral.due_at,
            referral.points if referral.approved_at else (0, 0),
            [(step.state, step.at, step.actor, step.note) for step in referral.history],
        )


class Other(Protocol):
    """The other side: the product on a database, or another model."""

    async def begin(self, document: dict[str, Any], codes: dict[str, str]) -> None:
        """Begin with a program in force since long ago, and with everybody's code."""
        ...

    async def publish(self, document: dict[str, Any], at: datetime) -> None:
        """Publish a version."""
        ...

    async def receive(self, batch: Sequence[Event], now: datetime) -> list[tuple[str, str]]:
        """Handle a batch; returns the ids and reasons of what was refused."""
        ...

    async def decide(self, keys: Sequence[Key], decision: str, by: By, now: datetime) -> list[bool]:
        """Decide on referrals; returns which could be decided on."""
        ...

    async def sweep(self, now: datetime) -> None:
        """Apply everything that is due."""
        ...

    async def read(self, key: Key, now: datetime) -> Row:
        """A referral, as its reader sees it."""
        ...

    async def rows(self) -> dict[Key, Row]:
        """Everything that is stored."""
        ...

    async def published(self) -> list[Published]:
        """Every event."""
        ...

    async def queue(self, now: datetime) -> list[Key]:
        """The flagged referrals."""
        ...

    async def verify(self, now: datetime) -> list[str]:
        """What contradicts itself in what is stored."""
        ...


@dataclass
class Machine:
    """The model and the other side, both at `now`."""

    other: Other
    model: Model = field(default_factory=Model)
    now: datetime = START
    received: list[Event] = field(default_factory=list[Event])

    async def run(self, document: dict[str, Any], performed: Sequence[Step]) -> None:
        """Perform the steps; compare after each what was published and everything that is stored.

        In the end everything falls due, and people overturn what they can.
        """
        self.model.facts.disposable = frozenset({"mailinator.com"})
        self.model.facts.codes = {code: owner for owner, code in CODES.items()}
        self.model.publish(document, LONG_AGO)
        await self.other.begin(document, CODES)
        for name, *parameters in performed:
            await getattr(self, f"_{name}")(*parameters)
            await self.compare(name)
        await self._sweep()
        assert await self.other.verify(self.now) == []
        self.now += timedelta(days=500)
        await self._sweep()
        await self.compare("the end")
        await self._overturn()
        await self.compare("overturned in the end")
        assert await self.other.verify(self.now) == []

    async def compare(self, step: str) -> None:
        """Compare what both sides published and stored."""
        expected = {referral.key: Row.of(referral) for referral in self.model.facts.referrals}
        rows = await self.other.rows()
        for key in expected | rows:
            assert rows.get(key) == expected.get(key), (step, key)
        mine, theirs = stories(self.model.facts.published), stories(await self.other.published())
        for key in mine | theirs:
            assert theirs.get(key) == mine.get(key), (step, key)

    async def _receive(self, several: Sequence[Step]) -> None:
        events = [made for step in several if (made := self._event(*step)) is not None]
        self.received += events
        before = len(self.model.facts.refused)
        self.model.handle(events, self.now)
        refused = await self.other.receive(events, self.now)
        assert sorted(refused) == sorted(self.model.facts.refused[before:])

    def _event(self, name: str, *given: Any) -> Event | None:
        match name, given:
            case "repeat", [back]:
                return self.received[-1 - back] if back < len(self.received) else None
            case "wrong", [person, what]:
                return self._wrong(PEOPLE[person], what)
            case "join", [friend, advocate, traces, ago]:
                data = {"customer_id": PEOPLE[friend], "code": CODES[PEOPLE[advocate]], **traces}
                return self._made("shop.referral.signed_up.v1", ago, data)
            case "profile", [person, is_new, traces, more, ago]:
                verb = "registered" if is_new else "updated"
                return self._made(f"shop.customer.{verb}.v1", ago, {"customer_id": PEOPLE[person], **traces, **more})
            case "buy", [person, order, total, currency, ago]:
                data = {"customer_id": PEOPLE[person], "order_id": f"o{order}", "currency": currency, "total": total}
                if total == "75.00":
                    lines = (("a", "21.00"), ("b", "54.00"))
                    data["lines"] = [
                        {"line_id": line, "sku": line, "quantity": 1, "amount": amount} for line, amount in lines
                    ]
                return self._made("shop.purchase.completed.v1", ago, data)
            case "refund", [person, order, number, amount, line, ago]:
                lines = [(line, amount)] if line else []
                hours = (self.now - ago - START) / HOUR
                return refunded(PEOPLE[person], f"o{order}", f"r{number}", hours, amount, lines=lines)
            case _:
                raise ValueError(name)

    def _made(self, type_: str, ago: timedelta, data: dict[str, Any]) -> Event:
        return event(type_, (self.now - ago - START) / HOUR, data)

    def _wrong(self, person: str, what: str) -> Event:
        hours = (self.now - START) / HOUR
        match what:
            case "code":
                return event("shop.referral.signed_up.v1", hours, {"customer_id": person, "code": "99999999"})
            case "currency":
                return refunded(person, "o0", "r9", hours, "1.00", currency="JPY")
            case "line":
                return refunded(person, "o0", "r8", hours, "1.00", lines=[("z", "1.00")])
            case _:
                data = {"customer_id": person, "order_id": "o0", "currency": "USD", "total": "25.00"}
                return event("shop.purchase.completed.v1", hours, data, "/market")

    async def _erase(self, person: int) -> None:
        erased = event("shop.customer.erased.v1", (self.now - START) / HOUR, {"customer_id": PEOPLE[person]})
        self.model.handle([erased], self.now)
        await self.other.receive([erased], self.now)

    async def _decide(self, which: int, decision: str) -> None:
        referrals = self.model.facts.referrals
        await self._decide_on([referrals[which % len(referrals)]] if referrals else [], decision)

    async def _decide_flagged(self, which: int, decision: str) -> None:
        queue = self.model.queue()
        await self._decide_on([queue[which % len(queue)]] if queue else [], decision)

    async def _decide_all(self, decision: str) -> None:
        await self._decide_on(self.model.queue() + self.model.facts.referrals[-2:], decision)

    async def _overturn(self) -> None:
        """Approve what was rejected without a person, and has an order."""
        rejected = [referral for referral in self.model.facts.referrals if referral.state == "rejected"]
        await self._decide_on([referral for referral in rejected if referral.order is not None], "approve")

    async def _decide_on(self, referrals: Sequence[Referral], decision: str) -> None:
        chosen = list({referral.key: referral for referral in referrals}.values())
        if not chosen:
            return
        done = self.model.decide_on(chosen, decision, BY, self.now)
        assert await self.other.decide([referral.key for referral in chosen], decision, BY, self.now) == done

    async def _pass(self, span: timedelta) -> None:
        self.now += span

    async def _to_due(self, by: timedelta) -> None:
        """Move the clock to the next instant at which something falls due, or just before it."""
        due = [at for referral in self.model.facts.referrals if (at := self.model.steps.next_at(referral)) is not None]
        self.now = max([self.now, *([min(due) + by] if due else [])])

    async def _sweep(self) -> None:
        self.model.steps.apply_due(self.now)
        await self.other.sweep(self.now)

    async def _publish(self, document: dict[str, Any]) -> None:
        self.model.publish(document, self.now)
        await self.other.publish(document, self.now)
        self.now += timedelta(seconds=1)

    async def _read(self, which: int) -> None:
        if self.model.facts.referrals:
            referral = self.model.facts.referrals[which % len(self.model.facts.referrals)]
            self.model.steps.apply_due(self.now, {referral.advocate_id})
            assert await self.other.read(referral.key, self.now) == Row.of(referral)

    async def _look(self) -> None:
        """Look at the queue: a list applies what is due of a hundred advocates, more than there are."""
        self.model.steps.apply_due(self.now)
        assert set(await self.other.queue(self.now)) == {referral.key for referral in self.model.queue()}
