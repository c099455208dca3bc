"""The search for customers."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, Field

from services.notifications.rules.searching import LONGEST_QUERY, wanted
from services.notifications.store import searching
from services.notifications.store.searching import Found
from shared.http.auth import Scope, require
from shared.http.fields import OMITTED_IF_NONE
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Pool

FoundBy = Literal["id", "email", "phone", "name"]

_FIRST: Final = (0, "")
_BY: Final[dict[int, FoundBy]] = {1: "id", 2: "email", 3: "phone", 4: "name"}

Q = Annotated[
    str,
    Query(
        min_length=1,
        max_length=LONGEST_QUERY,
        description="An id, an e-mail address, a phone number, or words of the name, each at least begun.",
        examples=["mona@example.org"],
    ),
]


class CustomerView(BaseModel):
    """A customer that was found."""

    id: str = Field(description="Id of the customer.")
    found_by: FoundBy = Field(description="What the query is of the customer: the best match counts.")
    name: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Full name.")
    email: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="E-mail address.")
    phone: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Phone number.")
    locale: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Language (BCP 47).")
    country: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Country.")
    registered_at: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="When the customer registered last; absent if that is not known."
    )

    @classmethod
    def of(cls, found: Found) -> Self:
        """The view of a customer."""
        details: dict[str, Any] = {name: detail["value"] for name, detail in found.details.items()}
        shown = {name: details.get(name) for name in ("name", "email", "phone", "locale", "country")}
        return cls(id=found.customer_id, found_by=_BY[found.rank], registered_at=found.registered_at, **shown)


def add(app: FastAPI, pool: Pool) -> None:
    """Add the route."""

    @app.get(
        "/v1/customers",
        dependencies=[Depends(require(Scope.READ))],
        tags=["customers"],
        summary="Find customers",
    )
    async def find(q: Q, limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[CustomerView]:
        """Customers with this id, this e-mail address, this phone number, or these words in the name, best first.

        Upper and lower case, accents, Arabic vowel marks and forms of a letter, and punctuation in numbers make no
        difference. A word also finds longer ones that begin so. Of a name that more than 10,000 customers have, some
        are left out. Erased customers are not found.
        """
        if not q.strip() or any(unicodedata.category(char) == "Cc" for char in q):
            error = FieldError(pointer="/query/q", message="Has to have more than blanks, and no control characters.")
            raise Problem(422, "invalid_request", f"{error.pointer}: {error.message}", (error,))
        cursor = decode_cursor(after, tuple[int, str])
        found = await searching.find(pool, wanted(q), _FIRST if cursor is None else cursor, limit + 1)
        shown: Page[Found] = page(found, limit, lambda each: (each.rank, each.customer_id))
        return Page(data=[CustomerView.of(each) for each in shown.data], next=shown.next)
