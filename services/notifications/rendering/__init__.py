"""Renders messages from templates, in the customer's language."""
