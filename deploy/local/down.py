"""Stops a running stack, in order."""

import os
import signal
import time

from deploy.local import show, state
from deploy.local.layout import Layout
from deploy.local.program import StartError
from deploy.local.state import Phase
from deploy.local.up import STOP_SECONDS

POLL_SECONDS = 0.05


def down(layout: Layout, *, purge: bool) -> int:
    """Stop the stack after all published events are handled; `purge` deletes its data and does not wait.

    With your own PostgreSQL server the databases are kept, so a purge waits too.
    """
    pid = state.running_pid(layout)
    if pid is None:
        print("The stack is not running.")
    else:
        at_once = purge and _has_own_postgres(layout)
        _stop(layout, pid, at_once=at_once)
        if not at_once:
            show.print_end(layout)
    if purge:
        layout.purge()
        print("Its data is deleted.")
    return 0


def _stop(layout: Layout, pid: int, *, at_once: bool) -> None:
    """Tell the supervisor to stop, and wait until it is gone."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while state.running_pid(layout) == pid:
        current = state.read(layout)
        if at_once and current is not None and current.phase is Phase.STOPPING:
            os.kill(pid, signal.SIGTERM)  # the second one: do not wait until everything is handled
            at_once = False
        if time.monotonic() > deadline:
            raise StartError(f"the supervisor (process {pid}) does not end; see {layout.logs}")
        time.sleep(POLL_SECONDS)


def _has_own_postgres(layout: Layout) -> bool:
    current = state.read(layout)
    return current is not None and any(member.name == "postgres" for member in current.members)
