"""The conditions of rules: one class for each kind, which holds all that the product knows of it."""
