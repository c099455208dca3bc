"""The judging of signals: what is known of a referral's two sides, against the settings of a program version."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.signals import Action, SignalId

_NEARLY: Final = Fraction(105, 100)
"""An order worth up to this many times the amount is hardly more than what qualifies."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is stored about a referral's two sides as of a judgement.

    `same` has the signals of values that both sides have. `similarity` is that of the two most similar local parts of
    e-mail addresses at one domain. `customer_for` and `advocate_for` are the times from the friend's and the advocate's
    registration to the sign-up; None where the registration is unknown. The counts of friends and networks include the
    sign-up itself. `edges` has the advocates of customers above the advocate, by stored referrals that were recorded
    before this one and not rejected.
    """

    same: frozenset[SignalId] = frozenset()
    similarity: Fraction = Fraction(0)
    customer_for: timedelta | None = None
    advocate_for: timedelta | None = None
    friends_of_ip: int = 0
    friends_in_hour: int = 0
    friends_in_day: int = 0
    networks: int = 0
    rejections: int = 0
    """Referrals of the advocate that people rejected."""
    is_disposable: bool = False
    is_blocklisted: bool = False
    edges: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])


NOTHING: Final = Facts()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the fold knows of a referral.

    `is_self`: the code is the friend's own. `referred`: another customer's code brought the friend before. `bought`:
    the friend bought before the sign-up. `closes_circle`: see `circle.closes_ring`. `order`: total and currency of the
    qualifying order as bought. `terms`: the version of the sign-up, whose amount the order had to reach; None: it is
    the version that judges.
    """

    is_self: bool = False
    referred: bool = False
    bought: bool = False
    closes_circle: bool = False
    order: tuple[str, str] | None = None
    terms: Program | None = None


class Found(NamedTuple):
    """A signal that holds, with its action and weight of now."""

    id: SignalId
    action: Action
    weight: int


def judge(facts: Facts, around: Circumstances, program: Program) -> list[Found]:
    """The signals that hold and are not off: `self` alone, or those of the referral rules before the others."""
    if around.is_self:
        return [_found("self", program)]
    case = _Case(facts, around, program)
    settings = program.settings
    return [
        _found(id_, program)
        for id_, holds in _HOLDS.items()
        if settings[id_].action != "off" and holds(case, settings[id_].threshold)
    ]


def _found(id_: SignalId, program: Program) -> Found:
    setting = program.settings[id_]
    return Found(id_, setting.action, setting.weight)


class _Case(NamedTuple):
    facts: Facts
    around: Circumstances
    program: Program


_Threshold = Fraction | None
"""None where a signal has none; a count, a number of days or of minutes is whole."""
_Holds = Callable[[_Case, _Threshold], bool]


def _whole(threshold: _Threshold) -> int:
    # Comparing with a Fraction takes ten times as long.
    assert threshold is not None, "the signal has a threshold"
    return threshold.numerator


def _reaches(count: Callable[[Facts], int]) -> _Holds:
    return lambda case, threshold: count(case.facts) >= _whole(threshold)


def _both_have(id_: SignalId) -> _Holds:
    return lambda case, _: id_ in case.facts.same


def _is_similar(case: _Case, threshold: _Threshold) -> bool:
    assert threshold is not None, "the signal has a threshold"
    similarity = case.facts.similarity
    return similarity.numerator > 0 and similarity >= threshold


def _is_long_a_customer(case: _Case, threshold: _Threshold) -> bool:
    elapsed = case.facts.customer_for
    return elapsed is not None and elapsed >= timedelta(days=_whole(threshold))


def _is_fast(case: _Case, threshold: _Threshold) -> bool:
    """Whether the advocate registered so few minutes before the sign-up, not after it."""
    elapsed = case.facts.advocate_for
    return elapsed is not None and timedelta(0) <= elapsed <= timedelta(minutes=_whole(threshold))


def _hardly_qualifies(case: _Case, _: _Threshold) -> bool:
    if case.around.order is None:
        return False
    terms = case.around.terms or case.program
    worth = terms.worth(*case.around.order)
    return worth is not None and terms.amount <= worth <= _NEARLY * terms.amount


_HOLDS: Final[Mapping[SignalId, _Holds]] = {
    "already_referred": lambda case, _: case.around.referred,
    "already_bought": lambda case, _: case.around.bought,
    "same_email": _both_have("same_email"),
    "similar_email": _is_similar,
    "same_phone": _both_have("same_phone"),
    "same_payment": _both_have("same_payment"),
    "same_device": _both_have("same_device"),
    "same_ip_and_agent": _both_have("same_ip_and_agent"),
    "same_ip": _both_have("same_ip"),
    "same_name": _both_have("same_name"),
    "already_customer": _is_long_a_customer,
    "circle": lambda case, _: case.around.closes_circle,
    "ip_velocity": _reaches(lambda facts: facts.friends_of_ip),
    "advocate_velocity_hour": _reaches(lambda facts: facts.friends_in_hour),
    "advocate_velocity_day": _reaches(lambda facts: facts.friends_in_day),
    "fast_cycle": _is_fast,
    "disposable_email": lambda case, _: case.facts.is_disposable,
    "threshold_order": _hardly_qualifies,
    "many_networks": _reaches(lambda facts: facts.networks),
    "advocate_suspended": _reaches(lambda facts: facts.rejections),
    "blocklist": lambda case, _: case.facts.is_blocklisted,
}
"""Every signal but `self`, in the order of judging."""
