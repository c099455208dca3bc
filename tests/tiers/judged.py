"""Customers judged in memory: programs as tests write them, histories of changes, and their state at an instant."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

from services.tiers.rules.judging.answering import InMemory
from services.tiers.rules.judging.machine import Advanced, Happenings, advance, unknown
from services.tiers.rules.judging.state import Assignment
from services.tiers.rules.metrics import Change
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.status import Known, Status, status
from shared.contracts.values import UNITS
from tests.tiers import programs
from tests.tiers.oracles import facts

EVER: Final = datetime(1, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2999, 1, 1, tzinfo=UTC)


def versions(*documents: Any, later: Iterable[tuple[datetime, Any]] = ()) -> Versions:
    """Versions of the program: the first is in force since ever."""
    dated = [(EVER, documents[0]), *later]
    return Versions([(at, programs.program(document, version=n)) for n, (at, document) in enumerate(dated, 1)])


def changes(parts: Iterable[Sequence[facts.Changed]]) -> list[Change]:
    """The changes of a history, with money in ten-thousandths."""
    found: list[Change] = []
    for change in (change for part in parts for change in part):
        amount: Any = change.amount * UNITS if change.metric == "spend" else change.amount
        exact = Fraction(amount)
        whole = exact.numerator if exact.denominator == 1 else exact
        metric: Any = change.metric
        found.append(Change(change.at, change.earned_at, metric, change.name, whole, change.is_taking))
    return found


def assignments(given: Iterable[facts.Assignment]) -> list[Assignment]:
    """The assignments of a history."""
    return [Assignment(*assignment, id=f"{place:06}") for place, assignment in enumerate(given)]


def judge(by: Versions, known: Sequence[Change], until: datetime, given: Sequence[Assignment] = ()) -> Advanced:
    """The state at an instant, from nothing, and the entries."""
    return InMemory(known).run(advance(by, unknown(by, EVER), Happenings(known, given), until))


def seen(by: Versions, known: Sequence[Change], moment: datetime, given: Sequence[Assignment] = ()) -> Status:
    """The status that a read at an instant finds, where the state was stored by the last event before it."""
    happened = [change for change in known if change.at <= moment]
    own = [assignment for assignment in given if assignment.at <= moment]
    stored_at = max((*(change.at for change in happened), *(assignment.at for assignment in own)), default=EVER)
    state = judge(by, happened, stored_at, own).state
    return InMemory(happened).run(status(by, Known(state), Happenings(), moment))
