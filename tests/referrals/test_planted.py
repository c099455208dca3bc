"""Wrong versions of the product, one at a time: each fails a history that the correct version passes.

Planted: circles of five pass; what is due waits for the job; a milestone is paid twice; a void gives the use of a cap
back; what expired never qualifies; nobody's time runs from the end of the hold; a person's approval is judged again;
evidence from before an erasure comes back; the order that arrives last qualifies; a sign-up is judged by what its batch
tells later; a flag does not hold once its signal is gone; late orders from before the sign-up are passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.referrals.handlers import evidence, locking
from services.referrals.rules import circle, judging, steps
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import Counted, Referral, State
from services.referrals.rules.rewards import Ledger, Paid
from shared.postgres.pool import Pool
from tests.referrals.oracles.histories import Step
from tests.referrals.oracles.machine import Machine
from tests.referrals.oracles.model import VERSION_1
from tests.referrals.oracles.product import Product

NOW = timedelta()
DAY = timedelta(1)
SHARED = {"device_id": "d-1"}


def joins(friend: int, advocate: int, traces: Mapping[str, str] | None = None, ago: timedelta = NOW) -> Step:
    return "join", friend, advocate, traces or {}, ago


def buys(person: int, order: int = 0, total: str = "25.00", ago: timedelta = NOW) -> Step:
    return "buy", person, order, total, "USD", ago


def returns(person: int, order: int = 0) -> Step:
    return "refund", person, order, 0, "99.00", "", NOW


def uses(person: int, ago: timedelta = NOW) -> Step:
    return "profile", person, False, SHARED, {}, ago


def receive(*events: Step) -> Step:
    return "receive", list(events)


def later(span: timedelta) -> Step:
    return "pass", span


def signals(*ids: str) -> dict[str, Any]:
    return {"signals": [{"id": id_} for id_ in ids]}


HELD: dict[str, Any] = {"hold_days": 3}
PAID = [receive(joins(friend, 0), buys(friend)) for friend in (1, 2, 3)]
FLAGGED = receive(uses(0), joins(1, 0, SHARED), buys(1))


def not_due(self: locking.Sides) -> bool:
    return False


def ignore_carriers(self: Ledger, program: Program, advocate_id: str, reward: Any, real: Any = Ledger._with_milestones):
    self.accounts = {name: account._replace(milestones=frozenset()) for name, account in self.accounts.items()}
    return real(self, program, advocate_id, reward)


def void_gives_back(self: Ledger, advocate_id: str, milestones: Sequence[int], real: Any = Ledger.void) -> None:
    real(self, advocate_id, milestones)
    self.changes[advocate_id].paid = Paid(-1, -500)


def from_the_hold(self: Program, _flagged_at: datetime, due_at: datetime) -> datetime:
    return due_at + self.undecided


def judged_again(referral: Referral, real: Any = steps.clear) -> Referral:
    return replace(real(referral), is_cleared=False)


async def nobody(*_: object) -> Mapping[str, Any]:
    return {}


def as_they_arrive(referral: Referral, order: Any) -> Referral:
    return replace(referral, counted=(*referral.counted, Counted(order.time, order.order_id)))


def of_today_only(referral: Referral, found: Any, at: datetime, real: Any = steps.with_signals) -> Referral:
    return real(replace(referral, signals=()), found, at)


def everything(_marks: evidence.Marks, _index: int) -> int:
    return 2**62


def passed_over(*_: object) -> list[Any]:
    return []


@dataclass(frozen=True)
class Plant:
    """A bug: the attribute that is replaced, and the history that shows it."""

    place: Any
    name: str
    wrong: Any
    document: dict[str, Any]
    steps: list[Step]


PLANTS = {
    "circles of five pass": Plant(
        circle,
        "MOST_PEOPLE",
        4,
        {"signals": [{"id": "circle", "action": "block"}]},
        [receive(*(joins((person + 1) % 5, person) for person in range(5)))],
    ),
    "what is due waits for the job": Plant(
        locking.Sides,
        "is_due",
        property(not_due),
        HELD,
        [receive(joins(1, 0), buys(1)), later(4 * DAY), receive(returns(1))],
    ),
    "a milestone is paid twice": Plant(
        Ledger,
        "_with_milestones",
        ignore_carriers,
        {"milestones": [{"count": 2, "points": 1_000}]},
        [*PAID[:2], receive(returns(1)), PAID[2]],
    ),
    "a void gives the use of a cap back": Plant(
        Ledger,
        "void",
        void_gives_back,
        {"caps": [{"count": 1, "per": "ever"}]},
        [PAID[0], receive(returns(1)), PAID[1]],
    ),
    "what expired never qualifies": Plant(
        judging,
        "OPEN",
        frozenset({State.SIGNED_UP}),
        {},
        [receive(joins(1, 0)), later(40 * DAY), receive(buys(1, ago=20 * DAY))],
    ),
    "nobody's time runs from the end of the hold": Plant(
        Program,
        "undecided_at",
        from_the_hold,
        signals("same_device"),
        [FLAGGED, later(10 * DAY), receive(uses(2), joins(3, 2, SHARED, 5 * DAY), buys(3, ago=5 * DAY)),
         later(10 * DAY), ("sweep",)],
    ),
    "a person's approval is judged again": Plant(
        steps, "clear", judged_again, signals("same_device") | HELD, [FLAGGED, ("decide_flagged", 0, "approve")]
    ),
    "evidence from before an erasure comes back": Plant(
        evidence.erasure,
        "find",
        nobody,
        signals("same_device"),
        [("erase", 1), receive(uses(0), uses(1, DAY)), receive(joins(1, 0), buys(1))],
    ),
    "the order that arrives last qualifies": Plant(
        steps,
        "counting",
        as_they_arrive,
        {"qualifies": VERSION_1["qualifies"] | {"nth_order": 2}},
        [receive(joins(1, 0, ago=2 * DAY)), receive(buys(1, 0)), receive(buys(1, 1, ago=DAY))],
    ),
    "a sign-up is judged by what its batch tells later": Plant(
        evidence.Marks,
        "at",
        everything,
        {"signals": [{"id": "same_device", "action": "block"}]},
        [receive(joins(1, 0, SHARED), uses(0))],
    ),
    "a signal that is gone counts no more": Plant(
        steps,
        "with_signals",
        of_today_only,
        signals("same_device"),
        [receive(uses(0), joins(1, 0, SHARED)), ("erase", 0), receive(buys(1))],
    ),
    "late orders from before the sign-up are passed over": Plant(
        judging.Judge,
        "_order_from_before",
        passed_over,
        {"signals": [{"id": "already_bought"}]} | HELD,
        [receive(joins(1, 0), buys(1)), receive(buys(1, 1, ago=DAY))],
    ),
}  # fmt: skip


async def play(pool: Pool, plant: Plant) -> None:
    await Machine(Product(pool)).run(VERSION_1 | {"caps": [], "signals": []} | plant.document, plant.steps)


@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_bug_is_found(referrals_pool: Pool, monkeypatch: pytest.MonkeyPatch, name: str):
    plant = PLANTS[name]
    await play(referrals_pool, plant)
    assert getattr(plant.place, plant.name) != plant.wrong, "a plant changes something"
    monkeypatch.setattr(plant.place, plant.name, plant.wrong)
    with pytest.raises(AssertionError):
        await play(referrals_pool, plant)
