"""What an approval pays: caps and milestones, summed anew over everything that was paid before."""

from datetime import datetime
from typing import Any

from tests.referrals.oracles.program import period_of
from tests.referrals.oracles.records import Referral


def pay(referral: Referral, approved_at: datetime, everything: list[Referral]) -> bool:
    """Set the points of a referral that is approved at an instant; returns whether a cap cut them."""
    document = referral.program.document
    asked = document["advocate_points"], document["friend_points"]
    advocate, friend = asked
    for cap in document.get("caps", []):
        left = max(0, _size(cap) - _used(cap, referral, approved_at, everything))
        if cap.get("scope", "advocate") == "advocate":
            advocate = 0 if left == 0 else min(advocate, left) if "points" in cap else advocate
        elif "points" in cap:
            advocate, friend = min(advocate, max(0, left - friend)), min(friend, left)
        elif left == 0:
            advocate, friend = 0, 0
    referral.base = advocate, friend
    referral.milestones = _milestones(referral, everything)
    return referral.base != asked


def _size(cap: dict[str, Any]) -> int:
    return cap["points"] if "points" in cap else cap["count"]


def _used(cap: dict[str, Any], referral: Referral, approved_at: datetime, everything: list[Referral]) -> int:
    """What was paid in the period of the approval under any version, whatever became of it afterwards."""
    zone = referral.program.zone
    paid = [
        earlier
        for earlier in everything
        if earlier.approved_at is not None
        and period_of(earlier.approved_at, cap["per"], zone) == period_of(approved_at, cap["per"], zone)
    ]
    if cap.get("scope", "advocate") == "advocate":
        points = [earlier.base[0] for earlier in paid if earlier.advocate_id == referral.advocate_id]
    else:
        points = [sum(earlier.base) for earlier in paid]
    return sum(points) if "points" in cap else sum(number > 0 for number in points)


def _milestones(referral: Referral, everything: list[Referral]) -> dict[int, int]:
    standing = [r for r in everything if r.advocate_id == referral.advocate_id and r.state == "approved"]
    carried = {count for r in standing for count in r.milestones}
    return {
        milestone["count"]: milestone["points"]
        for milestone in referral.program.document.get("milestones", [])
        if milestone["count"] == len(standing) + 1 and milestone["count"] not in carried
    }
