"""Every column that can hold text or bytes, and its fate when its customer is erased."""

from collections.abc import Mapping
from enum import StrEnum


class Fate(StrEnum):
    """The effect of an erasure on the content of a column."""

    ERASED = "erased"
    """It may be personal: it is cleared, reduced, or deleted with its row."""
    WITH_ITS_ROW = "with its row"
    """A word that the program defines, in a row that is deleted."""
    ID = "id"
    """An id of a customer, an order, an event …: it stays, because the ledger and published events refer to it."""
    WORD = "word"
    """A word that the program or the shop's catalog defines, such as a state, a currency or a sku."""
    NUMBERS = "numbers"
    """Points, money, quantities, days and ids, also as JSON."""
    DIGEST = "digest"
    """A hash: nothing can be read from it."""
    PROGRAM = "program"
    """It is about no customer."""
    PUBLISHED = "published"
    """It is deleted as soon as it is published: ids, points and times."""


E, R, ID, W, N = Fate.ERASED, Fate.WITH_ITS_ROW, Fate.ID, Fate.WORD, Fate.NUMBERS
P, D = Fate.PROGRAM, Fate.DIGEST

PLATFORM: Mapping[str, Fate] = {
    **dict.fromkeys(("dead_letter.key", "dead_letter.value", "dead_letter.error"), E),
    **dict.fromkeys(("dead_letter.header_names", "dead_letter.header_values"), E),
    "dead_letter.customer_ids": ID,
    "dead_letter.reason": W,
    "dead_letter.topic": P,
    "dead_letter.type": W,
    "erasure.customer_id": ID,
    "idempotency_key.body": E,
    "idempotency_key.customer_id": ID,
    "idempotency_key.fingerprint": D,
    "idempotency_key.key": ID,
    "idempotency_key.principal": ID,
    "inbox.received_on": P,
    "outbox.key": ID,
    "outbox.topic": P,
    "outbox.value": Fate.PUBLISHED,
    **dict.fromkeys(("document_version.document", "document_version.id", "document_version.kind"), P),
    **dict.fromkeys(("document_version.created_by", "document_version.changed_by", "document_version.published_by"), P),
    "document_version.note": P,
    **dict.fromkeys(("position.cluster_id", "position.consumer_group", "position.topic"), P),
    **dict.fromkeys(("schema_migration.checksum", "schema_migration.name", "schema_migration.package"), P),
    **dict.fromkeys(("waiting.header_names", "waiting.header_values", "waiting.value"), E),
    "waiting.about": ID,
    "waiting.customer_id": ID,
    "waiting.key": ID,
    "waiting.natural_id": ID,
    "waiting.topic": P,
}

POINTS: Mapping[str, Fate] = {
    "account.customer_id": ID,
    "adjustment.customer_id": ID,
    "adjustment.note": E,
    "adjustment.reason": E,
    "adjustment.principal": ID,
    "accrual.customer_id": ID,
    "accrual.event": W,
    "accrual.facts": W,
    "accrual.found": N,
    "accrual.given": N,
    "accrual.origin": ID,
    "accrual.tier": W,
    "birth.born": E,
    "birth.customer_id": ID,
    "day_done.day": P,
    "day_done.step": P,
    "expiry_notice.customer_id": ID,
    "hold.customer_id": ID,
    "hold.portions": N,
    "hold.reference": ID,
    "hold.state": W,
    **dict.fromkeys(("every_posting.source", "every_posting.target"), W),
    "limit_use.owner": ID,
    "limit_use.rule": W,
    "limit_use.span": W,
    "lot.customer_id": ID,
    "lot.origin": ID,
    "lot.rule": W,
    "order_transaction.customer_id": ID,
    "order_transaction.order_id": ID,
    "posting.source": W,
    "posting.target": W,
    "posting_before.source": W,
    "posting_before.target": W,
    "program_account.kind": P,
    "purchase.body": E,
    "purchase.customer_id": ID,
    "purchase.found": N,
    "purchase.given": N,
    "purchase.multiplier": N,
    "purchase.order_id": ID,
    "purchase.refunded": N,
    "purchase.source": W,
    "purchase.tier": W,
    "redemption.customer_id": ID,
    "redemption.reference": ID,
    "redemption.reward_id": ID,
    "referral_payment.customer_id": ID,
    "referral_payment.referral_id": ID,
    "refund.amount": N,
    "refund.checkpoint": N,
    "refund.currency": W,
    "refund.customer_id": ID,
    "refund.lines": N,
    "refund.order_id": ID,
    "refund.refund_id": ID,
    **dict.fromkeys(("resettling.causation_id", "resettling.correlation_id", "resettling.customer_id"), ID),
    "reward.id": P,
    "reward.kind": P,
    "reward.minimum_tier": P,
    "reward.name": P,
    "tier_entry.customer_id": ID,
    "tier_entry.multiplier": N,
    "tier_entry.tier": W,
    "transaction.customer_id": ID,
    "transaction.inputs": E,
    "transaction.kind": W,
    "transaction.reason": E,
    "transaction.receipt_digest": D,
}

TIERS: Mapping[str, Fate] = {
    "assignment.actor": ID,
    "assignment.customer_id": ID,
    "assignment.note": E,
    "assignment.tier": W,
    "at_risk.customer_id": ID,
    **dict.fromkeys(("benefit_use.customer_id", "benefit_use.principal", "benefit_use.reference"), ID),
    **dict.fromkeys(("benefit_use.benefit", "benefit_use.tier"), W),
    "counted.about": ID,
    "counted.customer_id": ID,
    "counted.key": ID,
    "counted.kind": W,
    "counted.name": W,
    "customer.customer_id": ID,
    "customer.rejudge_for": ID,
    "customer.state": N,
    "customer.tier": W,
    "purchase.currency": W,
    "purchase.folded": N,
    "purchase.customer_id": ID,
    "purchase.lines": N,
    "purchase.order_id": ID,
    "purchase.source": W,
    "refund.customer_id": ID,
    "refund.lines": N,
    "refund.order_id": ID,
    "refund.refund_id": ID,
    "rejudging.customer_id": ID,
    "rejudging.late_for": ID,
    "reversing.about": ID,
    "reversing.customer_id": ID,
    "reversing.state": N,
    "simulation.created_by": P,
    "simulation.failure": P,
    "simulation.result": P,
    "simulation.state": P,
    **dict.fromkeys(("simulation_customers.customer_ids", "slice.after_id", "slice.until_id"), ID),
    **dict.fromkeys(("simulation_customers.from_tier", "simulation_customers.to_tier"), W),
    "simulation_customers.whys": N,
    "slice.outcome": P,
    "taken.about": ID,
    "taken.customer_id": ID,
    "taken.metric": W,
    "taken.name": W,
    "tier_change.actor": ID,
    "tier_change.correlation_id": ID,
    "tier_change.customer_id": ID,
    "tier_change.event_id": ID,
    "tier_change.event_source": W,
    "tier_change.from_tier": W,
    "tier_change.kind": W,
    "tier_change.metrics": N,
    "tier_change.timeline": N,
    "tier_change.note": E,
    "tier_change.published_id": ID,
    "tier_change.reason": W,
    "tier_change.to_tier": W,
    "timeline.customer_id": ID,
    "timeline.from_tier": W,
    "timeline.kind": W,
    "timeline.points_multiplier": N,
    "timeline.reason": W,
    "timeline.state": N,
    "timeline.tier": W,
}

REFERRALS: Mapping[str, Fate] = {
    "advocate.customer_id": ID,
    "customer_registered.customer_id": ID,
    "evidence.customer_id": ID,
    "evidence.payload": D,  # encrypted; it goes with its row, see tests/referrals/evidence
    "purchase.currency": W,
    "purchase.customer_id": ID,
    "purchase.lines": N,
    "purchase.order_id": ID,
    "purchase.source": W,
    "referral.advocate_id": ID,
    "referral.causation_id": ID,
    "referral.counted": ID,
    "referral.signals": W,
    "referral.code": ID,
    "referral.correlation_id": ID,
    "referral.friend_id": ID,
    "referral.kept": N,
    "referral.order_id": ID,
    "referral.reason": W,
    "referral.state": W,
    "referral_click.code": ID,
    "referral_click.day": P,
    "referral_step.actor": ID,
    "referral_step.note": E,
    "referral_step.reason": W,
    "referral_step.state": W,
    "referral_code.code": E,
    "referral_code.customer_id": ID,
    "referral_code.key": D,
    "replay.created_by": P,
    "replay.failure": W,
    "replay.result": N,
    "replay.state": W,
    "retired_code.code": ID,
    "sign_up_trace.advocate_id": ID,
    "sign_up_trace.code": ID,
    "sign_up_trace.friend_id": ID,
    **dict.fromkeys(("slice.after_id", "slice.outcome", "slice.until_id"), N),
    "refund.customer_id": ID,
    "refund.lines": N,
    "refund.order_id": ID,
    "refund.refund_id": ID,
}

NOTIFICATIONS: Mapping[str, Fate] = {
    "customer.customer_id": ID,
    "customer.details": E,
    "message.body": E,
    "message.facts": E,
    "message.customer_id": R,
    "message.occasion": R,
    "message.title": R,
    **dict.fromkeys(("message.causation_id", "message.correlation_id", "message.traceparent"), R),
    **dict.fromkeys(("message.channel", "message.kind", "message.locale", "message.reason"), R),
    "message.state": R,
    "message.trigger": R,
}

OWN: Mapping[str, Mapping[str, Fate]] = {
    "points": POINTS,
    "tiers": TIERS,
    "referrals": REFERRALS,
    "notifications": NOTIFICATIONS,
}
"""The columns of each service besides those of the platform."""


def columns(service: str) -> Mapping[str, Fate]:
    """All columns of a service's database that can hold text or bytes."""
    return {**OWN.get(service, {}), **PLATFORM}
