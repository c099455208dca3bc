"""A version of the referral program in the form that referrals are judged by."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import ceil
from typing import Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from services.referrals.rules.program.document import Blocklist as BlocklistDocument
from services.referrals.rules.program.document import Per, ProgramDocument, Scope, SignalDocument
from services.referrals.rules.program.signals import SIGNALS, Action, SignalId
from shared.contracts.values import UNITS, units


class Setting(NamedTuple):
    """What a signal does: its action, what it adds to the score, and its threshold (None if it has none)."""

    action: Action
    weight: int = 0
    threshold: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """The most rewards (`count`) or points in a period; one of both is None."""

    count: int | None
    points: int | None
    per: Per
    scope: Scope


@dataclass(frozen=True, slots=True, order=True)
class Milestone:
    """The points on top for the approval that makes the advocate's approved referrals this many."""

    count: int
    points: int


class Blocklist(NamedTuple):
    """Friends to stop, as the document names them; an IPv4 network that was written as IPv6 is an IPv4 network."""

    addresses: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    countries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Program:
    """A published version of the program."""

    version: int
    document: ProgramDocument
    advocate_points: int
    friend_points: int
    currency: str
    amount: Fraction
    """The least worth of an order that counts, and of what refunds leave of it, in the program's currency."""
    rates: Mapping[str, Fraction]
    """What 1.00 of a currency is worth in the program's, which is 1; orders in other currencies qualify nothing."""
    least: Mapping[str, int]
    """By currency, the least total of an order that counts, in ten-thousandths."""
    within: timedelta
    nth: int
    hold: timedelta
    undecided: timedelta
    then: Literal["approve", "reject"]
    zone: ZoneInfo
    """The zone of the periods of caps."""
    caps: tuple[Cap, ...]
    milestones: tuple[Milestone, ...]
    """By rising count."""
    settings: Mapping[SignalId, Setting]
    """Of every signal."""
    flag_at: int
    block_at: int
    blocklist: Blocklist
    link: str | None
    """The target of referral links with `{code}` for the code; None for the setting's."""
    share: Mapping[str, str]
    """The text to share by locale, with `{link}` for the link; there is always one for `en`."""

    @classmethod
    def of(cls, version: int, document: ProgramDocument) -> Self:
        """The compiled form of a valid document."""
        amount = Fraction(document.qualifies.amount_at_least)
        rates = {currency: Fraction(rate) for currency, rate in document.rates.items()}
        rates[document.currency] = Fraction(1)
        return cls(
            version=version,
            document=document,
            advocate_points=document.advocate_points,
            friend_points=document.friend_points,
            currency=document.currency,
            amount=amount,
            rates=rates,
            least={currency: ceil(amount * UNITS / rate) for currency, rate in rates.items()},
            within=timedelta(days=document.qualifies.within_days),
            nth=document.qualifies.nth_order,
            hold=timedelta(days=document.hold_days),
            undecided=timedelta(days=document.undecided.after_days),
            then=document.undecided.then,
            zone=ZoneInfo(document.time_zone),
            caps=tuple(Cap(cap.count, cap.points, cap.per, cap.scope) for cap in document.caps),
            milestones=tuple(sorted(Milestone(milestone.count, milestone.points) for milestone in document.milestones)),
            settings=_settings(document.signals),
            flag_at=document.flag_at,
            block_at=document.block_at,
            blocklist=_blocklist(document.blocklist),
            link=document.link,
            share=document.share,
        )

    @property
    def caps_all(self) -> bool:
        """Whether a cap is over all advocates together."""
        return any(cap.scope == "program" for cap in self.caps)

    def worth(self, total: str, currency: str) -> Fraction | None:
        """What a total is worth in the program's currency, exactly; None if the currency has no rate."""
        rate = self.rates.get(currency)
        return None if rate is None else Fraction(total) * rate

    def is_enough(self, total: str, currency: str) -> bool:
        """Whether an order of this total counts: exactly the amount, by rate, is enough."""
        least = self.least.get(currency)
        return least is not None and units(total) >= least

    def deadline(self, signed_up_at: datetime) -> datetime:
        """The last instant at which an order of the friend can still count."""
        return _later(signed_up_at, self.within)

    def due_at(self, ordered_at: datetime) -> datetime:
        """When a referral whose qualifying order is of an instant is approved."""
        return _later(ordered_at, self.hold)

    def undecided_at(self, flagged_at: datetime, due_at: datetime) -> datetime:
        """When a flagged referral is settled without a person: counted from when the flag was recorded, not before it
        is due.
        """
        return max(_later(flagged_at, self.undecided), due_at)


def _later(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment + span
    except OverflowError:  # the end of the calendar
        return datetime.max.replace(tzinfo=UTC)


def _settings(listed: tuple[SignalDocument, ...]) -> Mapping[SignalId, Setting]:
    by_id = {signal.id: signal for signal in listed}
    settings: dict[SignalId, Setting] = {}
    for id_, signal in SIGNALS.items():
        document = by_id.get(id_)
        default = None if signal.threshold is None else Fraction(signal.threshold.default)
        if document is None:
            settings[id_] = Setting("off", 0, default)
        else:
            threshold = default if document.threshold is None else Fraction(document.threshold)
            settings[id_] = Setting(document.action, document.weight, threshold)
    settings["self"] = settings["self"]._replace(action="block")
    return settings


def _blocklist(document: BlocklistDocument) -> Blocklist:
    networks = tuple(network_of(cidr) for cidr in document.cidrs)
    return Blocklist(document.addresses, document.domains, networks, frozenset(document.countries))


def network_of(cidr: str) -> IPv4Network | IPv6Network:
    """The network of a CIDR, also of one with bits set behind its prefix.

    Raises:
        ValueError: the text is no CIDR.
    """
    network = ip_network(cidr, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))
