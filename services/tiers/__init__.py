"""Moves every customer between the tiers of the loyalty program, by what they did and when."""
