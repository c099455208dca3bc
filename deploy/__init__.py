"""Deployment: topics, keys, generated documentation, and the one-machine stack."""
