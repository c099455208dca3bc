"""Tells people who open mails and follow links from machines that do."""

import re
from collections.abc import Mapping
from typing import Final

from shared.http.bots import is_bot

_LONGEST: Final = 1024
_PREFETCHES: Final = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_EARLY: Final = re.compile(r"prefetch|preview|prerender", re.IGNORECASE)

# They fetch images for people who open a mail, to hide from senders where these are.
_FOR_PEOPLE: Final = re.compile(r"GoogleImageProxy|YahooMailProxy", re.IGNORECASE)

# Scanners of mail servers, and libraries: people read mails with browsers and mail programs.
_SCANNERS: Final = re.compile(
    r"barracuda|mimecast|proofpoint|messagelabs|symantec|trend ?micro|zscaler|fireeye|trellix|forcepoint|sophos|"
    r"cloudmark|mailscanner|ironport|fortiguard|fortimail|vade|spamassassin|safelinks|"
    r"existence discovery|office protocol discovery|headlesschrome|phantomjs|"
    r"python|curl|wget|go-http-client|java/|okhttp|libwww|httpclient|axios|node-fetch|guzzle|^ruby",
    re.IGNORECASE,
)
# What Apple's Mail Privacy Protection sends for every mail, opened or not.
_BARE: Final = "Mozilla/5.0"


def is_person(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a request looks like that of a person's browser or mail program."""
    if method == "HEAD" or any(_EARLY.search(headers.get(name, "")) for name in _PREFETCHES):
        return False
    agent = headers.get("user-agent", "").strip()[:_LONGEST]
    if _FOR_PEOPLE.search(agent):
        return True
    return bool(agent) and agent != _BARE and not _SCANNERS.search(agent) and not is_bot(agent)
