"""What holds of the model on every history, and that cutting batches makes no difference to it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given

from shared.contracts.envelope import Event
from tests.referrals.oracles.histories import Step, histories
from tests.referrals.oracles.machine import LONG_AGO, Key, Machine, Row
from tests.referrals.oracles.model import Model
from tests.referrals.oracles.records import By, Published
from tests.support.depth import examples

LEGAL = {
    "": {"signed_up", "rejected"},
    "signed_up": {"qualified", "expired", "rejected"},
    "expired": {"qualified"},
    "qualified": {"flagged", "approved", "rejected"},
    "flagged": {"qualified", "approved", "rejected"},
    "rejected": {"qualified", "approved"},  # by a person
    "approved": {"voided"},
    "voided": set[str](),
}


@dataclass
class Singles:
    """Another model, which handles every event as a batch of its own."""

    model: Model = field(default_factory=Model)

    async def begin(self, document: dict[str, Any], codes: dict[str, str]) -> None:
        self.model.facts.disposable = frozenset({"mailinator.com"})
        self.model.facts.codes = {code: owner for owner, code in codes.items()}
        self.model.publish(document, LONG_AGO)

    async def publish(self, document: dict[str, Any], at: datetime) -> None:
        self.model.publish(document, at)

    async def receive(self, batch: Sequence[Event], now: datetime) -> list[tuple[str, str]]:
        before = len(self.model.facts.refused)
        for event in batch:
            self.model.handle([event], now)
        return self.model.facts.refused[before:]

    async def decide(self, keys: Sequence[Key], decision: str, by: By, now: datetime) -> list[bool]:
        by_key = {referral.key: referral for referral in self.model.facts.referrals}
        return [self.model.decide_on([by_key[key]], decision, by, now)[0] for key in keys]

    async def sweep(self, now: datetime) -> None:
        self.model.steps.apply_due(now)

    async def read(self, key: Key, now: datetime) -> Row:
        [referral] = [referral for referral in self.model.facts.referrals if referral.key == key]
        self.model.steps.apply_due(now, {referral.advocate_id})
        return Row.of(referral)

    async def rows(self) -> dict[Key, Row]:
        return {referral.key: Row.of(referral) for referral in self.model.facts.referrals}

    async def published(self) -> list[Published]:
        return self.model.facts.published

    async def verify(self, now: datetime) -> list[str]:
        return []

    async def queue(self, now: datetime) -> list[Key]:
        self.model.steps.apply_due(now)
        return [referral.key for referral in self.model.queue()]


@given(history=histories)
@examples(50, deep=300, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
async def test_every_history_is_legal_and_cutting_batches_makes_no_difference(
    history: tuple[dict[str, Any], Sequence[Step]],
):
    document, steps = history
    machine = Machine(Singles())
    await machine.run(*_without_shared_caps(document, steps))
    facts = machine.model.facts
    for referral in facts.referrals:
        states = ["", *(step.state for step in referral.history)]
        assert all(after in LEGAL[before] for before, after in pairwise(states))
    assert set(Counter(referral.friend_id for referral in facts.referrals if referral.stands).values()) <= {1}


def _without_shared_caps(document: dict[str, Any], steps: Sequence[Step]) -> tuple[dict[str, Any], list[Step]]:
    """Without caps of the whole program: what is due of all customers of a batch is applied in one order."""
    kept = [("publish", _own_caps(step[1])) if step[0] == "publish" else step for step in steps]
    return _own_caps(document), kept


def _own_caps(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"caps": [cap for cap in document["caps"] if cap["scope"] == "advocate"]}
