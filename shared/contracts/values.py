"""The value types of event fields, validated as the contract requires.

Money and quantities stay decimal strings: a pattern check is cheap, and no JSON float can slip in. Readers convert
them where they calculate.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Annotated, Any, Final
from unicodedata import category

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema

_LONGEST_TEXT: Final = 10_000
_DEEPEST: Final = 32
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt]((?:[01]\d|2[0-3]):[0-5]\d:)([0-5]\d|60)(\.\d+)?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)

Id = Annotated[
    str,
    # No "/" and no control character (C0, DEL, C1); neither "." nor ".." (a URL path would lose them).
    StringConstraints(
        min_length=1,
        max_length=128,
        pattern=r"^(?:\.{0,2}[^./\x00-\x1f\x7f-\x9f][^/\x00-\x1f\x7f-\x9f]*|\.{3}[^/\x00-\x1f\x7f-\x9f]*)$",
    ),
    Field(
        title="id",
        description="1 to 128 characters of any script, without slash and control characters; neither `.` nor `..`.",
    ),
]
Text = Annotated[
    str,
    StringConstraints(max_length=_LONGEST_TEXT, pattern=r"^[^\x00]*$"),
    Field(title="text", description="Up to 10,000 characters, without NUL."),
]
Money = Annotated[
    str,
    StringConstraints(max_length=64, pattern=r"^0*[0-9]{1,12}(?:\.[0-9]{1,4})?$"),
    Field(
        title="money",
        description="A decimal string of ASCII digits, never a number: at most 4 decimals, below 10^12, no sign, no "
        "exponent.",
    ),
]
Decimals = Annotated[
    str,
    StringConstraints(max_length=64, pattern=r"^0*[0-9]{1,12}(?:\.[0-9]{1,9})?$"),
    Field(title="decimal", description="A decimal string of ASCII digits, 0 or more, at most 9 decimals."),
]
Currency = Annotated[
    str, StringConstraints(pattern=r"^[A-Z]{3}$"), Field(title="currency", description="Three capital letters.")
]
Whole = Annotated[
    int,
    Field(strict=True, ge=0, lt=10**12, title="whole_number", description="An integer, 0 or more, below 10^12."),
]
Quantity = Annotated[Whole | Decimals, Field(union_mode="left_to_right")]
Flag = Annotated[bool, Field(strict=True)]
Locale = Annotated[
    str,
    StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*$"),
    Field(title="locale", description="BCP 47."),
]

UNITS: Final = 10_000
"""Money is counted in ten-thousandths: it has at most 4 decimals."""


def units(amount: str) -> int:
    """The amount of a decimal string with at most 4 decimals, in ten-thousandths."""
    whole, _, part = amount.partition(".")
    return int(whole) * UNITS + (int(part.ljust(4, "0")) if part else 0)


def parse_instant(text: str) -> datetime:
    """Parse a strict RFC 3339 date-time with offset into an instant in UTC (microseconds; finer digits are cut).

    A leap second (23:59:60 UTC at the end of a month) counts as the first instant of the next
    month, as POSIX clocks have it.

    Raises:
        ValueError: the text is not RFC 3339, or names an instant that does not exist.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 date-time with offset")
    day, clock, second, fraction, sign, hours, minutes = match.groups()
    if not sign and second != "60" and not fraction:
        return datetime.fromisoformat(f"{day}T{clock}{second}Z")
    leap = second == "60"
    moment = datetime.fromisoformat(f"{day}T{clock}{'59' if leap else second}").replace(tzinfo=UTC)
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            moment = moment - offset if sign == "+" else moment + offset
        if leap:
            return _after_leap_second(moment)
    except OverflowError as error:
        raise ValueError("an instant outside the years 1 to 9999") from error
    return moment.replace(microsecond=int(fraction[1:7].ljust(6, "0"))) if fraction else moment


def _after_leap_second(moment: datetime) -> datetime:
    following = moment + timedelta(seconds=1)
    if (following.day, following.hour, following.minute) != (1, 0, 0):
        raise ValueError("not a leap second: a leap second is the 23:59:60 UTC that ends a month")
    return following


def format_instant(moment: datetime) -> str:
    """Format an instant as RFC 3339 in UTC with `Z`."""
    return in_utc(moment).isoformat()[: -len("+00:00")] + "Z"


def in_utc(moment: datetime) -> datetime:
    """The same instant in UTC."""
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def trim(text: str) -> str:
    """Strip Unicode white space (no-break spaces too) and invisible format characters from both ends.

    Format characters are zero-width spaces, joiners, byte order marks, and the direction marks that address books
    put around numbers.
    """
    start, end = 0, len(text)
    while start < end and _is_blank(text[start]):
        start += 1
    while end > start and _is_blank(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_blank(char: str) -> bool:
    return char.isspace() or category(char) == "Cf"


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("an instant needs an offset")
        return value
    if not isinstance(value, str):
        raise ValueError("an instant has to be an RFC 3339 string")  # noqa: TRY004 pydantic reports ValueError only
    return parse_instant(value)


def _date(value: object) -> date:
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or _DATE.fullmatch(value) is None:
        raise ValueError("a date has to be a string YYYY-MM-DD")
    return date.fromisoformat(value)


@cache
def _zones() -> frozenset[str]:
    # The list of the package, not the files of the machine: the same on every machine, and without `localtime`.
    return frozenset((files("tzdata") / "zones").read_text(encoding="ascii").split())


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("not a time zone of the IANA database")
    return name


def _storable(value: object, deepest: int = _DEEPEST) -> object:
    """Check that PostgreSQL and every JSON writer can store a free-form JSON value.

    No string contains NUL or a lone surrogate, no number is infinite (1e999 is read as infinity), and nothing is
    nested deeper than 32 levels.
    """
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError("a number is out of range")
    elif isinstance(value, (Mapping, Sequence)):
        if not deepest:
            raise ValueError(f"nested deeper than {_DEEPEST} levels")
        for item in (*value, *value.values()) if isinstance(value, Mapping) else value:
            _storable(item, deepest - 1)
    return value


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("a string contains NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a string contains a lone surrogate") from error


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "title": "instant", "description": "RFC 3339 with offset."}
    ),
]
CalendarDate = Annotated[
    date,
    BeforeValidator(_date),
    WithJsonSchema({"type": "string", "format": "date", "title": "date", "description": "YYYY-MM-DD."}),
]
TimeZone = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(_zone),
    Field(title="time_zone", description="A name of the IANA database."),
]
Properties = Annotated[dict[str, Any], AfterValidator(_storable)]

NAMED: Final = (Currency, CalendarDate, Decimals, Id, Instant, Locale, Money, Text, TimeZone, Whole)
"""The value types that the contract names: each has a title and a description."""
