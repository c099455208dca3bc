"""The services of Wafa; none imports another."""

from typing import Final

SERVICES: Final = ("points", "tiers", "referrals", "notifications")
"""Every service by the name of its folder, in the order in which they are started and listed.

Whatever runs, migrates, documents or tests all services reads this list.
"""
