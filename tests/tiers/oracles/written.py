"""Short ways to write a program, an instant and a timeline in the worked examples."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from tests.tiers.oracles.facts import Assignment, Change
from tests.tiers.oracles.model import Outcome, judge


def t(text: str) -> datetime:
    """An instant of UTC: `03-12` is 12 March 2026, 00:00; `2028-02-29 10:30` names the year as well."""
    day, _, time = text.partition(" ")
    day = day if day.count("-") == 2 else f"2026-{day}"
    return datetime.fromisoformat(f"{day}T{time or '00:00'}").replace(tzinfo=UTC)


def spend(amount: str) -> list[list[dict[str, Any]]]:
    """Conditions: so much spent."""
    return [[{"metric": "spend", "at_least": amount}]]


def tier(name: str, enter: Any = None, **fields: Any) -> dict[str, Any]:
    """A tier of a document."""
    document = {"id": name, "name": {"en": name.title()}, **fields}
    return document if enter is None else {**document, "enter": enter}


MEMBER = tier("member")
SILVER = tier("silver", spend("100"), points_multiplier="1.25")
GOLD = tier("gold", spend("300"), points_multiplier="1.5")
TEN_DAYS = {"kind": "rolling_days", "days": 10}
CALENDAR = {"kind": "calendar_year"}
ANNIVERSARY = {"kind": "anniversary"}
LIFETIME = {"kind": "lifetime"}


def program(*tiers: Any, period: Any = None, **fields: Any) -> dict[str, Any]:
    """A program in UTC and USD: silver from 100, gold from 300, in 10 days; one step down at the period's end.

    `to`, `when`, `grace_days` and `on_refund` go into `downgrade`.
    """
    downgrade = {"to": "one_step"}
    downgrade |= {key: fields.pop(key) for key in ("to", "when", "grace_days", "on_refund") if key in fields}
    document = {"currency": "USD", "time_zone": "UTC", "period": period or TEN_DAYS}
    return document | {"tiers": list(tiers) or [MEMBER, SILVER, GOLD], "downgrade": downgrade} | fields


def at_end(
    document: Any, parts: Iterable[Iterable[Change]], now: str, *given: Assignment, later: Iterable[Any] = ()
) -> Outcome:
    """The outcome at an instant; `later` are versions after the first, as (instant, document)."""
    versions = [(None, document), *((t(at), version) for at, version in later)]
    return judge(versions, [change for part in parts for change in part], given, t(now))


def told(outcome: Outcome) -> list[tuple[str, str, datetime, str, datetime | None]]:
    """The entries as (kind, tier, instant, reason, valid_until)."""
    return [(entry.kind, entry.tier, entry.at, entry.reason, entry.valid_until) for entry in outcome.entries]


def line(kind: str, tier: str, at: str, reason: str, valid_until: str | None = None) -> tuple[Any, ...]:
    """One expected entry."""
    return kind, tier, t(at), reason, t(valid_until) if valid_until else None
