"""Any history, judged in order and in any order of arrival, ends as the slow model says."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from hypothesis import Phase, given
from hypothesis import strategies as st

from services.tiers.rules.judging import machine as judging
from services.tiers.rules.judging.answering import InMemory
from services.tiers.rules.judging.machine import Happenings
from services.tiers.rules.judging.run import Entry
from services.tiers.rules.judging.state import Assignment, State, decode_state, encode_state
from services.tiers.rules.metrics import Change
from tests.support.depth import examples
from tests.tiers.judging import machine
from tests.tiers.oracles.histories import History, histories
from tests.tiers.oracles.model import Outcome

Happening = Change | Assignment

# The same histories in every run: the simulation and the proof search at random. Shrinking would take minutes.
NO_SHRINKING = (Phase.explicit, Phase.generate)


@examples(40, deep=200, phases=NO_SHRINKING, derandomize=True)
@given(histories())
def test_a_history_in_order(history: History):
    expected = history.judge()
    outcome = machine.judge(history.versions, history.changes, history.assignments, history.now)
    assert shown(outcome) == shown(expected)


@examples(25, deep=120, phases=NO_SHRINKING, derandomize=True)
@given(histories(most_steps=9), st.data())
def test_a_history_in_any_order_of_arrival(history: History, data: st.DataObject):
    customer = Customer(history)
    left: list[Happening] = [machine.change_of(change) for change in history.changes]
    left += [machine.assignment_of(number, own) for number, own in enumerate(history.assignments)]
    left = data.draw(st.permutations([happening for happening in left if happening.at <= history.now]))
    while left:
        count = data.draw(st.integers(1, 3))
        arriving, left = left[:count], left[count:]
        customer.arrive(arriving, data.draw(st.sampled_from([None, *customer.instants])))
    customer.pass_until(history.now)
    assert shown(customer.outcome()) == shown(history.judge())


class Customer:
    """A customer as the handler keeps one: the state, the entries, and everything that is known."""

    def __init__(self, history: History) -> None:
        self.versions = machine.versions_of(history.versions)
        self.now = history.now
        self.instants = [instant for instant in history.instants() if instant <= history.now]
        self.state: State = judging.unknown(self.versions, history.now)
        self.entries: list[Entry] = []
        self.known: list[Happening] = []

    def arrive(self, arriving: Sequence[Happening], clock: datetime | None) -> None:
        """Judge what arrives, up to the clock if that is later."""
        self.known += arriving
        first = min(happening.at for happening in arriving)
        if self.state.at is None or first > self.state.at:
            self._advance(arriving, max(happening.at for happening in arriving))
        else:
            before = [entry for entry in self.entries if entry.at < first]
            later = [happening for happening in self.known if happening.at >= first]
            standing = before[-1].standing if before else None
            until = max(happening.at for happening in later)
            self.state = self._memory().run(judging.restore(self.versions, standing, self.state.anchor, first))
            self.entries = before
            self._advance(later, until)
        if clock is not None:
            self.pass_until(clock)

    def pass_until(self, clock: datetime) -> None:
        """Apply what falls due, as the job does."""
        self._advance((), clock)

    def outcome(self) -> Outcome:
        """The outcome now."""
        return machine.outcome(self.versions, self._memory(), self.state, self.entries, self.now)

    def _advance(self, arriving: Sequence[Happening], until: datetime) -> None:
        state = decode_state(msgspec_json(encode_state(self.state)))
        self.state, new = self._memory().run(judging.advance(self.versions, state, split(arriving), until))
        self.entries += new

    def _memory(self) -> InMemory:
        return InMemory(split(self.known).changes)


def split(happenings: Sequence[Happening]) -> Happenings:
    """Changes and assignments apart."""
    changes = [happening for happening in happenings if isinstance(happening, Change)]
    return Happenings(changes, [happening for happening in happenings if isinstance(happening, Assignment)])


def msgspec_json(value: object) -> object:
    """The value as it comes back from a column of JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))


def shown(outcome: Outcome) -> tuple[object, ...]:
    """What has to be equal."""
    return (
        *(outcome.tier, outcome.since, outcome.valid_until, outcome.grace_until, outcome.locked_until),
        *(outcome.points_multiplier, outcome.metrics, outcome.version, tuple(outcome.entries)),
    )
