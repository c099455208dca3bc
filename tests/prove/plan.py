"""The plan of a run: sizes, pace and faults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tests.prove.history import Size
from tests.prove.publishing import Pace
from tests.prove.writes import Kind


class Fault(StrEnum):
    """The kinds of faults."""

    KILL_WORKER = "SIGKILL of a worker with its relay"
    KILL_API = "SIGKILL of the APIs"
    STOP_WORKER = "SIGSTOP of a worker past its session"
    TERMINATE = "database session terminated"
    RESTART_SERVER = "PostgreSQL crashed and restarted"
    KILL_BROKER = "broker killed and restarted"
    REBALANCE = "worker joined and left"
    RESET = "connection reset"
    RESET_AT_COMMIT = "connection reset between COMMIT and its answer"
    POISON = "records that no client can read"
    HOT_CUSTOMER = "2,501 events of one customer at once"
    HOSTILE_CALLERS = "hostile callers of the APIs"
    KILL_SWEEP = "SIGKILL of a sweep of tiers, days ahead"
    KILL_PUBLICATION = "SIGKILL while a tier program is applied"
    KILL_SIMULATION = "SIGKILL while a tier program is simulated"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: size and pace of the history, API writes per second, and the number of faults of each kind."""

    size: Size
    pace: Pace = field(default_factory=Pace)
    writes: float = 6.0
    faults: Mapping[Fault, int] = field(default_factory=dict)
    mix: Mapping[Kind, int] = field(
        default_factory=lambda: {
            Kind.ADJUST: 3,
            Kind.REDEEM: 3,
            Kind.REWARD: 1,
            Kind.HOLD: 4,
            Kind.ASSIGN: 2,
            Kind.USE: 1,
            Kind.DECIDE: 1,
        }
    )
    """Relative frequency of each kind of write."""
    commits_of: tuple[str, ...] = ("points-worker", "points-api", "tiers-worker", "points-worker", "referrals-worker")
    """The applications whose COMMITs stay unanswered, in turn."""
    pause: float = 1.0
    """Factor of the pauses between two faults of a kind."""
    quiet_seconds: float = 300.0
    """Seconds for the drain after the last record is published."""
    settles_soon: bool = True
    """Whether workers take a tier program as applied to everybody after seconds, not minutes: see plants/tiers.py."""


_FAULTS: Final = {
    Fault.KILL_WORKER: 20,
    Fault.KILL_API: 5,
    Fault.STOP_WORKER: 5,
    Fault.TERMINATE: 10,
    Fault.RESTART_SERVER: 3,
    Fault.KILL_BROKER: 2,
    Fault.REBALANCE: 5,
    Fault.RESET: 7,
    Fault.RESET_AT_COMMIT: 3,
    Fault.POISON: 5,
    Fault.HOT_CUSTOMER: 3,
    Fault.HOSTILE_CALLERS: 3,
    Fault.KILL_SWEEP: 4,
    Fault.KILL_PUBLICATION: 4,
    Fault.KILL_SIMULATION: 2,
}

FULL: Final = Plan(Size(100_000, 5_000), faults=_FAULTS, settles_soon=False)
SOAK: Final = Plan(
    Size(360_000, 10_000, rate=120.0),
    pace=Pace(rate=120.0),
    faults={fault: 9 * count for fault, count in _FAULTS.items()},
    pause=1.5,  # so that the faults last as long as the history
    quiet_seconds=900.0,
    settles_soon=False,
)
"""About 45 minutes, more on a slow machine."""
QUICK: Final = Plan(
    Size(8_000, 600),
    pace=Pace(burst=1_000, burst_every=3_000),
    faults={
        **dict.fromkeys((Fault.KILL_WORKER, Fault.TERMINATE, Fault.RESET, Fault.RESET_AT_COMMIT), 1),
        **dict.fromkeys((Fault.KILL_API, Fault.RESTART_SERVER), 1),
        **dict.fromkeys((Fault.POISON, Fault.HOT_CUSTOMER, Fault.HOSTILE_CALLERS), 1),
        **dict.fromkeys((Fault.KILL_SWEEP, Fault.KILL_PUBLICATION, Fault.KILL_SIMULATION), 1),
    },
)
CALM: Final = Plan(Size(2_000, 200), pace=Pace(rate=500.0, burst=500, burst_every=800))
"""No faults: the oracle agrees with a quiet run."""

PLANS: Final = {"full": FULL, "soak": SOAK, "quick": QUICK, "calm": CALM}


def chosen() -> Plan:
    """The plan that the environment names (`PROVE=soak`); by default the full one.

    Raises:
        KeyError: there is no such plan.
    """
    return PLANS[os.environ.get("PROVE", "full")]
