"""What counts besides orders: reviews, approved referrals and activities, each once, until it is taken back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from services.tiers.rules.metrics import Change, Metric
from shared.contracts.envelope import Event
from shared.contracts.orders import digest_of
from shared.contracts.outcomes import Waiting
from shared.contracts.shop import ActivityPerformed, ReviewPublished

Kind = Literal["review", "referral", "activity", "points", "reversal"]
"""The kinds of rows: `points` are transactions that earned points, `reversal` those that took some back."""

METRICS: Final[Mapping[Kind, Metric]] = {
    "review": "reviews",
    "referral": "referrals",
    "activity": "activities",
    "points": "points",
}

CountedKey = tuple[str, Kind, str]
"""Customer id, kind and natural key."""

About = tuple[str, str]
"""Customer id, and what an event waits for (`Waiting.about`)."""

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


class Counted(NamedTuple):
    """Something that counts, or a reversal of points.

    `name` is the activity, `about` the reason that transactions of points share. `amount` is what was earned, or what
    a reversal asks for. `taken_at` is the time of the event that took it back; that of points is in `Reversing`.
    """

    earned_at: datetime
    amount: int
    digest: int
    name: str = ""
    about: str | None = None
    taken_at: datetime | None = None


@dataclass(slots=True)
class Repeats:
    """The number of events that repeat an earlier one by their natural key: plainly, and with other content."""

    plain: int = 0
    differing: int = 0

    def note(self, *, differs: bool) -> None:
        """Count a repeat."""
        self.plain += not differs
        self.differing += differs


@dataclass(slots=True)
class Early:
    """Events that wait for what they are about: those that were stored, and those of the batch."""

    events: dict[About, list[tuple[str, Event]]] = field(default_factory=dict[About, list[tuple[str, Event]]])

    def add(self, about: About, natural_id: str, event: Event) -> None:
        """Let an event wait."""
        self.events.setdefault(about, []).append((natural_id, event))

    def take(self, about: About) -> list[Event]:
        """Remove and return the events that wait for this, by (time, natural id)."""
        if about not in self.events:
            return []
        waited = self.events.pop(about)
        return [event for _, event in sorted(waited, key=lambda item: (item[1].time, item[0]))]

    def waiting(self) -> list[Waiting]:
        """What still waits."""
        return [
            Waiting(about, natural_id, event)
            for (_, about), events in self.events.items()
            for natural_id, event in events
        ]


@dataclass(slots=True)
class Counting:
    """Admits reviews, withdrawals, referrals, voids and activities, in the order of the log.

    `rows` are the stored ones that the batch names; `new` and `changed` are the keys of rows to write.
    """

    rows: dict[CountedKey, Counted]
    early: Early
    repeats: Repeats
    new: list[CountedKey] = field(default_factory=list[CountedKey])
    changed: list[CountedKey] = field(default_factory=list[CountedKey])

    def earn(self, event: Event, key: CountedKey, name: str = "") -> Sequence[Change]:
        """Count something, less what waited for it; nothing for a repeat."""
        digest = content_of(event)
        recorded = self.rows.get(key)
        if recorded is not None:
            self.repeats.note(differs=recorded.digest != digest)
            return ()
        self.rows[key] = Counted(event.time, 1, digest, name)
        self.new.append(key)
        changes = [Change(event.time, event.time, METRICS[key[1]], name, 1)]
        for early in self.early.take((key[0], about_of(key))):
            changes += self.take_back(early, key)
        return changes

    def take_back(self, event: Event, key: CountedKey) -> Sequence[Change]:
        """Take something back, from its own time on at the earliest; it waits for what it is about."""
        recorded = self.rows.get(key)
        if recorded is None:
            self.early.add((key[0], about_of(key)), TAKEN_BACK, event)
            return ()
        if recorded.taken_at is not None:
            self.repeats.note(differs=recorded.taken_at != event.time)
            return ()
        self.rows[key] = recorded._replace(taken_at=event.time)
        self.changed.append(key)
        at = max(event.time, recorded.earned_at)
        return (Change(at, recorded.earned_at, METRICS[key[1]], recorded.name, -recorded.amount, is_taking=True),)


TAKEN_BACK: Final = "taken_back"
"""`Waiting.natural_id` of a withdrawal or a void."""


def about_of(key: CountedKey) -> str:
    """`Waiting.about` of an event that takes back what has this key."""
    return f"{key[1]}/{key[2]}"


def content_of(event: Event) -> int:
    """A digest of what counts in an event besides its natural key: it tells a plain repeat from one that differs."""
    data = event.data
    if isinstance(data, ReviewPublished):
        content = (data.sku, data.rating, data.verified_purchase, data.text_length, data.photo_count)
    elif isinstance(data, ActivityPerformed):
        content = (data.activity, data.properties)
    else:
        content = ()
    return digest_of(_ENCODER.encode((event.time, content)))
