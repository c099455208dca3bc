"""The referral program as marketing writes it: one versioned document.

This model reads every version that was ever published; what is required of new versions only is in checking.py.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from services.referrals.rules.program.signals import SIGNALS, Action, SignalId
from shared.contracts.values import Currency, TimeZone
from shared.programs.values import Amount, Locale, Part, Rate

MOST_DAYS: Final = 36_500
"""The maximum of every number of days: a hundred years."""

MOST_POINTS: Final = 10**9

DEFAULT_SHARE: Final[Mapping[str, str]] = {
    "en": "Join me, and we both get points with your first order: {link}",
    "ar": "انضم إليّ، ونحصل كلانا على نقاط مع طلبك الأول: {link}",
}
"""The texts that customers share where a document has none."""

Per = Literal["day", "week", "month", "year", "ever"]
Scope = Literal["advocate", "program"]

Points = Annotated[int, Field(strict=True, ge=0, le=MOST_POINTS)]
Days = Annotated[int, Field(strict=True, ge=1, le=MOST_DAYS)]
Count = Annotated[int, Field(strict=True, ge=1, le=10**6)]
Score = Annotated[int, Field(strict=True, ge=1, le=10**6)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=r"^[^\x00]*$")]


class Qualifies(Part):
    """The order that qualifies a referral."""

    nth_order: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=1_000,
            description="Which of the friend's orders of at least the amount qualifies, counted from the sign-up.",
        ),
    ] = 1
    amount_at_least: Annotated[
        Amount,
        Field(
            description="The least amount of an order that counts, as a decimal string with at most 4 decimals. "
            "Refunds that leave less of the qualifying order take the referral back.",
            examples=["20.00"],
        ),
    ]
    within_days: Annotated[Days, Field(description="Days of 24 hours after the sign-up in which orders count.")]


class Milestone(Part):
    """More points for the advocate, with the approval that makes their approved referrals this many."""

    count: Annotated[Count, Field(description="The number of approved referrals.")]
    points: Annotated[int, Field(strict=True, ge=1, le=MOST_POINTS, description="The points on top.")]


class Cap(Part):
    """A limit on what is paid in a period; it has either a count of rewards or a number of points."""

    count: Annotated[Count | None, Field(description="The most referrals that are rewarded.")] = None
    points: Annotated[
        int | None,
        Field(strict=True, ge=1, le=10**15, description="The most points that are paid."),
    ] = None
    per: Annotated[Per, Field(description="The period, of the program's time zone; weeks begin on Monday.")]
    scope: Annotated[
        Scope,
        Field(
            description="`advocate`: what one advocate gets. `program`: what advocates and friends get together; the "
            "advocate's points are cut first."
        ),
    ] = "advocate"


def _plain(value: object) -> object:
    """A threshold as it is stored: a JSON number with decimals becomes the decimal string that was written."""
    if not isinstance(value, float):
        return value
    try:
        return f"{Decimal(repr(value)):f}"
    except (InvalidOperation, ValueError):
        return value


class SignalDocument(Part):
    """What a signal does when it holds."""

    id: Annotated[SignalId, Field(description="The signal.")]
    action: Annotated[
        Action,
        Field(
            description="`score` adds the weight to the score; `flag` and `block` act by themselves and add it too. "
            "Default: `flag`, but `block` for `self`, `already_bought` and `already_referred`."
        ),
    ] = "flag"
    weight: Annotated[int, Field(strict=True, ge=0, le=1_000, description="What the signal adds to the score.")] = 0
    threshold: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=10**9)]
        | Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(?:\.[0-9]{1,9})?$")]
        | None,
        BeforeValidator(_plain),
        Field(
            description="The least value at which a signal that counts or compares holds: a whole number, and of "
            "`similar_email` a decimal string. Default: the signal's own.",
            examples=["0.9", 10],
        ),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: Any) -> Any:  # noqa: ANN401 whatever was sent
        """Spell out the signal's own action and threshold: a published version keeps them when defaults change."""
        if not isinstance(data, dict):
            return data
        sent = cast("dict[str, Any]", data)
        id_ = sent.get("id")
        signal = SIGNALS.get(cast("SignalId", id_)) if isinstance(id_, str) else None
        if signal is None:
            return sent
        filled = {"action": signal.action, **sent}
        if signal.threshold is not None and sent.get("threshold") is None:
            filled["threshold"] = signal.threshold.default
        return filled


class Undecided(Part):
    """What becomes of a flagged referral that nobody decides."""

    after_days: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=MOST_DAYS,
            description="Days of 24 hours after the referral was flagged; never before it is due.",
        ),
    ] = 14
    then: Annotated[Literal["approve", "reject"], Field(description="What happens then.")] = "approve"


class Blocklist(Part):
    """Friends for whom the signal `blocklist` holds."""

    addresses: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=3, max_length=320)], ...],
        Field(max_length=10_000, description="E-mail addresses."),
    ] = ()
    domains: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=253)], ...],
        Field(max_length=10_000, description="Domains of e-mail addresses."),
    ] = ()
    cidrs: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=2, max_length=64)], ...],
        Field(max_length=1_000, description="Networks, as CIDR (`203.0.113.0/24`, `2001:db8::/48`)."),
    ] = ()
    countries: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")], ...],
        Field(max_length=300, description="Countries (ISO 3166-1 alpha-2)."),
    ] = ()


def _with_english(value: object) -> object:
    """The texts with an English one, which customers of all other languages share."""
    return {"en": DEFAULT_SHARE["en"], **cast("dict[str, object]", value)} if isinstance(value, dict) else value


class ProgramDocument(Part):
    """A referral program."""

    advocate_points: Annotated[Points, Field(description="The points that an approved referral gives the advocate.")]
    friend_points: Annotated[Points, Field(description="The points that an approved referral gives the friend.")]
    milestones: Annotated[
        tuple[Milestone, ...], Field(max_length=50, description="Points on top for a number of approved referrals.")
    ] = ()
    currency: Annotated[Currency, Field(description="The currency of the amount (ISO 4217).")]
    rates: dict[Currency, Rate] = Field(
        default_factory=dict,
        description="What 1.00 of another currency is worth in the program's. An order in any other currency "
        "qualifies nothing.",
    )
    time_zone: Annotated[TimeZone, Field(description="The IANA time zone of the periods of caps.")] = "UTC"
    link: Annotated[
        str | None,
        StringConstraints(max_length=2_000),
        Field(
            description="The page to which referral links lead, with `{code}` where the code stands. Default: "
            "`WAFA_REFERRALS_SHOP_URL` with `ref={code}`.",
            examples=["https://shop.example.org/?ref={code}"],
        ),
    ] = None
    qualifies: Annotated[Qualifies, Field(description="The order that qualifies a referral.")]
    hold_days: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=MOST_DAYS,
            description="Days of 24 hours from the qualifying order to the approval; 0: it is approved at once.",
        ),
    ] = 0
    caps: Annotated[tuple[Cap, ...], Field(max_length=20, description="Limits on what is paid.")] = ()
    signals: Annotated[
        tuple[SignalDocument, ...],
        Field(max_length=50, description="The signals that are on. `self` is always: it blocks."),
    ] = ()
    flag_at: Annotated[Score, Field(description="The score from which a referral waits for a person's decision.")] = 50
    block_at: Annotated[Score, Field(description="The score from which a referral is rejected.")] = 100
    blocklist: Annotated[Blocklist, Field(description="For whom the signal `blocklist` holds.")] = Blocklist()
    undecided: Annotated[Undecided, Field(description="What becomes of a flagged referral that nobody decides.")] = (
        Undecided()
    )
    share: Annotated[
        dict[Locale, Text],
        BeforeValidator(_with_english),
        Field(
            max_length=100,
            description="The text that a customer shares, by locale, with `{link}` where the link stands. `en` is that "
            "of all other languages.",
        ),
    ] = Field(default_factory=lambda: dict(DEFAULT_SHARE))
