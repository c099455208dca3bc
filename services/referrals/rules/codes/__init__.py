"""Referral codes: their forms, what may not be one, and the links and texts that carry them."""
