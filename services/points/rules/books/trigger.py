"""What makes a transaction happen, and the context that the transaction carries of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from services.points.rules.ledger import receipts
from services.points.rules.ledger.receipts import Receipt
from services.points.rules.ledger.transactions import TransactionContext
from shared.contracts.envelope import Cause, Event

_NO_INPUTS: Final[Mapping[str, Any]] = {}


class Trigger(NamedTuple):
    """What makes a transaction happen: its business time, when it is recorded, and its cause."""

    occurred_at: datetime
    recorded_at: datetime
    cause: Cause

    @classmethod
    def of(cls, event: Event, now: datetime) -> "Trigger":
        """An event that is applied now."""
        return cls(event.time, now, Cause.of(event))

    def context(
        self, origin: str, reason: Mapping[str, str], inputs: Mapping[str, Any] = _NO_INPUTS
    ) -> TransactionContext:
        """The context of a transaction that no earning rule decided."""
        digest = receipts.digest_without_rules()
        return TransactionContext(self.occurred_at, self.recorded_at, origin, reason, None, inputs, digest)

    def context_of_rules(
        self, origin: str, reason: Mapping[str, str], receipt: Receipt, inputs: Mapping[str, Any]
    ) -> TransactionContext:
        """The context of a transaction that earning rules decided, with the digest of its receipt."""
        return TransactionContext(
            occurred_at=self.occurred_at,
            recorded_at=self.recorded_at,
            origin=origin,
            reason=reason,
            rules_version=receipt["rules_version"],
            inputs=inputs,
            receipt_digest=receipts.digest(receipt),
        )
