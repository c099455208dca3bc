"""What becomes of a referral: pure decisions on frozen values."""
