"""Bugs of referrals: flags that stop nothing, and time that changes nothing."""

from typing import Any, Final

from services.referrals.rules import steps
from services.referrals.rules.steps import Verdict
from services.referrals.store import referrals
from tests.prove.plants.plant import Plant

OUTCOMES: Final = "referrals = a replay"


def flags_ignored() -> None:
    """Approve a flagged referral as any other."""
    verdict = steps.verdict

    def lenient(referral: Any, program: Any) -> Verdict:
        found = verdict(referral, program)
        return Verdict.CLEAN if found is Verdict.FLAG else found

    steps.verdict = lenient


def nothing_falls_due() -> None:
    """Find no advocate of whom a hold or a window has ended."""

    async def nobody(*_: object) -> list[str]:
        return []

    referrals.due_advocates = nobody


PLANTS: Final = (
    Plant("a flagged referral is approved as any other", flags_ignored, (OUTCOMES,), of_referrals=1),
    Plant("holds and windows never end", nothing_falls_due, (OUTCOMES,), of_referrals=1),
)
