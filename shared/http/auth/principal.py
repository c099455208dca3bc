"""Principals: authenticated callers, and their scopes."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a caller may do."""

    CUSTOMER = "customer"
    """Read one customer, and redeem for that customer: the token's `sub`."""
    READ = "read"
    """Read every customer's data."""
    REDEEM = "redeem"
    """Redemptions and holds."""
    SUPPORT = "support"
    """Adjustments, tier by hand, message log; does not include `read`."""
    MARKETING = "marketing"
    """Configuration documents, review queue, rewards."""
    ADMIN = "admin"
    """Everything."""


KEY_SCOPES = frozenset(Scope) - {Scope.CUSTOMER}
"""The scopes that an API key may have: it belongs to no customer."""


class Kind(StrEnum):
    """How a caller is authenticated."""

    KEY = "key"
    """An API key; the id is the key's."""
    CUSTOMER = "customer"
    """A customer's own token; the id is the customer's."""
    TOKEN = "token"  # noqa: S105 (a word, not a secret)
    """A token of any other caller; the id is its `sub`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    kind: Kind
    id: str
    scopes: frozenset[Scope]

    @property
    def name(self) -> str:
        """The caller's name, unique among all kinds: `key:ID`."""
        return f"{self.kind}:{self.id}"

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope; `admin` includes all scopes but `customer`."""
        return scope in self.scopes or (scope is not Scope.CUSTOMER and Scope.ADMIN in self.scopes)

    def is_customer(self, customer_id: str) -> bool:
        """Whether the caller is this customer."""
        return self.kind is Kind.CUSTOMER and self.id == customer_id
