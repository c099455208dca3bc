"""The steps of one referral: judging, qualifying, flags, rewards, refunds, and what falls due."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tests.referrals.oracles.records import By, Facts, Found, Order, Published, Referral, Step
from tests.referrals.oracles.rewards import pay
from tests.referrals.oracles.signals import Known, find

INSTANT: Final = timedelta(microseconds=1)
_SYSTEM: Final = By()


@dataclass(frozen=True)
class Steps:
    """Takes the steps of referrals, by the facts."""

    facts: Facts

    def begin(self, referral: Referral, now: datetime, *, stands: bool) -> None:
        """Judge a sign-up; `stands`: the friend has a standing referral."""
        known = self._known(now)
        if referral.friend_id == referral.advocate_id:
            referral.signals = find(known, referral, only=("self",))
            self.reject(referral, referral.signed_up_at, "fraud")
        elif stands:
            # Whatever the version makes of the signal.
            weight = known.program.setting("already_referred").weight
            referral.signals = {"already_referred": Found("block", weight)}
            self.reject(referral, referral.signed_up_at, "fraud")
        elif self._judge(referral, now) == "block":
            self.reject(referral, referral.signed_up_at, "fraud")
        else:
            self.step(referral, "signed_up", referral.signed_up_at)
            self.qualify(referral, now)

    def _known(self, now: datetime) -> Known:
        return Known(now, self.facts.program_at(now), self.facts)

    def _judge(self, referral: Referral, now: datetime, *, only: tuple[str, ...] = ()) -> str:
        """Add the signals that hold; what they, with those found before, make of the referral."""
        known = self._known(now)
        referral.signals |= find(known, referral, only=only) if only else find(known, referral)
        actions = {found.action for found in referral.signals.values()}
        if "block" in actions or referral.score >= known.program.block_at:
            return "block"
        return "flag" if "flag" in actions or referral.score >= known.program.flag_at else "pass"

    def bought_before(self, referral: Referral, order: Order, now: datetime) -> None:
        """An order from before the sign-up that arrives late is judged at once."""
        if referral.state not in {"signed_up", "expired", "qualified", "flagged"} or referral.lifted:
            return
        if referral.state == "expired" and self._followed(referral):
            return
        if order.time >= referral.signed_up_at:
            return
        verdict = self._judge(referral, now, only=("already_bought",))
        if verdict == "block":
            self.reject(referral, referral.signed_up_at, "fraud")
        elif verdict == "flag" and referral.state == "qualified":
            # Once qualified: at the time that the flag has where the earlier order arrives first.
            assert referral.order is not None
            self.flag(referral, referral.order.time, now)

    def qualify(self, referral: Referral, now: datetime) -> None:
        """Take the nth order that is known, if there are so many; judge; apply what is due by then."""
        if referral.state == "signed_up" or (referral.state == "expired" and not self._followed(referral)):
            program = referral.program
            deadline = program.deadline(referral.signed_up_at)
            counted = [
                order
                for order in sorted(self.facts.orders.get(referral.friend_id, []), key=lambda order: order.place)
                if referral.signed_up_at <= order.time <= deadline and program.is_enough(order.total, order.currency)
            ]
            if len(counted) >= program.nth:
                self._qualify_by(referral, counted[program.nth - 1], now)
        self._apply_due_of(referral, now)

    def _qualify_by(self, referral: Referral, order: Order, now: datetime) -> None:
        referral.order, referral.due_at = order, referral.program.due_at(order.time)
        self.step(referral, "qualified", order.time)
        if order.fell_at(referral.program) is not None:
            self.refund(referral)
            return
        verdict = self._judge(referral, now)
        if verdict == "block":
            self.reject(referral, order.time, "fraud")
        elif verdict == "flag":
            self.flag(referral, order.time, now)
        elif referral.due_at == order.time:
            # Without a hold also an order that is dated ahead is approved at once, as by version 1.
            self.approve(referral, order.time)

    def _followed(self, referral: Referral) -> bool:
        """Whether the friend signed up again since, and was not rejected."""
        others = self.facts.of_friend(referral.friend_id)
        return any(other.number > referral.number and other.state != "rejected" for other in others)

    def refund(self, referral: Referral) -> None:
        """What a refund of its order makes of a referral."""
        assert referral.order is not None
        fell_at = referral.order.fell_at(referral.program)
        if fell_at is None:
            return
        if referral.state in {"qualified", "flagged"}:
            self.reject(referral, fell_at, "refunded")
        elif referral.state == "approved":
            self.step(referral, "voided", fell_at, "refunded")

    def reject(self, referral: Referral, at: datetime, reason: str, by: By = _SYSTEM) -> None:
        """Reject a referral."""
        self.step(referral, "rejected", at, reason, by)

    def flag(self, referral: Referral, at: datetime, now: datetime) -> None:
        """Flag a referral: people have so many days from now on."""
        referral.flagged_at = now
        self.step(referral, "flagged", at)

    def approve(self, referral: Referral, at: datetime, reason: str | None = None, by: By = _SYSTEM) -> None:
        """Approve a referral, and pay what caps leave."""
        is_cut = pay(referral, at, self.facts.referrals)
        referral.approved_at = at
        self.step(referral, "approved", at, "cap" if is_cut else reason, by)

    def step(self, referral: Referral, state: str, at: datetime, reason: str | None = None, by: By = _SYSTEM) -> None:
        """Take a step: a row of history and an event."""
        referral.state, referral.reason = state, reason
        referral.history.append(Step(state, at, reason, by.actor, by.note))
        is_suspicious = state == "flagged" or reason == "fraud"
        self.facts.published.append(
            Published(
                state,
                at,
                referral.advocate_id,
                referral.friend_id,
                referral.code,
                referral.order.order_id if referral.order else None,
                reason,
                tuple(sorted(referral.signals)) if is_suspicious else (),
                referral.points if state in {"approved", "voided"} else None,
            )
        )

    # Time.

    def next_at(self, referral: Referral) -> datetime | None:
        """When something falls due of a referral next."""
        if referral.state == "signed_up":
            return referral.program.deadline(referral.signed_up_at) + INSTANT
        if referral.state == "qualified":
            return referral.due_at
        if referral.state == "flagged":
            assert referral.flagged_at is not None
            assert referral.due_at is not None
            return referral.program.undecided_at(referral.flagged_at, referral.due_at)
        return None

    def apply_due(self, now: datetime, advocates: Collection[str] = (), friends: Collection[str] = ()) -> None:
        """Apply what is due of advocates and of friends; of everybody where nobody is named."""
        everybody = not advocates and not friends
        while True:
            due = [
                (at, referral.number, referral)
                for referral in self.facts.referrals
                if everybody or referral.advocate_id in advocates or referral.friend_id in friends
                if (at := self.next_at(referral)) is not None and at <= now
            ]
            if not due:
                return
            self._fall_due(min(due)[2], now)

    def _apply_due_of(self, referral: Referral, now: datetime) -> None:
        while (at := self.next_at(referral)) is not None and at <= now:
            self._fall_due(referral, now)

    def _fall_due(self, referral: Referral, now: datetime) -> None:
        at = self.next_at(referral)
        assert at is not None
        if referral.state == "signed_up":
            self.step(referral, "expired", at - INSTANT)
        elif referral.state == "flagged" and referral.program.then == "reject":
            self.reject(referral, at, "undecided")
        else:
            is_flagged = referral.state == "flagged"
            verdict = "pass" if referral.lifted else self._judge(referral, now)
            if verdict == "block":
                self.reject(referral, at, "fraud")
            elif verdict == "flag" and not is_flagged:
                self.flag(referral, at, now)
            else:
                self.approve(referral, at, "undecided" if is_flagged else None)
