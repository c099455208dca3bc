"""The responses about referrals."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.referrals.rules.describing import Described
from services.referrals.rules.program.signals import Action, words
from services.referrals.rules.referral import Ground, Referral, State
from services.referrals.store.steps import Recorded

_WHERE_SET = Field(exclude_if=lambda value: value is None)

_SHOWN = {Ground.REFUNDED: "refunded", Ground.CAP: "cap"}
"""The reasons that an advocate sees as they are."""


class ReferralView(BaseModel):
    """A referral as its advocate sees it: without the friend's identity and purchases."""

    model_config = ConfigDict(frozen=True)

    referral_id: UUID = Field(description="The id of the referral.")
    state: State = Field(description="The state of the referral, as its latest published event has it.")
    reason: Literal["refunded", "cap", "not_eligible"] | None = Field(
        description="Why the referral was rejected or voided, or that a cap cut the points of an approved one; null in "
        "other states. `not_eligible` stands for all that concerns the friend, and for decisions."
    )
    signed_up_at: datetime = Field(description="When the friend signed up with the code.")
    approved_at: datetime | None = Field(description="When the referral was approved; null where it never was.")
    closed_at: datetime | None = Field(
        description="When the referral was rejected or voided, or expired; null in other states."
    )
    advocate_points: int = Field(description="The points that the referral gives the advocate; 0 unless approved.")
    friend_points: int = Field(description="The points that the referral gives the friend; 0 unless approved.")

    @classmethod
    def of(cls, referral: Referral) -> "ReferralView":
        """The view of a referral."""
        stands = referral.state is State.APPROVED
        return cls(
            referral_id=referral.referral_id,
            state=referral.state,
            reason=_shown(referral),  # pyright: ignore[reportArgumentType] one of the three
            signed_up_at=referral.signed_up_at,
            approved_at=referral.approved_at,
            closed_at=referral.closed_at,
            advocate_points=(referral.advocate_points or 0) if stands else 0,
            friend_points=(referral.friend_points or 0) if stands else 0,
        )


def _shown(referral: Referral) -> str | None:
    if referral.reason is not None and referral.reason in _SHOWN:
        return _SHOWN[referral.reason]
    return "not_eligible" if referral.state in {State.REJECTED, State.VOIDED} else None


class SignalView(BaseModel):
    """A signal that speaks against a referral."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(examples=["same_device"], description="Id of the signal.")
    action: Action = Field(description="What the program did with the signal when it was found last.")
    weight: int = Field(description="What the signal adds to the score.")
    words: str = Field(description="The signal in words.")
    at: datetime = Field(description="When it was found first: the time of what was judged.")


class StepView(BaseModel):
    """A change of a referral's state."""

    model_config = ConfigDict(frozen=True)

    at: datetime = Field(description="The time of the change, as its event has it.")
    recorded_at: datetime = Field(description="When it was recorded.")
    state: State = Field(description="The state from then on.")
    reason: Annotated[str | None, _WHERE_SET] = Field(default=None, description="Why.")
    actor: str = Field(examples=["system"], description="`system`, or who decided, as `key:ID` or `token:SUB`.")
    note: Annotated[str | None, _WHERE_SET] = Field(default=None, description="What the person wrote.")


class ReviewView(BaseModel):
    """A referral as the people see it who review it."""

    model_config = ConfigDict(frozen=True)

    id: UUID = Field(description="The id of the referral.")
    advocate_id: str = Field(description="The customer id of the advocate.")
    friend_id: str = Field(description="The customer id of the friend.")
    code: str = Field(description="The code with which the friend signed up.")
    state: State = Field(description="The state.")
    reason: Annotated[Ground | None, _WHERE_SET] = Field(
        default=None, description="Why it was rejected or voided, or what is special about its approval."
    )
    score: int = Field(description="The sum of the weights of its signals.")
    signals: tuple[SignalView, ...] = Field(description="The signals that were found.")
    program_version: int = Field(description="The version of the program at the sign-up, whose rewards apply.")
    signed_up_at: datetime = Field(description="When the friend signed up.")
    order_id: Annotated[str | None, _WHERE_SET] = Field(default=None, description="The order that qualified it.")
    qualified_at: Annotated[datetime | None, _WHERE_SET] = Field(default=None, description="The time of that order.")
    due_at: Annotated[datetime | None, _WHERE_SET] = Field(default=None, description="When the hold is over.")
    undecided_at: Annotated[datetime | None, _WHERE_SET] = Field(
        default=None, description="When a flagged referral is settled without a person."
    )
    approved_at: Annotated[datetime | None, _WHERE_SET] = Field(default=None, description="When it was approved.")
    closed_at: Annotated[datetime | None, _WHERE_SET] = Field(
        default=None, description="When it was rejected or voided, or expired."
    )
    advocate_points: Annotated[int | None, _WHERE_SET] = Field(
        default=None, description="The points that the approval gave the advocate, milestones included."
    )
    friend_points: Annotated[int | None, _WHERE_SET] = Field(
        default=None, description="The points that the approval gave the friend."
    )
    history: tuple[StepView, ...] = Field(description="Every change of its state, in the order of recording.")

    @classmethod
    def of(cls, referral: Referral, history: Sequence[Recorded]) -> "ReviewView":
        """The view of a referral with its history."""
        return cls.model_validate(_fields(referral, history))


class FactsView(BaseModel):
    """What is known of both sides, in words and without personal data."""

    model_config = ConfigDict(frozen=True)

    advocate: tuple[str, ...] = Field(description="Sentences about the advocate.")
    friend: tuple[str, ...] = Field(description="Sentences about the friend.")
    both: tuple[str, ...] = Field(description="What both have in common.")


class DetailedView(ReviewView):
    """A referral with the facts about both sides."""

    facts: FactsView = Field(description="What is known of both sides.")

    @classmethod
    def with_facts(cls, referral: Referral, history: Sequence[Recorded], described: Described) -> "DetailedView":
        """The view of a referral with its history and what is known of both sides."""
        return cls.model_validate(_fields(referral, history) | {"facts": described._asdict()})


def _fields(referral: Referral, history: Sequence[Recorded]) -> dict[str, object]:
    return {
        "id": referral.referral_id,
        "advocate_id": referral.advocate_id,
        "friend_id": referral.friend_id,
        "code": referral.code,
        "state": referral.state,
        "reason": referral.reason,
        "score": referral.score,
        "signals": [signal._asdict() | {"words": words(signal.id)} for signal in referral.signals],
        "program_version": referral.program_version,
        "signed_up_at": referral.signed_up_at,
        "order_id": referral.order_id,
        "qualified_at": referral.qualified_at,
        "due_at": referral.due_at,
        "undecided_at": referral.next_at if referral.state is State.FLAGGED else None,
        "approved_at": referral.approved_at,
        "closed_at": referral.closed_at,
        "advocate_points": referral.advocate_points,
        "friend_points": referral.friend_points,
        "history": [step._asdict() for step in history],
    }
