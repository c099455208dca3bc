"""Takes text messages as Twilio's Messages API does, and delivers none."""

import re
import secrets
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.local.bodies import TooLargeError, read_body, read_user
from services.notifications.rules.segments import measure

LONGEST_TEXT: Final = 1_600
LARGEST_FORM: Final = 32_768  # bytes

_E164: Final = re.compile(r"\+[1-9]\d{6,14}")

# Twilio's numbers for tests, with the errors that sending to them causes; the others are taken.
REFUSED: Final[Mapping[str, tuple[int, str]]] = {
    "+15005550001": (21211, "Invalid 'To' Phone Number"),
    "+15005550002": (21612, "The 'To' phone number is not currently reachable via SMS"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}


class TextMessages:
    """The provider of text messages; `keep` gets each that is taken."""

    def __init__(self, keep: Callable[[dict[str, Any]], None]) -> None:
        self._keep = keep

    def routes(self) -> list[Route]:
        """The route of the Messages API."""
        return [Route("/2010-04-01/Accounts/{account}/Messages.json", self._create, methods=["POST"])]

    async def _create(self, request: Request) -> Response:
        account = request.path_params["account"]
        user = read_user(request)
        if user is None or user[0] != account or not user[1]:
            return _refuse(HTTPStatus.UNAUTHORIZED, 20003, "Authenticate")
        try:
            fields = parse_qs((await read_body(request, LARGEST_FORM)).decode(), keep_blank_values=True)
        except (TooLargeError, UnicodeDecodeError):
            return _refuse(HTTPStatus.BAD_REQUEST, 21617, "The concatenated message body exceeds the limit")
        form = {name: values[0] for name, values in fields.items()}
        error = _judge(form)
        if error is not None:
            return _refuse(HTTPStatus.BAD_REQUEST, *error)
        return self._take(account, form)

    def _take(self, account: str, form: Mapping[str, str]) -> Response:
        sid, size = f"SM{secrets.token_hex(16)}", measure(form["Body"])
        sender = form.get("From") or form["MessagingServiceSid"]
        self._keep(
            {
                "channel": "sms",
                "to": form["To"],
                "from": sender,
                "subject": "",
                "text": form["Body"],
                "html": "",
                "headers": {},
                "sid": sid,
                "segments": size.count,
            }
        )
        answer = {
            "sid": sid,
            "account_sid": account,
            "status": "queued",
            "direction": "outbound-api",
            "to": form["To"],
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "body": form["Body"],
            "num_segments": str(size.count),
            "date_created": formatdate(localtime=False),
            "error_code": None,
            "error_message": None,
            "api_version": "2010-04-01",
            "uri": f"/2010-04-01/Accounts/{account}/Messages/{sid}.json",
        }
        return JSONResponse(answer, HTTPStatus.CREATED)


def _judge(form: Mapping[str, str]) -> tuple[int, str] | None:
    """The error of a form, with its code; None if it is taken."""
    to = form.get("To", "")
    if _E164.fullmatch(to) is None:
        return 21211, f"Invalid 'To' Phone Number: {to}"
    if not (form.get("From") or form.get("MessagingServiceSid")):
        return 21603, "A 'From' phone number is required"
    if not form.get("Body"):
        return 21602, "Message body is required"
    if len(form["Body"]) > LONGEST_TEXT:
        return 21617, "The concatenated message body exceeds the 1600 character limit"
    return REFUSED.get(to)


def _refuse(status: HTTPStatus, code: int, message: str) -> Response:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return JSONResponse({"code": code, "message": message, "more_info": more, "status": int(status)}, status)
