"""Owns referrals: which advocate brought which friend, and the points that both get for it."""
