"""The words that messages are described by: channel, kind, topic, state, and the reasons of a state."""

from enum import StrEnum


class Channel(StrEnum):
    """A channel on which a message is sent."""

    IN_APP = "in_app"
    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"


class Kind(StrEnum):
    """Whether a message needs the customer's consent."""

    TRANSACTIONAL = "transactional"
    """Needs no consent: it follows from what the customer did."""
    MARKETING = "marketing"
    """Needs consent on its channel."""


class Topic(StrEnum):
    """What a message is about; customers opt out by topic."""

    ACCOUNT = "account"
    POINTS = "points"
    TIERS = "tiers"
    REFERRALS = "referrals"
    ORDERS = "orders"
    SURVEYS = "surveys"
    OFFERS = "offers"
    NEWS = "news"


class State(StrEnum):
    """The state of a message on its channel."""

    HELD = "held"
    QUEUED = "queued"
    SENT = "sent"
    SKIPPED = "skipped"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a message is held, skipped or failed: those of the gate first, in their order."""

    ERASED = "erased"
    NO_ADDRESS = "no_address"
    SUPPRESSED = "suppressed"
    OPTED_OUT = "opted_out"
    TOPIC_OPTED_OUT = "topic_opted_out"
    NO_CONSENT = "no_consent"
    TOO_OLD = "too_old"
    FREQUENCY_CAP = "frequency_cap"
    QUIET_HOURS = "quiet_hours"
    NO_PROFILE = "no_profile"
    BAD_ADDRESS = "bad_address"
    DUPLICATE = "duplicate"
    HOLDOUT = "holdout"
    JOURNEY_STOPPED = "journey_stopped"
    TEMPLATE_ERROR = "template_error"
    REJECTED = "rejected"
    GIVEN_UP = "given_up"
