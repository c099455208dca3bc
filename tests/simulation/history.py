"""Draws the records of a shop from a seed: few customers, equal times, repeats."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from shared.contracts.envelope import Event, Headers
from shared.contracts.shop import ReferralSignedUp
from tests.points import shop
from tests.points.shop import hour
from tests.prove.lives import code_of

CUSTOMERS: Final = ("ann", "bob", "zoë", "dan", "eve")

_AMOUNTS: Final = ("0.00", "0.9999", "3.33", "99.995", "120.00", "250.01", "480.00", "900.00")
_CURRENCIES: Final = ("USD", "USD", "USD", "USD", "EUR")
_BROKEN: Final = (
    b"no json",
    None,
    b"[]",
    b'{"specversion": "1.0", "id": "x", "source": "/shop", "type": "shop.purchase.completed.v1"}',
    b'{"specversion": "1.0", "id": "y", "source": "/shop", "type": "shop.purchase.refunded.v1", "data": {}}',
    # An unknown type: skipped, but no dead letter.
    b'{"specversion": "1.0", "id": "z", "source": "/shop", "type": "shop.unknown.v1", "data": {}}',
)


# Header names that are not UTF-8, or look like other names as text: they have no effect on the event.
_ODD_HEADERS: Final = (
    (b"caf\xe9", b"\xff"),
    (b"ce_\x00type", b"shop.purchase.refunded.v1"),
    (b"content-type\x00", b""),
    (b"\x80", None),
    (b"", b"no name"),
)


@dataclass(frozen=True)
class Sent:
    """A record to publish, with its event; None for a malformed one."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    event: Event | None
    width: int = 0
    """More than 0 for an unreadable record: the number of its offsets."""


def history(chance: Random, size: int, *, refers: bool = False) -> list[Sent]:
    """Draw at least `size` records; `refers`: friends sign up, instead of ready events about referrals."""
    customers = CUSTOMERS[: chance.randint(3, len(CUSTOMERS))]
    events: list[Event] = []
    for number in range(size):
        if len(events) >= size:
            break
        customer = chance.choice(customers)
        match chance.choices(("order", "review", "referral"), (6, 1, 3) if refers else (6, 3, 1))[0]:
            case "order":
                events += _order(chance, f"o{number}", customer)
            case "review":
                events += _reviews(chance, f"v{number}", customer)
            case _:
                other = chance.choice([item for item in customers if item != customer])
                sides = (customer, other)
                events += [_sign_up(chance, sides)] if refers else _referral(chance, number, sides)
    sent = [_sent(chance, item) for item in _repeated(chance, _late(chance, events))]
    for _ in range(chance.randint(0, 6)):
        sent.insert(chance.randint(0, len(sent)), _broken(chance))
    for _ in range(chance.choice((0, 0, 1, 4))):
        sent.insert(chance.randint(0, len(sent)), _unreadable(chance))
    return sent


def _order(chance: Random, order_id: str, customer: str) -> list[Event]:
    currency, total = chance.choice(_CURRENCIES), chance.choice(_AMOUNTS)
    events = [shop.purchase(order_id, total, _time(chance), customer_id=customer, currency=currency)]
    for number in range(chance.choice((0, 0, 1, 2))):
        of = currency if chance.random() < 0.9 else "CHF"
        amount = chance.choice((*_AMOUNTS, total, total))
        at = _time(chance)
        events.append(shop.refund(order_id, f"r{number}", amount, at, customer_id=customer, currency=of))
    if chance.random() < 0.1:
        again: dict[str, Any] = {"customer_id": customer, "source": "/shop/other"}
        events.append(shop.purchase(order_id, chance.choice(_AMOUNTS), _time(chance), **again))
    return events


def _reviews(chance: Random, review_id: str, customer: str) -> list[Event]:
    sku = f"s{chance.randint(0, 2)}"
    verified = chance.random() < 0.8
    events = [shop.review(review_id, sku, _time(chance), customer_id=customer, verified=verified)]
    if chance.random() < 0.3:
        events.append(shop.withdrawal(review_id, _time(chance), customer_id=customer))
    return events


def _referral(chance: Random, number: int, sides: tuple[str, str]) -> list[Event]:
    verbs = ("approved",) if chance.random() < 0.6 else ("approved", "voided")
    return [shop.referral(verb, f"f{number}", (500, 200), _time(chance), sides=sides) for verb in verbs]


def _sign_up(chance: Random, sides: tuple[str, str]) -> Event:
    friend, advocate = sides
    data = ReferralSignedUp(customer_id=friend, code=code_of(advocate))
    return shop.event("shop.referral.signed_up.v1", _time(chance), data)


def _time(chance: Random) -> Any:
    return hour(chance.choice((0, 1, 2, 3, 20, 50, 100, 200)))


def _late(chance: Random, events: Sequence[Event]) -> list[Event]:
    """Move some of the events to other places."""
    arrival = list(events)
    for _ in range(len(arrival) // 4):
        event = arrival.pop(chance.randrange(len(arrival)))
        arrival.insert(chance.randint(0, len(arrival)), event)
    return arrival


def _repeated(chance: Random, events: Sequence[Event]) -> list[Event]:
    """Repeat some of the events, unchanged or under another id."""
    arrival = list(events)
    for _ in range(max(2, len(events) // 10)):
        place = chance.randrange(len(arrival))
        event = arrival[place]
        arrival.insert(chance.randint(place, len(arrival)), shop.again(event) if chance.random() < 0.3 else event)
    return arrival


def _sent(chance: Random, event: Event) -> Sent:
    record = event.record
    odd = chance.sample(_ODD_HEADERS, chance.choice((0, 0, 0, 1, 3)))
    return Sent(record.topic, record.key, record.value, (*record.headers, *odd), event)


def _broken(chance: Random) -> Sent:
    return Sent("shop.purchases", chance.choice(CUSTOMERS).encode(), chance.choice(_BROKEN), (), None)


def _unreadable(chance: Random) -> Sent:
    customer = chance.choice(CUSTOMERS).encode()
    return Sent("shop.purchases", customer, b"\x00\xff raw", (), None, width=chance.choice((1, 1, 3)))
