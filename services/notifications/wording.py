"""Filters for templates: numbers, plurals and dates in the reader's locale.

Values that others supplied (names, ids) are cleaned before a template gets them: see `visible`.

Babel uses the separators of a locale's numbering system with Western digits between them (`12٬345`); these filters
convert the digits too.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date as Day  # noqa: N812 `date` is a filter here
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final
from unicodedata import category

from babel import Locale, dates, numbers
from liquid import RenderContext
from liquid.exceptions import FilterArgumentError
from liquid.filter import with_context

# Names that are not valid in a template, so that no template can shadow them.
LOCALE: Final = "@locale"
TIME_ZONE: Final = "@time_zone"
CURRENCY: Final = "@currency"

PLACE: Final = "#"
"""Placeholder of the number in the forms of `plural`."""

_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LEAST: Final = timedelta(microseconds=1)
_WESTERN: Final = "0123456789"
_DIGITS: Final[Mapping[str, Mapping[int, str]]] = {
    "arab": dict(zip(map(ord, _WESTERN), "٠١٢٣٤٥٦٧٨٩", strict=True)),
}
ISOLATE: Final = "\u2068"
"""Unicode FIRST STRONG ISOLATE: the following text has its own direction."""
POP: Final = "\u2069"
"""Unicode POP DIRECTIONAL ISOLATE: ends the isolated text."""

_JOINERS: Final = "\u200c\u200d"  # invisible, but part of the spelling of words
# Letters and marks by category, but without width or blank.
_BLANK_LETTERS: Final = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs"})


@with_context
def number(value: object, *, context: RenderContext) -> str:
    """`{{ 12345 | number }}`: 12,345 in English; also of decimal strings such as `"129.90"`."""
    return _formatted(_decimal("number", value), _locale(context))


@with_context
def money(value: object, currency: object = None, *, context: RenderContext) -> str:
    """`{{ total | money: currency }}`: $129.90; without a currency, it is that of the program."""
    currency = context.globals[CURRENCY] if currency is None else currency
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise FilterArgumentError(f"money: not a currency: {currency!r}", token=None)
    return _priced(_decimal("money", value), currency, _locale(context))


@with_context
def plural(value: object, *, context: RenderContext, **forms: str) -> str:
    """`{{ 3 | plural: one: "# point", other: "# points" }}`: 3 points.

    The forms are those of CLDR (zero, one, two, few, many, other); a missing form falls back to `other`. A form without
    `#` spells its number out and is not used for negative numbers.
    """
    count = _whole(value)
    form = _locale(context).plural_form(count)
    text = forms.get(form, forms.get("other"))
    if text is not None and PLACE not in text and count < 0:
        text = forms.get("other")
    if text is None:
        raise FilterArgumentError("plural: the form `other` is missing", token=None)
    return text.replace(PLACE, number(value, context=context))


@with_context
def date(value: object, *, context: RenderContext) -> str:
    """`{{ activates_at | date }}`: the day of an RFC 3339 instant in the reader's time zone; a bare date stays."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        return _formatted_day(_moment("date", value).date(), _locale(context))
    return _formatted_day(_local(_moment("date", value), _zone(context)).date(), _locale(context))


@with_context
def last_day(value: object, *, context: RenderContext) -> str:
    """`{{ expires_at | last_day }}`: the last full or partial day before an instant, in the reader's time zone.

    Points that expire at midnight can be used on the day before, and not on the day that begins then.
    """
    moment = _moment("last_day", value)
    with suppress(OverflowError):  # there is nothing before the first instant of the year 1
        moment -= _LEAST
    return _formatted_day(_local(moment, _zone(context)).date(), _locale(context))


@lru_cache(maxsize=10_000)
def _formatted(value: int | Decimal, locale: Locale) -> str:
    """A formatted number; messages repeat the same small numbers, so they are cached."""
    return _digits(numbers.format_decimal(value, locale=locale, numbering_system="default"), locale)


@lru_cache(maxsize=10_000)
def _priced(value: int | Decimal, currency: str, locale: Locale) -> str:
    return _digits(numbers.format_currency(value, currency, locale=locale, numbering_system="default"), locale)


@lru_cache(maxsize=10_000)
def _formatted_day(day: Day, locale: Locale) -> str:
    """A formatted day; a batch has few different ones, so they are cached."""
    return _digits(dates.format_date(day, "long", locale=locale), locale)


def isolate(value: object) -> str:
    """`{{ order_id | isolate }}`: isolates the direction of a value from the plain text around it."""
    return f"{ISOLATE}{value}{POP}"


def visible(text: str) -> str:
    """The text on one line, without invisible characters.

    Control characters, direction marks and overrides, and zero-width characters are removed: they could reverse the
    line, end an isolation, or break a header. Every run of white space becomes one space.
    """
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join("".join(filter(_is_visible, text)).split())


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "number": number,
    "money": money,
    "plural": plural,
    "date": date,
    "last_day": last_day,
    "isolate": isolate,
}


def _locale(context: RenderContext) -> Locale:
    locale = context.globals[LOCALE]
    assert isinstance(locale, Locale), "the context always has a locale"
    return locale


def _zone(context: RenderContext) -> tzinfo:
    zone = context.globals[TIME_ZONE]
    assert isinstance(zone, tzinfo), "the context always has a time zone"
    return zone


def _moment(name: str, value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError as error:
        raise FilterArgumentError(f"{name}: {error}", token=None) from error


def _local(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment  # the last day of the year 9999 means never; the local time would be out of range


def _decimal(name: str, value: object) -> int | Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float | Decimal):  # such as the result of `minus`
        value = f"{value:f}"
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise FilterArgumentError(f"{name}: not a number: {value!r}", token=None)
    return Decimal(value)


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise FilterArgumentError(f"not a whole number: {value!r}", token=None)
    return value


def _is_visible(char: str) -> bool:
    # Tag characters, which spell out a flag after a black flag, are removed too.
    return char.isspace() or char in _JOINERS or (category(char) not in _INVISIBLE and char not in _BLANK_LETTERS)


def _digits(text: str, locale: Locale) -> str:
    own = _DIGITS.get(locale.default_numbering_system)
    return text if own is None else text.translate(own)
