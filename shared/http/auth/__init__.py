"""Authentication and authorization of callers."""

from shared.http.auth.access import CustomerId, customer_or, require, to_customer
from shared.http.auth.authenticator import Authenticator
from shared.http.auth.principal import Kind, Principal, Scope
from shared.http.auth.tokens import JwtSettings

__all__ = [
    "Authenticator",
    "CustomerId",
    "JwtSettings",
    "Kind",
    "Principal",
    "Scope",
    "customer_or",
    "require",
    "to_customer",
]
