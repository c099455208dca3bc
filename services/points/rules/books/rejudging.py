"""A timeline that was told anew: what is judged otherwise by it is settled again, in the order of time.

One transaction settles a bounded part of it; how far it came is kept, and the next one goes on.
"""

from bisect import bisect_right
from collections import defaultdict
from datetime import datetime

from services.points.rules.books.books import Books, Trigger
from services.points.rules.books.settling import settle
from services.points.rules.books.state import Key, Resettling
from services.points.rules.books.tiers import FOR_EVER, SINCE_EVER, Span, standing_before
from shared.contracts.envelope import Cause


class Owned:
    """The orders of customers that are loaded or were made since, in the order of time."""

    def __init__(self, books: Books) -> None:
        """`books` hold the orders."""
        self._books = books
        self._of_customer: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
        for key, order in books.state.orders.items():
            self._of_customer[key[0]].append((order.occurred_at, key[1]))

    def add(self, key: Key, occurred_at: datetime) -> None:
        """Note a new order."""
        self._of_customer[key[0]].append((occurred_at, key[1]))

    def settle_within(self, customer: str, span: Span, trigger: Trigger) -> None:
        """Settle the orders of a span of time that the customer's timeline judges otherwise than they are."""
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
        """Go on where the last timeline of a customer was not settled to its end; returns what it follows from."""
        state, changes = self._books.state, self._books.changes
        left = state.resettling.get(customer)
        if left is None:
            return None
        trigger = Trigger(left.occurred_at, self._books.now, Cause(left.correlation_id, left.causation_id))
        self.settle_within(customer, Span(SINCE_EVER, FOR_EVER), trigger)
        unloaded = state.unloaded.get(customer)
        if unloaded is None:
            changes.resettling[customer] = None
        else:
            changes.resettling[customer] = left._replace(since=unloaded)
        return trigger


def note_rest(books: Books, customer: str, trigger: Trigger) -> None:
    """Note from when on what a new timeline judges otherwise was not loaded, and so not settled."""
    since = books.state.unloaded.get(customer)
    if since is not None:
        cause = trigger.cause
        books.changes.resettling[customer] = Resettling(
            since, trigger.occurred_at, cause.correlation_id, cause.causation_id
        )
