"""Receipts: what a transaction says of its decision, and the digest that proves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from typing import Any

from pydantic_core import to_json

from services.points.rules.earning import DEFAULT, ENGINE, Judgement, RuleLine, judge_order, judge_review
from shared.contracts.kept import Purchase, Refund, Taken, keep
from shared.contracts.shop import PurchaseCompleted

Receipt = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a transaction's receipt is rebuilt from: its own inputs, and what it is about.

    `refunds` are all of the order, by id; `inputs` name those that were known at the time.
    """

    reason: Mapping[str, Any]
    rules_version: int | None
    inputs: Mapping[str, Any]
    order: PurchaseCompleted | None
    refunds: Mapping[str, Refund]
    verified: bool | None


def rebuild(basis: Basis) -> Receipt:
    """The receipt again, from what is stored; its digest proves that it is the one of the time.

    Raises:
        LookupError: what the transaction is about is not stored any more.
    """
    match basis.reason["kind"], basis.rules_version:
        case "purchase" | "refund" | "tier", int(version):
            return _rebuild_order(basis, version)
        case "review", int(version):
            if basis.verified is None:
                raise LookupError("the review is not stored")
            rewarded: bool = basis.inputs["sku_was_rewarded"]
            line = judge_review(verified=basis.verified, sku_was_rewarded=rewarded, rules=DEFAULT)
            return of_rules(version, (line,))
        case "review_withdrawn", int(version):
            return of_rules(version, ())
        case _:
            return without_rules()


def _rebuild_order(basis: Basis, version: int) -> Receipt:
    if basis.order is None:
        raise LookupError("the order is not stored")
    kept = keep(Purchase.of(basis.order), [basis.refunds[name] for name in basis.inputs.get("refunds", ())])
    amount = Fraction(0) if kept.gone else kept.total
    judgement = judge_order(basis.order.currency, amount, basis.inputs["multiplier"], DEFAULT)
    refund = next((one for one in kept.refunds if one.refund_id == basis.inputs.get("refund")), None)
    return of_order(version, judgement, refund)


def of_order(version: int, judgement: Judgement, refund: Taken | None = None) -> Receipt:
    """The receipt of a settling of an order: what is due after it, rule by rule."""
    receipt = of_rules(version, judgement.rules)
    receipt["tier"] = {"multiplier": judgement.multiplier, "extra": judgement.extra}
    if refund is not None:
        receipt["refund"] = {"asked": format_amount(refund.asked), "taken": format_amount(refund.taken)}
    return receipt


def of_rules(version: int, lines: tuple[RuleLine, ...]) -> Receipt:
    """The receipt of what rules alone decided."""
    return {"rules_version": version, "engine": ENGINE, "rules": [_line(line) for line in lines]}


def without_rules() -> Receipt:
    """The receipt of what no earning rule decided: a referral's points, an adjustment."""
    return {"rules_version": None, "engine": ENGINE, "rules": []}


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
