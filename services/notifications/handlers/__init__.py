"""Transactions: load, decide, write and announce."""
