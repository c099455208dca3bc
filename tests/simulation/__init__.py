"""Runs the product's workers on a simulated broker and a real database, in an order that is drawn from a seed."""
