"""The events that notifications subscribes to, and its jobs."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from services.notifications.channels.opening import open_all, open_webhooks
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
from services.notifications.rules.message import Channel
from services.notifications.sending import Sender
from services.notifications.sending.ways import Mails, Pushes, Texts, Way
from services.notifications.sending.webhooks import Dispatcher
from services.notifications.settings import Settings
from services.notifications.store import deliveries, endpoints, erasing, happened, mails, marks, runs, timers, totals
from shared.messaging.worker import DueWork, Job, WorkerSpec, subscriptions

_LONGEST: Final = timedelta(seconds=30)
"""How long a job goes on sending while more is due; then it closes what it does not need any more."""


_JOBS: Final = {
    Channel.EMAIL: "send mails",
    Channel.SMS: "send text messages",
    Channel.PUSH: "send pushes",
}


class Tools(NamedTuple):
    """What the jobs of notifications work with; each channel has a sender of its own."""

    desk: Desk
    senders: tuple[Sender, ...]


def open_tools(settings: Settings) -> Tools:
    """The tools of the jobs.

    Raises:
        ValueError: a key of the settings cannot be used.
    """
    library = Library.of(settings)
    judge = Judge(settings.gate_limits(), settings.keys())
    experiments = Experiments(settings.keys().sharing)
    desk = Desk(ZoneInfo(settings.time_zone), partial(make, Maker(library, judge)), experiments.arms)
    claimer, channels = Claimer(judge, desk.journeys), open_all(settings)
    ways: tuple[Way, ...] = (
        Mails(library, channels.email, settings.links),
        Texts(library, channels.sms, settings.sms_opt_out),
        Pushes(library, channels.push),
    )
    return Tools(desk, tuple(Sender(claimer, way, _batch(settings, way), settings.mail_attempts) for way in ways))


def spec(settings: Settings) -> WorkerSpec:
    """The worker of notifications.

    Raises:
        ValueError: a key of the settings cannot be used.
    """
    tools = open_tools(settings)
    senders = [replace(sender, longest=_LONGEST) for sender in tools.senders]
    secret = None if settings.secret is None else settings.secret.get_secret_value()
    dispatcher = Dispatcher(open_webhooks(settings), secret)
    return WorkerSpec(
        service=settings.service,
        subscriptions=subscriptions(HEARD | profile.TYPES | webhook.FROM_KAFKA),
        handle=partial(events.handle, tools.desk),
        erase=erasing.erase,
        due_work=(
            DueWork("messages to send", mails.count_due),
            DueWork("webhooks to send", deliveries.count_due),
            DueWork("runs of journeys to move", runs.count_due),
            DueWork("runs of journeys to start", timers.count_due),
        ),
        jobs=(
            # Each channel has a job of its own: a slow provider delays nobody else.
            *(Job(_JOBS[sender.channel], timedelta(seconds=1), sender.run) for sender in senders),
            Job("send webhooks", timedelta(seconds=1), dispatcher.run),
            Job("delete what webhooks leave", timedelta(minutes=10), endpoints.clear),
            Job("add up totals of messages", timedelta(minutes=1), totals.add_up),
            Job("refresh the search for customers", timedelta(minutes=1), searching.refresh),
            Job("forget deliveries of webhooks", timedelta(hours=1), deliveries.forget),
            Job("forget reports of providers", timedelta(hours=1), marks.forget),
            Job("move runs of journeys", timedelta(seconds=1), partial(sweep_up, desk=tools.desk)),
            Job("set timers of journeys", timedelta(seconds=5), partial(set_timers, desk=tools.desk)),
            Job("forget what happened", timedelta(hours=1), happened.forget),
        ),
    )


def _batch(settings: Settings, way: Way) -> int:
    """How many messages a run claims: few, so that a changed preference is obeyed by what is sent next."""
    return min(settings.mail_batch, 4 * way.connections)
