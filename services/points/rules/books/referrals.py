"""Referrals: the points that a referral event gives to both sides, and what the rules give the advocate on top."""

from typing import Final

from services.points.rules.books import accruing
from services.points.rules.books.accruing import Happening
from services.points.rules.books.books import Books
from services.points.rules.books.state import Key, Payment
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger.lots import Grant
from services.points.rules.program.earning import REFERRAL
from services.points.rules.program.limits import MOST_PER_ORDER
from shared.contracts.envelope import Event
from shared.contracts.loyalty import ReferralChanged

CARRIED: Final = "referral:carried"
"""The rule that the points of a referral event are booked under: no rule's id has a colon."""


def settle_referral(books: Books, event: Event, data: ReferralChanged) -> None:
    """Pay both sides of an approved referral, or take everything back from both for good where it was voided."""
    trigger = Trigger.of(event, books.now)
    voided = event.type in REFERRAL.follow_ups
    sides = ((data.customer_id, data.advocate_points or 0), (data.friend_id, data.friend_points or 0))
    for customer, promised in sides:
        points = min(promised, MOST_PER_ORDER)
        key = (customer, data.referral_id)
        payment = books.state.payments.get(key)
        if voided:
            _void(books, key, payment, trigger)
        elif payment is None:
            _pay(books, key, points, trigger)
        else:
            books.note_repeat(differs=not payment.voided and payment.points != points)
    _apply_rules(books, data, trigger, voided=voided)


def _apply_rules(books: Books, data: ReferralChanged, trigger: Trigger, *, voided: bool) -> None:
    """Award the advocate what rules give for the referral, or take it back."""
    key = (data.customer_id, REFERRAL.origin_of(data.referral_id))
    accrual = books.state.accruals.get(key)
    payment = books.state.payments[data.customer_id, data.referral_id]
    if voided and accrual is not None and not accrual.withdrawn:
        accruing.take_all(books, key, _voided(data.referral_id), trigger)
    elif not voided and accrual is None and not payment.voided:
        accruing.award(books, Happening(data.customer_id, "referral", key[1], {}, trigger.occurred_at), trigger)


def _pay(books: Books, key: Key, points: int, trigger: Trigger) -> None:
    customer, referral_id = key
    books.keep_payment(key, Payment(referral_id, points, voided=False))
    if points:
        context = trigger.context(REFERRAL.origin_of(referral_id), REFERRAL.reason_of(referral_id))
        fitting = books.fitting(customer, {CARRIED: points})
        books.earn(customer, [Grant(CARRIED, fitting[CARRIED])], context, trigger.cause)


def _void(books: Books, key: Key, payment: Payment | None, trigger: Trigger) -> None:
    customer, referral_id = key
    # A referral that is voided before it was paid stays unpaid.
    books.keep_payment(key, Payment(referral_id, payment.points if payment else 0, voided=True))
    if payment is not None and not payment.voided and payment.points:
        context = trigger.context(REFERRAL.origin_of(referral_id), _voided(referral_id))
        books.take_back(customer, {CARRIED: payment.points}, context, trigger.cause)


def _voided(referral_id: str) -> dict[str, str]:
    return {"kind": "referral_voided", "referral_id": referral_id}
