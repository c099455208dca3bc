"""The value types that events are made of, each refused where the contract refuses it.

Money and quantities stay decimal strings (a pattern check is cheap, and a JSON float can
never slip in); readers turn them into `Decimal` where they calculate.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema

_LONGEST_TEXT: Final = 10_000
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:)(\d{2})(\.\d+)?(?:[Zz]|([+-])(\d{2}):(\d{2}))", re.ASCII
)

Id = Annotated[
    str,
    # No "/" and no control character (C0, DEL, C1); neither "." nor ".." (a URL path would lose them).
    StringConstraints(
        min_length=1,
        max_length=128,
        pattern=r"^(?:\.{0,2}[^./\x00-\x1f\x7f-\x9f][^/\x00-\x1f\x7f-\x9f]*|\.{3}[^/\x00-\x1f\x7f-\x9f]*)$",
    ),
]
Text = Annotated[str, StringConstraints(max_length=_LONGEST_TEXT, pattern=r"^[^\x00]*$")]
Money = Annotated[str, StringConstraints(max_length=64, pattern=r"^0*[0-9]{1,12}(?:\.[0-9]{1,4})?$")]
Decimals = Annotated[str, StringConstraints(max_length=64, pattern=r"^0*[0-9]{1,12}(?:\.[0-9]{1,9})?$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Whole = Annotated[int, Field(strict=True, ge=0, lt=10**12)]
Quantity = Whole | Decimals
Flag = Annotated[bool, Field(strict=True)]
Locale = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*$")]


def parse_instant(text: str) -> datetime:
    """A strict RFC 3339 date-time with offset, as an instant in UTC (microseconds; finer digits are cut).

    A leap second counts as the first instant of the next minute, as POSIX clocks have it.

    Raises:
        ValueError: the text is not RFC 3339, or names an instant that does not exist.
    """
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 date-time with offset")
    day, clock, second, fraction, sign, hours, minutes = found.groups()
    leap = second == "60"
    moment = datetime.fromisoformat(f"{day}T{clock}{'59' if leap else second}").replace(tzinfo=UTC)
    if fraction:
        moment += timedelta(microseconds=int(fraction[1:7].ljust(6, "0")))
    if leap:
        moment = moment.replace(microsecond=0) + timedelta(seconds=1)
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError("an offset runs from -23:59 to +23:59")
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        try:
            moment = moment - offset if sign == "+" else moment + offset
        except OverflowError as error:
            raise ValueError("an instant outside the years 1 to 9999") from error
    return moment


def format_instant(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("an instant is an RFC 3339 string")  # noqa: TRY004 pydantic reports ValueError only
    return parse_instant(value)


def _date(value: object) -> date:
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or _DATE.fullmatch(value) is None:
        raise ValueError("a date is a string YYYY-MM-DD")
    return date.fromisoformat(value)


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _zone(name: str) -> str:
    if not _is_zone(name):
        raise ValueError("not a zone of the IANA database")
    return name


def _without_nul(value: object) -> object:
    """No string of a free-form JSON value holds NUL or a lone surrogate: PostgreSQL could not keep it."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("a string holds NUL")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError("a string holds a lone surrogate") from error
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _without_nul(name)
            _without_nul(item)
    elif isinstance(value, Sequence):
        for item in value:
            _without_nul(item)
    return value


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
CalendarDate = Annotated[date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_zone)]
Properties = Annotated[dict[str, Any], AfterValidator(_without_nul)]
