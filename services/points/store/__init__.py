"""All SQL of the points service."""
