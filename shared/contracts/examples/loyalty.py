"""Examples of events that Wafa publishes, mostly about Layla's order and her friend Omar."""

from typing import Any, Final

from shared.contracts.examples.example import Example

_ORDER: Final = "evt-1001"
_POINTS: Final = "0195941f-2d00-7000-8000-"
_TIERS: Final = "0195941f-2d01-7000-8000-"
_REFERRALS: Final = "0195941f-2d02-7000-8000-"
_MESSAGES: Final = "0195941f-2d03-7000-8000-"
_EARNED: Final = f"{_POINTS}000000000101"
"""The transaction of the order's points: what falls due by itself comes of it."""
_ORDERED_AT: Final = "2026-03-14T10:26:53.589Z"


def _moved(verb: str, number: int, moment: tuple[str, str], **data: Any) -> Example:  # noqa: ANN401 fields of any type
    time, cause = moment
    data = {"customer_id": "c-1042", "transaction_id": f"{_POINTS}0000000001{number:02}", **data}
    return Example(f"loyalty.points.{verb}.v1", f"{_POINTS}{number:012}", "/wafa/points", time, data, cause)


def _balance(available: int, pending: int = 0, held: int = 0, debt: int = 0) -> dict[str, int]:
    return {"available": available, "pending": pending, "held": held, "debt": debt}


def _tier(verb: str, number: int, time: str, **data: Any) -> Example:  # noqa: ANN401 fields of any type
    data = {"customer_id": "c-1042", "program_version": 1, "effective_at": time, **data}
    multiplier = data["points_multiplier"]
    data.setdefault("timeline", [{"effective_at": time, "tier": data["to"], "points_multiplier": multiplier}])
    return Example(f"loyalty.tier.{verb}.v1", f"{_TIERS}{number:012}", "/wafa/tiers", time, data, _ORDER)


def _at_risk(number: int, time: str, **data: Any) -> Example:  # noqa: ANN401 fields of any type
    data = {"customer_id": "c-1042", "program_version": 1, **data}
    cause = f"{_TIERS}{1:012}"
    return Example("loyalty.tier.at_risk.v1", f"{_TIERS}{number:012}", "/wafa/tiers", time, data, cause, root=_ORDER)


def _benefit_used(number: int, moment: tuple[str, str], **data: Any) -> Example:  # noqa: ANN401 fields of any type
    time, cause = moment
    data = {"customer_id": "c-1042", **data}
    return Example("loyalty.tier.benefit_used.v1", f"{_TIERS}{number:012}", "/wafa/tiers", time, data, cause)


def _referral(verb: str, number: int, moment: tuple[str, str], **data: Any) -> Example:  # noqa: ANN401 fields of any type
    time, cause = moment
    data = {"customer_id": "c-1042", "referral_id": "ref-501", "friend_id": "c-2077", **data}
    return Example(f"loyalty.referral.{verb}.v1", f"{_REFERRALS}{number:012}", "/wafa/referrals", time, data, cause)


def _message(verb: str, number: int, **data: Any) -> Example:  # noqa: ANN401 fields of any type
    data = {
        "customer_id": "c-1042",
        "message_id": f"{_MESSAGES}000000000900",
        "trigger": "points_earned",
        "template": "points_earned",
        "template_version": 1,
        "locale": "ar",
        "channel": "email",
        **data,
    }
    return Example(
        f"loyalty.message.{verb}.v1",
        f"{_MESSAGES}{number:012}",
        "/wafa/notifications",
        _ORDERED_AT,
        data,
        cause=f"{_POINTS}{1:012}",
        root=_ORDER,
    )


_OF_ORDER: Final = {"kind": "purchase", "order_id": "SO-2026-10457"}
_SIGNED_UP: Final = ("2026-03-15T12:00:00Z", "evt-1006")
_BOUGHT: Final = ("2026-03-17T16:20:00Z", "evt-1020")
_REFUNDED: Final = ("2026-03-20T05:00:00Z", "evt-1002")

LOYALTY: Final = (
    _moved(
        "earned",
        1,
        (_ORDERED_AT, _ORDER),
        points=129,
        reason=_OF_ORDER,
        qualifying_points=129,
        pending_points=129,
        activates_at="2026-03-28T10:26:53.589Z",
        activating_points=129,
        expires_at="2027-03-14T10:26:53.589Z",
        expiring_points=129,
        rules_version=1,
        balance=_balance(340, pending=129),
    ),
    _moved(
        "activated",
        2,
        ("2026-03-28T10:26:53.589Z", _EARNED),
        points=104,
        reason=_OF_ORDER,
        qualifying_points=0,
        expires_at="2027-03-14T10:26:53.589Z",
        expiring_points=104,
        balance=_balance(444),
    ),
    _moved(
        "reversed",
        3,
        _REFUNDED,
        points=25,
        reason={"kind": "refund", "order_id": "SO-2026-10457", "refund_id": "RF-2026-311"},
        qualifying_points=25,
        rules_version=1,
        balance=_balance(340, pending=104),
    ),
    _moved(
        "redeemed",
        4,
        ("2026-04-01T17:00:00Z", "req-88d1"),
        points=200,
        reason={"kind": "redemption", "reward_id": "free-coffee", "redemption_id": "red-12"},
        qualifying_points=0,
        balance=_balance(244),
    ),
    _moved(
        "restored",
        5,
        ("2026-04-01T18:30:00Z", "req-88d9"),
        points=200,
        reason={"kind": "cancellation", "reward_id": "free-coffee", "redemption_id": "red-12"},
        qualifying_points=0,
        balance=_balance(444),
    ),
    _moved(
        "expired",
        6,
        ("2027-03-14T10:26:53.589Z", _EARNED),
        points=104,
        reason={"kind": "expiry", "order_id": "SO-2026-10457"},
        qualifying_points=0,
        balance=_balance(340),
    ),
    _moved(
        "expiring",
        7,
        ("2027-02-12T10:26:53.589Z", _EARNED),
        points=104,
        reason={"kind": "expiry", "order_id": "SO-2026-10457"},
        qualifying_points=0,
        expires_at="2027-03-14T10:26:53.589Z",
        expiring_points=104,
        balance=_balance(444),
    ),
    _moved(
        "adjusted",
        8,
        ("2026-05-01T09:12:00Z", "req-9a02"),
        points=50,
        reason={"kind": "adjustment", "note": "تعويض عن تأخر التوصيل"},
        qualifying_points=0,
        balance=_balance(494),
    ),
    _tier(
        "promoted",
        1,
        _ORDERED_AT,
        **{"from": "member"},
        to="silver",
        reason="spend",
        valid_until="2027-03-14T10:26:53.589Z",
        points_multiplier="1.25",
        progress={"metric": "spend", "value": "512.40", "needed": "1500.00", "next": "gold"},
    ),
    _tier(
        "demoted",
        2,
        "2027-03-15T00:00:00Z",
        **{"from": "silver"},
        to="member",
        reason="spend",
        points_multiplier="1",
        progress={"metric": "spend", "value": "104.95", "needed": "500.00", "next": "silver"},
    ),
    _tier(
        "retained",
        3,
        "2027-03-15T00:00:00Z",
        **{"from": "silver"},
        to="silver",
        reason="period_end",
        valid_until="2028-03-14T00:00:00Z",
        points_multiplier="1.25",
    ),
    _tier(
        "corrected",
        4,
        "2026-02-27T08:15:00Z",
        **{"from": "silver"},
        to="silver",
        reason="refund",
        points_multiplier="1.25",
        timeline=[
            {"effective_at": "2026-02-27T08:15:00Z", "tier": "member", "points_multiplier": "1"},
            {"effective_at": _ORDERED_AT, "tier": "silver", "points_multiplier": "1.25"},
        ],
    ),
    _at_risk(
        5,
        "2027-02-13T00:00:00Z",
        **{"from": "silver"},
        to="member",
        reason="period_end",
        effective_at="2027-04-14T00:00:00Z",
        valid_until="2027-03-15T00:00:00Z",
        points_multiplier="1.25",
        timeline=[],
        needs=[{"metric": "orders", "missing": 2}, {"metric": "activities", "activity": "event", "missing": 1}],
    ),
    _benefit_used(
        6,
        ("2026-04-02T09:30:00Z", "req-97b3"),
        benefit_id="birthday-gift",
        kind="gift",
        reference="GIFT-2026-0402",
        tier="silver",
        left=0,
    ),
    _referral("signed_up", 1, _SIGNED_UP),
    _referral("qualified", 2, _BOUGHT, order_id="SO-2026-10512"),
    _referral("flagged", 3, _BOUGHT, order_id="SO-2026-10512", signals=["same_device", "same_ip"]),
    _referral("approved", 4, _BOUGHT, advocate_points=500, friend_points=200, order_id="SO-2026-10512"),
    _referral("rejected", 5, _SIGNED_UP, friend_id="c-1042", reason="fraud", signals=["self"]),
    _referral(
        "voided",
        6,
        ("2026-03-21T10:00:00Z", "evt-1033"),
        advocate_points=500,
        friend_points=200,
        order_id="SO-2026-10512",
        reason="refunded",
    ),
    _referral("expired", 7, ("2026-04-13T08:00:00Z", "evt-1009"), friend_id="c-3310"),
    _message("sent", 1),
    _message("held", 2, channel="push", reason="quiet_hours"),
    _message("skipped", 3, channel="sms", reason="no_consent"),
    _message("failed", 4, reason="mailbox_unavailable"),
    _message("delivered", 8),
    _message("bounced", 9),
    _message("complained", 10),
    _message("opened", 5, human=False),
    _message("clicked", 6, human=True),
    _message("unsubscribed", 7, trigger="win_back", template="win_back", journey="win_back", reason="one_click"),
)
