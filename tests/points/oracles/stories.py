"""Draws customers with points due to activate or expire, and writes their books as of noon."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from services.points.handlers import holding, spending
from services.points.handlers.holding import Reservation
from services.points.handlers.spending import ForReference
from shared.contracts.envelope import Event
from shared.contracts.shop import ActivityPerformed, CustomerRegistered, PurchaseDelivered, SurveyAnswered
from shared.postgres.pool import Pool
from tests.points import books, shop
from tests.points.oracles.machine import publish
from tests.points.shop import NOON

Json = dict[str, Any]
Step = tuple[Any, ...]
Stories = Mapping[str, Sequence[Step]]

# Sorted by code points; some need an escape in JSON.
NAMES: Final = ("ann", "آدم", 'o"brien\\', "Ωmega", "zo\u2028ë 😀")
_IDS: Final = ('طلب"2\\', "1", "😀", "Ω")


def _rule(id_: str, points: int, on: str = "purchase", **fields: Any) -> Json:
    return {"id": id_, "on": on, "award": {"kind": "fixed", "points": points}} | fields


def _days(number: int) -> Json:
    return {"kind": "after_days", "days": number}


def _from(amount: str) -> list[Json]:
    return [{"kind": "amount_at_least", "amount": amount}]


_ON_DELIVERY: Final = {"kind": "on_delivery", "cancel_after_days": 6}
_RULES: Final = [
    {
        "id": "base",
        "on": "purchase",
        "award": {"kind": "per_amount", "points": 1, "amount": "1.00"},
        "expire": _days(5),
    },
    _rule("lasting", 7, activate=_days(3)),
    _rule("long", 6, activate=_days(3), expire=_days(40)),
    _rule("brief", 9, when=_from("20.00"), activate=_days(3), expire=_days(1)),
    _rule("delivery", 11, when=_from("30.00"), activate=_ON_DELIVERY, expire=_days(20)),
    _rule("review", 50, "review", activate=_days(2), expire=_days(30)),
    _rule("activity", 3, "activity", activate=_days(3), expire=_days(20)),
    _rule("survey", 4, "survey", activate=_days(2)),
    _rule("welcome", 5, "registration", activate=_days(4), expire=_days(9)),
]

_AGO = st.sampled_from([timedelta(hours=hours) for hours in (0, 1, 1, 24, 49, 60, 120, 300)])
_WHICH = st.integers(0, len(_IDS) - 1)
_TOTAL = st.sampled_from(("7.77", "8.50", "9.00", "20.00", "45.00"))
_SHARE = st.sampled_from((1, 2, 4, 4))
_STEP = st.one_of(
    st.tuples(st.just("buy"), _AGO, _WHICH, _TOTAL),
    st.tuples(st.just("buy"), _AGO, _WHICH, _TOTAL),
    st.tuples(st.just("deliver"), _AGO, _WHICH),
    st.tuples(st.sampled_from(("review", "activity", "survey", "register")), _AGO, _WHICH),
    st.tuples(st.just("redeem"), _SHARE),
    st.tuples(st.just("hold"), _SHARE, st.sampled_from([timedelta(minutes=1), *map(timedelta, (3, 60))])),
    st.tuples(st.just("refund"), _AGO, _WHICH, st.sampled_from(("5.00", "20.00", "45.00"))),
)
stories = st.dictionaries(st.sampled_from(NAMES), st.lists(_STEP, min_size=1, max_size=7), min_size=1, max_size=4)
"""Steps by customer: events of the shop, then commands (shares in quarters of what is available), then refunds."""


async def write_books(pool: Pool, given: Stories, fraction: timedelta = timedelta()) -> None:
    """Write the books of stories; the lots of some rules expire by `fraction` later than the rules say."""
    await books.empty(pool)
    document = {"currency": "USD", "time_zone": "Asia/Riyadh", "rules": _RULES}
    await publish(pool, document, datetime(2020, 1, 1, tzinfo=UTC))
    steps = [(customer, step) for customer, story in given.items() for step in story]
    later = {"redeem", "hold", "refund"}
    await books.deliver(pool, *(_event(customer, step) for customer, step in steps if step[0] not in later), now=NOON)
    for number, (customer, (name, *parameters)) in enumerate(steps):
        if name in {"redeem", "hold"}:
            await _spend(pool, customer, f"{name} {number}", *parameters)
    await books.deliver(pool, *(_event(customer, step) for customer, step in steps if step[0] == "refund"), now=NOON)
    await pool.execute(
        "UPDATE lot SET expires_at = expires_at + $1::interval WHERE rule = ANY('{base, activity}')", fraction
    )


def _event(customer: str, step: Step) -> Event:
    name, ago, which, *rest = step
    at, id_ = NOON - ago, _IDS[which]
    match name:
        case "buy":
            return shop.purchase(id_, rest[0], at, customer_id=customer)
        case "refund":
            return shop.refund(id_, f"r{rest[0]}", rest[0], at, customer_id=customer)
        case "review":
            return shop.review(id_, "sku", at, customer_id=customer)
        case "deliver":
            made = "purchase.delivered", PurchaseDelivered(customer_id=customer, order_id=id_)
        case "activity":
            made = "activity.performed", ActivityPerformed(customer_id=customer, activity_id=id_, activity="visit")
        case "survey":
            made = "survey.answered", SurveyAnswered(customer_id=customer, answer_id=id_, survey="nps", score=9)
        case _:
            made = "customer.registered", CustomerRegistered(customer_id=customer)
    return shop.event(f"shop.{made[0]}.v1", at, made[1])


async def _spend(pool: Pool, customer: str, reference: str, share: int, lasts: timedelta | None = None) -> None:
    points = (await books.balances(pool, customer, NOON)).available * share // 4
    if points == 0:
        return
    call = books.call(customer, NOON)
    async with pool.acquire() as connection, connection.transaction():
        if lasts is None:
            await spending.redeem_for_reference(connection, call, ForReference(points, reference))
        else:
            await holding.reserve(connection, call, Reservation(points, reference, lasts))
