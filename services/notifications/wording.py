"""What templates can do with a value: numbers, plurals and dates as the reader's locale writes them.

Babel writes the separators of a locale's own numbering system but Western digits between them
(`12٬345`); here the digits follow as well.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from datetime import date as Day  # noqa: N812 `date` is a filter here
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale, dates, numbers
from liquid import RenderContext
from liquid.exceptions import FilterArgumentError
from liquid.filter import with_context

# Names that a template cannot say, so that it cannot shadow them.
LOCALE: Final = "@locale"
TIME_ZONE: Final = "@time_zone"

PLACE: Final = "#"
"""Where the number goes in the forms of `plural`."""

_WESTERN: Final = "0123456789"
_DIGITS: Final[Mapping[str, Mapping[int, str]]] = {
    "arab": dict(zip(map(ord, _WESTERN), "٠١٢٣٤٥٦٧٨٩", strict=True)),
}
# Unicode's FIRST STRONG ISOLATE and POP DIRECTIONAL ISOLATE.
_ISOLATE: Final = "\u2068"
_POP: Final = "\u2069"


@with_context
def number(value: object, *, context: RenderContext) -> str:
    """`{{ 12345 | number }}`: 12,345 in English."""
    return _written(_whole(value), _locale(context))


@with_context
def plural(value: object, *, context: RenderContext, **forms: str) -> str:
    """`{{ 3 | plural: one: "# point", other: "# points" }}`: 3 points.

    The forms are CLDR's (zero, one, two, few, many, other); one that is not given is `other`.
    """
    form = _locale(context).plural_form(_whole(value))
    text = forms.get(form, forms.get("other"))
    if text is None:
        raise FilterArgumentError("plural: needs the form `other`", token=None)
    return text.replace(PLACE, number(value, context=context))


@with_context
def date(value: object, *, context: RenderContext) -> str:
    """`{{ expires_at | date }}`: the day of an RFC 3339 instant where the reader is."""
    locale = _locale(context)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise FilterArgumentError(f"date: {error}", token=None) from error
    return _dated(_there(moment, _zone(context)).date(), locale)


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
    return f"{_ISOLATE}{value}{_POP}"


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "number": number,
    "plural": plural,
    "date": date,
    "isolate": isolate,
}


def _locale(context: RenderContext) -> Locale:
    locale = context.globals[LOCALE]
    assert isinstance(locale, Locale), "every rendering is given a locale"
    return locale


def _zone(context: RenderContext) -> tzinfo:
    name = context.globals[TIME_ZONE]
    return ZoneInfo(name) if isinstance(name, str) else UTC


def _there(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment  # the last day of the year 9999, which stands for never, is over there already


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise FilterArgumentError(f"not a whole number: {value!r}", token=None)
    return value


def _digits(text: str, locale: Locale) -> str:
    own = _DIGITS.get(locale.default_numbering_system)
    return text if own is None else text.translate(own)
