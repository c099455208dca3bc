"""What a customer wants to get: channels, topics on channels, quiet hours, and the locale and zone to use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.notifications.rules.message import Channel, Topic
from services.notifications.rules.quiet import QuietHours

SWITCHED: Final = (Channel.EMAIL, Channel.SMS, Channel.PUSH)
"""The channels that a customer can turn off as a whole, and can consent to marketing on."""

Choice = tuple[Topic, Channel]
"""A topic on a channel."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """A customer's preferences; what was never chosen has its default.

    `locale` and `time_zone` override those of the profile, `quiet_hours` the default of the settings. `off` are the
    channels, `topics_off` the topics on a channel that the customer turned off.
    """

    locale: str | None = None
    time_zone: str | None = None
    quiet_hours: QuietHours | None = None
    off: frozenset[Channel] = frozenset()
    topics_off: frozenset[Choice] = frozenset()

    def wants(self, channel: Channel) -> bool:
        """Whether the channel is on. The inbox always is."""
        return channel not in self.off

    def wants_topic(self, topic: Topic, channel: Channel) -> bool:
        """Whether the topic is on, on this channel."""
        return (topic, channel) not in self.topics_off


_CHOICES: Final = {f"{topic}/{channel}": (topic, channel) for topic in Topic for channel in Channel}

DEFAULT: Final = Preferences()
"""The preferences of a customer who chose nothing."""


def without_topic(preferences: Preferences, topic: Topic, channel: Channel) -> Preferences:
    """The preferences with a topic turned off on a channel."""
    return replace(preferences, topics_off=preferences.topics_off | {(topic, channel)})


def without_channel(preferences: Preferences, channel: Channel) -> Preferences:
    """The preferences with a channel turned off."""
    return replace(preferences, off=preferences.off | {channel})


def switched_off(topics: Mapping[Topic, Mapping[Channel, bool]]) -> frozenset[Choice]:
    """The choices that are off in a table of topics and channels."""
    return frozenset((topic, channel) for topic, row in topics.items() for channel, is_on in row.items() if not is_on)


def to_words(choices: Collection[Choice]) -> list[str]:
    """Choices as they are stored: `offers/email`, sorted."""
    return sorted(f"{topic}/{channel}" for topic, channel in choices)


def from_words(words: Collection[str]) -> frozenset[Choice]:
    """Choices from how they are stored; those of another release that have no meaning here are left out."""
    return frozenset(_CHOICES[word] for word in words if word in _CHOICES)
