"""What earns points beside orders: judged once, entered in the books, settled again, taken back."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from services.points.rules.books import accruals
from services.points.rules.books.accruals import AccrualCase
from services.points.rules.books.books import Books
from services.points.rules.books.differences import after, differences, lost_of
from services.points.rules.books.state import Accrual, Key
from services.points.rules.books.tiers import Span, standing_before
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger import receipts
from services.points.rules.program import earning
from services.points.rules.program.earning import EARNERS, REVIEW
from services.points.rules.program.values import On
from shared.contracts.envelope import Event
from shared.contracts.shop import ReviewWithdrawn


class Happening(NamedTuple):
    """Something new that may earn points; `details` are its facts, by the fields of `Facts`."""

    customer: str
    on: On
    origin: str
    details: Mapping[str, Any]
    occurred_at: datetime


def accrue(books: Books, event: Event) -> str | None:
    """Judge a review, an activity, an answer or a registration; returns its origin, None for a repeat."""
    reported = earning.accruing(event)
    assert reported is not None, "the fold calls this only for events that earn by themselves"
    on, origin, facts = reported
    accrual = books.state.accruals.get((event.customer_id, origin))
    if accrual is not None:
        books.note_repeat(differs=(facts, event.time) != (accrual.facts, accrual.occurred_at))
        return None
    award(books, Happening(event.customer_id, on, origin, facts, event.time), Trigger.of(event, books.now))
    return origin


def award(books: Books, happening: Happening, trigger: Trigger) -> None:
    """Judge something new at the tier before it (a promotion: at the new tier), and give what it is due.

    Where no rule is about its kind, there is no transaction.
    """
    customer, on, origin, details, at = happening
    rules = books.rules.in_force(at)
    if not rules.on(on) and not EARNERS[on].is_always_kept:
        return
    tier = details.get("tier") or standing_before(books.state.timelines.get(customer, ()), at).tier
    facts = {name: value for name, value in details.items() if name != "tier"}
    case = AccrualCase(rules, customer, on, at, facts, tier)
    judgement, cuts, used = accruals.judge(case, books.state.uses)
    books.count_uses(used)
    books.keep_accrual(
        (customer, origin),
        Accrual(origin, on, at, rules.version, facts, judgement.due, tier, cuts, withdrawn=False),
    )
    if rules.on(on):
        receipt = receipts.of_rules(rules.version, judgement.rules)
        inputs = accruals.inputs_of(origin, tier, cuts if on == "tier_promotion" else {})
        context = trigger.context_of_rules(origin, earning.reason_of(origin), receipt, inputs)
        books.earn(customer, accruals.grants(case, judgement.due, books.now), context, trigger.cause)


def withdraw_review(books: Books, event: Event, data: ReviewWithdrawn) -> bool:
    """Take back what a review was given, and free its use of limits; False where there is no such review yet."""
    key = (data.customer_id, REVIEW.origin_of(data.review_id))
    accrual = books.state.accruals.get(key)
    if accrual is None:
        return False
    if accrual.withdrawn:
        books.note_repeat(differs=False)
    else:
        reason = {"kind": "review_withdrawn", "review_id": data.review_id}
        take_all(books, key, reason, Trigger.of(event, books.now))
        free_uses(books, key)
    return True


def settle_again(books: Books, customer: str, spans: Iterable[Span], trigger: Trigger) -> None:
    """Settle the accruals within spans of time that a new timeline judges at another tier."""
    timeline = books.state.timelines.get(customer, ())
    within = list(spans)
    affected = [
        (key, accrual)
        for key, accrual in books.state.accruals.items()
        if key[0] == customer
        and accrual.on != "tier_promotion"
        and not accrual.withdrawn
        and any(span.after < accrual.occurred_at <= span.until for span in within)
    ]
    for key, accrual in sorted(affected, key=lambda item: (item[1].occurred_at, item[0])):
        tier = standing_before(timeline, accrual.occurred_at).tier
        if tier == accrual.tier:
            continue
        at_tier = accrual._replace(tier=tier)
        if accrual.on in books.rules.version(accrual.rules_version).looks_at_tier:
            _settle(books, key, at_tier, trigger)
        else:
            books.keep_accrual(key, at_tier)


def _settle(books: Books, key: Key, accrual: Accrual, trigger: Trigger) -> None:
    case = case_of(books, key[0], accrual)
    judgement = accruals.judge_again(case, accrual.cuts)
    more, less = differences(judgement.due, accrual.given, lost_of(books.own_lots(key)))
    books.keep_accrual(key, accrual._replace(given=after(accrual.given, more, less)))
    receipt = receipts.of_rules(accrual.rules_version, judgement.rules)
    inputs = accruals.inputs_of(key[1], accrual.tier, {})
    context = trigger.context_of_rules(key[1], earning.reason_of(key[1]), receipt, inputs)
    if less:
        books.take_back(key[0], less, context, trigger.cause)
    if more:
        books.earn(key[0], accruals.grants(case, more, books.now), context, trigger.cause)


def take_all(books: Books, key: Key, reason: Mapping[str, str], trigger: Trigger) -> None:
    """Withdraw an accrual: take back everything that it was given and did not lose to expiry."""
    accrual = books.state.accruals[key]
    _, less = differences({}, accrual.given, lost_of(books.own_lots(key)))
    books.keep_accrual(key, accrual._replace(withdrawn=True, given=after(accrual.given, {}, less)))
    if less:
        receipt = receipts.of_rules(accrual.rules_version, ())
        context = trigger.context_of_rules(key[1], reason, receipt, {"withdrawn": True})
        books.take_back(key[0], less, context, trigger.cause)


def free_uses(books: Books, key: Key) -> None:
    """Free the use of limits of an accrual that was withdrawn."""
    accrual = books.state.accruals[key]
    books.count_uses(accruals.freed(case_of(books, key[0], accrual), accrual.cuts, books.state.uses))


def case_of(books: Books, customer: str, accrual: Accrual) -> AccrualCase:
    """An accrual as it is judged, at its tier and by its version of the rules."""
    return accruals.case_of(accrual, books.rules.version(accrual.rules_version), customer, accrual.tier)
