"""A customer's referral code, and what to share it with."""

from datetime import UTC, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from services.referrals.handlers import codes
from services.referrals.handlers.codes import MOST_CHOSEN, CodeTakenError, TooManyCodesError
from services.referrals.rules.codes.sharing import share
from services.referrals.rules.codes.vanity import LONGEST_SENT, UnfitCodeError
from services.referrals.settings import Settings
from services.referrals.store import programs
from shared.http.auth import CustomerId, Principal, Scope, customer_or
from shared.http.bodies import BOUNDED
from shared.http.idempotency import documented, idempotent
from shared.http.languages import AcceptLanguage, chosen
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Connection, Pool


class CodeRequest(BaseModel):
    """The code that a customer would like."""

    model_config = ConfigDict(extra="forbid")

    vanity: Annotated[
        str | None,
        Field(
            max_length=LONGEST_SENT,
            examples=["SARA-2026"],
            description="A code of the customer's own choice, of 4 to 20 characters of A-Z and 0-9; small letters "
            "become large ones, hyphens are ignored. The codes that the customer has stay valid.",
        ),
    ] = None


class ShareView(BaseModel):
    """A text with the link, in the language of the request, and links that share it."""

    text: str = Field(
        examples=["Join me at Example: https://loyal.example.org/r/CDFGHJKMT"],
        description="The text of the program in force, with the link.",
    )
    whatsapp: str = Field(description="Opens WhatsApp with the text.")
    email: str = Field(description="Opens a mail with the text.")
    x: str = Field(description="Opens a post on X with the text.")


class ReferralCode(BaseModel):
    """A customer's referral code, and the link that carries it."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(
        examples=["CDFGHJKMT"],
        description="The code that the customer chose last, else the one that was given out. All codes stay valid.",
    )
    link: str = Field(
        examples=["https://loyal.example.org/r/CDFGHJKMT"],
        description="A link to share: it counts the visit and redirects to the shop.",
    )
    share: ShareView = Field(description="A text to share the link with.")

    @classmethod
    def of(cls, code: str, root: str, template: str) -> Self:
        """The view of a code, under the root of links, with the text to share."""
        link = f"{root}/r/{code}"
        return cls(code=code, link=link, share=ShareView.model_validate(share(template, link)._asdict()))


def routes(settings: Settings, pool: Pool) -> APIRouter:
    """The route of codes."""
    router = APIRouter(tags=["referrals"])
    root = str(settings.public_url).rstrip("/")

    @router.post(
        "/v1/customers/{id}/referral-code",
        response_model=ReferralCode,
        summary="Get, create or choose a customer's referral code",
        openapi_extra=documented(required=False),
    )
    async def referral_code(
        request: Request,
        customer_id: CustomerId,
        principal: Annotated[Principal, Depends(customer_or(Scope.READ))],
        wanted: Annotated[CodeRequest | None, BOUNDED] = None,
        accept_language: AcceptLanguage = None,
    ) -> Response:
        """Returns the customer's code, the same each time, and creates it at the first call.

        With `vanity`, gives the customer that code beside the others. 409 `code_taken`: somebody else has it, or had
        it; codes that differ in O and 0, or in I, L and 1, count as one.
        """

        async def run(connection: Connection) -> tuple[int, ReferralCode]:
            now = datetime.now(UTC)
            code = await _code(connection, customer_id, wanted and wanted.vanity, now)
            program = await programs.load_program(connection, now)
            return 200, ReferralCode.of(code, root, chosen(program.share, accept_language))

        return await idempotent(request, pool, principal, required=False, run=run)

    return router


async def _code(connection: Connection, customer_id: str, vanity: str | None, now: datetime) -> str:
    if vanity is None:
        return await codes.find_or_make(connection, customer_id, now)
    try:
        return await codes.choose(connection, customer_id, vanity, now)
    except UnfitCodeError as error:
        errors = [FieldError(pointer="/vanity", message=str(error))]
        raise Problem(422, "invalid_request", f"/vanity: {error}", errors) from error
    except CodeTakenError as error:
        raise Problem(409, "code_taken", "This code belongs to somebody else: take another one.") from error
    except TooManyCodesError as error:
        detail = f"The customer has chosen {MOST_CHOSEN} codes already: take one of them."
        raise Problem(409, "too_many_codes", detail) from error
