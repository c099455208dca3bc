"""The made-up part of the sample depends on the seed only, fits the purchases, and is marked as made up."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.sample import referral_codes
from deploy.sample.cloudevent import HEADERS, PURCHASE_COMPLETED, REGISTERED, SIGNED_UP, CloudEvent
from deploy.sample.grocer import Sample, Year, end_of_sample
from deploy.sample.made_up import SEED, SOURCE, MadeUp, referrals
from shared.contracts.envelope import Record, decode
from tests.support.headers import in_bytes

TODAY = date(2026, 11, 22)


def events_of(sample: Sample, seed: int = SEED) -> list[CloudEvent]:
    made_up = MadeUp(seed, end_of_sample(TODAY))
    visits = sample.first_visits()
    prepared = [made_up.registration(household, visits[household]) for household in sample.households]
    prepared += [
        made_up.sign_up(pair, f"CODE{pair.advocate}", visits[pair.friend]) for pair in referrals(sample.households)
    ]
    return list(made_up.along(sample.baskets(), prepared))


def by_type(events: list[CloudEvent], type_: str) -> list[CloudEvent]:
    return [event for event in events if event.type == type_]


@pytest.fixture(scope="module")
def year() -> Year:
    return Year.read(TODAY)


@pytest.fixture(scope="module")
def sample(year: Year) -> Sample:
    return year.of_households(148)


@pytest.fixture(scope="module")
def events(sample: Sample) -> list[CloudEvent]:
    return events_of(sample)


def test_the_same_seed_makes_the_same_events(sample: Sample, events: list[CloudEvent]):
    assert [event.value() for event in events_of(sample)] == [event.value() for event in events]


def test_another_seed_makes_other_events_under_other_ids(sample: Sample, events: list[CloudEvent]):
    mine = {event.id for event in events if event.source == SOURCE}
    others = {event.id for event in events_of(sample, seed=1) if event.source == SOURCE}
    assert mine.isdisjoint(others)


def test_every_event_has_a_unique_id_that_does_not_depend_on_the_day(year: Year, events: list[CloudEvent]):
    assert len({(event.source, event.id) for event in events}) == len(events)
    later = Year.read(TODAY + timedelta(days=1)).of_households(148)
    made_up = MadeUp(SEED, end_of_sample(TODAY + timedelta(days=1)))
    assert {event.id for event in made_up.along(later.baskets(), [])} <= {event.id for event in events}


def test_a_smaller_sample_makes_up_a_part_of_a_larger_one(year: Year, events: list[CloudEvent]):
    small = {event.value() for event in events_of(year.of_households(48))}
    assert small <= {event.value() for event in events}


def test_events_come_in_the_order_of_time_and_none_after_the_last_day(events: list[CloudEvent]):
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert events[-1].time < datetime(2026, 11, 22, tzinfo=UTC)


def test_made_up_events_have_their_own_source(events: list[CloudEvent]):
    assert {event.source for event in events if event.type == PURCHASE_COMPLETED} == {"/sample/grocer"}
    assert {event.source for event in events if event.type != PURCHASE_COMPLETED} == {"/sample/made-up"}


def test_every_event_fits_the_contract(events: list[CloudEvent]):
    arrival = datetime(2026, 11, 22, 12, tzinfo=UTC)
    for event in events:
        record = Record(event.topic, 0, 0, event.key, event.value(), in_bytes(HEADERS), arrival)
        decoded = decode(record, frozenset((event.type,)))
        assert decoded is not None
        assert (decoded.id, decoded.time) == (event.id, event.time)


def test_each_household_registers_before_its_first_basket(sample: Sample, events: list[CloudEvent]):
    registered = by_type(events, REGISTERED)
    visits = sample.first_visits()
    assert {int(event.data["customer_id"]): event.time + timedelta(hours=1) for event in registered} == visits
    profiles = {event.data["customer_id"]: event.data for event in registered}
    for household, profile in profiles.items():
        arabic = profile["locale"] == "ar"
        assert profile["name"] == (f"أسرة {household}" if arabic else f"Household {household}")
        assert profile["email"] == f"household-{household}@example.org"
    assert 30 < Counter(profile["locale"] for profile in profiles.values())["ar"] < 75
    assert 100 < sum(profile["marketing_consent"]["email"] for profile in profiles.values()) < 148


def test_reviews_are_of_bought_products_and_some_are_withdrawn(events: list[CloudEvent]):
    bought = {
        (event.data["customer_id"], line["sku"])
        for event in by_type(events, PURCHASE_COMPLETED)
        for line in event.data["lines"]
    }
    published = by_type(events, "shop.review.published.v1")
    assert len(published) > 500
    assert {(event.data["customer_id"], event.data["sku"]) for event in published} <= bought
    written = {event.data["review_id"]: event.time for event in published}
    withdrawn = by_type(events, "shop.review.withdrawn.v1")
    assert 50 < len(withdrawn) < len(published) / 2
    assert all(event.time > written[event.data["review_id"]] for event in withdrawn)


def test_refunds_of_every_kind_give_back_what_was_bought(events: list[CloudEvent]):
    bought = {event.data["order_id"]: event for event in by_type(events, PURCHASE_COMPLETED)}
    kinds: Counter[str] = Counter()
    for event in by_type(events, "shop.purchase.refunded.v1"):
        refund, order = event.data, bought[event.data["order_id"]]
        paid = {line["line_id"]: line for line in order.data["lines"]}
        assert event.time > order.time
        assert refund["customer_id"] == order.data["customer_id"]
        assert 0 < Decimal(refund["amount"]) <= Decimal(order.data["total"])
        for line in refund.get("lines", ()):
            assert line.items() <= paid[line["line_id"]].items()
        whole = refund["amount"] == order.data["total"]
        kinds[f"{'with' if 'lines' in refund else 'without'} lines, {'full' if whole else 'partial'}"] += 1
    assert set(kinds) == {
        "with lines, full",
        "with lines, partial",
        "without lines, full",
        "without lines, partial",
    }
    assert min(kinds.values()) > 5


def test_most_friends_sign_up_before_their_first_purchase(sample: Sample, events: list[CloudEvent]):
    visits = sample.first_visits()
    signed_up = by_type(events, SIGNED_UP)
    friends = [int(event.data["customer_id"]) for event in signed_up]
    assert len(friends) == len(set(friends)) == 26
    advocates = {pair.friend: pair.advocate for pair in referrals(sample.households)}
    assert {int(event.data["customer_id"]): event.data["code"] for event in signed_up} == {
        friend: f"CODE{advocate}" for friend, advocate in advocates.items()
    }
    late = [event for event in signed_up if event.time > visits[int(event.data["customer_id"])]]
    assert 0 < len(late) < len(friends) / 4


class _Codes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        is_authorized = self.headers["Authorization"] == "Bearer wafa_key"
        customer = self.path.removeprefix("/v1/customers/").removesuffix("/referral-code")
        body = json.dumps({"code": f"C{customer}", "link": "…"} if is_authorized else {"status": 401}).encode()
        self.send_response(200 if is_authorized else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object):  # noqa: A002 the name is the standard library's
        pass


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Codes)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_codes_are_fetched_from_the_api(api: str):
    assert referral_codes.fetch(api, "wafa_key", [7, 1234]) == {7: "C7", 1234: "C1234"}


def test_a_refusal_of_the_api_is_reported(api: str):
    with pytest.raises(referral_codes.ReferralCodeError, match="/v1/customers/7/referral-code: 401"):
        referral_codes.fetch(api, "nonsense", [7])


def test_an_unreachable_api_is_reported():
    with pytest.raises(referral_codes.ReferralCodeError, match="does not answer"):
        referral_codes.fetch("http://127.0.0.1:9", "wafa_key", [7])
