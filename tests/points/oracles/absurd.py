"""Draws extreme documents and events: the largest, smallest, earliest and latest values that are accepted."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from services.points.rules.program.checking import parse
from services.points.rules.program.document import Document
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.envelope import Event
from shared.contracts.loyalty import ReferralChanged, TierChanged, TimelineEntry
from shared.contracts.shop import (
    ActivityPerformed,
    CustomerUpdated,
    EventData,
    Line,
    PurchaseCompleted,
    PurchaseDelivered,
    PurchaseRefunded,
    RefundLine,
    ReviewPublished,
    ReviewWithdrawn,
    SurveyAnswered,
)
from tests.points.shop import NOON, event

Json = dict[str, Any]

FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
MOST: Final = "999999999999.9999"

_SKUS: Final = ("a", "b", "c", "sku" * 42)
_TIERS: Final = ("member", "silver", "gold", "x")
_ZONES: Final = (
    "UTC",
    "Asia/Riyadh",
    "Pacific/Kiritimati",
    "Pacific/Apia",
    "America/Adak",
    "Africa/Cairo",
    "Etc/GMT+12",
)

_some_skus = st.lists(st.sampled_from(_SKUS), min_size=1, max_size=4).map(list)


def _kind(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"kind": st.just(name), **fields})


_windows = st.sampled_from(
    [("0001-01-01", "9999-12-31T23:59:59"), ("2026-01-01", "2027-01-01"), ("9999-12-30", "9999-12-31")]
).map(lambda ends: {"kind": "window", "from": ends[0], "to": ends[1]})
_hours = st.sampled_from([("00:00", "23:59"), ("23:59", "00:00"), ("12:00", "12:01")]).map(
    lambda ends: {"kind": "hours", "from": ends[0], "to": ends[1]}
)
_CONDITION = st.one_of(
    _kind("amount_at_least", amount=st.sampled_from(["0", "0.0001", MOST])),
    _kind("sku_in", values=_some_skus),
    _kind("category_in", values=_some_skus),
    _kind("tier_in", values=st.lists(st.sampled_from(_TIERS), min_size=1)),
    _kind("channel_in", values=_some_skus),
    _kind("currency_in", values=st.just(["USD", "IDR"])),
    _kind("weekday_in", days=st.just(["mon", "sun"])),
    _kind("every_nth_purchase", n=st.sampled_from([1, 2, 10**6])),
    *(_kind(name) for name in ("first_purchase", "verified_purchase", "has_photo")),
    _kind("rating_at_least", rating=st.integers(1, 5)),
    _kind("text_length_at_least", length=st.sampled_from([0, 10**6])),
    _kind("score_at_least", score=st.integers(0, 10)),
    _windows,
    _hours,
)
_BEYOND: Final = {"kind": "per_amount", "points": 10**9, "amount": "0.0001"}
_AWARD = st.one_of(
    st.sampled_from([(1, "1.00"), (10**9, "100000.00"), (1, "0.0001"), (1, MOST), (10**9, "0.0001")]).map(
        lambda ratio: {"kind": "per_amount", "points": ratio[0], "amount": ratio[1]}
    ),
    _kind("fixed", points=st.sampled_from([1, 10**9])),
    _kind("multiplier", factor=st.sampled_from(["1", "1.0001", "9999.9999"])),
)
_LIMIT = st.builds(
    lambda what, most, per, scope: {what: most, "per": per, "scope": scope},
    st.sampled_from(["count", "points"]),
    st.sampled_from([1, 2, 10**9]),
    st.sampled_from(["order", "day", "week", "month", "year", "ever"]),
    st.sampled_from(["customer", "customer_sku", "program"]),
)
_ACTIVATE = st.one_of(
    _kind("now"),
    _kind("after_days", days=st.sampled_from([0, 1, 36_500])),
    _kind("on_delivery", cancel_after_days=st.sampled_from([None, 0, 36_500])),
)
_EXPIRE = st.one_of(
    _kind("never"),
    _kind("after_days", days=st.sampled_from([0, 36_500])),
    _kind("after_months", months=st.sampled_from([1, 1200])),
    _kind("end_of_year", years=st.sampled_from([0, 100])),
)
_RULE = st.fixed_dictionaries(
    {
        "on": st.sampled_from(
            ["purchase"] * 6 + ["review", "activity", "survey", "referral", "tier_promotion", "birthday"]
        ),
        "when": st.lists(_CONDITION, max_size=3),
        "award": _AWARD,
        "limits": st.lists(_LIMIT, max_size=3),
        "exclusive_group": st.sampled_from([None, None, "g"]),
        "activate": _ACTIVATE,
        "expire": _EXPIRE,
    }
)


@st.composite
def documents(draw: st.DrawFn, *, checked: bool) -> Document:
    """A document that the API publishes; or, unless `checked`, one that an earlier release may have published."""
    rules = [_fit(rule, number) for number, rule in enumerate(draw(st.lists(_RULE, min_size=1, max_size=12)))]
    sent = {
        "currency": "USD",
        "rates": draw(st.sampled_from([{}, {"IDR": "0.000000000001"}, {"IDR": "999999999999.999999999999"}])),
        "time_zone": draw(st.sampled_from(_ZONES)),
        "week_start": draw(st.sampled_from(["mon", "sun"])),
        "rules": [_tamed(rule) for rule in rules] if checked else rules,
    }
    return parse(sent) if checked else Document.model_validate(sent)


def _fit(rule: Json, number: int) -> Json:
    """The rule with an id, without the parts that do not suit its event."""
    rule = {**rule, "id": f"rule-{number}"}
    if rule["on"] != "purchase":
        rule["award"] = {"kind": "fixed", "points": 10**9}
        if rule["activate"]["kind"] == "on_delivery":
            rule["activate"] = {"kind": "now"}
    if rule["on"] not in {"purchase", "review"}:
        rule["limits"] = [limit for limit in rule["limits"] if limit["scope"] != "customer_sku"]
    return rule


def _tamed(rule: Json) -> Json:
    """The rule within the largest award and the most limits by SKU that may be published."""
    if rule["award"] == _BEYOND:
        rule = rule | {"award": _BEYOND | {"points": 1}}
    if int(rule["id"].rpartition("-")[2]) > 1:
        rule = rule | {"limits": [limit for limit in rule["limits"] if limit["scope"] != "customer_sku"]}
    return rule


rulesets = st.one_of(documents(checked=True), documents(checked=False)).map(lambda document: RuleSet.of(1, document))

_TIME = st.sampled_from(
    [FIRST, FIRST + timedelta(days=1), NOON, NOON + timedelta(days=9), LAST - timedelta(days=1), LAST]
)
_AMOUNT = st.sampled_from(["0", "0.0001", "1.00", "999999999999", MOST])
_ID = st.sampled_from("12")
_MULTIPLIER = st.sampled_from(["0", "1", "1.000000001", "1000000", "999999999999.999999999"])


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event of one customer, of any kind, at any time."""
    at = draw(_TIME)
    type_, data = draw(st.one_of(*_KINDS))
    if isinstance(data, TierChanged):
        at = data.effective_at
    return event(type_, at, data)


def _of_type(type_: str, data: st.SearchStrategy[EventData]) -> st.SearchStrategy[tuple[str, EventData]]:
    return st.tuples(st.just(type_), data)


@st.composite
def _purchase(draw: st.DrawFn) -> EventData:
    skus = draw(st.lists(st.sampled_from(_SKUS), max_size=4))
    share = "249999999999.9999" if draw(st.booleans()) else "0.0001"
    lines = tuple(Line(str(at), sku, draw(st.sampled_from([0, 1, 10**11])), share, sku) for at, sku in enumerate(skus))
    units = len(lines) * int(share.replace(".", ""))
    total = f"{units // 10_000}.{units % 10_000:04}" if lines else draw(_AMOUNT)
    currency = draw(st.sampled_from(["USD", "USD", "IDR", "EUR"]))
    return PurchaseCompleted(
        customer_id="ann", order_id=draw(_ID), currency=currency, total=total, lines=lines, channel="a"
    )


@st.composite
def _refund(draw: st.DrawFn) -> EventData:
    amount = draw(_AMOUNT)
    lines = (RefundLine("0", 1, amount),) if draw(st.booleans()) else ()
    return PurchaseRefunded(
        customer_id="ann", order_id=draw(_ID), refund_id=draw(_ID), currency="USD", amount=amount, lines=lines
    )


@st.composite
def _tier(draw: st.DrawFn) -> EventData:
    times = sorted(draw(st.lists(_TIME, min_size=1, max_size=4)))
    entries = tuple(
        TimelineEntry(effective_at=at, tier=draw(st.sampled_from(_TIERS)), points_multiplier=draw(_MULTIPLIER))
        for at in times
    )
    last = entries[-1]
    return TierChanged(
        customer_id="ann",
        program_version=1,
        to=last.tier,
        reason="spend",
        effective_at=times[0],
        points_multiplier=last.points_multiplier,
        timeline=entries,
    )


def _of_ann(model: type[EventData], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[EventData]:
    return st.builds(lambda **drawn: model.model_validate({"customer_id": "ann", **drawn}), **fields)


_KINDS = (
    _of_type("shop.purchase.completed.v1", _purchase()),
    _of_type("shop.purchase.completed.v1", _purchase()),
    _of_type("shop.purchase.refunded.v1", _refund()),
    _of_type("shop.purchase.delivered.v1", _of_ann(PurchaseDelivered, order_id=_ID)),
    _of_type(
        "shop.review.published.v1",
        _of_ann(ReviewPublished, review_id=_ID, sku=st.sampled_from(_SKUS), rating=st.integers(1, 5)),
    ),
    _of_type("shop.review.withdrawn.v1", _of_ann(ReviewWithdrawn, review_id=_ID)),
    _of_type("shop.activity.performed.v1", _of_ann(ActivityPerformed, activity_id=_ID, activity=_ID)),
    _of_type(
        "shop.survey.answered.v1",
        _of_ann(SurveyAnswered, answer_id=_ID, survey=st.just("nps"), score=st.integers(0, 10)),
    ),
    _of_type(
        "shop.customer.updated.v1",
        _of_ann(CustomerUpdated, birth_date=st.sampled_from(["0001-01-01", "2000-02-29", "1990-06-01", "9999-12-31"])),
    ),
    _of_type("loyalty.tier.promoted.v1", _tier()),
    _of_type(
        "loyalty.referral.approved.v1",
        _of_ann(
            ReferralChanged,
            referral_id=_ID,
            friend_id=st.just("bob"),
            advocate_points=st.sampled_from([None, 0, 500, 10**30]),
            friend_points=st.sampled_from([None, 10**18]),
        ),
    ),
    _of_type("loyalty.referral.voided.v1", _of_ann(ReferralChanged, referral_id=_ID, friend_id=st.just("bob"))),
)
