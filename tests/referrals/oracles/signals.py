"""Each signal by its definition, looked up anew in everything that is known."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import product

from tests.referrals.oracles.program import SIGNALS, Program
from tests.referrals.oracles.records import Facts, Found, Referral, SignUp, Told

LASTING = timedelta(days=400)
MOST_SHARING = 50
RING = 5


@dataclass(frozen=True)
class Known:
    """What is known when a referral is judged, and the version in force then."""

    now: datetime
    program: Program
    facts: Facts

    def values(self, customer_id: str, *kinds: str) -> set[str]:
        """The values of a customer that count."""
        return {
            told.value
            for told in self.facts.told
            if told.customer_id == customer_id and told.kind in kinds and self._counts(told)
        }

    def _counts(self, asked: Told) -> bool:
        fresh = [told for told in self.facts.told if told.time >= self.now - LASTING]
        sharing = {told.customer_id for told in fresh if (told.kind, told.value) == (asked.kind, asked.value)}
        return asked.time >= self.now - LASTING and len(sharing) <= MOST_SHARING

    def shares(self, referral: Referral, kind: str) -> bool:
        """Whether both sides have a value in common."""
        return bool(self.values(referral.friend_id, kind) & self.values(referral.advocate_id, kind))

    def recent(self, referral: Referral, window: timedelta) -> list[SignUp]:
        """The sign-ups in a window that looks back from the referral's."""
        return [
            sign_up
            for sign_up in self.facts.sign_ups
            if referral.signed_up_at - window <= sign_up.time <= referral.signed_up_at
        ]

    def own(self, referral: Referral) -> SignUp:
        """The referral's own sign-up."""
        return next(s for s in self.facts.sign_ups if (s.friend_id, s.code) == referral.key)


Holds = Callable[[Known, Referral, Fraction], bool]


def find(known: Known, referral: Referral, *, only: tuple[str, ...] = SIGNALS) -> dict[str, Found]:
    """The signals that hold of a referral now, as today's version weighs them."""
    found: dict[str, Found] = {}
    for signal in only:
        setting = known.program.setting(signal)
        if setting.action != "off" and _HOLDS[signal](known, referral, setting.threshold or Fraction(0)):
            found[signal] = Found(setting.action, setting.weight)
    return found


def _is_self(_known: Known, referral: Referral, _threshold: Fraction) -> bool:
    return referral.friend_id == referral.advocate_id


def _same(kind: str) -> Holds:
    return lambda known, referral, _: known.shares(referral, kind)


def _similar_email(known: Known, referral: Referral, threshold: Fraction) -> bool:
    pairs = product(known.values(referral.friend_id, "email"), known.values(referral.advocate_id, "email"))
    for (local, _, domain), (other, _, others) in ((a.rpartition("@"), b.rpartition("@")) for a, b in pairs):
        likeness = 1 - Fraction(_distance(local, other), max(len(local), len(other)))
        if domain == others and likeness >= threshold:
            return True
    return False


def _distance(left: str, right: str) -> int:
    """The Levenshtein distance, by its recursive definition in a table."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, row = row, [i]
        for j, b in enumerate(right, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def _already_bought(known: Known, referral: Referral, _threshold: Fraction) -> bool:
    return any(order.time < referral.signed_up_at for order in known.facts.orders.get(referral.friend_id, []))


def _already_customer(known: Known, referral: Referral, threshold: Fraction) -> bool:
    since = known.facts.registered.get(referral.friend_id)
    return since is not None and referral.signed_up_at - since >= timedelta(hours=24) * int(threshold)


def _already_referred(known: Known, referral: Referral, _threshold: Fraction) -> bool:
    return any(
        earlier.friend_id == referral.friend_id
        and earlier.number < referral.number
        and earlier.advocate_id != earlier.friend_id
        and earlier.state != "expired"
        for earlier in known.facts.referrals
    )


def _circle(known: Known, referral: Referral, _threshold: Fraction) -> bool:
    """Whether the friend brought the advocate, over up to three others: by sign-ups from before this one."""
    edges = [r for r in known.facts.referrals if r.number < referral.number and r.state != "rejected"]
    reached = {referral.friend_id}
    for _ in range(RING - 1):
        reached |= {edge.friend_id for edge in edges if edge.advocate_id in reached}
    return referral.advocate_id in reached and referral.advocate_id != referral.friend_id


def _ip_velocity(known: Known, referral: Referral, threshold: Fraction) -> bool:
    ip = known.own(referral).ip
    recent = known.recent(referral, timedelta(days=7))
    return ip is not None and len({s.friend_id for s in recent if s.ip == ip}) >= threshold


def _advocate_velocity(window: timedelta) -> Holds:
    def holds(known: Known, referral: Referral, threshold: Fraction) -> bool:
        recent = known.recent(referral, window)
        return len({s.friend_id for s in recent if s.advocate_id == referral.advocate_id}) >= threshold

    return holds


def _fast_cycle(known: Known, referral: Referral, threshold: Fraction) -> bool:
    since = known.facts.registered.get(referral.advocate_id)
    return since is not None and timedelta(0) <= referral.signed_up_at - since <= timedelta(minutes=1) * int(threshold)


def _disposable_email(known: Known, referral: Referral, _threshold: Fraction) -> bool:
    emails = known.values(referral.friend_id, "email")
    return any(address.rpartition("@")[2] in known.facts.disposable for address in emails)


def _threshold_order(_known: Known, referral: Referral, _threshold: Fraction) -> bool:
    if referral.order is None:
        return False
    worth = referral.program.worth(referral.order.total, referral.order.currency)
    amount = referral.program.amount
    return worth is not None and amount <= worth <= amount * Fraction(105, 100)


def _many_networks(known: Known, referral: Referral, threshold: Fraction) -> bool:
    recent = known.recent(referral, timedelta(days=7))
    return len({s.network for s in recent if s.code == referral.code and s.network}) >= threshold


def _advocate_suspended(known: Known, referral: Referral, threshold: Fraction) -> bool:
    confirmed = [r for r in known.facts.referrals if r.advocate_id == referral.advocate_id and r.reason == "decision"]
    return len(confirmed) >= threshold


def _blocklist(known: Known, referral: Referral, _threshold: Fraction) -> bool:
    friend, program = referral.friend_id, known.program
    emails = known.values(friend, "email")
    return bool(
        emails & set(program.blocked("addresses"))
        or {address.rpartition("@")[2] for address in emails} & set(program.blocked("domains"))
        or known.values(friend, "ip", "network") & set(program.blocked("cidrs"))
        or known.values(friend, "country") & set(program.blocked("countries"))
    )


_HOLDS: dict[str, Holds] = {
    "self": _is_self,
    "same_email": _same("email"),
    "similar_email": _similar_email,
    "same_phone": _same("phone"),
    "same_payment": _same("payment"),
    "same_device": _same("device"),
    "same_ip_and_agent": _same("ip_and_agent"),
    "same_ip": _same("ip"),
    "same_name": _same("name"),
    "already_bought": _already_bought,
    "already_customer": _already_customer,
    "already_referred": _already_referred,
    "circle": _circle,
    "ip_velocity": _ip_velocity,
    "advocate_velocity_hour": _advocate_velocity(timedelta(hours=1)),
    "advocate_velocity_day": _advocate_velocity(timedelta(days=1)),
    "fast_cycle": _fast_cycle,
    "disposable_email": _disposable_email,
    "threshold_order": _threshold_order,
    "many_networks": _many_networks,
    "advocate_suspended": _advocate_suspended,
    "blocklist": _blocklist,
}
