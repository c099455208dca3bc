"""Histories of three customers as Hypothesis makes them: times coincide, amounts straddle whole points."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from shared.contracts.envelope import Event
from tests.points import shop
from tests.points.shop import hour

CUSTOMERS = ("ann", "bob", "zoë")

_CUSTOMER = st.sampled_from(CUSTOMERS)
_TIME = st.sampled_from([hour(count) for count in (0, 1, 2, 3, 4)])
_AMOUNT = st.sampled_from(("0.00", "0.9999", "1.00", "3.33", "10.00", "99.995", "100.00", "250.01"))
_MULTIPLIER = st.sampled_from(("1", "1.0", "1.25", "1.5", "2", "0.5", "1.333333333"))
_CURRENCY = st.sampled_from(("USD", "USD", "USD", "EUR"))


@st.composite
def _lines(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    return (("a", draw(_AMOUNT)), ("b", draw(_AMOUNT)), ("free", "0")) if draw(st.booleans()) else ()


def _total(lines: Sequence[tuple[str, str]]) -> str:
    cents = sum(round(float(amount) * 10_000) for _, amount in lines)
    return f"{cents // 10_000}.{cents % 10_000:04}"


@st.composite
def _order(draw: st.DrawFn, order_id: str) -> list[Event]:
    """A purchase with its refunds, some of which may not fit."""
    owner, lines, currency = draw(_CUSTOMER), draw(_lines()), draw(_CURRENCY)
    total = _total(lines) if lines else draw(_AMOUNT)
    found = [shop.purchase(order_id, total, draw(_TIME), customer_id=owner, currency=currency, lines=lines)]
    for number in range(draw(st.integers(0, 3))):
        part = draw(st.sampled_from(("a", "b", "free", "unknown"))) if draw(st.booleans()) else None
        amount = draw(st.one_of(_AMOUNT, st.just(total)))
        found.append(
            shop.refund(
                *(order_id, f"r{number}", amount, draw(_TIME)),
                customer_id=owner,
                currency=draw(st.sampled_from((currency, currency, currency, "CHF"))),
                lines=() if part is None else ((part, amount),),
            )
        )
    return found


@st.composite
def _conflict(draw: st.DrawFn, orders: Sequence[Event]) -> Event:
    """An order id that another shop uses too."""
    data: Any = draw(st.sampled_from(orders)).data
    return shop.purchase(data.order_id, draw(_AMOUNT), draw(_TIME), customer_id=data.customer_id, source="/shop/other")


@st.composite
def _reviews(draw: st.DrawFn, skus: Sequence[str]) -> list[Event]:
    found: list[Event] = []
    for number, sku in enumerate(skus):
        owner, verified = draw(_CUSTOMER), draw(st.sampled_from((True, True, False, None)))
        found.append(shop.review(f"v{number}", sku, draw(_TIME), customer_id=owner, verified=verified))
        if draw(st.booleans()):
            found.append(shop.withdrawal(f"v{number}", draw(_TIME), customer_id=owner))
    return found


@st.composite
def _referral(draw: st.DrawFn, referral_id: str) -> list[Event]:
    sides: Any = tuple(draw(st.permutations(CUSTOMERS))[:2])
    points = draw(st.sampled_from(((500, 200), (50, 0), (None, 7))))
    verbs = draw(st.sampled_from((("approved",), ("voided",), ("approved", "voided"))))
    return [shop.referral(verb, referral_id, points, draw(_TIME), sides=sides) for verb in verbs]


@st.composite
def _tier(draw: st.DrawFn) -> Event:
    times = sorted(draw(st.lists(_TIME, min_size=1, max_size=3, unique=True)))
    return shop.tier([(at, draw(_MULTIPLIER)) for at in times], customer_id=draw(_CUSTOMER))


def _in_order(arrival: Sequence[Event]) -> list[Event]:
    """The arrival with tier events put back into the order of their log: timelines replace each other."""
    tiers = iter(sorted((one for one in arrival if one.type.startswith("loyalty.tier.")), key=_offset))
    return [next(tiers) if one.type.startswith("loyalty.tier.") else one for one in arrival]


def _offset(event: Event) -> int:
    return event.record.offset


@st.composite
def facts(draw: st.DrawFn) -> list[Event]:
    """What happened, whose effect does not depend on the order of arrival."""
    orders = [one for number in range(draw(st.integers(1, 4))) for one in draw(_order(f"o{number}"))]
    reviews = draw(_reviews([f"s{number}" for number in range(draw(st.integers(0, 3)))]))
    referrals = [one for number in range(draw(st.integers(0, 2))) for one in draw(_referral(f"f{number}"))]
    tiers = [draw(_tier()) for _ in range(draw(st.integers(0, 4)))]
    return [*orders, *reviews, *referrals, *tiers]


@st.composite
def arrivals(draw: st.DrawFn, happened: Sequence[Event]) -> list[list[Event]]:
    """What happened, in any order, some of it twice or told again, in batches of any size."""
    twice = [shop.redelivered(one) for one in draw(st.lists(st.sampled_from(happened), max_size=3))]
    retold = draw(st.lists(st.sampled_from(happened), max_size=3))
    # A timeline that is told again under another id is no repeat: it replaces what was told since.
    retold = [shop.again(one) for one in retold if not one.type.startswith("loyalty.tier.")]
    arrival = _in_order(draw(st.permutations([*happened, *twice, *retold])))
    return draw(batches(arrival))


@st.composite
def batches(draw: st.DrawFn, arrival: Sequence[Event]) -> list[list[Event]]:
    """The arrival cut into batches."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(arrival) - 1)), max_size=8)))
    edges = [0, *cuts, len(arrival)]
    return [list(arrival[start:end]) for start, end in pairwise(edges)]


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Anything in any order, also what depends on it: order ids of two shops, a sku reviewed twice."""
    happened = draw(facts())
    orders = [one for one in happened if one.type == "shop.purchase.completed.v1"]
    happened += [draw(_conflict(orders)) for _ in range(draw(st.integers(0, 1)))]
    # One customer reviews a sku again and again, and may withdraw one of the reviews.
    owner = draw(_CUSTOMER)
    happened += [shop.review(f"w{number}", "s0", customer_id=owner) for number in range(draw(st.integers(0, 3)))]
    if draw(st.booleans()):
        happened.append(shop.withdrawal("w0", customer_id=owner))
    return draw(arrivals(happened))


adjustments = st.lists(st.tuples(_CUSTOMER, st.sampled_from((-1, -5, -50, -120, 3, 70, 1000))), max_size=4)
"""Corrections by hand, one after each of the first batches."""
