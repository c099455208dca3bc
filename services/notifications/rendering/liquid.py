"""Liquid as templates may use it: with limits on every resource, and without access to other templates."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Final

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, RenderContext, Undefined
from liquid.exceptions import FilterArgumentError, LiquidError, ResourceLimitError
from liquid.token import Token
from markupsafe import Markup

from services.notifications import wording

__all__ = ["BoundTemplate", "LiquidError", "Markup", "compile_text", "variables"]

_REFUSED_TAGS: Final = ("include", "render", "extends", "block", "macro", "call")
# `safe` would let a value become HTML.
_REFUSED_FILTERS: Final = ("safe", "escapejs")
_SCHEMES: Final = ("https://", "http://", "mailto:", "tel:")

_LARGEST: Final = 100_000
"""Maximum size of a value that a filter takes or returns, in characters and elements."""
_MOST_WORK: Final = 2_000_000
"""Maximum sum of the sizes of what the filters of a text take and return."""
_CALL: Final = 20
_LOOP: Final = re.compile(r"\{%-?\s*(?:for|tablerow)\b")
_PIECE: Final = re.compile(r"\{[{%]|[,|]|\bor\b")
_MOST_PIECES: Final = 500
"""Maximum number of tags, values and alternatives of a text that has loops: each may run 1,000 times."""


class _Context(RenderContext):
    """A rendering whose filters are limited too: Liquid's own limits are on loops, names and output."""

    __slots__ = ("work",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 those of the base class
        super().__init__(*args, **kwargs)
        self.work = 0

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """The filter, limited."""
        return partial(self._limited, name, super().filter(name, token))

    def _limited(self, name: str, function: Callable[..., object], /, *args: Any, **named: Any) -> object:  # noqa: ANN401 any value
        size = _CALL
        for value in args:
            size += _size(value)
        for value in named.values():
            size += _size(value)
        self._charge(size)
        if name in _GROWTH:
            self._charge(_GROWTH[name](*args))
        result = function(*args, **named)
        self._charge(_size(result))
        return result

    def _charge(self, size: int) -> None:
        self.work += size
        if size > _LARGEST or self.work > _MOST_WORK:
            raise ResourceLimitError("its filters do too much", token=None)


class _Template(BoundTemplate):
    context_class = _Context


class _Limited(Environment):
    """Liquid with limits on every resource that a template can use."""

    template_class = _Template
    block_nesting_limit = 10
    context_depth_limit = 10
    loop_iteration_limit = 1_000
    local_namespace_limit = 20_000
    output_stream_limit = 100_000


def _size(value: object) -> int:
    """About how much memory a value takes, and its text; at most a little more than the maximum for a value."""
    if isinstance(value, str | range):
        return len(value)
    if isinstance(value, int):
        return value.bit_length() // 4
    if isinstance(value, Undefined):  # it is a mapping, too
        return 0
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not isinstance(value, list | tuple):
        return 1
    size = len(value)  # pyright: ignore[reportUnknownArgumentType]
    for item in value:  # pyright: ignore[reportUnknownVariableType]
        if size > _LARGEST:
            break
        size += _size(item)
    return size


def _of_replace(left: object, old: object = "", new: object = "", *_: object) -> int:
    return str(left).count(str(old)) * _size(str(new))


def _of_join(left: object, glue: object = " ", *_: object) -> int:
    return len(left) * len(str(glue)) if isinstance(left, list | tuple) else 0  # pyright: ignore[reportUnknownArgumentType]


_GROWTH: Final[Mapping[str, Callable[..., int]]] = {"replace": _of_replace, "join": _of_join}
"""By how much filters make their values larger, where that is more than the sum of their arguments."""


def link(value: object) -> str:
    """A value where a link begins; templates have it added, so that no value becomes `javascript:…`."""
    text = str(value)
    if not text.lower().startswith(_SCHEMES):
        raise FilterArgumentError("a link begins with https://, http://, mailto: or tel:", token=None)
    return text


@lru_cache(maxsize=2)
def _environment(*, escapes: bool) -> Environment:
    """A missing value is false in conditions, takes the filter `default`, and fails where it would be printed."""
    environment = _Limited(undefined=FalsyStrictUndefined, autoescape=escapes)
    for tag in _REFUSED_TAGS:
        environment.tags.pop(tag, None)
    for name in _REFUSED_FILTERS:
        environment.filters.pop(name, None)
    environment.filters.update({**wording.FILTERS, "link": link})
    return environment


def compile_text(source: str, *, escapes: bool = False) -> BoundTemplate:
    """A template; `escapes`: every value is escaped for HTML.

    Raises:
        LiquidError: it is malformed.
    """
    if _LOOP.search(source) and len(_PIECE.findall(source)) > _MOST_PIECES:
        raise ResourceLimitError(f"with loops, it has at most {_MOST_PIECES} tags, values and alternatives", token=None)
    return _environment(escapes=escapes).from_string(source)


def variables(template: BoundTemplate) -> Iterator[tuple[str, ...]]:
    """The paths of the variables that a template takes from outside: `customer`, `name`."""
    found: Mapping[str, Any] = template.analyze(include_partials=False).globals
    for places in found.values():
        for place in places:
            yield tuple(str(step) for step in place.segments)
