"""Every event beside orders that earns points, and what referral events carry: judged, booked, taken back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from services.points.rules.books import accruals
from services.points.rules.books.accruals import AccrualCase, case_of
from services.points.rules.books.books import Books, Trigger, after, differences, lost_of, plain_context, rules_context
from services.points.rules.books.state import Accrual, Key, Payment
from services.points.rules.books.tiers import Span, standing_before
from services.points.rules.ledger import receipts
from services.points.rules.ledger.lots import Grant
from services.points.rules.program.limits import MOST_PER_ORDER, Use, UseKey
from services.points.rules.program.values import On
from shared.contracts.envelope import Cause, Event
from shared.contracts.loyalty import ReferralChanged
from shared.contracts.shop import (
    ActivityPerformed,
    CustomerRegistered,
    ReviewPublished,
    ReviewWithdrawn,
    SurveyAnswered,
)

CARRIED: Final = "referral:carried"
"""What a referral event's own points are booked under: no rule's id has a colon."""

REGISTRATION: Final = "registration"

# Facts beside a reason's kind: by the event of the rules, the field of the reason that names the occasion.
_NAMED: Final[dict[On, str]] = {
    "review": "review_id",
    "activity": "activity_id",
    "survey": "answer_id",
    "referral": "referral_id",
}
_ALWAYS_KEPT: Final = frozenset({"review", "activity", "survey", "registration", "tier_promotion"})


class Happening(NamedTuple):
    """Something of a customer that may earn points: what the rules are on, its origin, and what is told of it."""

    customer: str
    on: On
    origin: str
    told: Mapping[str, Any]
    occurred_at: datetime


class Occasions:
    """Judges occasions and keeps what became of them in the books."""

    def __init__(self, books: Books) -> None:
        """`books` are written to."""
        self._books = books

    def happened(self, event: Event) -> str | None:
        """Judge a review, an activity, an answer, a registration; returns its origin, None for a repeat."""
        found = told_by(event)
        assert found is not None, "only occasions come here"
        on, origin, told = found
        known = self._books.state.accruals.get((event.customer_id, origin))
        if known is not None:
            self.repeat(differs=(told, event.time) != (known.facts, known.occurred_at))
            return None
        self.judge(Happening(event.customer_id, on, origin, told, event.time), self._trigger(event))
        return origin

    def judge(self, happened: Happening, trigger: Trigger) -> None:
        """Judge a new occasion, at the tier before it (of a promotion: the new one), and give what it is due.

        Where no rule is about such an event, there is no transaction.
        """
        books = self._books
        customer, on, origin, told, at = happened
        rules = books.rules.in_force(at)
        if not rules.on(on) and on not in _ALWAYS_KEPT:
            return
        tier = told.get("tier") or standing_before(books.state.timelines.get(customer, ()), at).tier
        facts = {name: value for name, value in told.items() if name != "tier"}
        case = AccrualCase(rules, customer, on, at, facts, tier)
        judgement, found, used = accruals.judge(case, books.state.uses)
        self.count(used)
        self.keep(
            (customer, origin),
            Accrual(origin, on, at, rules.version, facts, judgement.due, tier, found, withdrawn=False),
        )
        if rules.on(on):
            receipt = receipts.of_rules(rules.version, judgement.rules)
            inputs = accruals.inputs_of(origin, tier, found if on == "tier_promotion" else {})
            why = rules_context(trigger, origin, reason_of(on, origin), receipt, inputs)
            books.earn(customer, accruals.grants(case, judgement.due, books.now), why, trigger.cause)

    def withdraw(self, event: Event, data: ReviewWithdrawn) -> bool:
        """Take back what a review was given, and free its limits; False where there is no such review yet."""
        key = (data.customer_id, f"review/{data.review_id}")
        known = self._books.state.accruals.get(key)
        if known is None:
            return False
        if known.withdrawn:
            self.repeat(differs=False)
        else:
            self.take_all(key, known, {"kind": "review_withdrawn", "review_id": data.review_id}, self._trigger(event))
            case = case_of(known, self._books.rules.version(known.rules_version), data.customer_id, known.tier)
            self.count(accruals.freed(case, known.cuts, self._books.state.uses))
        return True

    def referral(self, event: Event, data: ReferralChanged) -> None:
        """Pay both sides what an approved referral gives, or take it back from both for good."""
        trigger = self._trigger(event)
        voided = event.type.endswith(".voided.v1")
        sides = ((data.customer_id, data.advocate_points or 0), (data.friend_id, data.friend_points or 0))
        for customer, promised in sides:
            points = min(promised, MOST_PER_ORDER)
            key = (customer, data.referral_id)
            known = self._books.state.payments.get(key)
            if voided:
                self._void(key, known, trigger)
            elif known is None:
                self._pay(key, points, trigger)
            else:
                self.repeat(differs=not known.voided and known.points != points)
        self._rules_of_referral(data, trigger, voided=voided)

    def _rules_of_referral(self, data: ReferralChanged, trigger: Trigger, *, voided: bool) -> None:
        """What the rules give the advocate besides."""
        key = (data.customer_id, f"referral/{data.referral_id}")
        known = self._books.state.accruals.get(key)
        payment = self._books.state.payments[data.customer_id, data.referral_id]
        if voided and known is not None and not known.withdrawn:
            self.take_all(key, known, {"kind": "referral_voided", "referral_id": data.referral_id}, trigger)
        elif not voided and known is None and not payment.voided:
            self.judge(Happening(data.customer_id, "referral", key[1], {}, trigger.occurred_at), trigger)

    def _pay(self, key: Key, points: int, trigger: Trigger) -> None:
        self._keep_payment(key, Payment(key[1], points, voided=False))
        if points:
            reason = {"kind": "referral", "referral_id": key[1]}
            why = plain_context(trigger, f"referral/{key[1]}", reason)
            fitting = self._books.fitting(key[0], {CARRIED: points})
            self._books.earn(key[0], [Grant(CARRIED, fitting[CARRIED])], why, trigger.cause)

    def _void(self, key: Key, known: Payment | None, trigger: Trigger) -> None:
        # Voided before it was paid: it stays unpaid.
        self._keep_payment(key, Payment(key[1], known.points if known else 0, voided=True))
        if known is not None and not known.voided and known.points:
            reason = {"kind": "referral_voided", "referral_id": key[1]}
            why = plain_context(trigger, f"referral/{key[1]}", reason)
            self._books.take_back(key[0], {CARRIED: known.points}, why, trigger.cause)

    def retell(self, customer: str, spans: Sequence[Span], trigger: Trigger) -> None:
        """Settle what a customer's tiers decide of occasions within some spans, now that they were told anew."""
        books = self._books
        timeline = books.state.timelines.get(customer, ())
        later = [
            (key, one)
            for key, one in books.state.accruals.items()
            if key[0] == customer
            and one.on != "tier_promotion"
            and not one.withdrawn
            and any(span.after < one.occurred_at <= span.until for span in spans)
        ]
        for key, known in sorted(later, key=lambda one: (one[1].occurred_at, one[0])):
            tier = standing_before(timeline, known.occurred_at).tier
            if tier == known.tier:
                continue
            if known.on in books.rules.version(known.rules_version).looks_at_tier:
                self._settle(key, known._replace(tier=tier), trigger)
            else:
                self.keep(key, known._replace(tier=tier))

    def _settle(self, key: Key, known: Accrual, trigger: Trigger) -> None:
        books = self._books
        case = case_of(known, books.rules.version(known.rules_version), key[0], known.tier)
        judgement = accruals.judge_again(case, known.cuts)
        more, less = differences(judgement.due, known.given, lost_of(books.own_lots(key)))
        self.keep(key, known._replace(given=after(known.given, more, less)))
        receipt = receipts.of_rules(known.rules_version, judgement.rules)
        why = rules_context(
            trigger, key[1], reason_of(known.on, key[1]), receipt, accruals.inputs_of(key[1], known.tier, {})
        )
        if less:
            books.take_back(key[0], less, why, trigger.cause)
        if more:
            books.earn(key[0], accruals.grants(case, more, books.now), why, trigger.cause)

    def take_all(self, key: Key, known: Accrual, reason: Mapping[str, str], trigger: Trigger) -> None:
        """Take back all that an occasion was given, and is not lost."""
        books = self._books
        _, less = differences({}, known.given, lost_of(books.own_lots(key)))
        self.keep(key, known._replace(withdrawn=True, given=after(known.given, {}, less)))
        if less:
            receipt = receipts.of_rules(known.rules_version, ())
            books.take_back(
                key[0], less, rules_context(trigger, key[1], reason, receipt, {"withdrawn": True}), trigger.cause
            )

    def count(self, used: Mapping[UseKey, Use]) -> None:
        """Keep uses of limits as they are now."""
        for key, use in used.items():
            self._books.state.uses[key] = use
            self._books.changes.uses[key] = None

    def repeat(self, *, differs: bool) -> None:
        """Count what came before."""
        changes = self._books.changes
        changes.repeats += not differs
        changes.repeats_that_differ += differs

    def keep(self, key: Key, accrual: Accrual) -> None:
        """Keep what is known of an occasion now."""
        self._books.state.accruals[key] = accrual
        self._books.changes.accruals[key] = None

    def _keep_payment(self, key: Key, payment: Payment) -> None:
        self._books.state.payments[key] = payment
        self._books.changes.payments.add(key)

    def _trigger(self, event: Event) -> Trigger:
        return Trigger(event.time, self._books.now, Cause.of(event))


def told_by(event: Event) -> tuple[On, str, dict[str, Any]] | None:
    """The occasion that an event is: for the rules on what, its origin within its customer, and the facts.

    None for what is no occasion of its own: orders, tiers (see promotions.py), and what takes back.
    """
    found: tuple[On, str, dict[str, Any]] | None = None
    match event.data:
        case ReviewPublished() as data:
            found = "review", f"review/{data.review_id}", _facts_of(data)
        case ActivityPerformed() as data:
            found = "activity", f"activity/{data.activity_id}", {"activity": data.activity}
        case SurveyAnswered() as data:
            found = "survey", f"survey/{data.answer_id}", {"survey": data.survey, "score": data.score}
        case CustomerRegistered():
            found = "registration", REGISTRATION, {}
        case ReferralChanged() as data if event.type.endswith(".approved.v1"):
            found = "referral", f"referral/{data.referral_id}", {}
        case _:
            pass
    return found


def _facts_of(data: ReviewPublished) -> dict[str, Any]:
    facts = {
        "sku": data.sku,
        "rating": data.rating,
        "verified": data.verified_purchase is True,
        "text_length": data.text_length,
        "photo_count": data.photo_count,
    }
    return {name: value for name, value in facts.items() if value is not None}


def reason_of(on: On, origin: str) -> dict[str, str]:
    """Why points are given, as it is published."""
    if on in _NAMED:
        return {"kind": on, _NAMED[on]: origin.partition("/")[2]}
    return {"kind": "tier" if on == "tier_promotion" else on}
