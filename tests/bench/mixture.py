"""Mixed streams: the grocer's purchases, interleaved with events that may follow them.

An event that follows a purchase comes 200 to 400 baskets after it, and has the same customer. Ids derive from the
basket's, and no event is malformed or refused: each has its effect.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from deploy.sample.cloudevent import CloudEvent
from deploy.sample.grocer import SOURCE, Basket, Sample, purchase
from shared.contracts.registry import TYPES

_KEPT_BACK: Final = 200
"""So many baskets what follows comes after its purchase, and up to twice as many."""

SIMPLE: Final = "PPPRPPPRPF"
"""Of ten events seven are purchases (P), two reviews (R), one is a refund (F)."""

EVERYTHING: Final = "PPDPRPAPSFPWPTPRPAPDPUPNPEPAPFPVPSPRPDXP"
"""Of forty events 21 are purchases; the others are of every other kind that points handles (see `_MAKERS`)."""

COUNTED: Final = "PQPRPQPAPQPFPPQWPPEPQPPVPQPFPPQRPPAPQPPF"
"""Of forty events 25 are purchases; the others are of every other kind that counts towards a tier."""

_UNDONE: Final = {"W": "R", "V": "E"}
"""What takes back what: a withdrawal (W) a review, a voided referral (V) one that was approved (E)."""

Data = Mapping[str, Any]
_Maker = Callable[[Basket, int], tuple[str, Data]]


def mixed(year: Sample, count: int, pattern: str) -> Iterator[CloudEvent]:
    """`count` events, interleaved as the letters of the pattern."""
    baskets = year.baskets()
    lately = deque(islice(baskets, _KEPT_BACK))
    yield from (purchase(item) for item in islice(lately, count))
    undoable: dict[str, deque[Basket]] = {letter: deque() for letter in _UNDONE.values()}
    for number in range(count - len(lately)):
        letter = pattern[number % len(pattern)]
        if letter == "P":
            lately.append(next(baskets))
            yield purchase(lately[-1])
            if len(lately) > 2 * _KEPT_BACK:  # there are more purchases than events that follow them
                lately.popleft()
            continue
        basket = undoable[_UNDONE[letter]].popleft() if letter in _UNDONE else lately.popleft()
        if letter in undoable:
            undoable[letter].append(basket)
        yield _event(letter, basket, number)


def count_of(letter: str, count: int, pattern: str) -> int:
    """The number of events of a letter among `count` mixed ones; the letter is not that of purchases."""
    return sum(pattern[number % len(pattern)] == letter for number in range(count - min(count, _KEPT_BACK)))


def _event(letter: str, basket: Basket, number: int) -> CloudEvent:
    type_, data = _MAKERS[letter](basket, number)
    moment = basket.time + timedelta(hours=2 if letter in _UNDONE else 1)
    whole = {"customer_id": basket.purchase["customer_id"], **data}
    return CloudEvent(TYPES[type_].topic, type_, f"bench-{number}", SOURCE, moment, whole)


def _review(basket: Basket, _number: int) -> tuple[str, Data]:
    sku = basket.purchase["lines"][0]["sku"]
    data = {"review_id": f"review-{basket.basket}", "sku": sku, "rating": 5, "verified_purchase": True}
    return "shop.review.published.v1", data


def _withdrawal(basket: Basket, _number: int) -> tuple[str, Data]:
    return "shop.review.withdrawn.v1", {"review_id": f"review-{basket.basket}"}


def _refund(basket: Basket, number: int) -> tuple[str, Data]:
    """Every second refund is of one line, the others of half the order."""
    bought = basket.purchase
    data: dict[str, Any] = {
        "order_id": bought["order_id"],
        "refund_id": f"refund-{basket.basket}",
        "currency": bought["currency"],
    }
    if number // len(SIMPLE) % 2:
        line = bought["lines"][0]
        data |= {"amount": line["amount"], "lines": [{name: line[name] for name in ("line_id", "quantity", "amount")}]}
    else:
        data["amount"] = f"{Decimal(bought['total']) / 2:.2f}"
    return "shop.purchase.refunded.v1", data


def _delivery(basket: Basket, _number: int) -> tuple[str, Data]:
    return "shop.purchase.delivered.v1", {"order_id": basket.purchase["order_id"]}


def _activity(basket: Basket, _number: int) -> tuple[str, Data]:
    return "shop.activity.performed.v1", {"activity_id": f"activity-{basket.basket}", "activity": "store_visit"}


def _survey(basket: Basket, _number: int) -> tuple[str, Data]:
    return "shop.survey.answered.v1", {"answer_id": f"answer-{basket.basket}", "survey": "nps", "score": 9}


def _profile(basket: Basket, _number: int) -> Data:
    return {"name": f"Household {basket.household}", "locale": "en", "birth_date": "1980-02-29"}


def _tier(basket: Basket, _number: int) -> tuple[str, Data]:
    at = _instant(basket.time + timedelta(hours=1))
    data = {"program_version": 1, "from": "member", "to": "silver", "reason": "reached", "points_multiplier": "1.25"}
    entry = {"effective_at": at, "tier": "silver", "points_multiplier": "1.25"}
    return "loyalty.tier.promoted.v1", data | {"effective_at": at, "timeline": [entry]}


def _referral(basket: Basket, _number: int) -> Data:
    return {
        "referral_id": f"referral-{basket.basket}",
        "friend_id": f"friend-{basket.basket}",
        "advocate_points": 500,
        "friend_points": 200,
        "order_id": basket.purchase["order_id"],
    }


def _earned(basket: Basket, _number: int) -> tuple[str, Data]:
    points = int(Decimal(basket.purchase["total"]))
    reason = {"kind": "purchase", "order_id": basket.purchase["order_id"]}
    balance = {"available": points, "pending": 0, "held": 0, "debt": 0}
    data = {"transaction_id": f"earned-{basket.basket}", "points": points + 1, "reason": reason, "balance": balance}
    return "loyalty.points.earned.v1", data | {"qualifying_points": points + 1}


def _instant(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_MAKERS: Final[Mapping[str, _Maker]] = {
    "R": _review,
    "W": _withdrawal,
    "F": _refund,
    "D": _delivery,
    "A": _activity,
    "S": _survey,
    "N": lambda basket, number: ("shop.customer.registered.v1", _profile(basket, number)),
    "U": lambda basket, number: ("shop.customer.updated.v1", _profile(basket, number)),
    "X": lambda _basket, _number: ("shop.customer.erased.v1", {}),
    "T": _tier,
    "Q": _earned,
    "E": lambda basket, number: ("loyalty.referral.approved.v1", _referral(basket, number)),
    "V": lambda basket, number: ("loyalty.referral.voided.v1", _referral(basket, number)),
}
