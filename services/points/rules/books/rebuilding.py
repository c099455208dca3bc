"""Receipts rebuilt from what is stored: the digest of the time proves that a rebuilt receipt is the original."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.points.rules.books import accruals, orders
from services.points.rules.books.refunds import RefundState
from services.points.rules.books.state import Accrual, Order
from services.points.rules.books.tiers import Standing
from services.points.rules.ledger import receipts
from services.points.rules.ledger.receipts import Receipt
from services.points.rules.program import limits
from services.points.rules.program.judgement import ENGINE, REFUNDED
from services.points.rules.program.ruleset import RuleSet


@dataclass(frozen=True, slots=True)
class Basis:
    """What a transaction's receipt is rebuilt from: its inputs, and its order or accrual.

    `rules` is the version that decided it; `refunds` is the state of the order's refunds at that time.
    """

    customer_id: str
    reason: Mapping[str, Any]
    rules: RuleSet | None
    inputs: Mapping[str, Any]
    order: Order | None
    refunds: RefundState | None
    accrual: Accrual | None


def rebuild(basis: Basis, engine: int = ENGINE) -> Receipt:
    """Rebuild the receipt from what is stored, as a version of the engine makes it.

    Raises:
        LookupError: the order or accrual of the transaction is not stored any more.
    """
    if basis.rules is None:
        return receipts.without_rules() | {"engine": engine}
    if "order_id" in basis.reason:
        return _rebuild_order(basis, basis.rules, engine)
    if basis.inputs.get("withdrawn"):
        return receipts.of_rules(basis.rules.version, (), engine)
    if basis.accrual is None:
        raise LookupError("its accrual is not stored")
    case = accruals.case_of(basis.accrual, basis.rules, basis.customer_id, basis.inputs.get("tier"))
    cuts = limits.read_cuts(basis.inputs["found"]) if "found" in basis.inputs else basis.accrual.cuts
    return receipts.of_rules(basis.rules.version, accruals.judge_again(case, cuts).rules, engine)


def prove(basis: Basis, digest_then: bytes) -> tuple[Receipt, bool]:
    """Rebuild the receipt as the engine of its time made it; returns it, and whether its digest is `digest_then`.

    Raises:
        LookupError: the order or accrual of the transaction is not stored any more.
    """
    receipt = rebuild(basis)
    if receipts.digest(receipt) == digest_then:
        return receipt, True
    second = rebuild(basis, 2)
    for older in (second, _by_engine_1(second)):
        if receipts.digest(older) == digest_then:
            return older, True
    return receipt, False


def unlisted_tier(basis: Basis) -> str | None:
    """The tier that a transaction was judged at, where its rules do not list it."""
    return None if basis.rules is None else basis.rules.unlisted(basis.inputs.get("tier"))


def _by_engine_1(receipt: Receipt) -> Receipt:
    """The receipt of the first engine: it had only the default rules, and judged them alike.

    Its word for a review without a verified purchase differs, and a fully refunded order still matched.
    """
    lines: list[dict[str, Any]] = []
    for line in receipt["rules"]:
        older = dict(line)
        if line.get("why") == REFUNDED:
            older = {"rule": line["rule"], "matched": True, "requested": 0, "awarded": 0}
        elif line.get("why") == "verified_purchase":
            older["why"] = "not_verified_purchase"
        lines.append(older)
    return receipt | {"engine": 1, "rules": lines}


def _rebuild_order(basis: Basis, rules: RuleSet, engine: int) -> Receipt:
    order, inputs = basis.order, basis.inputs
    if order is None:
        raise LookupError("its order is not stored")
    standing = Standing(inputs.get("tier"), inputs["multiplier"])
    case = orders.OrderCase(rules, order.bought, order.occurred_at, order.ordinal, standing)
    kept = None if basis.refunds is None else basis.refunds.kept
    judgement = orders.judge_kept(case, kept, order.cuts, frozenset(inputs.get("undelivered", ())), engine)
    refund = None if basis.refunds is None or "refund" not in inputs else basis.refunds.taken
    return receipts.of_order(rules.version, judgement, refund) | {"engine": engine}
