"""Judging: which tier a customer is in, from when, and for how long; a pure fold over time."""
