"""Draws histories of three customers: instants coincide, amounts lie around whole points."""

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
_TIER = st.sampled_from(("member", "silver", "gold", "gold", "plus", "vip"))
_CURRENCY = st.sampled_from(("USD", "USD", "USD", "EUR"))


@st.composite
def _lines(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    return (("a", draw(_AMOUNT)), ("b", draw(_AMOUNT)), ("free", "0")) if draw(st.booleans()) else ()


def _total(lines: Sequence[tuple[str, str]]) -> str:
    cents = sum(round(float(amount) * 10_000) for _, amount in lines)
    return f"{cents // 10_000}.{cents % 10_000:04}"


@st.composite
def _order(draw: st.DrawFn, order_id: str) -> list[Event]:
    """A purchase with its refunds, some of which do not match it."""
    owner, lines, currency = draw(_CUSTOMER), draw(_lines()), draw(_CURRENCY)
    total = _total(lines) if lines else draw(_AMOUNT)
    events = [shop.purchase(order_id, total, draw(_TIME), customer_id=owner, currency=currency, lines=lines)]
    for number in range(draw(st.integers(0, 3))):
        part = draw(st.sampled_from(("a", "b", "free", "unknown"))) if draw(st.booleans()) else None
        amount = draw(st.one_of(_AMOUNT, st.just(total)))
        events.append(
            shop.refund(
                *(order_id, f"r{number}", amount, draw(_TIME)),
                customer_id=owner,
                currency=draw(st.sampled_from((currency, currency, currency, "CHF"))),
                lines=() if part is None else ((part, amount),),
            )
        )
    return events


@st.composite
def _conflict(draw: st.DrawFn, orders: Sequence[Event]) -> Event:
    """An order id that another shop uses too."""
    data: Any = draw(st.sampled_from(orders)).data
    return shop.purchase(data.order_id, draw(_AMOUNT), draw(_TIME), customer_id=data.customer_id, source="/shop/other")


@st.composite
def _reviews(draw: st.DrawFn, skus: Sequence[str]) -> list[Event]:
    events: list[Event] = []
    for number, sku in enumerate(skus):
        owner, verified = draw(_CUSTOMER), draw(st.sampled_from((True, True, False, None)))
        events.append(shop.review(f"v{number}", sku, draw(_TIME), customer_id=owner, verified=verified))
        if draw(st.booleans()):
            events.append(shop.withdrawal(f"v{number}", draw(_TIME), customer_id=owner))
    return events


@st.composite
def _referral(draw: st.DrawFn, referral_id: str) -> list[Event]:
    sides: Any = tuple(draw(st.permutations(CUSTOMERS))[:2])
    points = draw(st.sampled_from(((500, 200), (50, 0), (None, 7))))
    verbs = draw(st.sampled_from((("approved",), ("voided",), ("approved", "voided"))))
    return [shop.referral(verb, referral_id, points, draw(_TIME), sides=sides) for verb in verbs]


@st.composite
def _tier(draw: st.DrawFn) -> Event:
    """Rises, falls, tiers kept at another multiplier, and tiers that the rules list at some times or never."""
    times = sorted(draw(st.lists(_TIME, min_size=1, max_size=3, unique=True)))
    entries = [(at, draw(_TIER), draw(_MULTIPLIER)) for at in times]
    verb = draw(st.sampled_from(("promoted", "demoted", "retained", "corrected")))
    return shop.timeline(*entries, customer_id=draw(_CUSTOMER), verb=verb)


def _in_order(arrival: Sequence[Event]) -> list[Event]:
    """The arrival with tier events in the order of their log, since timelines replace each other."""
    tiers = iter(sorted(filter(_is_tier, arrival), key=_offset))
    return [next(tiers) if _is_tier(event) else event for event in arrival]


def _is_tier(event: Event) -> bool:
    return event.type.startswith("loyalty.tier.")


def _offset(event: Event) -> int:
    return event.record.offset


@st.composite
def facts(draw: st.DrawFn) -> list[Event]:
    """Events whose effect does not depend on their order of arrival."""
    orders = [event for number in range(draw(st.integers(1, 4))) for event in draw(_order(f"o{number}"))]
    reviews = draw(_reviews([f"s{number}" for number in range(draw(st.integers(0, 3)))]))
    referrals = [event for number in range(draw(st.integers(0, 2))) for event in draw(_referral(f"f{number}"))]
    tiers = [draw(_tier()) for _ in range(draw(st.integers(0, 4)))]
    return [*orders, *reviews, *referrals, *tiers]


@st.composite
def arrivals(draw: st.DrawFn, events: Sequence[Event]) -> list[list[Event]]:
    """Events in any order, some redelivered or repeated under a new id, in batches of any size."""
    redelivered = [shop.redelivered(event) for event in draw(st.lists(st.sampled_from(events), max_size=3))]
    repeated = draw(st.lists(st.sampled_from(events), max_size=3))
    # A timeline under a new id is no repeat: it replaces the timelines published since.
    repeated = [shop.again(event) for event in repeated if not _is_tier(event)]
    arrival = _in_order(draw(st.permutations([*events, *redelivered, *repeated])))
    return draw(batches(arrival))


@st.composite
def batches(draw: st.DrawFn, arrival: Sequence[Event]) -> list[list[Event]]:
    """The arrival cut into batches."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(arrival) - 1)), max_size=8)))
    edges = [0, *cuts, len(arrival)]
    return [list(arrival[start:end]) for start, end in pairwise(edges)]


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Any events in any order, also those whose effect depends on it: order ids of two shops, a sku reviewed twice."""
    events = draw(facts())
    orders = [event for event in events if event.type == "shop.purchase.completed.v1"]
    events += [draw(_conflict(orders)) for _ in range(draw(st.integers(0, 1)))]
    # One customer reviews a sku again and again, and may withdraw one of the reviews.
    owner = draw(_CUSTOMER)
    events += [shop.review(f"w{number}", "s0", customer_id=owner) for number in range(draw(st.integers(0, 3)))]
    if draw(st.booleans()):
        events.append(shop.withdrawal("w0", customer_id=owner))
    return draw(arrivals(events))


adjustments = st.lists(st.tuples(_CUSTOMER, st.sampled_from((-1, -5, -50, -120, 3, 70, 1000))), max_size=4)
"""Manual adjustments, one after each of the first batches."""
