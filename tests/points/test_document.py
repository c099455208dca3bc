"""What earning rules are refused for, with the pointer of each fault; and how a valid document is stored.

Planted and caught here: an empty window accepted; ids compared only among rules of one event; a factor below 1;
5 decimals; count and points together; delivery of reviews; pointers that name branches of a union, or omit `kind`.
"""

import itertools
import json
from typing import Any

import pytest
from pydantic import ValidationError

from services.points.rules.program.checking import parse
from services.points.rules.program.document import Document
from services.points.rules.program.earning_rules import EARNING_RULES
from shared.contracts.values import units
from shared.http.problems import _pointer
from shared.programs.faults import DocumentError
from shared.programs.kind import compiled, dump
from tests.points.judging import awarded
from tests.points.states import DEFAULT
from tests.points.written import (
    Json,
    after_days,
    after_months,
    at_least,
    end_of_year,
    fixed,
    hours,
    is_in,
    limit,
    on_delivery,
    per_amount,
    rule,
    times,
    weekdays,
    window,
)


def document(*rules: Any, **fields: Any) -> Json:
    return {"currency": "USD", "rules": list(rules)} | fields


def single(*when: Any, on: str = "purchase", award: Any = None, **fields: Any) -> Json:
    """A document with one rule, `first`."""
    return document(rule("first", award or fixed(10), *when, on=on, **fields))


def refused(sent: object) -> list[str]:
    """The pointers of a document's faults, as a problem document lists them."""
    try:
        parse(sent)
    except DocumentError as error:
        return [fault.pointer for fault in error.faults]
    except ValidationError as error:
        return sorted(_pointer(dict(item) | {"loc": ("body", *item["loc"])}, sent) for item in error.errors())
    return []


@pytest.mark.parametrize(
    "sent, pointer",
    [
        (document(), None),
        (document(currency="usd"), "/currency"),
        (document(currency=None), "/currency"),
        ({"rules": []}, "/currency"),
        ({"currency": "USD"}, "/rules"),
        (document(rules={}), "/rules"),
        (document(rates={"SAR": "0.2667"}), None),
        (document(rates={"SAR": 0.2667}), "/rates/SAR"),
        (document(rates={"SAR": 1}), "/rates/SAR"),
        (document(rates={"SAR": "0.26670"}), None),
        (document(rates={"IDR": "0.000061"}), None),
        (document(rates={"IDR": "0.000000000001"}), None),
        (document(rates={"IDR": "0.0000000000001"}), "/rates/IDR"),
        (document(rates={"IDR": "0.000000000000"}), "/rates/IDR"),
        (document(rates={"IDR": "1e-6"}), "/rates/IDR"),
        (document(rates={"IDR": "1234567890123"}), "/rates/IDR"),
        (document(rates={"SAR": "-0.2"}), "/rates/SAR"),
        (document(rates={"SAR": "0.0000"}), "/rates/SAR"),
        (document(rates={"USD": "1.00"}), "/rates/USD"),
        (document(time_zone="Asia/Riyadh"), None),
        (document(time_zone="Asia/Nowhere"), "/time_zone"),
        (document(time_zone="localtime"), "/time_zone"),
        (document(time_zone="+03:00"), "/time_zone"),
        (document(week_start="sunday"), "/week_start"),
        (document(tiers=[]), "/tiers"),
        (document(tiers=["a", "b", "a"]), "/tiers"),
        (document(tiers=["a", "a/b"]), "/tiers/1"),
        (document(budget=1), "/budget"),
        (document("rule"), "/rules/0"),
        ([], ""),
    ],
)
def test_program_fields(sent: Any, pointer: str | None):
    assert refused(sent) == ([] if pointer is None else [pointer])


@pytest.mark.parametrize(
    "sent, pointers",
    [
        (single(), []),
        (single(points=1), ["/rules/0/points"]),
        (single(on="visit"), ["/rules/0/on"]),
        (single(id=""), ["/rules/0/id"]),
        (single(id="tier:extra"), ["/rules/0/id"]),
        (single(id=7), ["/rules/0/id"]),
        (single(name={"en": "Coffee", "ar": "قهوة"}), []),
        (single(name={"en": 1}), ["/rules/0/name/en"]),
        (single(name={"": "x"}), ["/rules/0/name/"]),
        (single(name="Coffee"), ["/rules/0/name"]),
        (single(exclusive_group="a b"), ["/rules/0/exclusive_group"]),
        (single(award=None, when=None), ["/rules/0/when"]),
        (document({"id": "first", "on": "purchase"}), ["/rules/0/award"]),
        (document(*[rule("same", fixed(1))] * 3), ["/rules/1/id", "/rules/2/id"]),
        (document(rule("a", fixed(1)), rule("a", fixed(1), on="review")), ["/rules/1/id"]),
        (document(rule("a", fixed(1)), rule("A", fixed(1))), []),
        # All faults are reported together.
        (single(at_least("-1"), hours("1", "02:00"), limits=[limit(points=0)]), [
            "/rules/0/limits/0/points",
            "/rules/0/when/0/amount",
            "/rules/0/when/1/from",
        ]),
        (document(rule("a", times("0.5"), window("2026-02-01", "2026-01-01")), rule("a", fixed(1), limits=[limit()])), [
            "/rules/0/when/0/to",
            "/rules/0/award/factor",
            "/rules/1/id",
            "/rules/1/limits/0",
        ]),
    ],
)  # fmt: skip
def test_rule_fields(sent: Json, pointers: list[str]):
    assert refused(sent) == pointers


@pytest.mark.parametrize(
    "part, field",
    [
        ({"kind": "moon_is", "values": ["full"]}, "kind"),
        ({"kind": 7}, "kind"),
        ({"values": ["web"]}, "kind"),
        (at_least("10.00"), None),
        (at_least("0"), None),
        (at_least("10.00001"), "amount"),
        (at_least("-1.00"), "amount"),
        (at_least("1e3"), "amount"),
        (at_least(" 1"), "amount"),
        (at_least("1."), "amount"),
        (at_least(".5"), "amount"),
        (at_least("1,00"), "amount"),
        (at_least("٣"), "amount"),
        (at_least("1000000000000"), "amount"),
        ({"kind": "amount_at_least", "amount": 10}, "amount"),
        ({"kind": "amount_at_least", "amount": 10.5}, "amount"),
        ({"kind": "amount_at_least"}, "amount"),
        ({"kind": "amount_at_least", "amount": "1", "values": ["web"]}, "values"),
        (is_in("channel", "web"), None),
        (is_in("channel"), "values"),
        ({"kind": "sku_in", "values": "web"}, "values"),
        ({"kind": "category_in", "values": ["a", 1]}, "values/1"),
        ({"kind": "category_in", "values": ["a", None]}, "values/1"),
        ({"kind": "store_in"}, "values"),
        (window("2026-03-01", "2026-03-02"), None),
        (window("2026-03-01T00:00", "2026-03-01T00:00:01"), None),
        (window("2026-03-01", "2026-03-01"), "to"),
        (window("2026-03-02", "2026-03-01"), "to"),
        # 00:00 in Riyadh is 21:00 UTC of the day before.
        (window("2026-02-28T21:00:00Z", "2026-03-01"), "to"),
        (window("2026-02-28T20:59:59Z", "2026-03-01"), None),
        (window("2026-02-30", "2026-03-01"), "from"),
        (window("2027-02-29", "2027-03-01"), "from"),
        (window("2028-02-29", "2028-03-01"), None),
        (window("2026-03-01", "soon"), "to"),
        (window("2026-03-01T25:00", "2026-04-01"), "from"),
        (window("20260301", "2026-04-01"), "from"),
        (window("2026-W10", "2026-04-01"), "from"),
        (window("٢٠٢٦-03-01", "2026-04-01"), "from"),
        ({"kind": "window", "to": "2026-04-01"}, "from"),
        (weekdays("fri", "sat"), None),
        (weekdays("fri", "saturday"), "days/1"),
        (weekdays(), "days"),
        (hours("22:00", "02:00"), None),
        (hours("09:00", "09:00"), "to"),
        (hours("24:00", "02:00"), "from"),
        (hours("09:00", "9:30"), "to"),
        (hours("09:00:00", "10:00"), "from"),
        ({"kind": "every_nth_purchase", "n": 10}, None),
        ({"kind": "every_nth_purchase", "n": 0}, "n"),
        ({"kind": "every_nth_purchase", "n": -1}, "n"),
        ({"kind": "every_nth_purchase", "n": "10"}, "n"),
        ({"kind": "every_nth_purchase", "n": 2.0}, "n"),
        ({"kind": "every_nth_purchase", "n": True}, "n"),
        ({"kind": "rating_at_least", "rating": 6}, "rating"),
        ({"kind": "rating_at_least", "rating": 0}, "rating"),
        ({"kind": "text_length_at_least", "length": -1}, "length"),
        ({"kind": "score_at_least", "score": 11}, "score"),
        ({"kind": "score_at_least", "score": -1}, "score"),
        ({"kind": "survey_is", "survey": "ces"}, "survey"),
        ({"kind": "activity_is", "activity": ""}, "activity"),
        ({"kind": "first_purchase"}, None),
        ({"kind": "first_purchase", "n": 1}, "n"),
    ],
)
def test_condition_fields(part: Json, field: str | None):
    whole = single(is_in("channel", "web"), part) | {"time_zone": "Asia/Riyadh"}
    assert refused(whole) == ([] if field is None else [f"/rules/0/when/1/{field}"])


@pytest.mark.parametrize(
    "award, field",
    [
        (per_amount("0.0001"), None),
        (per_amount("0"), "amount"),
        (per_amount("0.00"), "amount"),
        (per_amount("-1"), "amount"),
        (per_amount("1.00001"), "amount"),
        ({"kind": "per_amount", "points": 1, "amount": 1}, "amount"),
        ({"kind": "per_amount", "points": 1, "amount": 1.5}, "amount"),
        (per_amount("1.00", 0), "points"),
        (per_amount("1.00", -1), "points"),
        ({"kind": "per_amount", "points": "1", "amount": "1"}, "points"),
        ({"kind": "per_amount", "points": 1.5, "amount": "1"}, "points"),
        (fixed(0), "points"),
        (fixed(-5), "points"),
        ({"kind": "fixed", "points": 5, "amount": "1.00"}, "amount"),
        (times("1"), None),
        (times("1.0001"), None),
        (times("0.9999"), "factor"),
        (times("0"), "factor"),
        (times("-2"), "factor"),
        (times("1.00001"), "factor"),
        ({"kind": "multiplier", "factor": 2}, "factor"),
        ({"kind": "multiplier", "factor": 1.5}, "factor"),
        ({"kind": "double"}, "kind"),
    ],
)
def test_award_fields(award: Json, field: str | None):
    assert refused(single(award=award)) == ([] if field is None else [f"/rules/0/award/{field}"])


@pytest.mark.parametrize(
    "part, field",
    [
        ({"activate": after_days(14), "expire": after_months(12)}, None),
        ({"activate": on_delivery(30), "expire": end_of_year(0)}, None),
        ({"activate": {"kind": "soon"}}, "activate/kind"),
        ({"activate": {"kind": "now", "days": 1}}, "activate/days"),
        ({"activate": after_days(-1)}, "activate/days"),
        ({"activate": {"kind": "after_days"}}, "activate/days"),
        ({"activate": on_delivery(-1)}, "activate/cancel_after_days"),
        ({"expire": {"kind": "later"}}, "expire/kind"),
        ({"expire": after_days(36_501)}, "expire/days"),
        ({"expire": after_months(0)}, "expire/months"),
        ({"expire": {"kind": "after_months", "months": "12"}}, "expire/months"),
        ({"expire": end_of_year(-1)}, "expire/years"),
        ({"limits": [limit(count=1), limit(count=1, points=5)]}, "limits/1"),
        ({"limits": [limit()]}, "limits/0"),
        ({"limits": [limit(count=0)]}, "limits/0/count"),
        ({"limits": [limit(points=-1)]}, "limits/0/points"),
        ({"limits": [limit("decade", count=1)]}, "limits/0/per"),
        ({"limits": [limit(scope="shop", count=1)]}, "limits/0/scope"),
        ({"limits": [{"count": 1, "per": "ever"}]}, "limits/0/scope"),
        ({"limits": [limit(count=1, most=2)]}, "limits/0/most"),
    ],
)
def test_lifetime_and_limit_fields(part: Json, field: str | None):
    assert refused(single(**part)) == ([] if field is None else [f"/rules/0/{field}"])


@pytest.mark.parametrize(
    "on", ["review", "activity", "survey", "registration", "referral", "tier_promotion", "birthday"]
)
def test_only_a_purchase_has_an_amount_a_delivery_and_lines(on: str):
    assert refused(single(on=on)) == []
    assert refused(single(on=on, award=per_amount())) == ["/rules/0/award/kind"]
    assert refused(single(on=on, award=times("2"))) == ["/rules/0/award/kind"]
    assert refused(single(on=on, activate=on_delivery())) == ["/rules/0/activate/kind"]
    per_sku = single(on=on, limits=[limit(count=1), limit(scope="customer_sku", count=1)])
    assert refused(per_sku) == ([] if on == "review" else ["/rules/0/limits/1/scope"])


@pytest.mark.parametrize(
    "part, pointers",
    [
        ({"award": per_amount("0.0001", 1)}, []),
        ({"award": per_amount("0.0001", 2)}, ["/rules/0/award/points"]),
        ({"award": per_amount("1.00", 10_000)}, []),
        ({"award": per_amount("1.00", 10_001)}, ["/rules/0/award/points"]),
        ({"award": per_amount("99999.9999", 10**9)}, ["/rules/0/award/points"]),
        ({"award": per_amount("100000.00", 10**9)}, []),
        ({"award": fixed(10**9)}, []),
        ({"award": fixed(10**9 + 1)}, ["/rules/0/award/points"]),
        ({"award": times("9999.9999")}, []),
        ({"award": times("10000")}, ["/rules/0/award/factor"]),
    ],
)
def test_a_rule_gives_no_more_than_an_account_can_hold(part: Json, pointers: list[str]):
    assert refused(single(**part)) == pointers


@pytest.mark.parametrize(
    "parts, pointers",
    [
        ([{"when": [is_in("sku", *map(str, range(10_000)))]}] * 5, []),
        ([{"when": [is_in("sku", *map(str, range(10_000)))]}] * 6, ["/rules/5/when/0/values"]),
        ([{"when": [is_in("sku", "s" * 256)]}], []),
        ([{"when": [is_in("sku", "s"), is_in("sku", "s", "s" * 257)]}], ["/rules/0/when/1/values/1"]),
        ([{"when": [is_in("sku", "s")] * 50}] * 20, []),
        # Reported once, at the part that exceeds the total.
        ([{"when": [is_in("sku", "s")] * 50}] * 22, ["/rules/20/when"]),
        ([{"when": [is_in("sku", "s")] * 51}], ["/rules/0/when"]),
        ([{"limits": [limit(scope="customer_sku", count=1)]}] * 5, []),
        ([{"limits": [limit(scope="customer_sku", count=1)]}] * 7, ["/rules/5/limits"]),
        ([{"on": "review", "limits": [limit(scope="customer_sku", count=1)]}] * 60, []),
        ([{"limits": [limit(count=1)] * 10}] * 51, ["/rules/50/limits"]),
        ([{"limits": [limit(count=1)] * 11}], ["/rules/0/limits"]),
        ([{"name": {"en": "n" * 200}}], []),
        ([{"name": {"en": "n" * 201}}], ["/rules/0/name/en"]),
        ([{"name": {f"en-{number}": "n" for number in range(101)}}], ["/rules/0/name"]),
        ([{}] * 200, []),
        ([{}] * 201, ["/rules"]),
    ],
)
def test_sizes_are_bounded(parts: list[Json], pointers: list[str]):
    assert refused(document(*({"award": fixed(1), **rule_of(at), **part} for at, part in enumerate(parts)))) == pointers


def rule_of(number: int) -> Json:
    return {"id": f"rule-{number}", "on": "purchase"}


def test_the_number_of_rates_is_bounded():
    names = ["".join(letters) for letters in itertools.product("ABCDEFG", repeat=3)]
    assert refused(document(rates=dict.fromkeys(names[:200], "1"))) == []
    assert refused(document(rates=dict.fromkeys(names[:201], "1"))) == ["/rates"]


def test_a_version_that_an_earlier_release_published_is_read_unchecked():
    sent = document(*({"award": per_amount("0.0001", 10**9), **rule_of(at)} for at in range(200)))
    assert refused(sent) == [f"/rules/{at}/award/points" for at in range(200)]
    rules = compiled(EARNING_RULES, 1, json.dumps(sent))
    assert awarded("2000000.00", rules) == {"rule-0": 10**15}


def test_the_ends_of_a_window_are_compared_as_instants():
    def pointers(start: str, end: str, zone: str) -> list[str]:
        return refused(single(window(start, end)) | {"time_zone": zone})

    # 02:30 does not exist on that day and counts as 03:30.
    assert pointers("2027-03-28T02:30", "2027-03-28T03:00", "Europe/Berlin") == ["/rules/0/when/0/to"]
    assert pointers("2027-03-28T02:30", "2027-03-28T03:00", "UTC") == []
    # The first and the last day of the calendar, which are not whole in UTC.
    for zone in ("Asia/Tokyo", "America/New_York", "UTC"):
        assert pointers("0001-01-01", "9999-12-31T23:59:59", zone) == []


def test_only_the_alias_of_a_field_is_accepted():
    ends = {"kind": "window", "from_": "2026-03-01", "to": "2026-04-01"}
    assert refused(single(ends)) == ["/rules/0/when/0/from", "/rules/0/when/0/from_"]


def test_a_pointer_escapes_slashes_and_tildes():
    assert refused(single(**{"a/b~c": 1})) == ["/rules/0/a~1b~0c"]


def test_a_stored_document_reads_back_unchanged():
    assert parse(dump(parse(DEFAULT))) == parse(DEFAULT)
    parts = (window("2026-03-01", "2026-04-01"), hours("22:00", "02:00"), at_least("1.50"))
    sent = single(*parts, limits=[limit("week", count=2)], activate=on_delivery(3), expire=end_of_year(1))
    kept = dump(parse(sent))
    assert kept["rules"][0]["when"] == list(parts)
    assert parse(kept) == parse(sent)
    assert Document.model_validate_json(parse(sent).model_dump_json()) == parse(sent)


@pytest.mark.parametrize(
    "amount, expected",
    [("0", 0), ("1", 10_000), ("1.5", 15_000), ("0.0001", 1), ("12.34", 123_400), ("999999999999.9999", 10**16 - 1)],
)
def test_amounts_are_counted_in_ten_thousandths(amount: str, expected: int):
    assert units(amount) == expected
