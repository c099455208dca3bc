"""Random histories, from a seed: a few customers, journeys, and what happens, in and out of order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from tests.notifications.oracles import documents
from tests.notifications.oracles.happening import (
    APPROVED,
    AT_RISK,
    EARNED,
    ERASED,
    EXPIRING,
    PURCHASE,
    REDEEMED,
    REGISTERED,
    REVIEW,
    UPDATED,
    Arrival,
    Happening,
    History,
    Json,
    Publication,
    Sweep,
)

CUSTOMERS = ("ann", "ben", "cas")
ZONES = ("UTC", "Asia/Riyadh", "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe")
STARTS = (
    datetime(2026, 3, 5, tzinfo=UTC),
    datetime(2026, 3, 25, tzinfo=UTC),
    datetime(2026, 10, 20, tzinfo=UTC),
    datetime(2027, 12, 28, tzinfo=UTC),
    datetime(2028, 2, 20, tzinfo=UTC),
)
DECLARED: tuple[Json, ...] = (
    {"id": "e-declared", "arms": [{"id": "control", "weight": 1}, {"id": "bonus", "weight": 3}]},
    {
        "id": "e-held",
        "arms": [{"id": "control"}, {"id": "bonus"}],
        "holdout": 0.4,
        "goal": {"type": PURCHASE, "days": 3},
    },
)


@dataclass(slots=True)
class _Writer:
    random: Random
    now: datetime
    happenings: list[Happening] = field(default_factory=list[Happening])
    number: int = 0

    def pass_time(self) -> None:
        """Go on by seconds to days; no two instants of a history are alike."""
        span = self.random.choice([0.01, 0.5, 3, 12, 30, 80])
        self.now += timedelta(hours=self.random.random() * span, microseconds=self.random.randrange(1, 10**6))

    def time(self) -> datetime:
        """When something happened that arrives now: just now, or a while ago."""
        late = self.random.choice([0, 0, 0, 0, 1, 30, 100, 1_000])
        return self.now - timedelta(hours=self.random.random() * late, microseconds=self.random.randrange(10**6))

    def arrive(self, type_: str, data: Json, at: datetime | None = None) -> None:
        """An event arrives now."""
        self.number += 1
        self.happenings.append(Arrival(self.now, self.number, type_, at or self.time(), data))

    def customer(self) -> str:
        """Somebody."""
        return self.random.choice(CUSTOMERS)


def history(seed: int) -> History:
    """The history of a seed."""
    random = Random(seed)
    writer = _Writer(random, random.choice(STARTS) + timedelta(microseconds=random.randrange(10**6)))
    journeys = {f"j{number}": documents.journey(random, timed=random.random() < 0.35) for number in range(4)}
    writer.happenings.append(Publication(writer.now, "names", documents.NAMES))
    for id_, document in journeys.items():
        if random.random() < 0.8:
            writer.happenings.append(Publication(writer.now, id_, document))
            writer.pass_time()
    for customer_id in CUSTOMERS:
        if random.random() < 0.85:
            writer.pass_time()
            writer.arrive(REGISTERED, {"customer_id": customer_id, **_details(random, writer.now)}, writer.now)
    for _ in range(random.choice([5, 15, 40])):
        writer.pass_time()
        _ACTS[random.choices(range(len(_ACTS)), _WEIGHTS)[0]](writer)
        if random.random() < 0.03:
            _publish(writer, journeys)
    writer.now += timedelta(days=random.choice([1, 40]))
    writer.happenings.append(Sweep(writer.now))
    return History(tuple(writer.happenings), DECLARED)


def _publish(writer: _Writer, journeys: dict[str, Json]) -> None:
    """A further version: of an event's journey any other, of time's the same, disabled; or a journey's first."""
    random = writer.random
    id_ = random.choice(list(journeys))
    published = [each for each in writer.happenings if isinstance(each, Publication) and each.journey == id_]
    if not published:
        writer.happenings.append(Publication(writer.now, id_, journeys[id_]))
    elif journeys[id_]["trigger"]["on"] in {"inactivity", "date"}:
        writer.happenings.append(Publication(writer.now, id_, {**journeys[id_], "enabled": False}))
    else:
        document = documents.journey(random) | {"enabled": random.random() < 0.6}
        writer.happenings.append(Publication(writer.now, id_, document))


def _details(random: Random, now: datetime) -> Json:
    born = now + timedelta(days=random.randrange(-2, 40))
    known: Json = {
        "locale": random.choice(documents.LOCALES),
        "country": random.choice(documents.COUNTRIES),
        "time_zone": random.choice(ZONES),
        "birth_date": born.date().replace(year=1988, day=min(born.day, 29)).isoformat(),
    }
    return {name: value for name, value in known.items() if random.random() < 0.8}


def _sweep(writer: _Writer) -> None:
    writer.happenings.append(Sweep(writer.now))


def _buy(writer: _Writer) -> None:
    random = writer.random
    data = {"customer_id": writer.customer(), "order_id": f"o{writer.number}", "currency": "USD"}
    data["total"] = random.choice(["9.00", "50.00", "129.9"])
    if random.random() < 0.5:
        data["channel"] = random.choice(["web", "store"])
    writer.arrive(PURCHASE, data)


def _review(writer: _Writer) -> None:
    data = {"customer_id": writer.customer(), "review_id": f"r{writer.number}", "sku": "s", "rating": 5}
    writer.arrive(REVIEW, data)


def _points(writer: _Writer, type_: str, **more: object) -> None:
    points = writer.random.choice([20, 60, 120])
    data = {
        "customer_id": writer.customer(),
        "transaction_id": f"t{writer.number}",
        "points": points,
        "reason": {"kind": "purchase", "order_id": f"o{writer.number}"},
        "qualifying_points": 0,
        "balance": {"available": writer.random.choice([0, 40, 70, 200]), "pending": 0, "held": 0, "debt": 0},
        **more,
    }
    writer.arrive(type_, data)


def _earn(writer: _Writer) -> None:
    _points(writer, EARNED)


def _redeem(writer: _Writer) -> None:
    _points(writer, REDEEMED, reason={"kind": "redemption", "reward_id": "tea"})


def _expire(writer: _Writer) -> None:
    days = writer.random.choice([1, 7, 30])
    at = writer.time()
    _points(writer, EXPIRING, reason={"kind": "expiry"}, expires_at=(at + timedelta(days=days)).isoformat())
    last = writer.happenings.pop()
    assert isinstance(last, Arrival)
    writer.happenings.append(Arrival(last.now, last.number, last.type, at, last.data))


def _climb(writer: _Writer) -> None:
    at = writer.time()
    to, origin = writer.random.sample(documents.TIERS, 2)
    entry = {"effective_at": at.isoformat(), "tier": to, "points_multiplier": "1.25"}
    data: Json = {
        "customer_id": writer.customer(),
        "program_version": 1,
        "from": origin,
        "to": to,
        "reason": "spend",
        "effective_at": at.isoformat(),
        "points_multiplier": "1.25",
        "timeline": [entry],
    }
    writer.arrive(writer.random.choice(["loyalty.tier.promoted.v1", "loyalty.tier.demoted.v1"]), data, at)


def _refer(writer: _Writer) -> None:
    advocate, friend = writer.random.sample(CUSTOMERS, 2)
    data = {"customer_id": advocate, "referral_id": f"f{writer.number}", "friend_id": friend}
    writer.arrive(APPROVED, {**data, "advocate_points": 500, "friend_points": 200})


def _update(writer: _Writer) -> None:
    details = _details(writer.random, writer.now)
    details.pop("birth_date", None)
    writer.arrive(UPDATED, {"customer_id": writer.customer(), **details})


def _erase(writer: _Writer) -> None:
    """An erasure: nothing that was told before it is dated after it."""
    writer.arrive(ERASED, {"customer_id": writer.customer()}, writer.now)


def _register(writer: _Writer) -> None:
    writer.arrive(REGISTERED, {"customer_id": writer.customer(), **_details(writer.random, writer.now)}, writer.now)


def _repeat(writer: _Writer) -> None:
    """An order or a review comes again, under another event id."""
    told = [each for each in writer.happenings if isinstance(each, Arrival) and each.type in {PURCHASE, REVIEW}]
    if told:
        old = writer.random.choice(told)
        writer.arrive(old.type, old.data, old.at)


def _warn(writer: _Writer) -> None:
    """A tier is at risk: the event names the tier where the customer would fall."""
    at, days = writer.time(), writer.random.choice([7, 30])
    data: Json = {
        "customer_id": writer.customer(),
        "program_version": 1,
        "from": "gold",
        "to": writer.random.choice(documents.TIERS),
        "reason": "period_end",
        "effective_at": (at + timedelta(days=days)).isoformat(),
        "valid_until": (at + timedelta(days=days)).isoformat(),
        "points_multiplier": "1.5",
        "timeline": [],
    }
    writer.arrive(AT_RISK, data, at)


_ACTS: tuple[Callable[[_Writer], None], ...] = (
    _sweep, _buy, _review, _earn, _redeem, _expire, _climb, _refer, _update, _erase, _register, _repeat, _warn,
)  # fmt: skip
_WEIGHTS = (30, 25, 8, 8, 3, 5, 5, 5, 3, 1, 1, 5, 4)
