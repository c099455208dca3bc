"""A replay: what the signals of a draft would have done about sign-ups of the past, and the sum of that."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, Literal, NamedTuple, Self
from uuid import UUID

from services.referrals.rules.circle import closes_ring
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.signals import SignalId
from services.referrals.rules.signals import Circumstances, Facts, Found, judge
from services.referrals.rules.steps import Verdict, verdict_of

Result = Literal["blocked", "flagged", "passed"]

_RESULTS: Final[Mapping[Verdict, Result]] = {
    Verdict.BLOCK: "blocked",
    Verdict.FLAG: "flagged",
    Verdict.CLEAN: "passed",
}

MOST_CHANGED: Final = 10_000
"""The most referrals that a result lists; it counts all."""

_COMPARED: Final[frozenset[SignalId]] = frozenset(
    {
        *("same_email", "similar_email", "same_phone", "same_payment", "same_device", "same_ip_and_agent", "same_ip"),
        *("same_name", "ip_velocity", "disposable_email", "many_networks", "blocklist"),
    }
)
"""The signals that depend on evidence, of which nothing is stored without a key."""


class Case(NamedTuple):
    """A sign-up of the past: its sides, what is known of it besides stored facts, and what became of it.

    `is_standing`: another referral of the friend stood, which rejects this one whatever the signals are. `terms` is
    the version of the sign-up. `paid` are the points of both sides, 0 if the referral is not approved.
    """

    referral_id: UUID
    friend_id: str
    advocate_id: str
    was: Result
    has_bought: bool
    was_referred: bool
    is_standing: bool
    order: tuple[str, str] | None
    terms: Program
    paid: int


def would_be(case: Case, facts: Facts, draft: Program) -> tuple[Result, Sequence[Found]]:
    """The result of a sign-up by the draft, with the signals that hold, from the facts of its own time."""
    is_self = case.friend_id == case.advocate_id
    around = Circumstances(
        is_self=is_self,
        referred=case.was_referred,
        bought=case.has_bought,
        closes_circle=not is_self
        and closes_ring(lambda customer: facts.edges.get(customer, ()), case.advocate_id, case.friend_id),
        order=case.order,
        terms=case.terms,
    )
    found = judge(facts, around, draft)
    if case.is_standing and not is_self:
        weight = draft.settings["already_referred"].weight
        found = [
            Found("already_referred", "block", weight),
            *(signal for signal in found if signal.id != "already_referred"),
        ]
    return result_by(found, draft), found


def result_by(signals: Collection[Found], program: Program) -> Result:
    """The result that signals have by a program; a flag counts before the order too."""
    return _RESULTS[verdict_of(signals, program)]


@dataclass(slots=True)
class Tally:
    """The sum of the results of some sign-ups; `changed` has the referral's id, what it was and would be."""

    results: Counter[str] = field(default_factory=Counter[str])
    signals: Counter[str] = field(default_factory=Counter[str])
    changed: list[tuple[str, Result, Result]] = field(default_factory=list[tuple[str, Result, Result]])
    points_saved: int = 0

    def add(self, case: Case, would: Result, found: Iterable[Found]) -> None:
        """Count a sign-up."""
        self.results[would] += 1
        self.signals.update(signal.id for signal in found)
        if would != case.was:
            self.changed.append((str(case.referral_id), case.was, would))
        if would == "blocked":
            self.points_saved += case.paid

    def merge(self, other: Self) -> None:
        """Add the sum of other sign-ups, which come after these."""
        self.results.update(other.results)
        self.signals.update(other.signals)
        self.changed += other.changed
        self.points_saved += other.points_saved

    def to_json(self) -> dict[str, Any]:
        """The tally as it is stored."""
        return {
            "results": self.results,
            "signals": self.signals,
            "changed": self.changed,
            "points_saved": self.points_saved,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The tally that was stored."""
        changed: list[tuple[str, Result, Result]] = [(id_, was, would) for id_, was, would in stored["changed"]]
        return cls(Counter(stored["results"]), Counter(stored["signals"]), changed, stored["points_saved"])


def result_of(draft: Program, tallies: Iterable[Tally], *, has_key: bool) -> dict[str, Any]:
    """The result of a replay, as the API shows it: the newest changes first."""
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    newest = total.changed[: -MOST_CHANGED - 1 : -1]
    return {
        "sign_ups": total.results.total(),
        **{result: total.results[result] for result in ("blocked", "flagged", "passed")},
        "changed": [{"referral_id": id_, "was": was, "would": would} for id_, was, would in newest],
        "changed_total": len(total.changed),
        "points_saved": total.points_saved,
        "signals": [
            {"id": id_, "count": count}
            for id_, count in sorted(total.signals.items(), key=lambda entry: (-entry[1], entry[0]))
        ],
        "not_replayed": list(_not_replayed(draft, has_key=has_key)),
    }


def _not_replayed(draft: Program, *, has_key: bool) -> Iterator[str]:
    """What the draft asks for and stored evidence cannot answer, each beginning with its signal."""
    wanted = [id_ for id_ in sorted(_COMPARED) if draft.settings[id_].action != "off"]
    if not has_key:
        yield from (f"{id_}: no evidence is stored without WAFA_REFERRALS_EVIDENCE_KEY" for id_ in wanted)
    elif "blocklist" in wanted:
        yield from (f"blocklist: {_words(network)}" for network in draft.blocklist.networks if not _is_exact(network))


def _is_exact(network: IPv4Network | IPv6Network) -> bool:
    """Whether stored addresses and networks tell exactly who is in a network."""
    return network.version == 4 or network.prefixlen <= 64


def _words(network: IPv4Network | IPv6Network) -> str:
    return f"{network} counts as {network.supernet(new_prefix=64)}: evidence has IPv6 addresses by their /64"
