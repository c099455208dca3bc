"""Tells visits of people from those of bots: crawlers, previews of links in chats, monitors.

The patterns are those of crawler-user-agents. Its patterns of HTTP libraries are left out: apps follow links with them
for people.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

_LONGEST: Final = 1024
_LIBRARY: Final = "http-library"
_AT_ONCE: Final = 50
"""Patterns of one expression: with more, or fewer, a search takes longer."""
_UNLISTED: Final = re.compile(r"(?<!cu)bot\b|crawler|spider|\+https?://", re.IGNORECASE)
"""How bots name themselves that no list has yet, with the page that describes them; a Cubot is a telephone."""


def is_bot(user_agent: str | None) -> bool:
    """Whether a header `User-Agent` is that of a bot; without one, it is not known to be."""
    return user_agent is not None and _is_bot(user_agent[:_LONGEST])


@lru_cache(maxsize=1024)
def _is_bot(user_agent: str) -> bool:
    return any(pattern.search(user_agent) for pattern in (_UNLISTED, *_listed()))


@lru_cache(maxsize=1)
def _listed() -> Sequence[re.Pattern[str]]:
    """The patterns of the list: compiled at the first use, since that takes a moment."""
    data: Sequence[dict[str, Any]] = CRAWLER_USER_AGENTS_DATA
    patterns = [entry["pattern"] for entry in data if _LIBRARY not in entry.get("tags", ())]
    return tuple(re.compile("|".join(part)) for part in _parts(patterns))


def _parts(patterns: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(patterns), _AT_ONCE):
        yield patterns[start : start + _AT_ONCE]
