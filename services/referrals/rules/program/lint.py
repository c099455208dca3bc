"""Warnings about a valid referral program, which marketing sees before it publishes it."""

import re
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from typing import Final

from services.referrals.rules.program.document import Cap, ProgramDocument, SignalDocument
from services.referrals.rules.program.signals import SIGNALS, SignalId
from shared.programs.faults import Fault, pointer

_USUAL_RETURN_DAYS: Final = 14
_LOOSE_SIMILARITY: Final = Fraction(7, 10)
_PERIODS: Final = ("day", "week", "month", "year", "ever")

_HONEST: Final = {
    "same_name": "millions of people share a name",
    "threshold_order": "honest customers fill their baskets to the minimum",
    "same_ip": "families, offices and mobile networks share an address",
}
"""Signals that hold for many honest customers, and why."""

_GUARDS: Final[dict[SignalId, str]] = {
    "already_bought": "who has long bought can be brought as a new friend",
    "already_referred": "who was rejected with one code can sign up with the next",
}
"""What is possible while a signal is off that programs usually have."""


def lint(document: ProgramDocument, _moment: datetime) -> list[Fault]:
    """Warnings about a valid document, in words; they name signals by id and meaning."""
    return [
        *_doubtful_rewards(document),
        *_doubtful_qualification(document),
        *_doubtful_caps(document),
        *_doubtful_signals(document),
        *_doubtful_scores(document),
        *_doubtful_blocklist(document),
        *_doubtful_deadline(document),
        *_doubtful_texts(document),
    ]


def _doubtful_rewards(document: ProgramDocument) -> Iterator[Fault]:
    for side, points in (("advocate", document.advocate_points), ("friend", document.friend_points)):
        if not points:
            yield Fault(f"/{side}_points", f"the {side} gets no points for a referral, and no message about it")


def _doubtful_qualification(document: ProgramDocument) -> Iterator[Fault]:
    if not Fraction(document.qualifies.amount_at_least):
        message = "any order qualifies, also a free one, and no refund takes a reward back"
        yield Fault("/qualifies/amount_at_least", message)
    if document.hold_days < _USUAL_RETURN_DAYS:
        when = f"{_days(document.hold_days)} after the order" if document.hold_days else "with the order"
        message = (
            f"points are paid {when}, but shops usually take goods back for {_USUAL_RETURN_DAYS} days: a later refund "
            "takes points back that may be spent"
        )
        yield Fault("/hold_days", message)


def _doubtful_caps(document: ProgramDocument) -> Iterator[Fault]:
    rewards = {
        "advocate": document.advocate_points,
        "program": document.advocate_points + document.friend_points,
    }
    for place, cap in enumerate(document.caps):
        if cap.points is not None and cap.points < rewards[cap.scope]:
            yield Fault(pointer("caps", place, "points"), f"less than one reward of {rewards[cap.scope]} points")
        for other_place, other in enumerate(document.caps):
            if other_place != place and _is_idle(cap, other, place > other_place):
                message = f"{_in_words(other)} is never more: this cap cuts nothing"
                yield Fault(pointer("caps", place), message)
                break


def _is_idle(cap: Cap, other: Cap, is_later: bool) -> bool:  # noqa: FBT001 private
    """Whether another cap of the same scope and measure always cuts first."""
    if cap.scope != other.scope or (cap.count is None) != (other.count is None):
        return False
    limits = _limit(cap), _limit(other)
    spans = _PERIODS.index(cap.per), _PERIODS.index(other.per)
    if limits == limits[::-1] and spans == spans[::-1]:
        return is_later
    # A week can lie in two months or years.
    is_within = spans[0] <= spans[1] and (cap.per != "week" or other.per in {"week", "ever"})
    return is_within and limits[1] <= limits[0]


def _limit(cap: Cap) -> int:
    return cap.count or cap.points or 0


def _in_words(cap: Cap) -> str:
    limit = f"{cap.points} points" if cap.count is None else f"{cap.count} reward{'s' * (cap.count != 1)}"
    return f"the cap of {limit} {'ever' if cap.per == 'ever' else f'per {cap.per}'}"


def _doubtful_signals(document: ProgramDocument) -> Iterator[Fault]:
    actions = {signal.id: signal.action for signal in document.signals}
    for id_, consequence in _GUARDS.items():
        if id_ not in actions:
            yield Fault("/signals", f"{_named(id_)} is not listed, so it is off: {consequence}")
    for place, signal in enumerate(document.signals):
        for field, message in _doubtful_signal(signal):
            yield Fault(pointer("signals", place, field), f"{_named(signal.id)}: {message}")


def _doubtful_signal(signal: SignalDocument) -> Iterator[tuple[str, str]]:
    if signal.action == "off":
        yield "action", _GUARDS.get(signal.id, "it is off, as if it were not listed")
        return
    if signal.action == "score" and not signal.weight:
        yield "weight", "its weight is 0: it adds nothing to the score"
    if signal.id in _HONEST and signal.action == "block":
        yield "action", f"{_HONEST[signal.id]}: let it score or flag"
    if signal.id == "similar_email" and Fraction(signal.threshold or 1) < _LOOSE_SIMILARITY:
        yield "threshold", "many addresses of strangers are as similar as that"


def _doubtful_scores(document: ProgramDocument) -> Iterator[Fault]:
    scores = sum(signal.weight for signal in document.signals if signal.action == "score")
    with_flags = scores + sum(signal.weight for signal in document.signals if signal.action == "flag")
    if scores and scores < min(document.flag_at, document.block_at) and with_flags < document.block_at:
        message = f"all weights together are {scores}: the score never reaches {document.flag_at}, it changes nothing"
        yield Fault("/flag_at", message)
    if document.block_at <= document.flag_at:
        message = f"what reaches {document.flag_at} is rejected: no referral waits for a person by its score"
        yield Fault("/block_at", message)


def _doubtful_blocklist(document: ProgramDocument) -> Iterator[Fault]:
    blocklist = document.blocklist
    is_empty = not (blocklist.addresses or blocklist.domains or blocklist.cidrs or blocklist.countries)
    place = next((at for at, signal in enumerate(document.signals) if signal.id == "blocklist"), None)
    is_on = place is not None and document.signals[place].action != "off"
    if is_on and is_empty:
        yield Fault(pointer("signals", place or 0), f"{_named('blocklist')}: the block list is empty")
    if not is_on and not is_empty:
        yield Fault("/blocklist", "signal blocklist is off: the list stops nobody")


def _doubtful_deadline(document: ProgramDocument) -> Iterator[Fault]:
    undecided = document.undecided
    if undecided.then == "reject":
        message = f"an honest customer loses the reward if nobody decides within {_days(undecided.after_days)}"
        yield Fault("/undecided/then", message)
    if not undecided.after_days and not document.hold_days:
        yield Fault("/undecided/after_days", "a flagged referral is settled at once: nobody has time to decide")


def _doubtful_texts(document: ProgramDocument) -> Iterator[Fault]:
    for locale, text in document.share.items():
        if others := re.findall(r"\{[^{}]*\}", text.replace("{link}", "")):
            message = f"only {{link}} is replaced: customers read {others[0][:50]} as it stands"
            yield Fault(pointer("share", locale), message)


def _named(id_: SignalId) -> str:
    return f"signal {id_} ({SIGNALS[id_].words.rstrip('.')})"


def _days(count: int) -> str:
    return f"{count} day{'s' * (count != 1)}"
