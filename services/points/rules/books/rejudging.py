"""A new timeline: the orders that it judges otherwise are settled again, in the order of time.

One transaction settles a bounded part of them; the books keep how far it came, and the next transaction goes on.
"""

from bisect import bisect_right
from collections import defaultdict
from datetime import datetime

from services.points.rules.books.books import Books
from services.points.rules.books.settling import settle
from services.points.rules.books.state import Key, Resettling
from services.points.rules.books.tiers import FOR_EVER, SINCE_EVER, Span, standing_before
from services.points.rules.books.trigger import Trigger
from shared.contracts.envelope import Cause


class OrdersByTime:
    """The orders of customers that are loaded or were made since, in the order of time."""

    def __init__(self, books: Books) -> None:
        """`books` hold the orders."""
        self._books = books
        self._of_customer: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
        for key, order in books.state.orders.items():
            self._of_customer[key[0]].append((order.occurred_at, key[1]))

    def add(self, key: Key, occurred_at: datetime) -> None:
        """Add a new order."""
        self._of_customer[key[0]].append((occurred_at, key[1]))

    def settle_within(self, customer: str, span: Span, trigger: Trigger) -> None:
        """Settle the orders within a span of time whose tier by the customer's timeline is not the one they have."""
        state = self._books.state
        timeline = state.timelines.get(customer, ())
        orders = self._of_customer[customer]
        orders.sort()  # Nearly all of it is in order already.
        first = bisect_right(orders, span.after, key=lambda order: order[0])
        last = bisect_right(orders, span.until, key=lambda order: order[0])
        for occurred_at, order_id in orders[first:last]:
            standing = standing_before(timeline, occurred_at)
            if standing != state.orders[customer, order_id].standing:
                settle(self._books, (customer, order_id), standing, trigger)

    def go_on(self, customer: str) -> Trigger | None:
        """Settle more of a customer's last timeline; returns the trigger of it, None where all was settled."""
        state = self._books.state
        left = state.resettling.get(customer)
        if left is None:
            return None
        trigger = Trigger(left.occurred_at, self._books.now, Cause(left.correlation_id, left.causation_id))
        self.settle_within(customer, Span(SINCE_EVER, FOR_EVER), trigger)
        unloaded = state.unloaded.get(customer)
        self._books.set_resettling(customer, None if unloaded is None else left._replace(since=unloaded))
        return trigger


def note_rest(books: Books, customer: str, trigger: Trigger) -> None:
    """Keep from which instant on a new timeline is not settled, because not everything was loaded."""
    since = books.state.unloaded.get(customer)
    if since is not None:
        cause = trigger.cause
        rest = Resettling(since, trigger.occurred_at, cause.correlation_id, cause.causation_id)
        books.set_resettling(customer, rest)
