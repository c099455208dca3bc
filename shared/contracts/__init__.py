"""The published language: events, topics, dead-letter reasons, and what is kept of an order."""
