"""Draws extreme tier programs and events: the largest, smallest, earliest and latest values that are accepted."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from shared.contracts.envelope import Event
from tests.tiers import shop

Json = dict[str, Any]

FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
NOON: Final = shop.NOON
MOST: Final = "999999999999.9999"

_ZONES: Final = ("UTC", "Asia/Riyadh", "Pacific/Kiritimati", "Pacific/Apia", "America/Havana", "Etc/GMT+12")
_RATES: Final[tuple[Json, ...]] = ({}, {"IDR": "0.000000000001", "SAR": "999999999999.999999999999"}, {"EUR": "0.7"})
_NAMES: Final[tuple[Json, ...]] = ({"en": "Tier"}, {}, {"ar": "\u202eعضو\u2066"}, {"zh-Hant": "\U0001f947" * 200})
_WINDOWS: Final[tuple[Json, ...]] = (
    {},
    {"from": "0001-01-01", "to": "9999-12-31T23:59:59"},
    {"from": "9999-12-31"},
    {"to": "0001-01-01T00:00:01"},
    {"from": "1800-01-01T12:00", "to": "9999-12-31T23:59:59Z"},
)
_MULTIPLIERS: Final = ("0", "0.000000001", "1", "1.25", "10000")
_AMOUNTS: Final = ("0", "0.0001", "1.00", "333.3333", MOST)
_ID: Final = st.sampled_from("12")
_ACTIVITIES: Final = ("quiz", "زيارة")


def _count(metric: str, least: int) -> Json:
    return {"metric": metric, "at_least": least}


def _key(condition: Json) -> tuple[str, str | None]:
    return condition["metric"], condition.get("activity")


def _gift(name: Json, window: Json, uses: Json) -> Json:
    return {"id": "gift", "kind": "gift", "name": name, **window, **uses}


def _with_lines(order_id: str, time: datetime) -> Event:
    return shop.purchase(order_id, "3.0000", time, lines=[("1", "1.0000"), ("2", "2.0000")])


def _of_line(order_id: str, amount: str, time: datetime) -> Event:
    return shop.refund(order_id, "3", amount, time, lines=[("1", amount)])


_condition = st.one_of(
    st.sampled_from(["0.0001", "1", MOST]).map(lambda least: {"metric": "spend", "at_least": least}),
    st.builds(
        _count,
        st.sampled_from(["orders", "points", "reviews", "referrals", "activities"]),
        st.sampled_from([1, 2, 10**12]),
    ),
    st.sampled_from(_ACTIVITIES).map(lambda name: {"metric": "activities", "activity": name, "at_least": 1}),
)
_way = st.lists(_condition, min_size=1, max_size=4, unique_by=_key)
_ways = st.lists(_way, min_size=1, max_size=3)
_period = st.one_of(
    st.sampled_from([1, 2, 365, 36_500]).map(lambda days: {"kind": "rolling_days", "days": days}),
    st.sampled_from(["calendar_year", "anniversary", "lifetime"]).map(lambda kind: {"kind": kind}),
)
_benefit = st.builds(
    _gift,
    st.sampled_from(_NAMES),
    st.sampled_from(_WINDOWS),
    st.one_of(
        st.just({}),
        st.sampled_from(["year", "period", "ever"]).map(lambda per: {"uses": {"count": 10**6, "per": per}}),
    ),
)


@st.composite
def documents(draw: st.DrawFn, *, before: Json | None = None) -> Json:
    """A document that the API publishes; tiers that `before` has and it lacks are moved."""
    period = draw(_period)
    currency = draw(st.sampled_from(["USD", "SAR"]))
    names = draw(st.sampled_from([("a",), ("a", "b"), ("a", "b", "c"), ("b", "a"), ("x", "b", "y", "z")]))
    document: Json = {
        "currency": currency,
        "rates": {code: rate for code, rate in draw(st.sampled_from(_RATES)).items() if code != currency},
        "time_zone": draw(st.sampled_from(_ZONES)),
        "period": period,
        "tiers": [draw(_tier(place, name)) for place, name in enumerate(names)],
        "downgrade": draw(_downgrade(period)),
        "at_risk_days": draw(st.sampled_from([[], [1], [36_500, 2, 1]])),
    }
    at_once = document["downgrade"].get("when") == "at_once"
    document["on_publish"] = "full" if at_once else draw(st.sampled_from(["promote_only", "full"]))
    if before is not None:
        gone = [tier["id"] for tier in before["tiers"] if tier["id"] not in names]
        document["moves"] = {name: draw(st.sampled_from(names)) for name in gone}
    return document


@st.composite
def _tier(draw: st.DrawFn, place: int, name: str) -> Json:
    tier: Json = {"id": name, "name": draw(st.sampled_from(_NAMES)), "benefits": draw(st.lists(_benefit, max_size=1))}
    if place:
        tier |= {"enter": draw(_ways), "keep": draw(st.none() | _ways), "permanent": draw(st.booleans())}
        tier["points_multiplier"] = draw(st.sampled_from(_MULTIPLIERS))
    return tier


@st.composite
def _downgrade(draw: st.DrawFn, period: Json) -> Json:
    downgrade: Json = {"to": draw(st.sampled_from(["one_step", "earned", "never"]))}
    downgrade["on_refund"] = draw(st.sampled_from(["keep", "revoke"]))
    if period["kind"] in {"rolling_days", "lifetime"} and draw(st.booleans()):
        return downgrade | {"when": "at_once"}
    longest = period.get("days", 365)
    return downgrade | {"grace_days": draw(st.sampled_from([days for days in (0, 1, longest - 1) if days < longest]))}


_TIMES: Final = st.sampled_from(
    [FIRST, FIRST + timedelta(microseconds=1), NOON, NOON, NOON + timedelta(days=9), LAST - timedelta(days=1), LAST]
)
_MANY: Final = st.sampled_from([0, 1, 10**12, 2**63 - 1])
_REASONS: Final[tuple[dict[str, str], ...]] = (
    {"kind": "purchase", "order_id": "1"},
    {"kind": "review", "review_id": "1"},
    {"kind": "birthday"},
)
_EVENT: Final = st.one_of(
    *2 * [st.builds(shop.purchase, _ID, st.sampled_from(_AMOUNTS), _TIMES, currency=st.sampled_from(["USD", "IDR"]))],
    st.builds(_with_lines, _ID, _TIMES),
    st.builds(
        shop.refund,
        _ID,
        _ID,
        st.sampled_from(_AMOUNTS),
        _TIMES,
        currency=st.sampled_from(["USD", "IDR"]),
    ),
    st.builds(_of_line, _ID, st.sampled_from(_AMOUNTS), _TIMES),
    st.builds(shop.review, _ID, _TIMES),
    st.builds(shop.withdrawal, _ID, _TIMES),
    st.builds(shop.activity, _ID, _TIMES, name=st.sampled_from(_ACTIVITIES)),
    st.builds(shop.referral, _ID, _TIMES, verb=st.sampled_from(["approved", "voided"])),
    st.builds(
        shop.points,
        _ID,
        _MANY,
        _TIMES,
        verb=st.sampled_from(["earned", "reversed"]),
        reason=st.sampled_from(_REASONS),
    ),
)
histories: Final[st.SearchStrategy[list[Event]]] = st.lists(_EVENT, min_size=1, max_size=12)
