"""Which events about orders have an effect: by tables, and against a slow model that sees all events at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.envelope import Event, Record
from shared.contracts.kept import Fold
from shared.contracts.lines import PackedLines, line_amounts, pack_lines
from shared.contracts.orders import (
    Content,
    Order,
    UnreadRefundsError,
    Verdict,
    admit_delivery,
    admit_purchase,
    admit_refund,
    content_of_purchase,
    content_of_refund,
    key_of,
)
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.register import Register
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseRefunded, RefundLine
from tests.contracts.slow_kept import slowly

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PURCHASE_DIGEST, REFUND_DIGEST = 280858442610427719, -8167746577994855259
LINES = (Line("1", "mug", 2, "20.00", "kitchen"), Line("2", "pen", "1", "5.00"))


def event_of(data: PurchaseCompleted | PurchaseRefunded, time: datetime = NOON, source: str = "/shop") -> Event:
    record = Record("shop.purchases", 0, 0, data.customer_id.encode(), b"", (), time)
    return Event("id", source, "type", time, data.customer_id, data, "id", None, None, record)


def purchase(time: datetime = NOON, source: str = "/shop", **fields: Any) -> Event:
    """A purchase of 25.00 by Ann."""
    given = {"customer_id": "ann", "order_id": "o", "currency": "USD", "total": "25.00", "lines": LINES, **fields}
    return event_of(PurchaseCompleted(**given), time, source)


def refund(time: datetime = NOON, source: str = "/shop", **fields: Any) -> Event:
    """A refund of 5.00 of Ann's order."""
    given = {"customer_id": "ann", "order_id": "o", "refund_id": "r", "currency": "USD", "amount": "5.00", **fields}
    return event_of(PurchaseRefunded(**given), time, source)


def refund_of(event: Event) -> Refund:
    assert isinstance(event.data, PurchaseRefunded)
    return Refund.of(event.data, event.time)


def with_first(**fields: Any) -> tuple[Line, ...]:
    """The lines, the first of them changed."""
    first = {name: getattr(LINES[0], name) for name in ("line_id", "sku", "quantity", "amount", "category")}
    return Line(**{**first, **fields}), LINES[1]


PURCHASES = {
    "the same again": (purchase(), Verdict.REPEAT),
    "coupon codes do not count": (purchase(coupon_codes=("SPRING",)), Verdict.REPEAT),
    "the same instant": (purchase(NOON.astimezone(UTC)), Verdict.REPEAT),
    "another time": (purchase(NOON + timedelta(microseconds=1)), Verdict.DIFFERING_REPEAT),
    "another currency": (purchase(currency="EUR"), Verdict.DIFFERING_REPEAT),
    "another total": (purchase(total="25.01", lines=()), Verdict.DIFFERING_REPEAT),
    "money written otherwise": (purchase(total="25.0"), Verdict.DIFFERING_REPEAT),
    "no lines": (purchase(lines=()), Verdict.DIFFERING_REPEAT),
    "lines in another order": (purchase(lines=LINES[::-1]), Verdict.DIFFERING_REPEAT),
    "a line under another id": (purchase(lines=with_first(line_id="3")), Verdict.DIFFERING_REPEAT),
    "another good": (purchase(lines=with_first(sku="cup")), Verdict.DIFFERING_REPEAT),
    "another quantity": (purchase(lines=with_first(quantity=3)), Verdict.DIFFERING_REPEAT),
    "another category": (purchase(lines=with_first(category="gifts")), Verdict.DIFFERING_REPEAT),
    "a channel": (purchase(channel="app"), Verdict.DIFFERING_REPEAT),
    "a store": (purchase(store_id="app"), Verdict.DIFFERING_REPEAT),
}


@pytest.mark.parametrize("case", PURCHASES)
@pytest.mark.parametrize("is_stored", [True, False])
def test_a_purchase_of_a_recorded_order(case: str, *, is_stored: bool):
    event, verdict = PURCHASES[case]
    order = Order.of(purchase())
    if is_stored:
        order = Order(*(order.order_id, order.source, order.time, order.purchase), None, None, order.content.digest)
    assert admit_purchase(event, order) is verdict


def test_a_purchase_of_a_new_order_is_new():
    assert admit_purchase(purchase(), None) is Verdict.NEW


def test_a_purchase_from_another_source_is_refused_whatever_its_content():
    for event in (purchase(source="/market"), purchase(source="/market", total="9.00", lines=())):
        refusal = admit_purchase(event, Order.of(purchase()))
        assert refusal == Refusal(
            event, Reason.ORDER_CONFLICT, "source: order o of this customer came from /shop before, not from /market"
        )


def test_a_channel_is_not_taken_for_a_store():
    app, counter = purchase(channel="app"), purchase(store_id="app")
    assert admit_purchase(counter, Order.of(app)) is Verdict.DIFFERING_REPEAT


def test_packed_and_unpacked_lines_have_the_same_content():
    packed = purchase()
    packed.data.__dict__["lines"] = PackedLines(pack_lines(LINES))
    assert admit_purchase(packed, Order.of(purchase())) is Verdict.REPEAT
    assert line_amounts(PackedLines(pack_lines(LINES))) == line_amounts(LINES) == [("1", "20.00"), ("2", "5.00")]
    assert line_amounts(PackedLines(b"[]")) == line_amounts(()) == []


REFUNDS = {
    "the same again": (refund(), Verdict.REPEAT),
    "from another source": (refund(source="/market"), Verdict.REPEAT),
    "another time": (refund(NOON + timedelta(hours=1)), Verdict.DIFFERING_REPEAT),
    "another amount": (refund(amount="5.01"), Verdict.DIFFERING_REPEAT),
    "a currency that does not fit": (refund(currency="EUR"), Verdict.DIFFERING_REPEAT),
    "by line": (refund(lines=(RefundLine("2", 1, "5.00"),)), Verdict.DIFFERING_REPEAT),
    "a line that the order does not have": (refund(lines=(RefundLine("9", 1, "5.00"),)), Verdict.DIFFERING_REPEAT),
}


@pytest.mark.parametrize("case", REFUNDS)
def test_a_recorded_refund(case: str):
    event, verdict = REFUNDS[case]
    order = Order.of(purchase())
    assert admit_refund(event, refund_of(event), order.purchase, content_of_refund(refund_of(refund()))) is verdict


@pytest.mark.parametrize(
    ("event", "reason", "error"),
    [
        (refund(currency="EUR"), Reason.CURRENCY_MISMATCH, "currency: "),
        (refund(lines=(RefundLine("9", 1, "5.00"),)), Reason.UNKNOWN_LINE, "lines: "),
    ],
)
def test_a_refund_that_does_not_fit_is_refused(event: Event, reason: Reason, error: str):
    refusal = admit_refund(event, refund_of(event), Order.of(purchase()).purchase, None)
    assert isinstance(refusal, Refusal)
    assert (refusal.event, refusal.reason) == (event, reason)
    assert refusal.error.startswith(error)


def test_a_refund_without_its_order_waits():
    assert admit_refund(refund(), refund_of(refund()), None, None) is Verdict.WAITS


@pytest.mark.parametrize(
    ("delivered_at", "is_ordered", "verdict"),
    [
        (None, False, Verdict.WAITS),
        (None, True, Verdict.NEW),
        (NOON, True, Verdict.REPEAT),
        (NOON + timedelta(hours=1), True, Verdict.DIFFERING_REPEAT),
    ],
)
def test_a_delivery(delivered_at: datetime | None, is_ordered: bool, verdict: Verdict):
    assert admit_delivery(purchase(), delivered_at, is_ordered=is_ordered) is verdict


def test_every_field_of_a_purchase_counts_but_its_natural_key_and_its_coupon_codes():
    # A new field of the contract needs a decision here and in `content_of_purchase`.
    counted = {"currency", "total", "lines", "channel", "store_id"}
    assert PurchaseCompleted.model_fields.keys() - counted == {"customer_id", "order_id", "coupon_codes"}
    counted = {"currency", "amount", "lines"}
    assert PurchaseRefunded.model_fields.keys() - counted == {"customer_id", "order_id", "refund_id"}


def test_stored_digests_stay_valid():
    # Services compare these with digests that they stored years ago.
    bought = purchase(channel="app", store_id="s1").data
    assert content_of_purchase(bought, NOON) == Content(NOON, "25.00", PURCHASE_DIGEST)
    by_line = refund(lines=(RefundLine("2", "1", "5.00"),))
    assert content_of_refund(refund_of(by_line)) == Content(NOON, "5.00", REFUND_DIGEST)


@pytest.mark.parametrize(
    ("stored", "differs"),
    [
        (Content(NOON, "25", None), False),
        (Content(NOON, "25.01", None), True),
        (Content(NOON + timedelta(hours=1), "25.00", None), True),
    ],
)
def test_an_order_stored_without_a_digest_is_compared_by_time_and_money(stored: Content, *, differs: bool):
    assert stored.differs(content_of_purchase(purchase().data, NOON)) is differs
    assert content_of_purchase(purchase().data, NOON).differs(stored) is differs


def test_unread_refunds_are_not_treated_as_none():
    order = Order("o", "/shop", NOON, Purchase("USD", "25.00"), refunds=None)
    for read in (order.fold, order.taken, order.refunds_in_order, lambda: list(order.kept_over_time())):
        with pytest.raises(UnreadRefundsError):
            read()


def test_waiting_refunds_are_admitted_by_time_and_id_and_the_first_of_an_id_wins():
    register = Register(
        {}, {}, {("ann", "o"): [refund(refund_id="s"), refund(NOON + timedelta(hours=2), amount="9.00")]}
    )
    for event in (refund(NOON + timedelta(hours=1)), refund(refund_id="q"), refund(refund_id="x", currency="EUR")):
        assert register.refund(event) is None
    admitted = register.purchase(purchase())
    assert admitted is not None
    assert [(kept.refund_id, kept.time, kept.amount) for kept in admitted] == [
        ("q", NOON, "5.00"),
        ("s", NOON, "5.00"),
        ("r", NOON + timedelta(hours=1), "5.00"),
    ]
    assert [refusal.reason for refusal in register.refusals] == [Reason.CURRENCY_MISMATCH]
    assert (register.repeats, register.differing_repeats, register.waiting()) == (0, 1, [])


def test_taken_amounts_add_up_to_the_order_even_when_rounded():
    lines = (Line("1", "mug", 1, "700000000.0001"), Line("2", "pen", 1, "899999999.9999"))
    refunds: list[Refund] = []
    for number in range(120):
        by_line = (RefundLine("1", 0, "0.0007"),) * (number % 2)
        refunds.append(Refund(f"r{number:03}", NOON + timedelta(seconds=number), "USD", "0.0007", by_line))
    refunds.append(Refund("r999", NOON + timedelta(hours=1), "USD", "1600000000.00"))
    order = Order("o", "/shop", NOON, Purchase("USD", "1600000000.00", lines), tuple(refunds))
    fold = Fold(order.purchase)
    assert sum(fold.add(refund).taken for refund in refunds) != order.total, "something was rounded"
    assert sum(order.taken().values()) == order.total


# A slow model of admission, written apart: it searches all earlier events, and keeps no digest.


@dataclass(frozen=True, slots=True)
class Outcome:
    new: list[Event]
    repeats: int
    differing: int
    refused: list[tuple[Event, Reason]]
    waiting: list[Event]


def content(event: Event) -> tuple[Any, ...]:
    """The content of an event by which repeats are compared, in full."""
    fields = event.data.model_dump()
    fields.pop("coupon_codes", None)
    return event.time, fields


def admitted_slowly(events: Sequence[Event]) -> Outcome:
    """The outcome of a log: refunds that precede their order are admitted after it, by (time, id)."""
    log: list[Event] = []
    for event in events:
        if isinstance(event.data, PurchaseCompleted):
            log.append(event)
            if not any(natural_key(other) == key_of(event) for other in log[:-1]):
                early = [other for other in events[: events.index(event)] if isinstance(other.data, PurchaseRefunded)]
                early = [other for other in early if key_of(other) == key_of(event)]
                log += sorted(early, key=time_and_id)
        elif any(isinstance(other.data, PurchaseCompleted) and key_of(other) == key_of(event) for other in log):
            log.append(event)
    new: list[Event] = []
    refused: list[tuple[Event, Reason]] = []
    repeats = differing = 0
    for event in log:
        same_key = [other for other in new if natural_key(other) == natural_key(event)]
        order = next((other for other in new if natural_key(other) == key_of(event)), event)
        reason = misfit_slowly(order, event)
        if same_key and isinstance(event.data, PurchaseCompleted) and same_key[0].source != event.source:
            refused.append((event, Reason.ORDER_CONFLICT))
        elif same_key:
            is_same = content(same_key[0]) == content(event)
            repeats, differing = repeats + is_same, differing + (not is_same)
        elif reason is not None:
            refused.append((event, reason))
        else:
            new.append(event)
    waiting = [event for event in events if not any(event is other for other in log)]
    return Outcome(new, repeats, differing, refused, waiting)


def time_and_id(event: Event) -> tuple[datetime, str]:
    return event.time, refund_of(event).refund_id


def natural_key(event: Event) -> tuple[str, ...]:
    return (*key_of(event), *((event.data.refund_id,) if isinstance(event.data, PurchaseRefunded) else ()))


def misfit_slowly(order: Event, event: Event) -> Reason | None:
    bought, returned = order.data, event.data
    assert isinstance(bought, PurchaseCompleted | PurchaseRefunded)
    if isinstance(returned, PurchaseCompleted):
        return None
    assert isinstance(returned, PurchaseRefunded)
    if bought.currency != returned.currency:
        return Reason.CURRENCY_MISMATCH
    line_ids = {line.line_id for line in bought.lines}
    return Reason.UNKNOWN_LINE if line_ids and {line.line_id for line in returned.lines} - line_ids else None


_TIMES = st.builds(lambda hours: NOON + timedelta(hours=hours), st.integers(0, 2))
_PURCHASES = st.builds(
    lambda time, source, order_id, currency, lines, channel, coupons: purchase(
        *(time, source), order_id=order_id, currency=currency, lines=lines, channel=channel, coupon_codes=coupons
    ),
    _TIMES,
    st.sampled_from(("/shop", "/shop", "/market")),
    st.sampled_from(("o", "p")),
    st.sampled_from(("USD", "USD", "EUR")),
    st.sampled_from(((), LINES, with_first(sku="cup"))),
    st.sampled_from((None, "app")),
    st.sampled_from(((), ("SPRING",))),
)
_REFUNDS = st.builds(
    lambda time, order_id, refund_id, currency, amount, line_id: refund(
        time,
        order_id=order_id,
        refund_id=refund_id,
        currency=currency,
        amount=amount,
        lines=(RefundLine(line_id, 1, amount),) if line_id else (),
    ),
    _TIMES,
    st.sampled_from(("o", "p")),
    st.sampled_from(("r", "s")),
    st.sampled_from(("USD", "USD", "EUR")),
    st.sampled_from(("5.00", "20.00")),
    st.sampled_from((None, "1", "9")),
)


@given(events=st.lists(st.one_of(_PURCHASES, _REFUNDS), max_size=9), size=st.integers(1, 9))
@settings(max_examples=400, deadline=None)
def test_the_register_agrees_with_the_slow_model_for_any_batches(events: list[Event], size: int):
    expected = admitted_slowly(events)
    orders: dict[Any, Order] = {}
    contents: dict[Any, Content] = {}
    waiting: dict[Any, list[Event]] = {}
    refunds: dict[Any, list[Refund]] = {}
    refused: list[tuple[Event, Reason]] = []
    repeats = differing = 0
    for start in range(0, len(events), size):
        batch = events[start : start + size]
        bought = {key_of(event) for event in batch if isinstance(event.data, PurchaseCompleted)} - orders.keys()
        register = Register(orders, contents, {key: waiting.pop(key) for key in bought & waiting.keys()})
        for event in batch:
            key = key_of(event)
            if isinstance(event.data, PurchaseCompleted):
                new = register.purchase(event) or []
            else:
                admitted = register.refund(event)
                new = [] if admitted is None else [admitted]
            refunds.setdefault(key, []).extend(new)
            contents |= {(*key, refund.refund_id): content_of_refund(refund) for refund in new}
        # From here on, orders are as a service stores them: reduced, with a digest.
        orders = {
            key: Order(*(order.order_id, order.source, order.time, order.purchase), None, None, order.content.digest)
            for key, order in register.orders.items()
        }
        refused += [(refusal.event, refusal.reason) for refusal in register.refusals]
        repeats, differing = repeats + register.repeats, differing + register.differing_repeats
        for left in register.waiting():
            assert left.about == f"order/{key_of(left.event)[1]}"
            waiting.setdefault(key_of(left.event), []).append(left.event)
            waiting[key_of(left.event)].sort(key=time_and_id)
    bought = [event for event in expected.new if isinstance(event.data, PurchaseCompleted)]
    assert orders.keys() == {key_of(event) for event in bought}
    assert all(orders[key_of(event)].content == Order.of(event).content for event in bought)
    for key, admitted_refunds in refunds.items():
        assert admitted_refunds == [refund_of(event) for event in expected.new if natural_key(event)[:-1] == key]
    assert (repeats, differing) == (expected.repeats, expected.differing)
    assert sorted(map(repr, refused)) == sorted(map(repr, expected.refused))
    assert {id(event) for events in waiting.values() for event in events} == {id(event) for event in expected.waiting}


_RETURNS = st.lists(st.tuples(st.integers(-1, 3), st.sampled_from(("0.00", "1.00", "7.50", "30.00"))), max_size=5)


@given(returns=_RETURNS, by_line=st.booleans())
def test_kept_over_time_agrees_with_the_slow_fold(returns: list[tuple[int, str]], *, by_line: bool):
    lines = (Line("1", "mug", 1, "20.00"), Line("2", "pen", 1, "5.00")) if by_line else ()
    times = [NOON + timedelta(hours=hours) for hours, _ in returns]
    refunds = tuple(Refund(f"r{number}", time, "USD", returns[number][1]) for number, time in enumerate(times))
    order = Order("o", "/shop", NOON, Purchase("USD", "25.00", lines), refunds)
    in_order = sorted(refunds, key=lambda refund: (refund.time, refund.refund_id))
    kept = [slowly(order.purchase, in_order[: number + 1]).total for number in range(len(in_order))]
    assert list(order.kept_over_time()) == [
        (max(NOON, refund.time), left) for refund, left in zip(in_order, kept, strict=True)
    ]
    assert order.fold().total == (kept[-1] if kept else Fraction(Decimal("25.00")))
    assert order.taken() == slowly(order.purchase, refunds).taken
    assert list(order.taken()) == [refund.refund_id for refund in in_order]
