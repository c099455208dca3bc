"""The referral codes of advocates, requested from Wafa's API as a shop's site does."""

import http.client
import json
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

SECONDS = 30.0


class ReferralCodeError(Exception):
    """The API did not give a code. The message is one line for the user."""


def fetch(url: str, token: str, customers: Iterable[int]) -> dict[int, str]:
    """Each customer's code, the same for every request. One connection, one request per customer.

    Raises:
        ReferralCodeError: the API cannot be reached, or refused.
    """
    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=SECONDS)
    try:
        return {customer: _code(connection, address.path.rstrip("/"), token, customer) for customer in customers}
    except (OSError, http.client.HTTPException) as error:
        raise ReferralCodeError(f"{url} does not answer: {error}") from error
    finally:
        connection.close()


def _code(connection: http.client.HTTPConnection, root: str, token: str, customer: int) -> str:
    path = f"{root}/v1/customers/{quote(str(customer), safe='')}/referral-code"
    connection.request("POST", path, headers={"Authorization": f"Bearer {token}", "Content-Length": "0"})
    response = connection.getresponse()
    body = response.read()
    if response.status not in (http.HTTPStatus.OK, http.HTTPStatus.CREATED):
        raise ReferralCodeError(f"POST {path}: {response.status} {body[:200].decode(errors='replace')}")
    return str(json.loads(body)["code"])
