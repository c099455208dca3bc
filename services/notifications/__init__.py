"""Tells customers what happened: an inbox and e-mail, in their language."""
