"""Signs mails with DKIM (RFC 6376)."""

import asyncio
from typing import Final

import dkim
from dkim.util import InvalidTagValueList

_SIGNED: Final = (
    *(b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type", b"content-language"),
    # RFC 8058 wants both signed. A name without a header says that the mail has none, so that none can be added.
    *(b"auto-submitted", b"list-id", b"list-unsubscribe", b"list-unsubscribe-post"),
    # Named once more than they are there: no second one can be added.
    *(b"from", b"to", b"subject", b"date", b"list-unsubscribe", b"list-unsubscribe-post"),
)


class Signer:
    """Signs with the private key (PEM, RSA) whose public part is at `<selector>._domainkey.<domain>` in the DNS.

    Raises:
        ValueError: the key cannot be read.
    """

    def __init__(self, key: bytes, selector: str, domain: str) -> None:
        self._key = key
        self._selector = selector.encode()
        self._domain = domain.encode("idna")
        self._sign(b"From: a@b.example\r\n\r\n")

    async def sign(self, content: bytes) -> bytes:
        """The mail with its signature. It is made in a thread, since it takes milliseconds."""
        return await asyncio.to_thread(self._sign, content)

    def _sign(self, content: bytes) -> bytes:
        try:
            signature = dkim.sign(
                content,
                self._selector,
                self._domain,
                self._key,
                include_headers=list(_SIGNED),
                canonicalize=(b"relaxed", b"relaxed"),
            )
        except (dkim.DKIMException, InvalidTagValueList) as error:
            raise ValueError(f"the DKIM key cannot be used: {error}") from error
        return signature + content
