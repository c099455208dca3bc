"""What a mail server's answers mean, and how they are logged: without addresses."""

import re
from typing import Final

from aiosmtplib import SMTPRecipientRefused, SMTPResponseException, SMTPSenderRefused

from services.notifications.channels.port import Answer, PutOff, Refused, UnreachableError

SERVICE_CLOSES: Final = 421

# RFC 4954: the server wants another login or TLS first. The mail is not the cause.
_LOGIN_REJECTED: Final = frozenset({530, 534, 535, 538})
_TOO_LARGE: Final = 552

_ADDRESS: Final = "[address]"
_LIKE_AN_ADDRESS: Final = re.compile(r"""(?:"[^"\r\n]*"|[^\s<>"'(),:;@]+)@[^\s<>"'(),:;@]+""")
_LONGEST_TEXT: Final = 300

# RFC 3463: 5.1.x is the address (not .7 and .8, which are the sender's), 5.2.1 a mailbox that is disabled.
_ENHANCED: Final = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})\b")
_NO_MAILBOX: Final = frozenset({("1", number) for number in ("0", "1", "2", "3", "4", "6", "10")} | {("2", "1")})
# What servers without such codes say. Most of their other 550s are of policy, and would hit every address.
_SAYS_NO_MAILBOX: Final = re.compile(
    r"no such (user|mailbox|recipient|address)|(user|recipient|mailbox|address|account)\b.{0,40}\b"
    r"(unknown|not found|unavailable|does(n't| not) exist|disabled|rejected: unknown)|unknown (user|recipient|mailbox)"
    r"|invalid (mailbox|recipient|user)|not a known user",
    re.IGNORECASE,
)


def judge(error: SMTPResponseException, recipient: str) -> Answer:
    """RFC 5321, section 4.2.1: 5yz is permanent, everything else is transient.

    Raises:
        UnreachableError: the server rejects the login or the sender: the mail is not the cause.
    """
    text = describe(error, recipient)
    if error.code in _LOGIN_REJECTED:
        raise UnreachableError(text) from error
    if not 500 <= error.code < 600:
        return PutOff(text)
    # All mails have the same sender; only the size of a mail can be announced with it.
    if isinstance(error, SMTPSenderRefused) and error.code != _TOO_LARGE:
        raise UnreachableError(text) from error
    return Refused(text, bounced=_is_bounce(error))


def describe(error: Exception, recipient: str = "") -> str:
    """The server's answer on one line, with addresses masked."""
    said = f"{error.code} {error.message}" if isinstance(error, SMTPResponseException) else f"{_name(error)}: {error}"
    return without_addresses(said, recipient)


def without_addresses(text: str, recipient: str) -> str:
    """Mask addresses for the log: anything like an address, and the recipient's in every notation."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    # Servers write the recipient with quotes, encoded (SRS, VERP: `ann=example.org@bounces…`), or only the local part.
    local, _, domain = recipient.rpartition("@")
    for part in (recipient, f"{local}={domain}", local, local.strip('"')):
        if part.strip("=@"):
            text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", _ADDRESS, text, flags=re.IGNORECASE)
    return _LIKE_AN_ADDRESS.sub(_ADDRESS, text)[:_LONGEST_TEXT]


def _name(error: Exception) -> str:
    return type(error).__name__


def _is_bounce(error: SMTPResponseException) -> bool:
    """Whether the mailbox does not exist, so that nothing should be sent to it again."""
    enhanced = _ENHANCED.match(error.message)
    if enhanced is not None:
        return (enhanced[2], enhanced[3]) in _NO_MAILBOX
    return isinstance(error, SMTPRecipientRefused) and _SAYS_NO_MAILBOX.search(error.message) is not None
