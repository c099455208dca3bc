"""Records the outcomes of mails, and announces them."""

from collections.abc import Sequence

from services.notifications.handlers import announcing
from services.notifications.rules.message import State
from services.notifications.store import customers, mails
from services.notifications.store.mails import Settled
from shared.contracts.envelope import Publication
from shared.contracts.loyalty import MessageChanged
from shared.postgres.pool import Connection


async def settle(connection: Connection, outcomes: Sequence[Settled]) -> None:
    """Record the outcomes of mails, and publish those that are final, and that a mail is held anew."""
    locked = await customers.lock(connection, {outcome.mail.customer_id for outcome in outcomes})
    assert all(outcome.mail.customer_id in locked for outcome in outcomes), "every customer is locked"
    changed = await mails.settle(connection, outcomes)
    told = [outcome for outcome in outcomes if outcome.mail.id in changed and _is_told(outcome)]
    await announcing.announce(connection, [_of_outcome(outcome) for outcome in told])


def _is_told(outcome: Settled) -> bool:
    if outcome.due_at is None:
        return True
    before = (outcome.mail.state, outcome.mail.reason)
    return outcome.state is State.HELD and before != (State.HELD, outcome.reason)


def _of_outcome(outcome: Settled) -> Publication:
    mail = outcome.mail
    data = MessageChanged(
        customer_id=mail.customer_id,
        message_id=str(mail.id),
        trigger=mail.trigger,
        template=mail.template,
        template_version=outcome.template_version,
        locale=outcome.locale,
        channel=mail.channel,
        reason=outcome.reason,
    )
    return announcing.publish(outcome.state, mail.occurred_at, data, mail.cause)
