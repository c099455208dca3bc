"""The Kafka topics: `shop.*` for backends, `loyalty.*` for Wafa."""

from typing import Final

PURCHASES: Final = "shop.purchases"
REVIEWS: Final = "shop.reviews"
REFERRALS: Final = "shop.referrals"
CUSTOMERS: Final = "shop.customers"
ACTIVITIES: Final = "shop.activities"

POINTS: Final = "loyalty.points"
TIERS: Final = "loyalty.tiers"
LOYALTY_REFERRALS: Final = "loyalty.referrals"
MESSAGES: Final = "loyalty.messages"

SHOP: Final = (PURCHASES, REVIEWS, REFERRALS, CUSTOMERS, ACTIVITIES)
LOYALTY: Final = (POINTS, TIERS, LOYALTY_REFERRALS, MESSAGES)
ALL: Final = SHOP + LOYALTY
