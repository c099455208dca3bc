"""What templates can do with a value: numbers, plurals and dates as the reader's locale writes them.

Values that others supplied (names, ids) are made visible before any template sees them: see `visible`.

Babel writes the separators of a locale's own numbering system but Western digits between them
(`12٬345`); here the digits follow as well.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date as Day  # noqa: N812 `date` is a filter here
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from unicodedata import category

from babel import Locale, dates, numbers
from liquid import RenderContext
from liquid.exceptions import FilterArgumentError
from liquid.filter import with_context

# Names that a template cannot say, so that it cannot shadow them.
LOCALE: Final = "@locale"
TIME_ZONE: Final = "@time_zone"

PLACE: Final = "#"
"""Where the number goes in the forms of `plural`."""

_LEAST: Final = timedelta(microseconds=1)
_WESTERN: Final = "0123456789"
_DIGITS: Final[Mapping[str, Mapping[int, str]]] = {
    "arab": dict(zip(map(ord, _WESTERN), "٠١٢٣٤٥٦٧٨٩", strict=True)),
}
ISOLATE: Final = "\u2068"
"""Unicode's FIRST STRONG ISOLATE: what follows has a direction of its own."""
POP: Final = "\u2069"
"""POP DIRECTIONAL ISOLATE, which ends it."""

_JOINERS: Final = "\u200c\u200d"  # invisible, but part of how words are written
# Letters and marks by their category, but of no width or blank.
_BLANK_LETTERS: Final = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs"})


@with_context
def number(value: object, *, context: RenderContext) -> str:
    """`{{ 12345 | number }}`: 12,345 in English."""
    return _written(_whole(value), _locale(context))


@with_context
def plural(value: object, *, context: RenderContext, **forms: str) -> str:
    """`{{ 3 | plural: one: "# point", other: "# points" }}`: 3 points.

    The forms are CLDR's (zero, one, two, few, many, other); one that is not given is `other`. A form without `#` is
    for a number that its words say; a negative number is never one of these.
    """
    count = _whole(value)
    form = _locale(context).plural_form(count)
    text = forms.get(form, forms.get("other"))
    if text is not None and PLACE not in text and count < 0:
        text = forms.get("other")
    if text is None:
        raise FilterArgumentError("plural: needs the form `other`", token=None)
    return text.replace(PLACE, number(value, context=context))


@with_context
def date(value: object, *, context: RenderContext) -> str:
    """`{{ activates_at | date }}`: the day of an RFC 3339 instant where the reader is."""
    return _dated(_there(_moment("date", value), _zone(context)).date(), _locale(context))


@with_context
def last_day(value: object, *, context: RenderContext) -> str:
    """`{{ expires_at | last_day }}`: the day where the reader is of the last moment before an instant.

    What ends at midnight can be used on the day before, and not on the day that begins then.
    """
    moment = _moment("last_day", value)
    with suppress(OverflowError):  # the first instant of the year 1 has none before it
        moment -= _LEAST
    return _dated(_there(moment, _zone(context)).date(), _locale(context))


@lru_cache(maxsize=10_000)
def _written(value: int, locale: Locale) -> str:
    """A number as it is written; most that are told are small ones, again and again."""
    return _digits(numbers.format_decimal(value, locale=locale, numbering_system="default"), locale)


@lru_cache(maxsize=10_000)
def _dated(day: Day, locale: Locale) -> str:
    """A day as it is written; those of a batch are few."""
    return _digits(dates.format_date(day, "long", locale=locale), locale)


def isolate(value: object) -> str:
    """`{{ order_id | isolate }}`: in plain text, keeps a value's direction from mixing with its surroundings'."""
    return f"{ISOLATE}{value}{POP}"


def visible(text: str) -> str:
    """The text on one line, without what nobody sees.

    Controls, marks and overrides of direction and zero-width characters are left out: they could turn the line
    around, end an isolation, or break a header. White space of any kind becomes one blank.
    """
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join("".join(filter(_is_seen, text)).split())


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "number": number,
    "plural": plural,
    "date": date,
    "last_day": last_day,
    "isolate": isolate,
}


def _locale(context: RenderContext) -> Locale:
    locale = context.globals[LOCALE]
    assert isinstance(locale, Locale), "every rendering is given a locale"
    return locale


def _zone(context: RenderContext) -> tzinfo:
    zone = context.globals[TIME_ZONE]
    assert isinstance(zone, tzinfo), "every rendering is given a zone"
    return zone


def _moment(name: str, value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError as error:
        raise FilterArgumentError(f"{name}: {error}", token=None) from error


def _there(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment  # the last day of the year 9999, which stands for never, is over there already


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise FilterArgumentError(f"not a whole number: {value!r}", token=None)
    return value


def _is_seen(char: str) -> bool:
    # The tags that spell out a flag are kept out too: the flag that is left is a black one.
    return char.isspace() or char in _JOINERS or (category(char) not in _UNSEEN and char not in _BLANK_LETTERS)


def _digits(text: str, locale: Locale) -> str:
    own = _DIGITS.get(locale.default_numbering_system)
    return text if own is None else text.translate(own)
