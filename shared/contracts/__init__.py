"""The published language: events, topics, dead-letter reasons, and the fold of an order's refunds."""
