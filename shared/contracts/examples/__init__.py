"""A realistic example of each event type, for the documents and the tests."""

from shared.contracts.examples.example import Example
from shared.contracts.examples.loyalty import LOYALTY
from shared.contracts.examples.shop import SHOP

__all__ = ["EXAMPLES", "Example"]

EXAMPLES: dict[str, Example] = {example.type: example for example in (*SHOP, *LOYALTY)}
"""The examples by event type."""
