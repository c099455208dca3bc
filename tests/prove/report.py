"""The report of a run: tables for people, JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

from tests.prove.checks.check import Check
from tests.prove.nemesis import Struck
from tests.prove.plan import Fault, Plan
from tests.prove.run import Outcome
from tests.prove.selftest import Caught

GROUPS: Final = {
    1: "every accepted event and acknowledged write is applied once",
    2: "`verify` of all four services",
    3: "balances, tiers, referrals = a replay of the log",
    4: "every committed outbox row reached Kafka, in order",
    5: "dead letters = malformed and refused records; one message per event and channel",
    6: "the services recovered without a person",
}
KILLS: Final = frozenset(
    {Fault.KILL_WORKER, Fault.KILL_API, Fault.KILL_SWEEP, Fault.KILL_PUBLICATION, Fault.KILL_SIMULATION}
)
_OF_THREE: Final = 3
"""The rule of three: with 0 failures in N trials, the 95 % upper bound of the failure rate is 3/N."""


def bound(outcome: Outcome) -> str:
    """The upper bound of the failure rate that a run supports, in words."""
    if outcome.violated:
        return f"an invariant is violated with seed {outcome.seed}: there is no bound"
    seen = [fault.fault for fault in outcome.struck if fault.counts]
    kills = sum(1 for fault in seen if fault in KILLS)
    if not seen:
        return "no fault took effect: this run proves nothing about faults"
    words = f"0 failures in {len(seen)} faults of all kinds: the 95 % upper bound is {_most(len(seen)):.1%} per fault"
    return (
        f"0 failures in {kills} kills: the 95 % upper bound is {_most(kills):.1%} per kill; {words}" if kills else words
    )


def _most(count: int) -> float:
    return min(1.0, _OF_THREE / count)


def seconds(struck: Sequence[Struck]) -> tuple[float, float] | None:
    """Median and maximum recovery time in seconds; None without any."""
    times = [fault.strike.recovery for fault in struck if fault.counts and fault.strike.recovery is not None]
    return (median(times), max(times)) if times else None


def document(plan: Plan, outcome: Outcome, caught: Sequence[Caught]) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "seed": outcome.seed,
        "began": outcome.began,
        "seconds": round(outcome.seconds, 1),
        "size": asdict(plan.size),
        "faults": [_fault(fault, count, outcome.struck) for fault, count in plan.faults.items()],
        "struck": [asdict(fault) for fault in outcome.struck],
        "checks": [asdict(check) for check in outcome.checks],
        "figures": outcome.figures,
        "bound": bound(outcome),
        "planted": [asdict(item) for item in caught],
        "passed": not outcome.violated and all(item.right for item in caught),
    }


def _fault(fault: Fault, count: int, struck: Sequence[Struck]) -> dict[str, Any]:
    own = [item for item in struck if item.fault is fault]
    times = seconds(own)
    observed = sum(1 for item in own if item.counts)
    counts = {"fault": fault, "planned": count, "observed": observed, "tried": len(own)}
    return counts | {"recovery_median": times and round(times[0], 2), "recovery_worst": times and round(times[1], 2)}


def show(plan: Plan, outcome: Outcome, caught: Sequence[Caught]) -> None:
    """Print the report."""
    console = Console()
    if plan.faults:
        console.print(_faults(document(plan, outcome, caught)["faults"]))
    console.print(_checks(outcome.checks))
    for item in outcome.violated:
        console.print(f"[red]{item.name}[/red]: {item.count} wrong, seed {outcome.seed}:", highlight=False)
        for offender in item.offenders:
            console.print(f"  {offender}", highlight=False, markup=False)
    if caught:
        show_caught(caught)
    for what, count in outcome.figures.items():
        console.print(f"{what}: {count:,}", highlight=False)
    console.print(f"seed {outcome.seed}, {outcome.seconds:.0f} s. {bound(outcome)}", highlight=False)


def _faults(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("fault", "planned", "observed", "recovery (median)", "worst", box=None, title="Faults")
    for row in rows:
        times = ["-" if row[name] is None else f"{row[name]:.1f} s" for name in ("recovery_median", "recovery_worst")]
        table.add_row(str(row["fault"]), str(row["planned"]), str(row["observed"]), *times)
    return table


def _checks(checks: Sequence[Check]) -> Table:
    table = Table("", "invariant", "checked", "wrong", box=None, title="Invariants")
    for group, words in GROUPS.items():
        own = [check for check in checks if check.group == group]
        if own:
            table.add_row(str(group), f"[bold]{words}[/bold]", "", "")
        for item in own:
            table.add_row("", item.name, f"{item.checked:,}", str(item.count) if item.count else "0")
    return table


def show_caught(caught: Sequence[Caught]) -> None:
    """Print the planted bugs, and the checks that caught them."""
    table = Table("planted bug", "seconds", "caught by", box=None, title="Planted bugs")
    for item in caught:
        words = "; ".join(item.found_by) or "nothing"
        table.add_row(item.plant, f"{item.seconds:.0f}", words if item.right else f"[red]{words}[/red]")
    Console().print(table)


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Write the JSON report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_json(report, indent=2) + b"\n")
