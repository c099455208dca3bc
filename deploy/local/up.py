"""Starts the supervisor, in the background or in the foreground, and waits until the stack is ready."""

import subprocess
import sys
import time
from typing import Final

from deploy.local import program, state
from deploy.local.layout import REPOSITORY, Layout
from deploy.local.program import Program, StartError
from deploy.local.stack import DRAIN_SECONDS, Wish
from deploy.local.state import Phase

READY_SECONDS: Final = 1200.0  # the first start with `--kafka apache` downloads it; a hanging member is reported sooner
STOP_SECONDS: Final = DRAIN_SECONDS + 120.0
POLL_SECONDS: Final = 0.1


def supervisor(layout: Layout, wish: Wish, *, detached: bool) -> subprocess.Popen[bytes]:
    """Start the supervisor. Detached, it outlives this process; otherwise it stops in order when this process ends."""
    argv = [sys.executable, "-m", "deploy.local", "supervise", "--data", str(layout.root)]
    if wish.kafka is not None:
        argv += ["--kafka", wish.kafka]
    if wish.port is not None:
        argv += ["--port", str(wish.port)]
    if wish.reload:
        argv.append("--reload")
    log = layout.logs / "supervisor.log"
    if not detached:
        bound = Program("supervisor", tuple(argv), cwd=REPOSITORY)
        return program.start(Program(bound.name, bound.argv, cwd=REPOSITORY, death_signal=bound.stop_signal), log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def wait_until_ready(layout: Layout, process: subprocess.Popen[bytes]) -> None:
    """Wait until the stack is ready.

    Raises:
        StartError: the start failed; the message says why.
    """
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        current = state.read(layout)
        if current is not None and current.pid == process.pid:
            if current.phase is Phase.READY:
                return
            if current.phase is Phase.FAILED:
                raise StartError(current.message)
        if process.poll() is not None:
            raise StartError(f"the supervisor ended:\n{program.last_lines(layout.logs / 'supervisor.log')}")
        time.sleep(POLL_SECONDS)
    raise StartError(f"not ready after {READY_SECONDS:.0f} s; see {layout.logs}")


def stop(process: subprocess.Popen[bytes]) -> int:
    """Stop the supervisor and wait for it; Ctrl-C meanwhile stops without waiting for unhandled events."""
    while True:
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except KeyboardInterrupt:
            continue
