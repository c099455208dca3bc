"""Checks that the machine is idle enough for measurements."""

from typing import Final

import psutil

_LOOK_SECONDS: Final = 3.0
_BUSY_PERCENT: Final = 15.0


def load_of_others() -> str | None:
    """The reason why the machine is too busy to measure, or None."""
    percent = psutil.cpu_percent(interval=_LOOK_SECONDS)
    if percent <= _BUSY_PERCENT:
        return None
    return (
        f"the machine is busy: others use {percent:.0f} % of its {psutil.cpu_count()} CPUs (over {_BUSY_PERCENT:g} %). "
        "Please measure when it is quiet, or set BENCH_FORCE=1 to measure all the same."
    )
