"""What a new document is refused for: contradictions that no single field shows, and sizes.

Drafts are checked, and documents when they are published; versions that are already published are not checked again.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from pydantic import HttpUrl, TypeAdapter, ValidationError

from services.referrals.rules.evidence.lists import MOST_NETWORKS, WIDEST, is_too_wide, width
from services.referrals.rules.program.compiled import network_of
from services.referrals.rules.program.document import Blocklist, ProgramDocument, SignalDocument
from services.referrals.rules.program.signals import SIGNALS
from shared.programs.faults import DocumentError, Fault, pointer

_MOST_RATES: Final = 200
_ADDRESS: Final = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+")
_DOMAIN: Final = re.compile(r"[^@\s\x00-\x1f/]+\.[^@\s\x00-\x1f/.]+")
_HOST: Final = re.compile(r"https?://[^/?#]+")
_URL: Final = TypeAdapter(HttpUrl)


def check(document: ProgramDocument) -> None:
    """Check that the parts of a document go together, and are not too many.

    Raises:
        DocumentError: they do not go together or are too many; it lists every fault.
    """
    faults = [
        *_wrong_milestones(document),
        *_wrong_rates(document),
        *_wrong_link(document.link),
        *_wrong_caps(document),
        *_wrong_signals(document),
        *_wrong_blocklist(document.blocklist),
        *_wrong_share(document),
    ]
    if faults:
        raise DocumentError(faults)


def _wrong_milestones(document: ProgramDocument) -> Iterator[Fault]:
    seen = set[int]()
    for place, milestone in enumerate(document.milestones):
        if milestone.count in seen:
            message = f"another milestone is at {milestone.count} referrals"
            yield Fault(pointer("milestones", place, "count"), message)
        seen.add(milestone.count)


def _wrong_rates(document: ProgramDocument) -> Iterator[Fault]:
    if document.currency in document.rates:
        yield Fault(pointer("rates", document.currency), "the program's own currency must have no rate")
    if len(document.rates) > _MOST_RATES:
        yield Fault("/rates", f"at most {_MOST_RATES} rates")


def _wrong_link(link: str | None) -> Iterator[Fault]:
    if link is None:
        return
    if "{code}" not in link:
        yield Fault("/link", "the link needs {code} where the referral code stands")
    rest, host = link.replace("{code}", "CODE"), _HOST.match(link)
    if re.search(r"[{}]", rest):
        yield Fault("/link", "{code} is all that is replaced: write other braces as %7B and %7D")
    elif re.search(r"[\s\x00-\x1f\x7f\\]", rest):
        yield Fault("/link", "a URL has no blanks, control characters and backslashes")
    elif host is None or not _is_url(rest):
        yield Fault("/link", "this is not the URL of a page: https://shop.example.org/?ref={code}")
    elif "{code}" in host[0]:
        yield Fault("/link", "{code} stands behind the name of the host: https://shop.example.org/?ref={code}")


def _is_url(text: str) -> bool:
    try:
        _URL.validate_python(text)
    except ValidationError:
        return False
    return True


def _wrong_caps(document: ProgramDocument) -> Iterator[Fault]:
    for place, cap in enumerate(document.caps):
        if (cap.count is None) == (cap.points is None):
            yield Fault(pointer("caps", place), "a cap has either a count of rewards or a number of points")


def _wrong_signals(document: ProgramDocument) -> Iterator[Fault]:
    seen = set[str]()
    for place, signal in enumerate(document.signals):
        if signal.id in seen:
            yield Fault(pointer("signals", place, "id"), f"signal {signal.id} is listed twice")
        seen.add(signal.id)
        if signal.id == "self" and signal.action != "block":
            yield Fault(pointer("signals", place, "action"), "nobody brings themselves: signal self always blocks")
        message = _wrong_threshold(signal)
        if message is not None:
            yield Fault(pointer("signals", place, "threshold"), message)


def _wrong_threshold(signal: SignalDocument) -> str | None:
    bounds = SIGNALS[signal.id].threshold
    if signal.threshold is None:
        return None
    if bounds is None:
        return f"signal {signal.id} has no threshold"
    if bounds.is_whole and not isinstance(signal.threshold, int):
        return f"the threshold of {signal.id} is a whole number: {bounds.unit}"
    if not bounds.least <= Fraction(signal.threshold) <= bounds.most:
        least, most = (f"{float(bound):g}" for bound in (bounds.least, bounds.most))
        return f"the threshold of {signal.id} is from {least} to {most}: {bounds.unit}"
    return None


def _wrong_blocklist(blocklist: Blocklist) -> Iterator[Fault]:
    for place, address in enumerate(blocklist.addresses):
        if _ADDRESS.fullmatch(address) is None:
            yield Fault(pointer("blocklist", "addresses", place), "this is no e-mail address")
    for place, domain in enumerate(blocklist.domains):
        if _DOMAIN.fullmatch(domain) is None:
            yield Fault(pointer("blocklist", "domains", place), "this is no domain such as example.org")
    yield from _wrong_networks(blocklist.cidrs)


def _wrong_networks(cidrs: Sequence[str]) -> Iterator[Fault]:
    covered = 0
    for place, cidr in enumerate(cidrs):
        try:
            network = network_of(cidr)
        except ValueError:
            yield Fault(pointer("blocklist", "cidrs", place), "this is no network such as 203.0.113.0/24")
            continue
        if is_too_wide(network):
            least = WIDEST[network.version]
            yield Fault(
                pointer("blocklist", "cidrs", place), f"the prefix of IPv{network.version} is at least /{least}"
            )
        else:
            covered += width(network)
    if covered > MOST_NETWORKS:
        yield Fault(
            pointer("blocklist", "cidrs"),
            f"they cover {covered:,} networks of /24 (IPv6: /48) or addresses; at most {MOST_NETWORKS:,}",
        )


def _wrong_share(document: ProgramDocument) -> Iterator[Fault]:
    for locale, text in document.share.items():
        if "{link}" not in text:
            yield Fault(pointer("share", locale), "the text needs {link} where the referral link stands")
