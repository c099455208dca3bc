"""The comparison of a friend's values with an advocate's."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Final, NamedTuple

from rapidfuzz.distance import Levenshtein

from services.referrals.rules.evidence.keys import LocalPart
from services.referrals.rules.evidence.kinds import MOST_VALUES, Kind
from services.referrals.rules.evidence.lists import Listed
from services.referrals.rules.program.signals import SignalId
from services.referrals.rules.signals import Facts

SAME: Final[Mapping[SignalId, Kind]] = {
    "same_email": Kind.EMAIL,
    "same_phone": Kind.PHONE,
    "same_payment": Kind.PAYMENT,
    "same_device": Kind.DEVICE,
    "same_ip_and_agent": Kind.IP_AND_AGENT,
    "same_ip": Kind.IP,
    "same_name": Kind.NAME,
}
"""The signals that hold where both sides have a value of a kind."""


class Stored(NamedTuple):
    """A stored value of a customer; `mark` is its place in the order of handling, `local` that of its address."""

    kind: Kind
    mark: int
    hash: bytes
    local: LocalPart | None = None


Values = Mapping[Kind, Mapping[bytes, LocalPart | None]]
"""The values of a customer by kind and hash."""


def as_of(newest_first: Sequence[Stored], mark: int) -> Values:
    """The values that count as of a place in the order of handling: of each kind the newest MOST_VALUES."""
    values: dict[Kind, dict[bytes, LocalPart | None]] = {}
    for value in newest_first:
        if value.mark <= mark:
            of_kind = values.setdefault(value.kind, {})
            if len(of_kind) < MOST_VALUES:
                of_kind[value.hash] = value.local
    return values


class Similar(NamedTuple):
    """Two addresses at one domain whose local parts are similar."""

    similarity: Fraction
    friend: bytes
    advocate: bytes


class Match(NamedTuple):
    """What the values of both sides have in common, and what is listed of the friend's."""

    same: Mapping[SignalId, Collection[bytes]]
    similar: Sequence[Similar]
    is_disposable: bool
    is_blocklisted: bool

    @property
    def hashes(self) -> set[bytes]:
        """The values by which the sides match; they count if few enough customers have them."""
        same = {hash_ for hashes in self.same.values() for hash_ in hashes}
        return same | {hash_ for pair in self.similar for hash_ in (pair.friend, pair.advocate)}

    def facts(self, shared: Collection[bytes]) -> Facts:
        """The facts that follow, without values that too many customers share."""
        similar = [
            pair.similarity for pair in self.similar if pair.friend not in shared and pair.advocate not in shared
        ]
        return Facts(
            same=frozenset(id_ for id_, hashes in self.same.items() if any(hash_ not in shared for hash_ in hashes)),
            similarity=max(similar, default=Fraction(0)),
            is_disposable=self.is_disposable,
            is_blocklisted=self.is_blocklisted,
        )


class Matcher(NamedTuple):
    """Compares sides for the wanted signals.

    `threshold` is the least similarity of addresses; None: it is not wanted.
    """

    wanted: Collection[SignalId]
    threshold: Fraction | None
    lists: Listed

    def match(self, friend: Values, advocate: Values) -> Match:
        """Compare two sides."""
        same: dict[SignalId, Collection[bytes]] = {}
        for id_, kind in SAME.items():
            if id_ in self.wanted and (common := friend.get(kind, _NONE).keys() & advocate.get(kind, _NONE).keys()):
                same[id_] = common
        similar: list[Similar] = []
        if self.threshold is not None:
            similar = _similar(friend.get(Kind.EMAIL, _NONE), advocate.get(Kind.EMAIL, _NONE), self.threshold)
        blocked = (
            {hash_ for kind in _BLOCKED for hash_ in friend.get(kind, _NONE)} if "blocklist" in self.wanted else ()
        )
        return Match(
            same,
            similar,
            "disposable_email" in self.wanted and not self.lists.disposable.isdisjoint(friend.get(Kind.DOMAIN, _NONE)),
            not self.lists.blocked.isdisjoint(blocked),
        )


def _similar(
    friend: Mapping[bytes, LocalPart | None], advocate: Mapping[bytes, LocalPart | None], threshold: Fraction
) -> list[Similar]:
    return [
        Similar(found, one_hash, other_hash)
        for (one_hash, one), (other_hash, other) in product(friend.items(), advocate.items())
        if one is not None
        and other is not None
        and one.domain == other.domain
        and (found := similarity(one.text, other.text, threshold)) >= threshold
    ]


def similarity(one: str, other: str, threshold: Fraction) -> Fraction:
    """1 - Levenshtein distance / the longer length, exactly; any smaller value than `threshold` may be 0."""
    longer = max(len(one), len(other))
    most = (threshold.denominator - threshold.numerator) * longer // threshold.denominator
    distance = Levenshtein.distance(one, other, score_cutoff=most)
    return Fraction(longer - distance, longer) if distance <= most else Fraction(0)


def kinds(wanted: Iterable[SignalId]) -> list[Kind]:
    """The kinds of values that the wanted signals compare or look up."""
    needed: set[Kind] = set()
    for id_ in wanted:
        needed |= _KINDS.get(id_, frozenset())
    return sorted(needed)


_BLOCKED: Final = frozenset({Kind.EMAIL, Kind.DOMAIN, Kind.IP, Kind.NETWORK, Kind.COUNTRY})
_NONE: Final[Mapping[bytes, LocalPart | None]] = {}

_KINDS: Final[Mapping[SignalId, frozenset[Kind]]] = {
    **{id_: frozenset({kind}) for id_, kind in SAME.items()},
    "similar_email": frozenset({Kind.EMAIL}),
    "disposable_email": frozenset({Kind.DOMAIN}),
    "blocklist": _BLOCKED,
}
