"""What counts towards a tier: changes of metrics over time, and sums of them over periods."""

from collections.abc import Generator, Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Literal, NamedTuple, TypeVar

T = TypeVar("T")

Metric = Literal["spend", "orders", "points", "reviews", "referrals", "activities"]

Amount = int | Fraction
"""Money in ten-thousandths of its currency, exact (an int where possible), or a count."""


class Change(NamedTuple):
    """One change of a metric.

    `at` is when it happened: the time of a purchase, the instant from which a refund counts. `earned_at` is when the
    changed amount was earned: what is taken back lowers the day on which it was earned. `name` is the currency of
    `spend`, the activity of `activities`, and otherwise empty. `amount` is below 0 where something is taken back.
    `is_taking` says that the change belongs to a refund, a withdrawal, a void or a reversal; a late refund can give
    some of what another one took back again, which is a taking with an amount above 0.
    """

    at: datetime
    earned_at: datetime
    metric: Metric
    name: str
    amount: Amount
    is_taking: bool = False


Sums = Mapping[tuple[Metric, str], Amount]
"""Sums of changes by metric and name; what is missing is 0."""


class Request(NamedTuple):
    """Asks for the sums of all changes that were earned in [`since`, `before`) and happened before `known`.

    None means no limit. With `by_day_of`, an IANA time zone, the sums are asked by the local day of `earned_at`.
    """

    since: datetime | None
    before: datetime | None
    known: datetime | None
    by_day_of: str | None = None


Answer = Sums | Mapping[date, Sums]
"""The sums that a request asks for; by day, without days on which nothing was earned, for one with `by_day_of`."""

Reading = Generator[Sequence[Request], Sequence[Answer], T]
"""A computation that yields requests, is sent their answers in the same order, and returns its result.

A long one yields no requests now and then, so that others have a turn.
"""
