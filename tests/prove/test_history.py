"""The history depends only on the seed, and has the promised shares of each kind."""

from collections import Counter, defaultdict
from datetime import UTC, datetime

import pytest

from shared.contracts import topics
from shared.contracts.envelope import Record, decode
from shared.contracts.reasons import Malformed
from shared.contracts.registry import TYPES
from tests.prove import history
from tests.prove.history import History, Size
from tests.prove.items import Item, Role, Turn
from tests.prove.malformed import FLAWS
from tests.support.headers import in_bytes

BEGIN = datetime(2026, 6, 1, 12, tzinfo=UTC)
SIZE = Size(5_000, 250)


@pytest.fixture(scope="module")
def drawn() -> History:
    return history.make(3, SIZE)


def share(drawn: History, role: Role) -> float:
    return len(drawn.of_role(role)) / len(drawn.items)


def record(item: Item) -> Record:
    key, value, headers = item.record(BEGIN)
    return Record(item.event.topic, 0, item.number, key, value, in_bytes(headers), BEGIN)


def test_the_same_seed_is_the_same_history(drawn: History):
    again = history.make(3, SIZE)
    assert [item.record(BEGIN) for item in drawn.items] == [item.record(BEGIN) for item in again.items]
    assert history.make(4, SIZE).items != drawn.items


def test_the_history_has_the_requested_size(drawn: History):
    assert len(drawn.items) == SIZE.records
    assert [item.number for item in drawn.items] == list(range(SIZE.records))
    assert len({item.event.customer for item in drawn.items}) == SIZE.customers


def test_the_shares_are_those_promised(drawn: History):
    assert share(drawn, Role.DUPLICATE) == pytest.approx(0.02, rel=0.01)
    assert share(drawn, Role.REPEAT) == pytest.approx(0.01, rel=0.01)
    assert share(drawn, Role.MALFORMED) == pytest.approx(0.002, rel=0.01)
    turns = Counter(item.turn for item in drawn.items)
    assert turns[Turn.DISPLACED] / len(drawn.items) == pytest.approx(0.03, rel=0.15)
    assert turns[Turn.LATE] / len(drawn.items) == pytest.approx(0.01, rel=0.3)


def test_every_shop_event_type_occurs(drawn: History):
    shops = {name for name, event_type in TYPES.items() if event_type.topic in topics.SHOP}
    shops -= {"shop.order.status_changed.v1"}  # it moves no points, and no journey that is enabled starts by it
    assert {item.event.type for item in drawn.items if item.role is Role.EVENT} == shops


def test_items_without_a_flaw_are_events(drawn: History):
    for item in drawn.items:
        if item.flaw is None:
            assert decode(record(item), frozenset(TYPES)) is not None


def test_displaced_events_follow_a_later_event_of_their_customer(drawn: History):
    latest: defaultdict[str, float] = defaultdict(float)
    for item in drawn.items:
        if item.role is Role.EVENT:
            if item.turn is Turn.DISPLACED:
                assert item.event.at < latest[item.event.customer]
            latest[item.event.customer] = max(latest[item.event.customer], item.event.at)


def test_late_events_are_days_old(drawn: History):
    late = [item for item in drawn.items if item.turn is Turn.LATE and item.role is Role.EVENT]
    assert all(item.event.at < item.number / SIZE.rate - 86_400 * 0.9 for item in late)


def test_duplicates_and_repeats_follow_the_original(drawn: History):
    first = {item.event.id: item for item in drawn.items if item.role is Role.EVENT}
    for item in drawn.of_role(Role.DUPLICATE):
        assert first[item.event.id].number < item.number
        assert first[item.event.id].event == item.event
    for item in drawn.of_role(Role.REPEAT):
        origin = first[item.event.id.partition("-")[0]]
        assert origin.number < item.number
        assert (origin.event.data, origin.event.source, origin.event.at) == (
            item.event.data,
            item.event.source,
            item.event.at,
        )


def test_every_flaw_is_on_every_possible_topic():
    size = Size(2_000, 100, malformed=0.2)
    spoilt = history.make(5, size).of_role(Role.MALFORMED)
    general = {name for name, flaw in FLAWS.items() if flaw.only is None}
    pairs = {(item.event.topic, item.flaw) for item in spoilt}
    assert {(topic, name) for topic in topics.SHOP for name in general} <= pairs
    assert {flaw for _, flaw in pairs} == set(FLAWS)


def test_a_flaw_gets_its_reason():
    for item in history.make(5, Size(2_000, 100, malformed=0.2)).of_role(Role.MALFORMED):
        assert item.flaw is not None
        with pytest.raises(Malformed) as caught:
            decode(record(item), frozenset(TYPES))
        assert caught.value.reason is FLAWS[item.flaw].reason, item.flaw
