"""Experiments: which arm a customer is in, and what the arms did."""
