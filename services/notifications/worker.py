"""The events that notifications subscribes to, and its jobs."""

from datetime import timedelta
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.notifications.channels.opening import open_email, open_webhooks
from services.notifications.handlers import events, searching
from services.notifications.handlers.claiming import Claimer
from services.notifications.handlers.desk import Desk
from services.notifications.handlers.experimenting import Experiments
from services.notifications.handlers.judging import Judge
from services.notifications.handlers.library import Library
from services.notifications.handlers.making import Maker, make
from services.notifications.handlers.sweeping import sweep_up
from services.notifications.handlers.timing import set_timers
from services.notifications.rules import profile, webhook
from services.notifications.rules.journey.triggers import HEARD
from services.notifications.sending import Sender
from services.notifications.sending.webhooks import Dispatcher
from services.notifications.settings import Settings
from services.notifications.store import deliveries, endpoints, erasing, happened, mails, runs, timers, totals
from shared.messaging.worker import DueWork, Job, WorkerSpec, subscriptions


class Tools(NamedTuple):
    """What the jobs of notifications work with."""

    desk: Desk
    sender: Sender


def open_tools(settings: Settings) -> Tools:
    """The tools of the jobs.

    Raises:
        ValueError: a key of the settings cannot be used.
    """
    library = Library.of(settings)
    judge = Judge(settings.gate_limits(), settings.keys())
    experiments = Experiments(settings.keys().sharing)
    desk = Desk(ZoneInfo(settings.time_zone), partial(make, Maker(library, judge)), experiments.arms)
    return Tools(
        desk,
        Sender(
            library, Claimer(judge, desk.journeys), open_email(settings), settings.mail_batch, settings.mail_attempts
        ),
    )


def spec(settings: Settings) -> WorkerSpec:
    """The worker of notifications.

    Raises:
        ValueError: a key of the settings cannot be used.
    """
    desk, sender = open_tools(settings)
    secret = None if settings.secret is None else settings.secret.get_secret_value()
    dispatcher = Dispatcher(open_webhooks(settings), secret)
    return WorkerSpec(
        service=settings.service,
        subscriptions=subscriptions(HEARD | profile.TYPES | webhook.FROM_KAFKA),
        handle=partial(events.handle, desk),
        erase=erasing.erase,
        due_work=(
            DueWork("mails to send", mails.count_due),
            DueWork("webhooks to send", deliveries.count_due),
            DueWork("runs of journeys to move", runs.count_due),
            DueWork("runs of journeys to start", timers.count_due),
        ),
        jobs=(
            Job("send mails", timedelta(seconds=1), sender.run),
            Job("send webhooks", timedelta(seconds=1), dispatcher.run),
            Job("delete what webhooks leave", timedelta(minutes=10), endpoints.clear),
            Job("add up totals of messages", timedelta(minutes=1), totals.add_up),
            Job("refresh the search for customers", timedelta(minutes=1), searching.refresh),
            Job("forget deliveries of webhooks", timedelta(hours=1), deliveries.forget),
            Job("move runs of journeys", timedelta(seconds=1), partial(sweep_up, desk=desk)),
            Job("set timers of journeys", timedelta(seconds=5), partial(set_timers, desk=desk)),
            Job("forget what happened", timedelta(hours=1), happened.forget),
        ),
    )
