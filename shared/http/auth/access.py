"""FastAPI dependencies that check the caller's scope."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Path, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from shared.contracts.values import Id
from shared.http.auth.authenticator import Authenticator
from shared.http.auth.principal import Kind, Principal, Scope
from shared.http.problems import Problem
from shared.postgres.shares import CALLER, Caller

CustomerId = Annotated[Id, Path(alias="id", description="The customer's id, percent-encoded.", examples=["customer-1"])]
"""The `{id}` of `/v1/customers/{id}/…`."""

_SCHEME: Final = HTTPBearer(
    bearerFormat="wafa_<id>_<secret> or JWT",
    description=(
        "An API key with scopes (read, redeem, support, marketing, admin), or a JWT: a customer's carries "
        "`sub` = the customer's id and `scope` = `customer`."
    ),
)


_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

Access = Callable[[Request], Awaitable[Principal]]
"""A dependency that returns the caller, or raises a `Problem` if the caller is not allowed."""


class _Access(SecurityBase):
    """One dependency for all checks: FastAPI spends tens of microseconds on each further one."""

    def __init__(self, scopes: tuple[Scope, ...], *, of_customer: bool, by_customer: bool = False) -> None:
        self.model = _SCHEME
        self.scheme_name = "bearer"
        self._scopes = scopes
        self._of_customer = of_customer
        self._by_customer = by_customer

    async def __call__(self, request: Request) -> Principal:
        # the sender of a body was authenticated before it was read
        principal: Principal | None = request.scope["state"].get("principal")
        if principal is None:
            authenticator: Authenticator = request.app.state.authenticator
            principal = await authenticator.authenticate(request.headers.get("authorization"))
        customer: str | None = request.path_params["id"] if self._of_customer else None
        by_customer = principal.kind is Kind.CUSTOMER
        CALLER.set(Caller(principal.name, customer, request.method not in _READS, by_customer))
        itself = customer is not None and principal.is_customer(customer)
        if itself and self._by_customer:
            return principal
        if any(principal.may(scope) for scope in self._scopes):
            return principal
        if self._of_customer and principal.kind is Kind.CUSTOMER and not itself:
            # to a customer, other customers do not exist
            raise Problem(404, "not_found", "There is nothing at this path.")
        named = " or ".join(self._scopes)
        problem = Problem(403, "missing_scope", f"This request needs the scope {named}.")
        raise problem.with_headers(
            {"WWW-Authenticate": f'Bearer realm="wafa", error="insufficient_scope", scope="{" ".join(self._scopes)}"'}
        )


def require(*scopes: Scope | str) -> Access:
    """A dependency that requires any one of the scopes and returns the `Principal`.

    With `customer` among them, a customer's own token is accepted; the route must check whose data it may see.
    """
    return _Access(tuple(Scope(scope) for scope in scopes), of_customer=False)


def customer_or(*scopes: Scope | str) -> Access:
    """A dependency for `/v1/customers/{id}/…` that requires that customer's own token or any one of the scopes.

    Another customer gets 404.
    """
    return _Access(tuple(Scope(scope) for scope in scopes), of_customer=True, by_customer=True)


def to_customer(scope: Scope | str) -> Access:
    """A dependency for `/v1/customers/{id}/…` that requires the scope: customers may not do this themselves.

    That customer's own token gets 403, another customer's 404.
    """
    return _Access((Scope(scope),), of_customer=True)
