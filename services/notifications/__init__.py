"""Sends customers messages about events: an inbox and e-mail, in their language."""
