"""Moves every customer between the tiers of the loyalty program, by their spend over time."""
