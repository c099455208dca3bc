"""The oracle on small cases: it computes the lines that the design requires, and reports differences."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations_with_replacement
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from services.points.rules.program.limits import Cut
from services.points.rules.program.ruleset import RuleBook
from shared.contracts import topics
from shared.contracts.envelope import Event
from shared.contracts.shop import CustomerErased, CustomerRegistered, ReferralSignedUp
from tests.points import shop
from tests.points.states import rulebook, ruleset
from tests.prove import tiering
from tests.prove.replay import counted, messages, points, referrals
from tests.prove.replay.points import Given, Replayed
from tests.prove.replay.referrals import Terms
from tests.prove.replay.statement import Entry, Line
from tests.prove.replay.tiers import History, judge, judge_all
from tests.prove.writes import Kind, Write
from tests.referrals.oracles.model import VERSION_1, Model
from tests.referrals.oracles.program import Program
from tests.referrals.oracles.records import Facts
from tests.tiers import shop as tier_shop
from tests.tiers.oracles import facts

LATER = shop.hour(1000)
Queues = Mapping[str, Sequence[Event]]


def line(kind: str, points: int, available: int, *, debt: int = 0, earned: int, redeemed: int = 0) -> Line:
    return Line(kind, points, available, 0, 0, debt, earned, redeemed)


def entry(sequence: int, written: Line, cause: Event | None, **reason: Any) -> Entry:
    inputs = {"multiplier": "1"} if written.kind == "earned" else {}
    at = shop.hour(sequence)
    return Entry(f"t{sequence}", sequence, written, reason, inputs, at, at, cause and cause.id)


def replayed(queues: Queues, *entries: Entry, writes: Sequence[Write] = (), rules: RuleBook | None = None) -> Replayed:
    return points.replay(Given("ann", queues, entries, writes, rules or rulebook()), LATER)


def write(kind: Kind, body: dict[str, Any], answer: dict[str, Any] | None = None, status: int = 201) -> Write:
    return Write(f"key-{kind}", kind, "ann", "/", body, status=status, answer=answer or {})


BUY = shop.purchase("o", "100.00")
BACK = shop.refund("o", "r", "30.00", shop.hour(1))
EARNED = line("earned", 100, 100, earned=100)
REVERSED = line("reversed", -30, 70, earned=70)
BOUGHT = entry(1, EARNED, BUY, kind="purchase", order_id="o")
REFUNDED = entry(2, REVERSED, BACK, kind="refund", order_id="o", refund_id="r")


def test_lines_that_follow_from_the_log_pass():
    result = replayed({topics.PURCHASES: [BUY, BACK]}, BOUGHT, REFUNDED)
    assert result.wrong is None
    assert result.lines == [EARNED, REVERSED]
    assert (result.account.available, result.account.earned) == (70, 70)


def test_for_a_customer_with_many_orders_the_sums_of_each_order_are_compared():
    bought = [shop.purchase(f"o{number}", "10.00") for number in range(101)]
    back = shop.refund("o7", "r", "4.00", shop.hour(1))
    reasons = [{"kind": "purchase", "order_id": f"o{number}"} for number in range(101)]
    lines = [
        entry(number, line("earned", 10, 10 * number, earned=10 * number), event, **reason)
        for number, (event, reason) in enumerate(zip(bought, reasons, strict=True), 1)
    ]
    parted = (
        entry(102, line("reversed", -1, 1009, earned=1009), back, kind="refund", order_id="o7", refund_id="r"),
        entry(103, line("reversed", -3, 1006, earned=1006), back, kind="refund", order_id="o7", refund_id="r"),
    )
    queues = {topics.PURCHASES: [*bought, back]}
    assert replayed(queues, *lines, *parted).wrong is None
    assert "'o7': (9, 6)" in str(replayed(queues, *lines, parted[0]).wrong)
    assert "'o0': (0, 10)" in str(replayed(queues, *lines[1:], *parted).wrong)


def test_a_repeated_event_makes_one_line():
    log = [BUY, shop.redelivered(BUY), shop.again(BUY), BACK, shop.redelivered(BACK), shop.again(BACK)]
    assert replayed({topics.PURCHASES: log}, BOUGHT, REFUNDED).wrong is None


def test_a_missing_line_is_a_difference():
    assert "missing" in str(replayed({topics.PURCHASES: [BUY, BACK]}, BOUGHT).wrong)


def test_a_line_without_a_cause_is_a_difference():
    twice = entry(2, line("earned", 100, 200, earned=200), BUY, kind="purchase", order_id="o")
    assert "follows from nothing" in str(replayed({topics.PURCHASES: [BUY]}, BOUGHT, twice).wrong)


def test_a_line_with_other_points_is_a_difference():
    wrong = replace(BOUGHT, line=EARNED._replace(points=101, available=101, earned=101))
    assert "should be" in str(replayed({topics.PURCHASES: [BUY]}, wrong).wrong)


def test_the_statement_orders_writes_and_refunds():
    spent = write(Kind.REDEEM, {"points": 100}, {"id": "x", "points": 100})
    reason = {"kind": "redemption", "redemption_id": "x"}
    before = entry(2, line("redeemed", -100, 0, earned=100, redeemed=100), None, **reason)
    owed = entry(3, line("reversed", -30, 0, debt=30, earned=70, redeemed=100), BACK, **REFUNDED.reason)
    result = replayed({topics.PURCHASES: [BUY, BACK]}, BOUGHT, before, owed, writes=[spent])
    assert (result.wrong, result.account.debt, result.unwritten) == (None, 30, [])


def test_a_write_without_an_answer_is_a_difference():
    reason = {"kind": "adjustment", "note": "n"}
    given = entry(1, Line("adjusted", 5, 5, 0, 0, 0, 0, 0), None, **reason)
    assert replayed({}, given, writes=[write(Kind.ADJUST, {"points": 5, "reason": "n"})]).wrong is None
    assert "not acknowledged" in str(replayed({}, given).wrong)
    refused = write(Kind.ADJUST, {"points": 5, "reason": "n"}, status=409)
    assert "not acknowledged" in str(replayed({}, given, writes=[refused]).wrong)


def test_a_duplicate_write_is_a_difference():
    adjusted = write(Kind.ADJUST, {"points": 5, "reason": "n"})
    lines = [Line("adjusted", 5, 5 * number, 0, 0, 0, 0, 0) for number in (1, 2)]
    entries = [entry(number, item, None, kind="adjustment", note="n") for number, item in enumerate(lines, 1)]
    assert "applied twice" in str(replayed({}, *entries, writes=[adjusted]).wrong)


def test_an_acknowledged_write_without_a_line_is_missing():
    adjusted = write(Kind.ADJUST, {"points": 5, "reason": "n"})
    assert replayed({}, writes=[adjusted]).unwritten == ["key-adjust"]


def test_a_hold_is_captured_in_part_or_expires():
    hold, second = "0" * 31 + "1", "0" * 31 + "2"
    ends = shop.hour(50).isoformat()
    asked = [
        write(Kind.ADJUST, {"points": 50, "reason": "n"}),
        write(Kind.HOLD, {}, {"id": hold, "points": 20, "reference": "a", "expires_at": ends}),
        write(Kind.CAPTURE, {}, {"id": hold, "captured": 15}),
    ]
    asked.append(replace_key(write(Kind.HOLD, {}, asked[1].answer | {"id": second, "points": 10}), "second"))
    statement = [
        (Line("adjusted", 50, 50, 0, 0, 0, 0, 0), {"kind": "adjustment", "note": "n"}),
        (Line("held", -20, 30, 0, 20, 0, 0, 0), {"kind": "hold", "hold_id": hold}),
        (Line("redeemed", -15, 30, 0, 5, 0, 0, 15), {"kind": "hold", "hold_id": hold, "redemption_id": "y"}),
        (Line("released", 5, 35, 0, 0, 0, 0, 15), {"kind": "hold", "hold_id": hold}),
        (Line("held", -10, 25, 0, 10, 0, 0, 15), {"kind": "hold", "hold_id": second}),
        (Line("released", 10, 35, 0, 0, 0, 0, 15), {"kind": "hold", "hold_id": second}),
    ]
    entries = [entry(number, item, None, **reason) for number, (item, reason) in enumerate(statement, 1)]
    entries[-1] = replace(entries[-1], recorded_at=shop.hour(50), occurred_at=shop.hour(50))
    result = replayed({}, *entries, writes=asked)
    assert (result.wrong, result.unwritten) == (None, [])


def replace_key(request: Write, key: str) -> Write:
    request.key = key
    return request


def test_an_order_is_judged_at_the_tier_that_its_line_names():
    tier = shop.tier([(shop.hour(-1), "2")])
    queues = {topics.PURCHASES: [BUY], topics.TIERS: [tier]}
    with_extra = entry(1, line("earned", 200, 200, earned=200), BUY, kind="purchase", order_id="o")
    after = replace(with_extra, inputs={"multiplier": "2", "tier": "x2"})
    assert replayed(queues, after).wrong is None
    settled = entry(2, line("earned", 100, 200, earned=200), tier, kind="tier", order_id="o")
    assert replayed(queues, BOUGHT, settled).wrong is None
    assert "missing" in str(replayed(queues, BOUGHT).wrong)


def test_cuts_of_shared_limits_are_taken_from_the_database():
    shared = {"count": 1, "per": "ever", "scope": "program"}
    award = {"kind": "fixed", "points": 5}
    rules = rulebook((shop.hour(-1000), ruleset({"id": "first", "on": "purchase", "award": award, "limits": [shared]})))
    for cut, awarded in ((Cut(5, None), 5), (Cut(0, 0), 0)):
        given = Given("ann", {topics.PURCHASES: [BUY]}, (), (), rules, {"order/o": {"first": cut}})
        assert points.replay(given, LATER).account.available == awarded


def test_an_order_is_judged_at_any_of_the_moments_with_the_tier_of_its_line():
    # The customer has x2 twice. An order that was judged at the second moment was not settled by what lies between.
    order = shop.purchase("o", "100.00", shop.hour(2))
    tiers = [shop.tier([(shop.hour(1), multiplier)]) for multiplier in ("2", "1", "2")]
    queues = {topics.PURCHASES: [order], topics.TIERS: tiers}
    at_tier = {"multiplier": "2", "tier": "x2"}
    earned = replace(
        entry(1, line("earned", 200, 200, earned=200), order, kind="purchase", order_id="o"), inputs=at_tier
    )
    assert replayed(queues, earned).wrong is None
    taken = entry(2, line("reversed", -100, 100, earned=100), tiers[1], kind="tier", order_id="o")
    assert "missing" in str(replayed(queues, earned, taken).wrong)
    given = entry(3, line("earned", 100, 200, earned=200), tiers[2], kind="tier", order_id="o")
    assert replayed(queues, earned, taken, given).wrong is None


def test_refused_events_are_not_in_the_inbox_and_are_refused_again():
    strange = shop.refund("o", "r", "30.00", currency="CHF")
    queues = {topics.PURCHASES: [strange, shop.redelivered(strange), BUY, shop.redelivered(strange)]}
    result = replayed(queues, BOUGHT)
    assert result.wrong is None
    # The first refund waits and its duplicate has no effect; once it is refused, its next duplicate is refused too.
    assert len(result.refused) == 2
    assert len(result.taken.names) == 1


@given(data=st.data())
@settings(max_examples=100)
def test_what_counts_towards_tiers_does_not_depend_on_the_order_of_arrival(data: st.DataObject):
    buy, back = tier_shop.purchase("1", "400.00", shop.hour(1)), tier_shop.refund("1", "r", "400.00", shop.hour(3))
    review, withdrawal = tier_shop.review("v", shop.hour(2)), tier_shop.withdrawal("v", shop.hour(1))
    activity, referral = tier_shop.activity("a", shop.hour(4), name="quiz"), tier_shop.referral("f", shop.hour(5))
    earned = tier_shop.points("t1", 50, shop.hour(1), reason={"kind": "purchase", "order_id": "1"})
    taken = tier_shop.points("t2", 80, shop.hour(3), verb="reversed", reason={"kind": "refund", "order_id": "1"})
    expected = [
        *facts.order(shop.hour(1), "400.00", (shop.hour(3), "400.00")),
        *facts.single("reviews", shop.hour(2), shop.hour(2)),
        *facts.single("activities", shop.hour(4), name="quiz"),
        *facts.single("referrals", shop.hour(5)),
        *facts.points(shop.hour(1), 50, (shop.hour(3), 80)),
    ]
    arrival = data.draw(st.permutations([buy, back, review, withdrawal, activity, referral, earned, taken]))
    by_topic: dict[str, list[Event]] = {}
    for event in (*arrival, shop.redelivered(arrival[0])):
        by_topic.setdefault(event.record.topic, []).append(event)
    assert sorted(counted.replay(by_topic).changes) == sorted(expected)


def test_customers_are_judged_in_several_processes_as_in_one():
    versions = [(None, tiering.FIRST), (shop.hour(2), tiering.STEPWISE)]
    spent = {f"c{number}": facts.order(shop.hour(number % 5), f"{number * 7}.00") for number in range(120)}
    histories = [History(customer, changes, (), shop.hour(10)) for customer, changes in spent.items()]
    ahead = shop.hour(24 * 40)
    together = judge_all(versions, histories, ahead)
    assert together == {history.customer: judge(versions, history, ahead) for history in histories}
    assert len({len(judged.ahead.entries) for judged in together.values()}) > 2
    assert all(judged.now.entries == judged.ahead.entries[: len(judged.now.entries)] for judged in together.values())


EVER: Final = datetime(1, 1, 1, tzinfo=UTC)
VERSIONS: Final = [Program(1, VERSION_1, EVER)]


def terms_of(advocates: dict[str, str], **changes: Any) -> Terms:
    """Terms of a run that ends before anything falls due."""
    return replace(Terms(VERSIONS, advocates, shop.NOON, shop.NOON), **changes)


def test_referrals_allow_either_order_of_their_topics():
    code = "23456789"
    terms = terms_of({code: "ann"})
    joined = shop.event("shop.referral.signed_up.v1", shop.NOON, ReferralSignedUp(customer_id="bob", code=code))
    early = shop.purchase("1", "25.00", shop.hour(-1), customer_id="bob")
    late = shop.purchase("2", "25.00", shop.hour(1), customer_id="bob")

    def states(*purchases: Event) -> set[object]:
        result = referrals.replay(terms, purchases, [joined])
        return {item[3] for outcome in result.outcomes for item in outcome}

    assert states() == {"signed_up"}
    assert states(late) == {"approved"}
    assert states(early) == {"rejected"}
    # A referral approved before the older order was recorded stays approved; otherwise that order rejects it.
    assert states(late, early) == {"approved", "rejected"}
    place = (joined.record.topic, joined.record.partition, joined.record.offset)
    too_late = referrals.replay(replace(terms, too_late=frozenset({place})), (), [joined])
    assert [item.reason for item in too_late.refused] == ["unknown_code"]
    unknown = replace_code(joined)
    assert [item.reason for item in referrals.replay(terms, (), [unknown]).refused] == ["unknown_code"]


HELD: Final = VERSION_1 | {"hold_days": 1, "signals": [{"id": "disposable_email"}]}


def held(email: str | None = None, **changes: Any) -> tuple[Terms, Event]:
    """Terms with a hold of a day, and a sign-up; the run ends two days later."""
    code = "23456789"
    terms = terms_of({code: "ann"}, programs=[Program(1, HELD, EVER)], until=shop.hour(48), ahead=shop.hour(48))
    data = ReferralSignedUp(customer_id="bob", code=code, email=email)
    return replace(terms, **changes), shop.event("shop.referral.signed_up.v1", shop.NOON, data)


def ends(terms: Terms, joined: Event, *purchases: Event) -> set[tuple[object, object, object]]:
    """The states, reasons and points of the advocate that may come of it."""
    result = referrals.replay(terms, purchases, [joined])
    return {(item[3], item[4], item[6]) for outcome in result.outcomes for item in outcome}


def test_referrals_allow_that_a_hold_ends_before_or_after_a_refund_is_handled():
    buy = shop.purchase("1", "25.00", shop.hour(1), customer_id="bob")
    back = shop.refund("1", "r", "25.00", shop.hour(2), customer_id="bob")
    terms, joined = held()
    assert ends(terms, joined, buy, back) == {("rejected", "refunded", None), ("voided", "refunded", 500)}
    # Before the hold is over, a refund finds nothing approved.
    early = replace(terms, until=shop.hour(24))
    assert ends(early, joined, buy, back) == {("rejected", "refunded", None)}
    assert ends(early, joined, buy) == {("approved", None, 500)}
    assert ends(replace(early, ahead=shop.hour(24)), joined, buy) == {("qualified", None, None)}


def test_referrals_take_every_acknowledged_decision_and_an_erasure_whenever_it_came():
    buy = shop.purchase("1", "25.00", shop.hour(1), customer_id="bob")
    terms, joined = held("x@mailinator.com")
    key = ("bob", "23456789")
    assert ends(terms, joined, buy) == {("flagged", None, None)}
    assert ends(replace(terms, decided={key: "approve"}), joined, buy) == {("approved", None, 500)}
    assert ends(replace(terms, decided={key: "reject"}), joined, buy) == {("rejected", "decision", None)}
    undecided = replace(terms, ahead=shop.hour(24 * 30))
    assert ends(undecided, joined, buy) == {("approved", "undecided", 500)}
    # Erased first, the sign-up told nothing; what was found before stays.
    erased = replace(terms, erased={"bob": shop.hour(3)})
    assert ends(erased, joined, buy) == {("flagged", None, None), ("approved", None, 500)}
    assert ends(replace(erased, decided={key: "reject"}), joined, buy) == {("rejected", "decision", None)}


_WHEN = st.integers(-3, 3)
_ORDERS = st.lists(st.tuples(st.sampled_from(["buy", "back"]), st.sampled_from("12"), _WHEN), max_size=5)


@given(
    orders=_ORDERS, sign_ups=st.lists(st.tuples(st.sampled_from(["ann", "cid", "bob"]), _WHEN), min_size=1, max_size=3)
)
@settings(max_examples=200)
def test_the_outcomes_of_referrals_are_those_of_every_interleaving(
    orders: list[tuple[str, str, int]], sign_ups: list[tuple[str, int]]
):
    codes = {"23456789": "ann", "3456789A": "cid", "456789AB": "bob"}
    terms = terms_of(codes)
    first: set[str] = set()
    bought: list[Event] = []
    for number, (kind, order, at) in enumerate(orders):
        if kind == "back":
            bought.append(shop.refund(order, f"r{number}", "6.00", shop.hour(at), customer_id="bob"))
        elif order not in first:
            first.add(order)
            bought.append(shop.purchase(order, "25.00", shop.hour(at), customer_id="bob"))
    joined = [
        shop.event("shop.referral.signed_up.v1", shop.hour(at), ReferralSignedUp(customer_id="bob", code=code))
        for of, at in sign_ups
        for code, owner in codes.items()
        if owner == of
    ]

    def played(places: Sequence[int]) -> referrals.Outcome:
        merged = [*bought]
        for place, event in reversed(list(zip(places, joined, strict=True))):
            merged.insert(place, event)
        model = Model(Facts(list(VERSIONS), codes))
        for event in merged:
            model.handle([event], event.record.timestamp)
        return frozenset(map(referrals.compared, model.facts.referrals))

    every = combinations_with_replacement(range(len(bought) + 1), len(joined))
    assert referrals.outcomes(terms, bought, joined) == {played(places) for places in every}


def replace_code(event: Event) -> Event:
    return structs.replace(event, data=ReferralSignedUp(customer_id="bob", code="22222222"))


def test_a_customer_has_one_message_unless_erased_later():
    hello = shop.event("shop.customer.registered.v1", shop.NOON, CustomerRegistered(customer_id="ann"))
    erased = shop.event("shop.customer.erased.v1", shop.hour(1), CustomerErased(customer_id="ann"))
    tier = shop.tier([(shop.hour(2), "2")])
    once, _ = messages.replay([hello, shop.redelivered(hello), shop.again(hello)])
    assert once == {("ann", channel, "welcome", "registration") for channel in ("in_app", "email")}
    for arrival in ([hello, erased, tier], [erased, tier, hello]):
        assert messages.replay(arrival)[0] == set()
    back = shop.event("shop.customer.registered.v1", shop.hour(1.5), CustomerRegistered(customer_id="ann"))
    after_erasure, _ = messages.replay([hello, erased, back, tier])
    assert {item[2] for item in after_erasure} == {"welcome", "tier_reached"}
