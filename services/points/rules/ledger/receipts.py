"""Receipts: what a transaction says of its decision, and the digest that proves it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from typing import Any

from pydantic_core import to_json

from services.points.rules.books import accruals, orders
from services.points.rules.books.accruals import AccrualCase
from services.points.rules.books.refunds import Known
from services.points.rules.books.state import Accrual, Order
from services.points.rules.books.tiers import Standing
from services.points.rules.program import limits
from services.points.rules.program.judgement import ENGINE, REFUNDED, Judgement, RuleLine
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.kept import Taken

Receipt = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a transaction's receipt is rebuilt from: its own inputs, and what it is about.

    `rules` is the version that its decision names; `known` is what was known of the order's refunds at the time.
    """

    customer_id: str
    reason: Mapping[str, Any]
    rules: RuleSet | None
    inputs: Mapping[str, Any]
    order: Order | None
    known: Known | None
    accrual: Accrual | None


def rebuild(basis: Basis, engine: int = ENGINE) -> Receipt:
    """The receipt again, from what is stored, as a version of the engine makes it.

    Its digest proves that it is the one of the time.

    Raises:
        LookupError: what the transaction is about is not stored any more.
    """
    if basis.rules is None:
        return without_rules() | {"engine": engine}
    if "order_id" in basis.reason:
        return _rebuild_order(basis, basis.rules, engine)
    if basis.inputs.get("withdrawn"):
        return of_rules(basis.rules.version, (), engine)
    if basis.accrual is None:
        raise LookupError("what it was given for is not stored")
    case = case_of(basis.accrual, basis.rules, basis.customer_id, basis.inputs.get("tier"))
    found = limits.read_cuts(basis.inputs["found"]) if "found" in basis.inputs else basis.accrual.found
    return of_rules(basis.rules.version, accruals.judge_again(case, found).rules, engine)


def prove(basis: Basis, digest_then: bytes) -> tuple[Receipt, bool]:
    """The receipt again, as the engine of its time made it, and whether it has the digest of the time.

    Raises:
        LookupError: what the transaction is about is not stored any more.
    """
    receipt = rebuild(basis)
    if digest(receipt) == digest_then:
        return receipt, True
    second = rebuild(basis, 2)
    for older in (second, _by_engine_1(second)):
        if digest(older) == digest_then:
            return older, True
    return receipt, False


def _by_engine_1(receipt: Receipt) -> Receipt:
    """What the first engine would have said: it knew the default rules only, and judged them alike.

    A review without a verified purchase had another word for it, and an order of which nothing is kept matched.
    """
    lines: list[dict[str, Any]] = []
    for line in receipt["rules"]:
        known = dict(line)
        if known.get("why") == REFUNDED:
            known = {"rule": known["rule"], "matched": True, "requested": 0, "awarded": 0}
        elif known.get("why") == "verified_purchase":
            known["why"] = "not_verified_purchase"
        lines.append(known)
    return receipt | {"engine": 1, "rules": lines}


def _rebuild_order(basis: Basis, rules: RuleSet, engine: int) -> Receipt:
    order, inputs = basis.order, basis.inputs
    if order is None:
        raise LookupError("the order is not stored")
    standing = Standing(inputs.get("tier"), inputs["multiplier"])
    case = orders.OrderCase(rules, order.bought, order.occurred_at, order.ordinal, standing)
    kept = None if basis.known is None else basis.known.kept
    judgement = orders.judge_kept(case, kept, order.found, frozenset(inputs.get("undelivered", ())), engine)
    refund = None if basis.known is None or "refund" not in inputs else basis.known.taken
    return of_order(rules.version, judgement, refund) | {"engine": engine}


def case_of(accrual: Accrual, rules: RuleSet, customer_id: str, tier: str | None) -> AccrualCase:
    """What earned points besides orders, as it is judged at a tier."""
    return AccrualCase(rules, customer_id, accrual.on, accrual.occurred_at, accrual.facts, tier)


def inputs_of_order(
    standing: Standing, refunds: int = 0, refund: Taken | None = None, undelivered: Iterable[str] = ()
) -> dict[str, Any]:
    """What a receipt of an order is rebuilt from, beside what is stored of it: `refunds` is how many were known."""
    inputs: dict[str, Any] = {"multiplier": standing.multiplier}
    if standing.tier is not None:
        inputs["tier"] = standing.tier
    if refunds:
        inputs["refunds"] = refunds
    if refund is not None:
        inputs["refund"] = refund.refund_id
    if given_up := sorted(undelivered):
        inputs["undelivered"] = given_up
    return inputs


@lru_cache(maxsize=1024)
def first_inputs(standing: Standing) -> Mapping[str, Any]:
    """The same of an order's first judgement: remembered, since there are few tiers."""
    return inputs_of_order(standing)


def of_order(version: int, judgement: Judgement, refund: Taken | None = None) -> Receipt:
    """The receipt of a settling of an order: what is due after it, rule by rule."""
    receipt = of_rules(version, judgement.rules)
    receipt["tier"] = {"multiplier": judgement.multiplier, "extra": judgement.extra}
    if judgement.extra_limit is not None:
        receipt["tier"]["limit"] = judgement.extra_limit
    if refund is not None:
        receipt["refund"] = {"asked": format_amount(refund.asked), "taken": format_amount(refund.taken)}
    return receipt


def of_rules(version: int, lines: Iterable[RuleLine], engine: int = ENGINE) -> Receipt:
    """The receipt of what rules alone decided."""
    return {"rules_version": version, "engine": engine, "rules": [_line(line) for line in lines]}


def without_rules() -> Receipt:
    """The receipt of what no earning rule decided: a referral's points, an adjustment, a redemption, an expiry."""
    return {"rules_version": None, "engine": ENGINE, "rules": []}


@lru_cache(maxsize=1)
def digest_without_rules() -> bytes:
    """The digest of the receipt of what no earning rule decided."""
    return digest(without_rules())


def digest(receipt: Receipt) -> bytes:
    """SHA-256 over the receipt's JSON; its keys are always written in the same order."""
    return sha256(to_json(receipt)).digest()


@lru_cache(maxsize=4096)
def digest_of_order(version: int, judgement: Judgement) -> bytes:
    """The digest of a new order's receipt. Remembered, since most orders come to the same few hundred judgements."""
    return digest(of_order(version, judgement))


def format_amount(amount: Fraction) -> str:
    """A decimal string: 2 decimals, or 4 where they say more (rounded half even)."""
    text = f"{Decimal(round(amount * 10_000)).scaleb(-4):.4f}"
    return text.removesuffix("00")


def _line(line: RuleLine) -> dict[str, Any]:
    shown: dict[str, Any] = {"rule": line.rule, "matched": line.matched}
    if line.why is not None:
        shown["why"] = line.why
    shown["requested"] = line.requested
    shown["awarded"] = line.awarded
    if line.limit is not None:
        shown["limit"] = line.limit
    return shown
