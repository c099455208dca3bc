"""A slow model of what is kept of an order, written apart from the product, in exact fractions."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from shared.contracts.refunds import Purchase, Refund


class Left(NamedTuple):
    """The kept money, in total and by line; whether the order is gone; and the amount that each refund took."""

    total: Fraction
    lines: dict[str, Fraction]
    gone: bool
    taken: dict[str, Fraction]


def slowly(bought: Purchase, refunds: Iterable[Refund]) -> Left:
    """The definition of the contract, refund by refund."""
    rest = Fraction(bought.total)
    lines = {line.line_id: Fraction(line.amount) for line in bought.lines}
    back = {line.line_id: Decimal(0) for line in bought.lines}
    gone_lines: set[str] = set()
    gone = False
    taken: dict[str, Fraction] = {}
    for refund in sorted(refunds, key=lambda refund: (refund.time, refund.refund_id)):
        before = sum(lines.values(), Fraction(0)) if lines else rest
        if refund.lines and lines:
            for named in refund.lines:
                name = named.line_id
                lines[name] = max(Fraction(0), lines[name] - Fraction(named.amount))
                back[name] += Decimal(named.quantity)
                line = next(line for line in bought.lines if line.line_id == name)
                free = Fraction(line.amount) == 0
                if back[name] >= Decimal(line.quantity) if free else lines[name] == 0:
                    gone_lines.add(name)
            gone = gone_lines == lines.keys()
        elif Fraction(refund.amount) >= before:
            lines, rest, gone, gone_lines = dict.fromkeys(lines, Fraction(0)), Fraction(0), True, set(lines)
        else:
            share = 1 - Fraction(refund.amount) / before
            lines, rest = {name: amount * share for name, amount in lines.items()}, rest * share
        after = sum(lines.values(), Fraction(0)) if lines else rest
        taken[refund.refund_id] = before - after
    kept = {name: amount for name, amount in lines.items() if name not in gone_lines}
    return Left(sum(lines.values(), Fraction(0)) if lines else rest, kept, gone, taken)
