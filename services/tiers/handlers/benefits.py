"""The use of a benefit, under the customer's lock: two at once never exceed what is left."""

from typing import Any

from services.tiers.handlers.announcing import SOURCE
from services.tiers.handlers.opening import Call, open_customer
from services.tiers.handlers.standing import see
from services.tiers.rules.program.versions import Versions
from services.tiers.store import benefits
from services.tiers.store.benefits import Use
from shared.contracts.envelope import publication
from shared.messaging import outbox
from shared.postgres.pool import Connection


class NotEntitledError(Exception):
    """The customer's tier does not list the benefit now."""


class UsedUpError(Exception):
    """The benefit was used as often as it can be."""


async def use(connection: Connection, versions: Versions, call: Call, benefit_id: str, reference: str) -> Use:
    """Use a benefit; the same reference again returns the first use.

    Raises:
        NotEntitledError: the tier of now does not list it, or its window does not contain now.
        UsedUpError: nothing is left of it.
    """
    await open_customer(connection, versions, call)
    first = await benefits.find(connection, call.customer_id, benefit_id, reference)
    if first is not None:
        return first
    seen = await see(connection, versions, call.customer_id, call.now)
    own = next((own for own in seen.benefits if own.benefit.id == benefit_id), None)
    if own is None:
        raise NotEntitledError
    if own.left == 0:
        raise UsedUpError
    left = None if own.left is None else own.left - 1
    tier, version = seen.status.tier.id, seen.status.program.version
    used = Use(call.customer_id, benefit_id, reference, call.now, left, tier, version, call.principal)
    await benefits.add(connection, used)
    data: dict[str, Any] = {
        "customer_id": call.customer_id,
        "benefit_id": benefit_id,
        "kind": own.benefit.kind,
        "reference": reference,
        "tier": tier,
    }
    if left is not None:
        data["left"] = left
    await outbox.announce(connection, [publication("loyalty.tier.benefit_used.v1", call.now, data, call.cause, SOURCE)])
    return used
