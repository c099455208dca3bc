"""A new timeline: the orders that it judges otherwise are settled again, in the order of time.

One transaction settles a bounded part of them; the books keep how far it came, and the next transaction goes on.
"""

from bisect import bisect_right

from services.points.rules.books.books import Books
from services.points.rules.books.settling import settle
from services.points.rules.books.state import Resettling
from services.points.rules.books.tiers import FOR_EVER, SINCE_EVER, Span, standing_before
from services.points.rules.books.trigger import Trigger
from shared.contracts.envelope import Cause


def settle_within(books: Books, customer: str, span: Span, trigger: Trigger) -> None:
    """Settle the orders within a span of time whose tier by the customer's timeline is not the one they have."""
    state = books.state
    timeline = state.timelines.get(customer, ())
    orders = books.orders_by_time(customer)
    first = bisect_right(orders, span.after, key=lambda order: order[0])
    last = bisect_right(orders, span.until, key=lambda order: order[0])
    for occurred_at, order_id in orders[first:last]:
        standing = standing_before(timeline, occurred_at)
        if standing != state.orders[customer, order_id].standing:
            settle(books, (customer, order_id), standing, trigger)


def go_on(books: Books, customer: str) -> Trigger | None:
    """Settle more of a customer's last timeline; returns the trigger of it, None where all was settled."""
    left = books.state.resettling.get(customer)
    if left is None:
        return None
    trigger = Trigger(left.occurred_at, books.now, Cause(left.correlation_id, left.causation_id))
    settle_within(books, customer, Span(SINCE_EVER, FOR_EVER), trigger)
    unloaded = books.state.unloaded.get(customer)
    books.set_resettling(customer, None if unloaded is None else left._replace(since=unloaded))
    return trigger


def note_rest(books: Books, customer: str, trigger: Trigger) -> None:
    """Keep from which instant on a new timeline is not settled, because not everything was loaded."""
    since = books.state.unloaded.get(customer)
    if since is not None:
        cause = trigger.cause
        rest = Resettling(since, trigger.occurred_at, cause.correlation_id, cause.causation_id)
        books.set_resettling(customer, rest)
