"""Receipts: how a transaction was decided, and the digest that proves it."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from typing import Any

from pydantic_core import to_json

from services.points.rules.program.judgement import ENGINE, Judgement, RuleLine
from shared.contracts.refunds import Taken

Receipt = dict[str, Any]


def of_order(version: int, judgement: Judgement, refund: Taken | None = None) -> Receipt:
    """The receipt of a settling of an order: what the order is due, rule by rule."""
    receipt = of_rules(version, judgement.rules)
    receipt["tier"] = {"multiplier": judgement.multiplier, "extra": judgement.extra}
    if judgement.extra_limit is not None:
        receipt["tier"]["limit"] = judgement.extra_limit
    if refund is not None:
        receipt["refund"] = {"asked": format_amount(refund.asked), "taken": format_amount(refund.taken)}
    return receipt


def of_rules(version: int, lines: Iterable[RuleLine], engine: int = ENGINE) -> Receipt:
    """The receipt of a decision by rules alone, without a tier's extra."""
    return {"rules_version": version, "engine": engine, "rules": [_line(line) for line in lines]}


def without_rules() -> Receipt:
    """The receipt where no earning rule decided: of a referral's points, an adjustment, a redemption, an expiry."""
    return {"rules_version": None, "engine": ENGINE, "rules": []}


@lru_cache(maxsize=1)
def digest_without_rules() -> bytes:
    """The digest of the receipt where no earning rule decided."""
    return digest(without_rules())


def digest(receipt: Receipt) -> bytes:
    """SHA-256 over the receipt's JSON, whose keys are always in the same order."""
    return sha256(to_json(receipt)).digest()


@lru_cache(maxsize=4096)
def digest_of_order(version: int, judgement: Judgement) -> bytes:
    """The digest of a new order's receipt. Cached, since most orders come to the same few hundred judgements."""
    return digest(of_order(version, judgement))


def format_amount(amount: Fraction) -> str:
    """A decimal string with 2 decimals, or with 4 where 2 are not exact (rounded half to even)."""
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
