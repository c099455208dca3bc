"""Histories of a customer for Hypothesis: purchases and refunds close to the edge cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from shared.contracts.envelope import Event
from tests.tiers import shop

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)

# Few days and few hours, so that instants coincide; their distances straddle the 365 days of the window.
_DAYS = (0, 1, 2, 100, 364, 365, 366, 465, 729, 730, 731)


def _time(day: int, hour: float) -> datetime:
    return BEGIN + timedelta(days=day, hours=hour)


TIMES = st.builds(_time, st.sampled_from(_DAYS), st.sampled_from((0, 12, 23.999)))
_TOTALS = st.sampled_from(("0.00", "0.01", "1.00", "250.00", "499.99", "500.00", "750.00", "999.9999", "1500.00"))


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase; `lines` are pairs of line id and amount."""

    order_id: str
    time: datetime
    total: str
    currency: str
    lines: tuple[tuple[str, str], ...]

    def event(self, customer_id: str) -> Event:
        """The purchase as that customer's."""
        return shop.purchase(
            self.order_id, self.total, self.time, customer_id=customer_id, currency=self.currency, lines=self.lines
        )


@dataclass(frozen=True, slots=True)
class Returned:
    """A refund; `lines` as above."""

    order_id: str
    refund_id: str
    time: datetime
    amount: str
    currency: str
    lines: tuple[tuple[str, str], ...]

    def event(self, customer_id: str) -> Event:
        """The refund as that customer's."""
        return shop.refund(
            *(self.order_id, self.refund_id, self.amount, self.time),
            customer_id=customer_id,
            currency=self.currency,
            lines=self.lines,
        )


Happening = Bought | Returned


@st.composite
def _purchases(draw: st.DrawFn, order_id: str) -> Bought:
    currency = draw(st.sampled_from(("USD", "USD", "USD", "EUR")))
    total = draw(_TOTALS)
    lines: tuple[tuple[str, str], ...] = ()
    if draw(st.booleans()):
        first = str(Decimal(total) / 2)[:6] if Decimal(total) > 1 else "0"
        lines = (("a", first), ("b", str(Decimal(total) - Decimal(first))))
    return Bought(order_id, draw(TIMES), total, currency, lines)


@st.composite
def _refunds(draw: st.DrawFn, refund_id: str, purchases: Sequence[Bought]) -> Returned:
    bought = draw(st.sampled_from(purchases))
    amount = draw(st.sampled_from(("0.01", "1.00", "200.00", "333.33", bought.total, "2000.00")))
    lines = ((draw(st.sampled_from(("a", "b"))), amount),) if bought.lines and draw(st.booleans()) else ()
    return Returned(bought.order_id, refund_id, draw(TIMES), amount, bought.currency, lines)


@st.composite
def histories(draw: st.DrawFn) -> list[Happening]:
    """The purchases and refunds of a customer, in a random order of arrival."""
    purchases = [draw(_purchases(f"o{number}")) for number in range(draw(st.integers(1, 7)))]
    refunds = [draw(_refunds(f"r{number}", purchases)) for number in range(draw(st.integers(0, 8)))]
    return draw(st.permutations([*purchases, *refunds]))


cuts = st.lists(st.integers(1, 5), min_size=1, max_size=12)
"""Sizes of batches; the rest of the events is one more batch."""


def cut(events: Sequence[Event], sizes: Sequence[int]) -> list[Sequence[Event]]:
    """The events in batches of these sizes."""
    batches: list[Sequence[Event]] = []
    rest = list(events)
    for size in sizes:
        if rest:
            batches.append(rest[:size])
            rest = rest[size:]
    return [*batches, rest] if rest else batches
