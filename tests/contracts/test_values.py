"""Ids, money, quantities and instants: accepted and refused values, and that accepted values do not change."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.contracts.values import (
    CalendarDate,
    Currency,
    Decimals,
    Id,
    Instant,
    Locale,
    Money,
    Quantity,
    Text,
    TimeZone,
    Whole,
    format_instant,
    parse_instant,
)


def takes(type_: Any, value: object) -> bool:
    try:
        TypeAdapter(type_).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("value", ["0", "0.00", "129.90", "0.0001", "999999999999.9999", "007", "0" * 60 + "1.5"])
def test_money(value: str):
    assert TypeAdapter(Money).validate_python(value) == value


@pytest.mark.parametrize(
    "value",
    [
        *("", " 1", "1 ", "1\n", "1.", ".5", "1.00000", "1000000000000", "-1", "+1", "1e3", "1,00", "1_000"),
        *("NaN", "Infinity", "٣", "１", "0x1", "0" * 64 + "1"),
        *(1, 1.5, 0, True, None, Decimal(1)),
    ],
)
def test_invalid_money(value: object):
    assert not takes(Money, value)


# The contract's definition of money, without the pattern.
MONEY = re.compile(r"[0-9]+(\.[0-9]{1,4})?", re.ASCII)


@given(st.one_of(st.from_regex(MONEY, fullmatch=True), st.text(alphabet="0123456789.-+eE ٣\n", max_size=20)))
def test_money_is_a_decimal_string_of_at_most_4_decimals_below_10_to_the_12(value: str):
    is_money = MONEY.fullmatch(value) is not None and Decimal(value) < 10**12 and len(value) <= 64
    assert takes(Money, value) is is_money


@given(st.decimals(min_value=0, max_value=10**12 - 1, places=4))
def test_money_keeps_its_exact_amount(amount: Decimal):
    value = TypeAdapter(Money).validate_python(f"{amount:f}")
    assert Decimal(value) == amount
    assert Fraction(value) == Fraction(amount)


@given(st.floats() | st.integers() | st.booleans() | st.none())
def test_money_is_never_a_json_number(value: object):
    assert not takes(Money, value)


@pytest.mark.parametrize("value", [0, 1, 10**12 - 1, "0", "1.5", "0.000000001", "89638"])
def test_quantities(value: object):
    assert TypeAdapter(Quantity).validate_python(value) == value


@pytest.mark.parametrize("value", [-1, 10**12, 1.5, 2.0, True, "-1", "1e3", "", "1.0000000001", None, [1]])
def test_invalid_quantities(value: object):
    assert not takes(Quantity, value)


@pytest.mark.parametrize(
    "value", ["a", "...", "..a", ".a", "a.", "a b", "🧾", "عميل-٧", "\u2028", "x" * 128, "🧾" * 128]
)
def test_ids(value: str):
    assert TypeAdapter(Id).validate_python(value) == value


# The contract's definition of ids, without the pattern.
_FORBIDDEN = {"/", *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *map(chr, range(0xD800, 0xE000))}


@given(st.text(alphabet=st.characters(codec=None), max_size=6) | st.text(alphabet="./a\x00\x7f\x9f\u00a0", max_size=5))
def test_an_id_is_1_to_128_characters_of_any_script(value: str):
    is_id = 1 <= len(value) <= 128 and value not in {".", ".."} and not _FORBIDDEN & set(value)
    assert takes(Id, value) is is_id


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50))
def test_text_is_kept_as_it_is_without_normalisation(value: str):
    if "\x00" in value:
        assert not takes(Text, value)
    else:
        assert TypeAdapter(Text).validate_python(value) == value


@pytest.mark.parametrize(
    ("type_", "value", "is_taken"),
    [
        (Currency, "USD", True),
        (Currency, "usd", False),
        (Currency, "USDT", False),
        (Decimals, "1.25", True),
        (Decimals, "-1", False),
        (Whole, 0, True),
        (Whole, 0.0, False),
        (Whole, True, False),
        (Locale, "ar", True),
        (Locale, "ar-JO", True),
        (Locale, "zh-Hant-TW", True),
        (Locale, "en_GB", True),
        (Locale, "e", False),
        (TimeZone, "Asia/Amman", True),
        (TimeZone, "UTC", True),
        (TimeZone, "asia/amman", False),
        (TimeZone, "posixrules", False),
        (CalendarDate, "1991-03-08", True),
        (CalendarDate, date(1991, 3, 8), True),
        (CalendarDate, "1991-02-29", False),
        (CalendarDate, "١٩٩١-٠٣-٠٨", False),
    ],
)
def test_other_values(type_: Any, value: object, is_taken: bool):
    assert takes(type_, value) is is_taken


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-14T10:26:53Z", datetime(2026, 3, 14, 10, 26, 53, tzinfo=UTC)),
        ("2026-03-14t10:26:53z", datetime(2026, 3, 14, 10, 26, 53, tzinfo=UTC)),
        ("2026-03-14T10:26:53.5Z", datetime(2026, 3, 14, 10, 26, 53, 500_000, tzinfo=UTC)),
        ("2026-03-14T10:26:53.123456789Z", datetime(2026, 3, 14, 10, 26, 53, 123_456, tzinfo=UTC)),
        ("2026-03-14T10:26:53.0000009Z", datetime(2026, 3, 14, 10, 26, 53, tzinfo=UTC)),
        ("2026-03-14T00:30:00+03:30", datetime(2026, 3, 13, 21, tzinfo=UTC)),
        ("2026-03-14T23:30:00.25-00:45", datetime(2026, 3, 15, 0, 15, 0, 250_000, tzinfo=UTC)),
        ("2026-03-14T10:26:53-00:00", datetime(2026, 3, 14, 10, 26, 53, tzinfo=UTC)),
        ("2024-02-29T00:00:00+23:59", datetime(2024, 2, 28, 0, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60.999Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T08:59:60+09:00", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_instants(text: str, instant: datetime):
    assert parse_instant(text) == instant
    assert parse_instant(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-14",
        "2026-03-14T10:26:53",
        "2026-03-14 10:26:53Z",
        "2026-03-14T10:26Z",
        "2026-03-14T10:26:53.Z",
        "2026-03-14T10:26:53,5Z",
        "2026-03-14T10:26:53+0300",
        "2026-03-14T10:26:53+03",
        "2026-03-14T10:26:53+24:00",
        "2026-03-14T10:26:53+03:60",
        "2026-03-14T10:26:53 Z",
        "2026-03-14T10:26:53Z\n",
        "2026-3-14T10:26:53Z",
        "20260314T102653Z",
        "2026-W11-6T10:26:53Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-03-14T24:00:00Z",
        "2026-03-14T10:60:00Z",
        "2026-03-14T10:26:61Z",
        "2026-03-14T10:26:60Z",
        "2026-03-14T23:59:60Z",
        "2016-12-31T23:59:60+01:00",
        "9999-12-31T23:59:60Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "0000-01-01T00:00:00Z",
        "-001-01-01T00:00:00Z",
        "٢٠٢٦-٠٣-١٤T10:26:53Z",
    ],
)
def test_invalid_instants(text: str):
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


def _zones() -> st.SearchStrategy[timezone]:
    return st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=_zones()))  # noqa: DTZ001 bounds have no zone
def test_an_instant_reads_back_whatever_its_offset(moment: datetime):
    assert parse_instant(moment.isoformat()) == moment
    assert parse_instant(format_instant(moment)) == moment
    assert format_instant(moment).endswith("Z")


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(Z|[+-][0-9]{2}:[0-9]{2})"))
def test_any_text_is_an_instant_or_a_value_error(text: str):
    try:
        moment = parse_instant(text)
    except ValueError:
        return
    assert moment.utcoffset() == timedelta(0)


def test_instants_in_data_have_an_offset():
    assert takes(Instant, datetime(2026, 3, 14, tzinfo=UTC))
    assert not takes(Instant, datetime(2026, 3, 14))  # noqa: DTZ001 that is the point
    assert not takes(Instant, 1_773_484_013)
    written = TypeAdapter(Annotated[Instant, None]).dump_json(
        datetime(2026, 3, 14, tzinfo=timezone(timedelta(hours=3)))
    )
    assert written == b'"2026-03-13T21:00:00Z"'
