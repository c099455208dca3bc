"""Which version of the rules judges an event.

Planted and caught here: a refund by today's rules; a version in force only after its instant.
"""

from datetime import UTC, datetime

from tests.points.shop import NOON, hour, purchase, refund
from tests.points.states import apply, moved, new_customers, rulebook, ruleset
from tests.points.written import per_amount, rule


def test_the_version_in_force_at_the_events_time_judges_and_stays():
    first, second = (ruleset(rule("base", per_amount("1.00", points)), version=points) for points in (1, 2))
    rules = rulebook((datetime(1, 1, 1, tzinfo=UTC), first), (hour(5), second))
    ann = new_customers("ann")
    purchases = [
        purchase("late", "100.00", hour(5)),
        purchase("early", "100.00", hour(4.9999)),
        purchase("old", "9", NOON),
    ]
    assert [points for _, points in moved(apply(ann, *purchases, rules=rules))] == [200, 100, 9]
    assert [order.rules_version for order in ann.orders.values()] == [2, 1, 1]
    # A refund after the change goes by the rules of the purchase.
    assert moved(apply(ann, refund("early", "r", "50.00", hour(9)), rules=rules)) == [("reversed", -50)]
    assert moved(apply(ann, refund("late", "r", "50.00", hour(9)), rules=rules)) == [("reversed", -100)]


def test_of_versions_with_one_instant_the_last_published_counts():
    first, second = (ruleset(version=version) for version in (1, 2))
    assert rulebook((hour(0), second), (hour(0), first)).in_force(hour(0)).version == 2
    late = rulebook((hour(5), first), (hour(0), second))
    assert [late.in_force(hour(at)).version for at in (0, 4.9999, 5, 9)] == [2, 2, 1, 1]
