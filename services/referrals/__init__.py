"""Owns referrals: who brought whom, and what both get for it."""
