"""Alternatives that a user could choose: the same rows in the same tables."""
