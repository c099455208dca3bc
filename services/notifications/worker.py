"""The events that notifications subscribes to, and its jobs."""

from datetime import timedelta
from functools import partial

from services.notifications.channels.opening import open_email, open_webhooks
from services.notifications.handlers import events, searching
from services.notifications.handlers.judging import Judge
from services.notifications.handlers.library import Library
from services.notifications.handlers.making import Maker
from services.notifications.rules import notice, profile, webhook
from services.notifications.sending import Sender
from services.notifications.sending.webhooks import Dispatcher
from services.notifications.settings import Settings
from services.notifications.store import deliveries, endpoints, erasing, mails
from shared.messaging.worker import DueWork, Job, WorkerSpec, subscriptions


def spec(settings: Settings) -> WorkerSpec:
    """The worker of notifications.

    Raises:
        ValueError: a key of the settings cannot be used.
    """
    library = Library.of(settings)
    judge = Judge(settings.gate_limits(), settings.keys())
    sender = Sender(library, judge, open_email(settings), settings.mail_batch, settings.mail_attempts)
    secret = None if settings.secret is None else settings.secret.get_secret_value()
    dispatcher = Dispatcher(open_webhooks(settings), secret)
    return WorkerSpec(
        service=settings.service,
        subscriptions=subscriptions(notice.TYPES | profile.TYPES | webhook.FROM_KAFKA),
        handle=partial(events.handle, Maker(library, judge)),
        erase=erasing.erase,
        due_work=(DueWork("mails to send", mails.count_due), DueWork("webhooks to send", deliveries.count_due)),
        jobs=(
            Job("send mails", timedelta(seconds=1), sender.run),
            Job("send webhooks", timedelta(seconds=1), dispatcher.run),
            Job("delete what webhooks leave", timedelta(minutes=10), endpoints.clear),
            Job("refresh the search for customers", timedelta(minutes=1), searching.refresh),
            Job("forget deliveries of webhooks", timedelta(hours=1), deliveries.forget),
        ),
    )
