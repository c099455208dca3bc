"""What a seed did, step by step: a digest of all of it, and its last part in words."""

from collections import deque
from collections.abc import MutableMapping
from hashlib import blake2b
from typing import Any, Final

import structlog

_LAST: Final = 400
_WRONG: Final = {"batch_is_bisected", "handler_refused"}
"""What the log tells only when a handler failed: the code is wrong, whatever comes of it in the end."""
_SHOWN: Final = ("part", "decision", "failure", "error", "count", "pause", "events", "id", "exc_info")


class Trace:
    """Lines that are equal whenever a seed is played: no id of a process, no measured time is in them."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=_LAST)
        self.steps = 0
        self._digest = blake2b(digest_size=12)

    @property
    def digest(self) -> str:
        """What two runs are compared by."""
        return self._digest.hexdigest()

    def step(self, name: str) -> None:
        """A task went one step."""
        self.steps += 1
        self._digest.update(name.encode() + b"\n")

    def note(self, moment: float, who: str, what: str) -> None:
        """Something happened that a reader of a failure wants to see."""
        line = f"{moment:9.3f} {who:<10} {what}"
        self._digest.update(line.encode() + b"\n")
        self.last.append(f"{self.steps:6} {line}")


class Listener:
    """A processor of structlog: what the product logs becomes a part of the trace."""

    def __init__(self, trace: Trace, now: Any, who: Any) -> None:
        self._trace, self._now, self._who = trace, now, who
        self.wrong: list[str] = []

    def __call__(self, _logger: object, _method: str, entry: MutableMapping[str, Any]) -> Any:
        """Note the entry, and let nothing reach the screen."""
        words = [f"{name}={_brief(entry[name])}" for name in _SHOWN if entry.get(name)]
        self._trace.note(self._now(), self._who(), " ".join(["log", str(entry.get("event")), *words]))
        if entry.get("event") in _WRONG:
            self.wrong.append(f"{self._who()}: {' '.join(words)}")
        raise structlog.DropEvent


def _brief(value: object) -> str:
    text = repr(value) if isinstance(value, BaseException) else str(value)
    return text.partition("\n")[0][:100]
