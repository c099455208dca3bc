"""A random history from a seed: the same seed, the same history.

Everything depends only on the seed, except the instant at which a run begins. Times are relative to it, so the periods
of limits (days, months) are those of the day of the run.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Final

from tests.prove.items import Item, Role, ShopEvent, Turn
from tests.prove.lives import TILL, WEB, Life
from tests.prove.malformed import FLAWS

DUPLICATES: Final = 0.02
REPEATS: Final = 0.01
DISPLACED: Final = 0.03
LATE: Final = 0.01
MALFORMED: Final = 0.002
UNFIT: Final = 0.001

_OF_ABLE: Final = DISPLACED * 1.15
"""More than wanted, since not every event can be displaced (the last of a customer cannot)."""
_DAY: Final = 86_400.0
_FAR: Final = 2_000  # records between an event and its duplicate, at most

NATURAL: Final = frozenset(
    {
        "shop.purchase.completed.v1",
        "shop.purchase.refunded.v1",
        "shop.purchase.delivered.v1",
        "shop.review.published.v1",
        "shop.review.withdrawn.v1",
        "shop.activity.performed.v1",
        "shop.survey.answered.v1",
    }
)
"""Types with a natural key: a repeat under another id has no effect."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a history: total records, customers, and records per second (which sets their times)."""

    records: int
    customers: int
    rate: float = 300.0
    malformed: float = MALFORMED
    """The share of malformed records."""


@dataclass(frozen=True, slots=True)
class History:
    """The records in order, and the customers with a referral code."""

    seed: int
    size: Size
    customers: tuple[str, ...]
    advocates: tuple[str, ...]
    items: tuple[Item, ...]

    def of_role(self, role: Role) -> list[Item]:
        """The records of a kind."""
        return [item for item in self.items if item.role is role]

    def with_orders(self, most: int) -> list[str]:
        """The customers with at most so many purchase events."""
        orders = Counter(item.event.customer for item in self.items if item.event.type == "shop.purchase.completed.v1")
        return [customer for customer in self.customers if orders[customer] <= most]


_Placed = tuple[float, Item]


def make(seed: int, size: Size) -> History:
    """The history of a seed."""
    random = Random(seed)
    customers = tuple(_name(number) for number in range(size.customers))
    advocates = customers[: max(3, size.customers // 16)]
    twice, repeats, spoilt, unfit = (
        round(size.records * share) for share in (DUPLICATES, REPEATS, size.malformed, UNFIT)
    )
    drawn = _draw(random, size, customers, advocates, size.records - twice - repeats - spoilt - unfit)
    placed = _place(random, drawn)
    events = [item for _, item in placed]
    first = list(placed)
    placed += _again(random, first, twice, Role.DUPLICATE)
    placed += _again(random, first, repeats, Role.REPEAT)
    placed += _spoilt(random, events, spoilt)
    placed += _unfit(random, events, unfit)
    ordered = sorted(placed, key=lambda item: item[0])
    items = tuple(replace(item, number=number) for number, (_, item) in enumerate(ordered))
    return History(seed, size, customers, advocates, items)


def _name(number: int) -> str:
    """A customer's id; every hundredth has non-Latin letters and characters that URLs escape."""
    return f"زبون {number} %?#+é" if number % 100 == 50 else f"c{number}"


def _draw(
    random: Random, size: Size, customers: Sequence[str], advocates: tuple[str, ...], count: int
) -> list[tuple[ShopEvent, Turn]]:
    """Draw events in order, some with a time days ago."""
    lives = {name: Life(name, random, advocates) for name in customers}
    events: list[tuple[ShopEvent, Turn]] = []
    for number in range(count):
        # Every customer appears; after that, some appear more often than others.
        fresh = number < 3 * size.customers and number % 3 == 0
        name = customers[number // 3] if fresh else customers[int(size.customers * random.random() ** 1.5)]
        topic, type_, source, data = lives[name].next()
        at, turn = number / size.rate, Turn.IN_ORDER
        if random.random() < LATE and not type_.endswith("erased.v1"):
            at, turn = at - random.uniform(1.0, 9.0) * _DAY, Turn.LATE
        events.append((ShopEvent(topic, type_, f"e{number}", source, round(at, 3), data), turn))
    return events


def _place(random: Random, drawn: Sequence[tuple[ShopEvent, Turn]]) -> list[_Placed]:
    """The events in place, some displaced behind the next event of their customer."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, (item, _) in enumerate(drawn):
        places[item.customer].append(place)
    following = {place: after for own in places.values() for place, after in pairwise(own)}
    fixed: set[int] = set()
    placed: list[_Placed] = []
    for place, (item, turn) in enumerate(drawn):
        after = following.get(place)
        is_able = after is not None and place not in fixed and {turn, drawn[after][1]} == {Turn.IN_ORDER}
        if after is not None and is_able and random.random() < _OF_ABLE:
            fixed.add(after)  # it has to stay before this one
            placed.append((after + 0.5, Item(place, item, turn=Turn.DISPLACED)))
        else:
            placed.append((float(place), Item(place, item, turn=turn)))
    return placed


def _again(random: Random, first: Sequence[_Placed], count: int, role: Role) -> list[_Placed]:
    """Repeats of events, unchanged or under another id."""
    able = [item for item in first if role is Role.DUPLICATE or item[1].event.type in NATURAL]
    repeats: list[_Placed] = []
    for number in range(count):
        origin, item = random.choice(able)
        event = item.event if role is Role.DUPLICATE else replace(item.event, id=f"{item.event.id}-again-{number}")
        place = origin + min(1.0 + random.expovariate(1 / 200), _FAR)
        repeats.append((place, replace(item, event=event, role=role)))
    return repeats


def _spoilt(random: Random, events: Sequence[Item], count: int) -> list[_Placed]:
    """Malformed records: every flaw on every topic in turn."""
    able: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in events:
        for name, flaw in FLAWS.items():
            if flaw.only in {None, item.event.type} and len(able[item.event.topic, name]) < 500:
                able[item.event.topic, name].append(item)
    kinds = sorted(able)
    random.shuffle(kinds)
    placed: list[_Placed] = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        event = replace(random.choice(able[kind]).event, id=f"spoilt-{number}")
        place = random.uniform(0, len(events))
        placed.append((place, Item(0, event, Role.MALFORMED, flaw=kind[1])))
    return placed


def _unfit(random: Random, events: Sequence[Item], count: int) -> list[_Placed]:
    """Events that rules may refuse, in any order of arrival."""
    bought = [item for item in events if item.event.type == "shop.purchase.completed.v1"]
    joined = [item for item in events if item.event.type == "shop.referral.signed_up.v1"]
    placed: list[_Placed] = []
    for number in range(count):
        kind = number % 4
        item = random.choice(joined if kind == 3 and joined else bought)
        event = replace(item.event, id=f"unfit-{number}")
        if kind == 3 and joined:
            event = replace(event, data=dict(event.data) | {"code": "22222222"})
        elif kind == 0:
            event = replace(event, source=TILL if event.source == WEB else WEB)
        else:
            event = _strange_refund(event, kind, number)
        placed.append((item.number + random.uniform(-300.0, 3000.0), Item(0, event, Role.UNFIT)))
    return placed


def _strange_refund(event: ShopEvent, kind: int, number: int) -> ShopEvent:
    """A refund in another currency, or of an unknown line."""
    data = {name: event.data[name] for name in ("customer_id", "order_id", "currency")}
    data |= {"refund_id": f"strange{number}", "amount": "1.00"}
    if kind == 1:
        data["currency"] = "CHF"
    else:
        data["lines"] = [{"line_id": "no such line", "quantity": 1, "amount": "1.00"}]
    return replace(event, type="shop.purchase.refunded.v1", data=data)
