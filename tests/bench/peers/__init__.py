"""Alternatives to the worker: each writes the same rows into the same tables."""
