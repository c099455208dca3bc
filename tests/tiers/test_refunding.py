"""What single refunds in any order change of spend, against the fold of all refunds."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.tiers.rules import refunding
from services.tiers.rules.metrics import Change, Metric
from services.tiers.rules.orders import bought, takings_of
from services.tiers.rules.refunding import Refunding
from services.tiers.rules.unread import QueriedRefunds, RefundQuery, UnreadRefundsError
from shared.contracts.kept import keep
from shared.contracts.orders import Order
from shared.contracts.refunds import Purchase, Refund, place_of
from shared.contracts.shop import Line, RefundLine
from tests.support.depth import examples

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
AMOUNTS = st.sampled_from(("0.00", "0.01", "1.00", "3.33", "7.00", "20.00"))


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """An order of 20.00 without lines, or with up to three lines, some of them free."""
    amounts = draw(st.lists(st.sampled_from(("0.00", "5.00", "10.00")), max_size=3))
    total = f"{sum(map(Fraction, amounts)).numerator}.00" if amounts else "20.00"
    lines = tuple(Line(f"l{number}", "-", 1, amount) for number, amount in enumerate(amounts))
    return Order("o", "/shop", BEGIN, Purchase("USD", total, lines), None, {})


@st.composite
def refunds(draw: st.DrawFn, order: Order, *, mixed: bool) -> list[Refund]:
    """Refunds in the order of their arrival; unless `mixed`, all by line or all by share."""
    by_line = draw(st.booleans())
    made: list[Refund] = []
    for number in range(draw(st.integers(0, 9))):
        lines: tuple[RefundLine, ...] = ()
        if order.purchase.lines and (draw(st.booleans()) if mixed else by_line):
            names = draw(st.lists(st.sampled_from(order.purchase.lines), min_size=1, max_size=3))
            lines = tuple(RefundLine(line.line_id, 0, draw(AMOUNTS)) for line in names)
        amount = f"{float(sum(Fraction(line.amount) for line in lines)):.4f}" if lines else draw(AMOUNTS)
        time = BEGIN + timedelta(hours=draw(st.integers(-1, 6)))
        made.append(Refund(f"r{number}", time, "USD", amount, lines))
    return draw(st.permutations(made))


def moved(changes: Sequence[Change]) -> Counter[tuple[datetime, Metric]]:
    """The sums of changes by instant and metric, without those of nothing."""
    sums: Counter[tuple[datetime, Metric]] = Counter()
    for change in changes:
        sums[change.at, change.metric] += change.amount  # pyright: ignore[reportArgumentType]
    return Counter({key: amount for key, amount in sums.items() if amount})


def changes_of(order: Order) -> list[Change]:
    """What an order and its refunds change, by definition."""
    return [*bought(order), *takings_of(order)]


class Store:
    """What a database stores of an order, and how it answers queries."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.gone_at: datetime | None = None
        self.refunds: list[Refund] = []
        self.asked_for_all = 0

    def add(self, batch: Sequence[Refund]) -> list[list[Change]]:
        """Add a batch, with as many refunds read as are asked for, and no more."""
        order, read = self.order, dict[str | None, QueriedRefunds]()
        while True:
            try:
                adding = Refunding(order, self.gone_at, read.values())
                added = [adding.add(refund) for refund in batch]
            except UnreadRefundsError as error:
                if error.queries is None:
                    self.asked_for_all += 1
                    order = replace(order, refunds=tuple(self.refunds))
                for query in error.queries or ():
                    read[query.pool] = self._answer(query)
            else:
                break
        self.refunds += batch
        self.order = replace(self.order, folded=msgspec.json.decode(msgspec.json.encode(adding.to_json())))
        self.gone_at = adding.gone_at
        assert adding.kept == keep(order.purchase, self.refunds).total
        return added

    def _answer(self, query: RefundQuery) -> QueriedRefunds:
        fitting = [
            refund
            for refund in sorted(self.refunds, key=place_of, reverse=True)
            if refund.place <= query.until
            and (query.pool is None or query.pool in {line.line_id for line in refund.lines})
        ]
        return QueriedRefunds(query, fitting[: query.count])


def batches(refunds: Sequence[Refund], size: int) -> Iterator[Sequence[Refund]]:
    for start in range(0, len(refunds), size):
        yield refunds[start : start + size]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries ask for few refunds, so that a few refunds are enough for the tests."""
    monkeypatch.setattr(refunding, "_FEW", 1)
    monkeypatch.setattr(refunding, "_MORE", 2)


@given(data=st.data(), order=orders(), size=st.integers(1, 4), mixed=st.booleans(), whole=st.booleans())
@examples(100, deep=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_refund_moves_what_the_fold_of_all_says(
    data: st.DataObject, order: Order, size: int, *, mixed: bool, whole: bool
):
    arriving = data.draw(refunds(order, mixed=mixed))
    store = Store(replace(order, refunds=()) if whole else order)
    changes = bought(order)
    for number, batch in enumerate(batches(arriving, size)):
        for added in store.add(batch):
            changes += added
        with_refunds = replace(order, refunds=tuple(arriving[: (number + 1) * size]))
        assert moved(changes) == moved(changes_of(with_refunds))
        if whole:
            store.order = with_refunds


@given(data=st.data(), order=orders(), size=st.integers(1, 4))
@examples(40, deep=240, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_refunds_of_one_kind_never_need_all_others(data: st.DataObject, order: Order, size: int):
    store = Store(order)
    for batch in batches(data.draw(refunds(order, mixed=False)), size):
        store.add(batch)
    assert store.asked_for_all == 0


@given(data=st.data(), order=orders(), size=st.integers(1, 4))
@examples(40, deep=240, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_refunds_of_both_kinds_do_not_need_all_others_while_there_is_plenty(
    data: st.DataObject, order: Order, size: int
):
    store = Store(order)
    arriving = [
        replace(refund, amount="0.10", lines=tuple(replace(line, amount="0.10") for line in refund.lines[:1]))
        for refund in data.draw(refunds(order, mixed=True))
        if not refund.lines or order.purchase.lines[int(refund.lines[0].line_id[1:])].amount != "0.00"
    ]
    changes = bought(order)
    for batch in batches(arriving, size):
        changes += [change for added in store.add(batch) for change in added]
    assert moved(changes) == moved(changes_of(replace(order, refunds=tuple(arriving))))
    assert store.asked_for_all == 0 or not any(Fraction(line.amount) for line in order.purchase.lines)


def test_an_order_stored_without_the_state_of_its_refunds_needs_them_all():
    with pytest.raises(UnreadRefundsError) as raised:
        Refunding(Order("o", "/shop", BEGIN, Purchase("USD", "1.00"), None, None))
    assert raised.value.queries is None
