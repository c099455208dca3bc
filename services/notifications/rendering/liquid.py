"""Liquid as templates may use it: with limits on every resource, and without access to other templates."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from liquid import BoundTemplate, Environment, FalsyStrictUndefined
from liquid.exceptions import LiquidError
from markupsafe import Markup

from services.notifications import wording

__all__ = ["BoundTemplate", "LiquidError", "Markup", "compile_text", "variables"]

_REFUSED_TAGS: Final = ("include", "render", "extends", "block", "macro", "call")


class _Limited(Environment):
    """Liquid with limits on every resource that a template can use."""

    block_nesting_limit = 10
    context_depth_limit = 10
    loop_iteration_limit = 1_000
    local_namespace_limit = 20_000
    output_stream_limit = 100_000


@lru_cache(maxsize=2)
def _environment(*, escapes: bool) -> Environment:
    """A missing value is false in conditions, takes the filter `default`, and fails where it would be printed."""
    environment = _Limited(undefined=FalsyStrictUndefined, autoescape=escapes)
    for tag in _REFUSED_TAGS:
        environment.tags.pop(tag, None)
    environment.filters.update(wording.FILTERS)
    return environment


def compile_text(source: str, *, escapes: bool = False) -> BoundTemplate:
    """A template; `escapes`: every value is escaped for HTML.

    Raises:
        LiquidError: it is malformed.
    """
    return _environment(escapes=escapes).from_string(source)


def variables(template: BoundTemplate) -> Iterator[tuple[str, ...]]:
    """The paths of the variables that a template takes from outside: `customer`, `name`."""
    found: Mapping[str, Any] = template.analyze(include_partials=False).globals
    for places in found.values():
        for place in places:
            yield tuple(str(step) for step in place.segments)
