"""The states of referrals: pure decisions on frozen values."""
