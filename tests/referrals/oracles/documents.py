"""Hypothesis strategies of referral programs: every rule of the contract, small numbers that histories reach."""

from typing import Any, Final

from hypothesis import strategies as st

_THRESHOLDS: Final[dict[str, tuple[int | str, ...]]] = {
    "similar_email": ("0.9", "0.75"),
    "already_customer": (1, 30),
    "ip_velocity": (2, 3),
    "advocate_velocity_hour": (2, 3),
    "advocate_velocity_day": (2, 3),
    "fast_cycle": (60, 2_000),
    "many_networks": (2, 3),
    "advocate_suspended": (1, 2),
}
_PLAIN: Final = (
    "same_email", "same_phone", "same_payment", "same_device", "same_ip_and_agent", "same_ip", "same_name",
    "already_bought", "already_referred", "circle", "disposable_email", "threshold_order", "blocklist",
)  # fmt: skip
_ACTIONS: Final = st.sampled_from(("score", "flag", "flag", "block", "off"))


@st.composite
def _signals(draw: st.DrawFn) -> list[dict[str, Any]]:
    # Rules that every program has, most of the time: few histories would get to rewards without them.
    usual = draw(
        st.sampled_from((("already_bought", "already_referred"), ("circle",), ("circle", "same_device", "same_ip"), ()))
    )
    some = st.lists(st.sampled_from((*_PLAIN, *_THRESHOLDS)), max_size=5, unique=True)
    ids = draw(st.one_of(some, some, st.just([*_PLAIN, *_THRESHOLDS])))
    is_lenient = len(ids) > 5
    listed: list[dict[str, Any]] = []
    for id_ in dict.fromkeys((*usual, *ids)):
        signal: dict[str, Any] = {"id": id_, "weight": draw(st.sampled_from((0, 20, 30, 60)))}
        if is_lenient:
            # All of them at once: nearly everybody has some.
            signal |= {"action": draw(st.sampled_from(("score", "score", "flag"))), "weight": draw(st.integers(0, 9))}
        elif draw(st.booleans()):
            signal["action"] = draw(_ACTIONS)
        if id_ in _THRESHOLDS:
            signal["threshold"] = draw(st.sampled_from(_THRESHOLDS[id_]))
        listed.append(signal)
    return listed


@st.composite
def _cap(draw: st.DrawFn) -> dict[str, Any]:
    limit = draw(st.sampled_from((("count", 1), ("count", 2), ("points", 100), ("points", 700), ("points", 1_250))))
    per = draw(st.sampled_from(("day", "week", "month", "year", "ever")))
    return {limit[0]: limit[1], "per": per, "scope": draw(st.sampled_from(("advocate", "program")))}


def _about(cap: dict[str, Any]) -> tuple[str, str, bool]:
    return cap["scope"], cap["per"], "points" in cap


@st.composite
def programs(draw: st.DrawFn) -> dict[str, Any]:
    """A referral program that is valid."""
    counts = draw(st.sampled_from(((), (), (1,), (2,), (1, 2), (2, 3))))
    return {
        "advocate_points": draw(st.sampled_from((500, 500, 0))),
        "friend_points": draw(st.sampled_from((200, 200, 0))),
        "currency": "USD",
        "rates": draw(st.sampled_from(({}, {"SAR": "0.2667"}))),
        "time_zone": draw(st.sampled_from(("UTC", "Asia/Riyadh", "America/New_York"))),
        "milestones": [{"count": count, "points": 1_000 * count} for count in counts],
        "qualifies": {
            "nth_order": draw(st.sampled_from((1, 1, 2))),
            "amount_at_least": "20.00",
            "within_days": draw(st.sampled_from((2, 30))),
        },
        "hold_days": draw(st.sampled_from((0, 0, 3, 14))),
        "caps": draw(st.lists(_cap(), max_size=2, unique_by=_about)),
        "signals": draw(_signals()),
        "flag_at": draw(st.sampled_from((30, 50))),
        "block_at": draw(st.sampled_from((60, 100))),
        "undecided": {
            "after_days": draw(st.sampled_from((0, 2, 20))),
            "then": draw(st.sampled_from(("approve", "reject"))),
        },
        "blocklist": {
            "addresses": ["mona@example.org"],
            "domains": ["spam.example"],
            "cidrs": ["85.10.0.0/24"],
            "countries": ["AE"],
        },
    }
