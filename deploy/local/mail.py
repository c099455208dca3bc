"""Catches the messages that the stack sends: `python -m deploy.local.mail SMTP_PORT HTTP_PORT`.

It accepts every mail over SMTP, text messages as Twilio does, and pushes as a push service does, and delivers none.
`/messages` returns them as JSON, newest first (`?channel=sms`: of one channel); `/` shows them.
"""

import argparse
import asyncio
import html
from collections import deque
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.local.browsers import Browsers
from deploy.local.ports import LOOPBACK
from deploy.local.texts import TextMessages
from shared.http.server import serve

KEPT: Final = 5_000
SHOWN: Final = 200
LARGEST_MAIL: Final = 1_048_576  # bytes

Caught = dict[str, Any]

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'">
<title>Wafa: caught messages</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }}
  summary {{ cursor: pointer; padding: .3rem 0; }}
  iframe {{ width: 100%; height: 24rem; border: 1px solid #8884; }}
</style>
<h1>Caught messages</h1>
<p>{total} caught since the start, none delivered; the newest {shown}. As JSON: <a href="/messages">/messages</a></p>
{mails}
</html>
"""

_MAIL: Final = """\
<details><summary>{channel}: <b dir="auto">{subject}</b> to {to}</summary>
<iframe sandbox loading="lazy" title="{subject}" srcdoc="{content}"></iframe></details>
"""


class Mailbox:
    """The newest messages, so that memory stays bounded. Also the handler of the SMTP server."""

    def __init__(self, kept: int = KEPT) -> None:
        self.newest_first: deque[Caught] = deque(maxlen=kept)
        self.total = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep a mail; returns the SMTP answer."""
        content = envelope.content
        raw = content if isinstance(content, bytes) else (content or "").encode()
        self.keep(_read(raw, envelope.rcpt_tos))
        return "250 caught"

    def keep(self, message: Caught) -> None:
        """Keep a message of any channel."""
        self.newest_first.appendleft(message)
        self.total += 1


def web(mailbox: Mailbox) -> Starlette:
    """The pages of a mailbox, and the providers whose messages it keeps."""
    texts, browsers = TextMessages(mailbox.keep), Browsers(mailbox.keep)

    async def messages(request: Request) -> Response:
        wanted = request.query_params.get("channel")
        return JSONResponse([row for row in mailbox.newest_first if wanted is None or row["channel"] == wanted])

    async def page(_request: Request) -> Response:
        newest = list(mailbox.newest_first)[:SHOWN]
        mails = "".join(
            _MAIL.format(
                channel=mail["channel"],
                subject=html.escape(mail["subject"] or mail["text"]),
                to=html.escape(mail["to"]),
                content=html.escape(mail["html"] or f"<pre>{html.escape(mail['text'])}</pre>"),
            )
            for mail in newest
        )
        return HTMLResponse(_PAGE.format(total=mailbox.total, shown=len(newest), mails=mails))

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("alive")

    pages = [Route("/", page), Route("/messages", messages), Route("/livez", livez)]
    return Starlette(routes=[*pages, *texts.routes(), *browsers.routes()])


def _read(raw: bytes, recipients: Sequence[str]) -> Caught:
    message = message_from_bytes(raw, policy=policy.default)
    return {
        "channel": "email",
        "to": ", ".join(recipients),
        "subject": str(message.get("Subject", "")),
        "text": _part(message, "plain"),
        "html": _part(message, "html"),
        "headers": {name: str(value) for name, value in message.items()},
    }


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return "" if body is None else str(body.get_content())


async def _main(smtp_port: int, http_port: int) -> None:
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, data_size_limit=LARGEST_MAIL, enable_SMTPUTF8=True, ident="wafa"), LOOPBACK, smtp_port
    )
    async with server:
        await serve(web(mailbox), LOOPBACK, http_port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m deploy.local.mail", description=__doc__)
    parser.add_argument("smtp_port", type=int)
    parser.add_argument("http_port", type=int)
    given = parser.parse_args()
    asyncio.run(_main(given.smtp_port, given.http_port))
