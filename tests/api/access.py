"""Who may call which route. A route that is missing in this table fails a test."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from services import SERVICES

SCOPES: Final = ("read", "redeem", "support", "marketing", "admin")


class Customer(Enum):
    """What a customer's own token may do with a route."""

    OWN = "its own data; another's path or id does not exist for it (404)"
    NEVER = "nothing; another's path does not exist for it (404), its own is refused (403)"
    REFUSED = "nothing; it is refused (403) before anybody looks at whose it is"
    ANY = "the same for each: what the program consists of"


@dataclass(frozen=True)
class Access:
    """Any one of the scopes admits a key (`admin` always does); then what a customer's token may do."""

    scopes: tuple[str, ...]
    customer: Customer

    def lets_in(self, scope: str) -> bool:
        """Whether a key with just this scope may call."""
        return scope == "admin" or scope in self.scopes


_CONFIG_READ: Final = Access(("read", "marketing"), Customer.REFUSED)
_CONFIG_WRITE: Final = Access(("marketing",), Customer.REFUSED)
_OWN_OR_READ: Final = Access(("read",), Customer.OWN)
_ADMIN: Final = Access((), Customer.REFUSED)
_REDEEM_BY_KEY: Final = Access(("redeem",), Customer.REFUSED)

PUBLIC: Final = {
    "GET /r/{code}": 302,
    "GET /o/{token}.gif": 200,
    "GET /c/{token}": 302,
    "GET /u/{token}": 200,
    "POST /u/{token}": 422,
    "POST /v1/provider-events/{provider}": 401,
}
"""The routes that anybody may call, with their status: unsubscribing needs a form, and providers sign."""

ACCESS: Final = {
    "GET /v1/customers/{id}/points": _OWN_OR_READ,
    "GET /v1/points/trial-balance": Access(("read",), Customer.REFUSED),
    "GET /v1/customers/{id}/points/transactions": _OWN_OR_READ,
    "GET /v1/points/transactions/{transaction_id}": _OWN_OR_READ,
    "POST /v1/points/quotes": _OWN_OR_READ,
    "POST /v1/customers/{id}/redemptions": Access(("redeem",), Customer.OWN),
    "POST /v1/redemptions/{redemption_id}/cancel": _REDEEM_BY_KEY,
    "POST /v1/customers/{id}/holds": Access(("redeem",), Customer.NEVER),
    "POST /v1/holds/{hold_id}/capture": _REDEEM_BY_KEY,
    "POST /v1/holds/{hold_id}/release": _REDEEM_BY_KEY,
    "GET /v1/customers/{id}/adjustments": Access(("support",), Customer.NEVER),
    "POST /v1/customers/{id}/adjustments": Access(("support",), Customer.NEVER),
    "GET /v1/rewards": Access(("read", "marketing"), Customer.ANY),
    "POST /v1/rewards": _CONFIG_WRITE,
    "GET /v1/rewards/{id}": Access(("read", "marketing"), Customer.ANY),
    "PATCH /v1/rewards/{id}": _CONFIG_WRITE,
    "GET /v1/earning-rules": _CONFIG_READ,
    "POST /v1/earning-rules": _CONFIG_WRITE,
    "GET /v1/earning-rules/{version}": _CONFIG_READ,
    "PUT /v1/earning-rules/{version}": _CONFIG_WRITE,
    "POST /v1/earning-rules/{version}/publish": _CONFIG_WRITE,
    "GET /v1/customers/{id}/tier": _OWN_OR_READ,
    "PUT /v1/customers/{id}/tier": Access(("support",), Customer.NEVER),
    "GET /v1/customers/{id}/tier/history": Access(("read", "support"), Customer.OWN),
    "GET /v1/customers/{id}/benefits": _OWN_OR_READ,
    "POST /v1/customers/{id}/benefits/{benefit}/uses": Access(("redeem",), Customer.NEVER),
    "GET /v1/tiers/summary": Access(("read",), Customer.REFUSED),
    "GET /v1/tier-programs": _CONFIG_READ,
    "POST /v1/tier-programs": _CONFIG_WRITE,
    "GET /v1/tier-programs/{version}": _CONFIG_READ,
    "PUT /v1/tier-programs/{version}": _CONFIG_WRITE,
    "POST /v1/tier-programs/{version}/publish": _CONFIG_WRITE,
    "POST /v1/tier-programs/{version}/simulations": _CONFIG_WRITE,
    "GET /v1/simulations/{simulation_id}": _CONFIG_READ,
    "GET /v1/simulations/{simulation_id}/customers": _CONFIG_READ,
    "GET /v1/referral-programs": _CONFIG_READ,
    "POST /v1/referral-programs": _CONFIG_WRITE,
    "GET /v1/referral-programs/{version}": _CONFIG_READ,
    "PUT /v1/referral-programs/{version}": _CONFIG_WRITE,
    "POST /v1/referral-programs/{version}/publish": _CONFIG_WRITE,
    "POST /v1/referral-programs/{version}/replays": _CONFIG_WRITE,
    "GET /v1/replays/{replay_id}": _CONFIG_READ,
    "GET /v1/referrals": _CONFIG_READ,
    "GET /v1/referrals/summary": _CONFIG_READ,
    "GET /v1/referrals/{id}": _CONFIG_READ,
    "POST /v1/referrals/{id}/decision": _CONFIG_WRITE,
    "POST /v1/referrals/decisions": _CONFIG_WRITE,
    "POST /v1/customers/{id}/referral-code": _OWN_OR_READ,
    "GET /v1/customers/{id}/referrals": _OWN_OR_READ,
    "GET /v1/customers/{id}/messages": _OWN_OR_READ,
    "GET /v1/messages": Access(("read", "support"), Customer.REFUSED),
    "GET /v1/messages/{id}": Access(("read", "support"), Customer.REFUSED),
    "POST /v1/messages/{id}/read": Access(("support",), Customer.OWN),
    "POST /v1/customers/{id}/messages/read": Access(("support",), Customer.OWN),
    "GET /v1/templates": _CONFIG_READ,
    "POST /v1/templates": _CONFIG_WRITE,
    "GET /v1/templates/{id}/versions": _CONFIG_READ,
    "POST /v1/templates/{id}/versions": _CONFIG_WRITE,
    "GET /v1/templates/{id}/versions/{version}": _CONFIG_READ,
    "PUT /v1/templates/{id}/versions/{version}": _CONFIG_WRITE,
    "POST /v1/templates/{id}/versions/{version}/publish": _CONFIG_WRITE,
    "POST /v1/templates/{id}/versions/{version}/preview": _CONFIG_WRITE,
    "POST /v1/templates/{id}/versions/{version}/test-send": _CONFIG_WRITE,
    "GET /v1/journeys": _CONFIG_READ,
    "POST /v1/journeys": _CONFIG_WRITE,
    "GET /v1/journeys/{id}/versions": _CONFIG_READ,
    "POST /v1/journeys/{id}/versions": _CONFIG_WRITE,
    "GET /v1/journeys/{id}/versions/{version}": _CONFIG_READ,
    "PUT /v1/journeys/{id}/versions/{version}": _CONFIG_WRITE,
    "POST /v1/journeys/{id}/versions/{version}/publish": _CONFIG_WRITE,
    "GET /v1/journeys/{id}/runs": Access(("read", "support"), Customer.REFUSED),
    "GET /v1/journeys/{id}/inside": _CONFIG_READ,
    "GET /v1/customers/{id}/preferences": Access(("read", "support"), Customer.OWN),
    "PUT /v1/customers/{id}/preferences": Access(("support",), Customer.OWN),
    "GET /v1/customers/{id}/consents": Access(("read", "support"), Customer.OWN),
    "POST /v1/customers/{id}/push-subscriptions": Access(("support",), Customer.OWN),
    "DELETE /v1/customers/{id}/push-subscriptions/{sid}": Access(("support",), Customer.OWN),
    "GET /v1/experiments": _CONFIG_READ,
    "POST /v1/experiments": _CONFIG_WRITE,
    "GET /v1/experiments/{id}": _CONFIG_READ,
    "GET /v1/experiments/{id}/results": _CONFIG_READ,
    "POST /v1/experiments/sample-size": _CONFIG_READ,
    "POST /v1/experiments/compare": _CONFIG_READ,
    "GET /v1/customers": Access(("read",), Customer.REFUSED),
    "GET /v1/notifications/summary": Access(("read",), Customer.REFUSED),
    "GET /v1/webhook-endpoints": _ADMIN,
    "POST /v1/webhook-endpoints": _ADMIN,
    "PATCH /v1/webhook-endpoints/{id}": _ADMIN,
    "DELETE /v1/webhook-endpoints/{id}": _ADMIN,
    "POST /v1/webhook-endpoints/{id}/rotate": _ADMIN,
    "GET /v1/webhook-endpoints/{id}/deliveries": _ADMIN,
    "POST /v1/webhook-endpoints/{id}/deliveries/{delivery_id}/resend": _ADMIN,
    **{
        route.format(service=service): _ADMIN
        for service in SERVICES
        for route in (
            "GET /v1/{service}/operations",
            "GET /v1/{service}/dead-letters",
            "GET /v1/{service}/dead-letters/{{id}}",
            "POST /v1/{service}/dead-letters/replay",
            "POST /v1/{service}/dead-letters/{{id}}/replay",
        )
    },
}
