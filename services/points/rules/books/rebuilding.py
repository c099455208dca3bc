"""Receipts rebuilt from what is stored: the digest of the time proves that a rebuilt receipt is the original."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.points.rules.books import accruals, orders
from services.points.rules.books.refunds import Known
from services.points.rules.books.state import Accrual, Order
from services.points.rules.books.tiers import Standing
from services.points.rules.ledger import receipts
from services.points.rules.ledger.receipts import Receipt
from services.points.rules.program import limits
from services.points.rules.program.judgement import ENGINE, REFUNDED
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.kept import Taken


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
        return receipts.without_rules() | {"engine": engine}
    if "order_id" in basis.reason:
        return _rebuild_order(basis, basis.rules, engine)
    if basis.inputs.get("withdrawn"):
        return receipts.of_rules(basis.rules.version, (), engine)
    if basis.accrual is None:
        raise LookupError("what it was given for is not stored")
    case = accruals.case_of(basis.accrual, basis.rules, basis.customer_id, basis.inputs.get("tier"))
    found = limits.read_cuts(basis.inputs["found"]) if "found" in basis.inputs else basis.accrual.cuts
    return receipts.of_rules(basis.rules.version, accruals.judge_again(case, found).rules, engine)


def prove(basis: Basis, digest_then: bytes) -> tuple[Receipt, bool]:
    """The receipt again, as the engine of its time made it, and whether it has the digest of the time.

    Raises:
        LookupError: what the transaction is about is not stored any more.
    """
    receipt = rebuild(basis)
    if receipts.digest(receipt) == digest_then:
        return receipt, True
    second = rebuild(basis, 2)
    for older in (second, _by_engine_1(second)):
        if receipts.digest(older) == digest_then:
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
    judgement = orders.judge_kept(case, kept, order.cuts, frozenset(inputs.get("undelivered", ())), engine)
    refund = None if basis.known is None or "refund" not in inputs else basis.known.taken
    return receipts.of_order(rules.version, judgement, refund) | {"engine": engine}


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
