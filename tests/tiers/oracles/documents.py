"""Hypothesis strategies of program documents: valid by answers.md T39, with small numbers that hit edges often."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

ZONES = (
    *("UTC", "Asia/Riyadh", "Africa/Cairo", "Asia/Beirut"),
    *("America/Havana", "America/Santiago", "America/New_York", "Pacific/Auckland"),
)
LISTS = (
    ("member", "silver"),
    ("member", "silver", "gold"),
    ("member", "silver", "gold", "platinum"),
    ("member", "gold"),
    ("member", "plus"),
    ("basic", "silver", "gold"),
    ("basic", "member", "gold"),
    ("silver", "gold"),
    ("member", "gold", "silver"),
)
ACTIVITIES = ("quiz", "visit")
_RATES: tuple[dict[str, str], ...] = ({}, {"SAR": "0.2667"}, {"SAR": "0.25", "EUR": "1.1"}, {"USD": "3.75", "EUR": "4"})
_COUNTS = ("orders", "orders", "points", "reviews", "referrals", "activities")
_MULTIPLIERS = ("1", "1.25", "1.5", "2")


@st.composite
def documents(draw: st.DrawFn, *, zone: str | None = None, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A document; `zone` fixes the zone, `like` is the version before it, which mostly keeps period and zone."""
    names = draw(st.sampled_from(LISTS[1:2] + LISTS))
    period = draw(periods()) if like is None or draw(st.integers(0, 2)) == 2 else like["period"]
    if zone is None:
        zone = draw(st.sampled_from(ZONES)) if like is None or draw(st.integers(0, 5)) == 5 else like["time_zone"]
    downgrade = draw(downgrades(period))
    at_once = downgrade.get("when") == "at_once"
    currency = draw(st.sampled_from(("USD", "USD", "SAR")))
    rates = {code: rate for code, rate in draw(st.sampled_from(_RATES)).items() if code != currency}
    document: dict[str, Any] = {
        "currency": currency,
        "rates": rates,
        "time_zone": zone,
        "period": period,
        "tiers": [draw(tiers(place, name)) for place, name in enumerate(names)],
        "downgrade": downgrade,
        "at_risk_days": draw(st.sampled_from(([], [1], [2, 1], [30, 7]))),
        "on_publish": "full" if at_once else draw(st.sampled_from(("promote_only", "full"))),
    }
    if like is not None:
        missing = [tier["id"] for tier in like["tiers"] if tier["id"] not in names]
        document["moves"] = {name: draw(st.sampled_from(names)) for name in missing}
    return document


def periods() -> st.SearchStrategy[dict[str, Any]]:
    """A period: rolling ones of few days mostly, the others at times."""
    rolling = st.sampled_from((10, 3, 10, 30, 2, 10, 1, 365)).map(lambda days: {"kind": "rolling_days", "days": days})
    return st.one_of(rolling, rolling, st.sampled_from(("calendar_year", "anniversary", "lifetime")).map(_kind))


@st.composite
def downgrades(draw: st.DrawFn, period: Mapping[str, Any]) -> dict[str, Any]:
    """How tiers are lost: `at_once` only with days or a lifetime and without grace, grace shorter than the period."""
    downgrade: dict[str, Any] = {"to": draw(st.sampled_from(("one_step", "earned", "one_step", "earned", "never")))}
    is_yearly = period["kind"] in ("calendar_year", "anniversary")
    if draw(st.booleans()):
        downgrade["on_refund"] = "revoke"
    if downgrade["to"] != "never" and not is_yearly and draw(st.integers(0, 2)) == 2:
        return {**downgrade, "when": "at_once"}
    longest = period.get("days", 365)
    grace_days = draw(st.sampled_from([days for days in (0, 1, 2, 5, 29) if days < longest]))
    return {**downgrade, "when": "period_end", "grace_days": grace_days} if grace_days else downgrade


@st.composite
def tiers(draw: st.DrawFn, place: int, name: str) -> dict[str, Any]:
    """A tier at a position; the first has no conditions."""
    tier: dict[str, Any] = {"id": name, "name": {"en": name.title()}}
    if place == 0:
        return tier
    tier["enter"] = draw(ways(place))
    if draw(st.integers(0, 2)) == 2:
        tier["keep"] = draw(ways(place))
    if draw(st.integers(0, 5)) == 5:
        tier["permanent"] = True
    return tier | {"points_multiplier": draw(st.sampled_from(_MULTIPLIERS))}


def ways(place: int) -> st.SearchStrategy[list[list[dict[str, Any]]]]:
    """Lists of conditions; the needs mostly rise with the position."""
    need = st.integers(1, 2).map(lambda more: place - 1 + more)
    spend = st.builds(_spend, need, st.sampled_from(("100", "100", "50", "0.01")))
    count = st.builds(_count, st.sampled_from(_COUNTS), need)
    named = st.builds(_count, st.just("activities"), need, st.sampled_from(ACTIVITIES))
    condition = st.one_of(spend, spend, spend, spend, count, named)
    way = st.lists(condition, min_size=1, max_size=2, unique_by=_counted)
    return st.one_of(condition.map(lambda item: [[item]]), st.lists(way, min_size=1, max_size=2))


def ids(document: Mapping[str, Any]) -> Sequence[str]:
    """The tiers of a document, from the first to the highest."""
    return [tier["id"] for tier in document["tiers"]]


def _kind(kind: str) -> dict[str, Any]:
    return {"kind": kind}


def _spend(need: int, unit: str) -> dict[str, Any]:
    whole, _, cents = unit.partition(".")
    amount = str(int(whole) * need) if not cents else f"0.0{need}"
    return {"metric": "spend", "at_least": amount}


def _count(metric: str, need: int, activity: str | None = None) -> dict[str, Any]:
    condition: dict[str, Any] = {"metric": metric, "at_least": need}
    return condition if activity is None else condition | {"activity": activity}


def _counted(condition: dict[str, Any]) -> tuple[str, str | None]:
    return condition["metric"], condition.get("activity")
