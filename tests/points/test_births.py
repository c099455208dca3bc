"""An erasure removes the date of birth, and only a later registration sets one again."""

from datetime import date
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from services.points.rules.books.births import Birth, learn
from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerErased, CustomerRegistered, CustomerUpdated
from tests.points.shop import event, hour, purchase

HOURS = st.integers(0, 4)
DATES = st.none() | st.sampled_from([date(1990, 1, 2), date(2000, 2, 29)])


def registered(at: float, born: date | None = None) -> Event:
    return event("shop.customer.registered.v1", hour(at), CustomerRegistered(customer_id="ann", birth_date=born))


def updated(at: float, born: date | None) -> Event:
    data = CustomerUpdated(customer_id="ann", birth_date=born)  # which writing would leave out where it is null
    return structs.replace(event("shop.customer.updated.v1", hour(at), data), data=data)


def erased(at: float) -> Event:
    return event("shop.customer.erased.v1", hour(at), CustomerErased(customer_id="ann"))


def birth_after(*events: Event) -> Birth | None:
    return reduce(learn, events, None)


def born(*events: Event) -> date | None:
    birth = birth_after(*events)
    return None if birth is None else birth.born


BORN = date(1990, 1, 2)


def test_an_erasure_removes_the_date_whatever_older_events_arrive_later():
    assert born(registered(0, BORN)) == BORN
    assert born(registered(0, BORN), erased(1)) is None
    assert born(erased(1), registered(0, BORN), updated(1, BORN)) is None


def test_only_a_registration_sets_a_date_again():
    assert born(erased(1), updated(2, BORN)) is None
    assert born(registered(0, BORN), updated(3, BORN), erased(1)) is None
    assert born(erased(1), registered(2), updated(3, BORN)) == BORN
    assert born(erased(1), registered(2, BORN), erased(0)) == BORN
    assert born(registered(2, BORN), erased(1)) == BORN
    assert born(registered(2, BORN), erased(3)) is None


def test_the_newest_event_counts_and_nothing_is_kept_of_events_without_a_date():
    assert born(updated(2, BORN), updated(1, None), registered(0, date(2000, 2, 29))) == BORN
    assert born(updated(1, BORN), updated(2, None)) is None
    assert birth_after(registered(0)) is None
    assert birth_after(purchase("o", "1.00")) is None


EVENTS = st.lists(
    st.builds(registered, HOURS, DATES) | st.builds(updated, HOURS, DATES) | st.builds(erased, HOURS), max_size=6
)


@given(EVENTS, st.randoms(use_true_random=False))
def test_no_order_of_arrival_brings_back_what_was_erased(events: list[Event], random: "object"):
    birth = birth_after(*random.sample(events, len(events)))  # type: ignore[attr-defined] Hypothesis's own random
    erasures = [event.time for event in events if event.type == "shop.customer.erased.v1"]
    begins = [event.time for event in events if event.type == "shop.customer.registered.v1"]
    if not erasures:
        return
    assert birth is not None
    if max(begins, default=hour(-1)) <= max(erasures):
        assert (birth.born, birth.is_erased, birth.erased_at) == (None, True, max(erasures))
    elif birth.born is not None:
        assert birth.told_at > max(erasures)
