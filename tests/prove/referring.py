"""The referral program of a run: rewards after a hold, and signals that flag some referrals and reject others."""

from typing import Any, Final

DISPOSABLE: Final = "proof@mailinator.com"
"""An address that some friends sign up with: it flags their referral."""

PROGRAM: Final[dict[str, Any]] = {
    "advocate_points": 300,
    "friend_points": 100,
    "currency": "USD",
    "rates": {"EUR": "1.08"},
    "qualifies": {"nth_order": 1, "amount_at_least": "15.00", "within_days": 30},
    "hold_days": 1,
    "signals": [
        {"id": "already_bought", "action": "block"},
        {"id": "already_referred", "action": "block"},
        {"id": "disposable_email", "action": "flag"},
        {"id": "threshold_order", "action": "score", "weight": 60},
    ],
    "undecided": {"after_days": 14, "then": "approve"},
}
"""The version that is published before a history begins; friends who signed up before have version 1.

All of its signals follow from what is known of the friend alone: the log orders one customer's events, not two
customers'.
"""
