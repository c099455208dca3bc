"""Owns every customer's points: earn, spend, expire, give back."""
