"""A version of the referral program, read from the document as marketing writes it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final
from zoneinfo import ZoneInfo

SIGNALS: Final = (
    "self", "same_email", "similar_email", "same_phone", "same_payment", "same_device", "same_ip_and_agent", "same_ip",
    "same_name", "already_bought", "already_customer", "already_referred", "circle", "ip_velocity",
    "advocate_velocity_hour", "advocate_velocity_day", "fast_cycle", "disposable_email", "threshold_order",
    "many_networks", "advocate_suspended", "blocklist",
)  # fmt: skip

_BLOCKS_BY_DEFAULT: Final = ("self", "already_bought", "already_referred")


@dataclass(frozen=True)
class Setting:
    """What a program makes of a signal."""

    action: str
    weight: int
    threshold: Fraction | None


@dataclass(frozen=True)
class Program:
    """A published version, in force from `effective_at` on."""

    version: int
    document: dict[str, Any]
    effective_at: datetime

    def worth(self, money: Fraction, currency: str) -> Fraction | None:
        """Money in the program's currency, exact; None without a rate."""
        if currency == self.document["currency"]:
            return money
        rate = self.document.get("rates", {}).get(currency)
        return None if rate is None else money * Fraction(rate)

    @property
    def amount(self) -> Fraction:
        """What an order must be worth."""
        return Fraction(self.document["qualifies"]["amount_at_least"])

    def is_enough(self, money: Fraction, currency: str) -> bool:
        """Whether an order, or what is kept of it, is worth the amount."""
        worth = self.worth(money, currency)
        return worth is not None and worth >= self.amount

    @property
    def nth(self) -> int:
        """Which of the friend's orders qualifies."""
        return self.document["qualifies"]["nth_order"]

    def deadline(self, signed_up_at: datetime) -> datetime:
        """The last instant of the window."""
        return signed_up_at + timedelta(hours=24 * self.document["qualifies"]["within_days"])

    def due_at(self, ordered_at: datetime) -> datetime:
        """When the hold is over."""
        return ordered_at + timedelta(hours=24 * self.document.get("hold_days", 0))

    def undecided_at(self, flagged_at: datetime, due_at: datetime) -> datetime:
        """When a flag that was recorded at `flagged_at` is over."""
        return max(flagged_at + timedelta(hours=24 * self._undecided["after_days"]), due_at)

    @property
    def then(self) -> str:
        """What happens to a flagged referral on which nobody decided."""
        return self._undecided["then"]

    @property
    def _undecided(self) -> dict[str, Any]:
        return self.document.get("undecided", {"after_days": 14, "then": "approve"})

    @property
    def flag_at(self) -> int:
        """The score from which a referral is flagged."""
        return self.document.get("flag_at", 50)

    @property
    def block_at(self) -> int:
        """The score from which a referral is rejected."""
        return self.document.get("block_at", 100)

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the caps' periods."""
        return ZoneInfo(self.document.get("time_zone", "UTC"))

    def blocked(self, kind: str) -> list[str]:
        """A part of the block-list."""
        return self.document.get("blocklist", {}).get(kind, [])

    def setting(self, signal: str) -> Setting:
        """What the program makes of a signal, listed or not."""
        for listed in self.document.get("signals", []):
            if listed["id"] == signal:
                default = "block" if signal in _BLOCKS_BY_DEFAULT else "flag"
                threshold = listed.get("threshold", "0.9" if signal == "similar_email" else None)
                return Setting(
                    listed.get("action", default),
                    listed.get("weight", 0),
                    None if threshold is None else Fraction(str(threshold)),
                )
        return Setting("block" if signal == "self" else "off", 0, None)


def period_of(instant: datetime, per: str, zone: ZoneInfo) -> object:
    """A name of the period that contains an instant: two instants of one period have the same."""
    day = instant.astimezone(zone).date()
    return {
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": (day.year, day.month),
        "year": day.year,
        "ever": None,
    }[per]
