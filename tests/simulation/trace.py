"""The trace of a seed: a digest of all steps, and the last lines."""

from collections import deque
from collections.abc import MutableMapping
from hashlib import blake2b
from typing import Any, Final

import structlog

_LAST: Final = 400
_WRONG: Final = {"batch_is_bisected", "handler_refused"}
"""Log events of a failed handler, which are violations in themselves."""
_SHOWN: Final = ("part", "decision", "failure", "error", "count", "pause", "events", "id", "exc_info")


class Trace:
    """Lines that are the same in every run of a seed, without process ids and measured times."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=_LAST)
        self.steps = 0
        self._digest = blake2b(digest_size=12)

    @property
    def digest(self) -> str:
        """The digest of all lines."""
        return self._digest.hexdigest()

    def step(self, name: str) -> None:
        """Note a step of a task."""
        self.steps += 1
        self._digest.update(name.encode() + b"\n")

    def note(self, moment: float, who: str, what: str) -> None:
        """Add a line."""
        line = f"{moment:9.3f} {who:<10} {what}"
        self._digest.update(line.encode() + b"\n")
        self.last.append(f"{self.steps:6} {line}")


class Listener:
    """A structlog processor that adds the product's log events to the trace."""

    def __init__(self, trace: Trace, now: Any, who: Any) -> None:
        self._trace, self._now, self._who = trace, now, who
        self.wrong: list[str] = []

    def __call__(self, _logger: object, _method: str, entry: MutableMapping[str, Any]) -> Any:
        """Add an event to the trace, and print nothing."""
        words = [f"{name}={_brief(entry[name])}" for name in _SHOWN if entry.get(name)]
        self._trace.note(self._now(), self._who(), " ".join(["log", str(entry.get("event")), *words]))
        if entry.get("event") in _WRONG:
            self.wrong.append(f"{self._who()}: {' '.join(words)}")
        raise structlog.DropEvent


def _brief(value: object) -> str:
    text = repr(value) if isinstance(value, BaseException) else str(value)
    return text.partition("\n")[0][:100]
