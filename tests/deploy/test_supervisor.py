import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest

from deploy.local.layout import REPOSITORY
from deploy.local.program import Program, StartError
from deploy.local.state import MemberState, Phase
from deploy.local.supervisor import Backoff, Member, Supervisor, last_words

FAST = Backoff(first=0.01, most=0.05)
SLEEPER = "import time; time.sleep(60)"


class History:
    """Every state that a supervisor reported."""

    def __init__(self) -> None:
        self.states: list[MemberState] = []

    def __call__(self, members: Sequence[MemberState]) -> None:
        self.states.extend(member for member in members if member not in self.states)

    def of(self, phase: Phase) -> list[MemberState]:
        return [state for state in self.states if state.phase is phase]


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
async def supervisor(tmp_path: Path, history: History) -> AsyncIterator[Supervisor]:
    running = Supervisor(tmp_path, history, FAST)
    yield running
    await running.stop()


def member(name: str, code: str, *, ready: bool = True, grace: float = 5.0) -> Member:
    program = Program(name, (sys.executable, "-S", "-c", code), grace=grace)
    return Member(name, lambda: program, lambda: ready)


async def until(condition: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the condition did not become true"
        await asyncio.sleep(0.01)


def test_the_pause_doubles_with_each_failure_in_a_row_up_to_the_most():
    backoff = Backoff(first=0.5, most=30.0)
    assert [backoff.delay(failures) for failures in (1, 2, 3, 7, 1000)] == [0.5, 1.0, 2.0, 30.0, 30.0]


async def test_a_program_that_ends_is_restarted(supervisor: Supervisor, history: History):
    await supervisor.start([member("sleeper", SLEEPER)], 10)
    first = history.of(Phase.READY)[0]
    assert first.pid is not None

    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: len(history.of(Phase.READY)) == 2)

    again = history.of(Phase.READY)[1]
    assert (again.restarts, again.pid != first.pid) == (1, True)
    assert "ended with code -9" in history.of(Phase.RESTARTING)[0].message


async def test_a_restarted_member_is_ready_only_after_its_hook(supervisor: Supervisor, history: History):
    revived: list[bool] = []

    async def revive() -> None:
        revived.append(bool(history.of(Phase.READY)[1:]))

    sleeper = member("broker", SLEEPER)
    await supervisor.start([Member("broker", sleeper.program, sleeper.is_ready, revive)], 10)
    assert revived == []

    os.kill(history.of(Phase.READY)[0].pid or 0, signal.SIGKILL)
    await until(lambda: len(history.of(Phase.READY)) == 2)
    assert revived == [False]


async def test_exit_78_is_not_restarted_and_its_last_line_is_reported(supervisor: Supervisor, tmp_path: Path):
    starts = tmp_path / "starts"
    code = f"open({str(starts)!r}, 'a').write('x'); print('run positions set'); raise SystemExit(78)"
    with pytest.raises(StartError, match="decider does not start: run positions set"):
        await supervisor.start([member("decider", code, ready=False)], 10)
    await asyncio.sleep(0.2)
    assert starts.read_text() == "x"


async def test_repeated_ends_before_ready_fail_the_start(supervisor: Supervisor):
    code = "print('no such thing'); raise SystemExit(3)"
    with pytest.raises(StartError, match="ended with code 3: no such thing"):
        await supervisor.start([member("broken", code, ready=False)], 10)


async def test_a_requested_restart_is_immediate_and_not_a_failure(tmp_path: Path, history: History):
    supervisor = Supervisor(tmp_path, history, Backoff(first=60, most=60))
    await supervisor.start([member("sleeper", SLEEPER)], 10)
    for starts in (2, 3):
        supervisor.restart(["sleeper", "another"])
        await until(lambda starts=starts: len(history.of(Phase.READY)) == starts)
    assert {state.message for state in history.states} == {""}
    await supervisor.stop()


@pytest.mark.parametrize(("code", "phase"), [(3, Phase.RESTARTING), (78, Phase.FAILED)])
async def test_a_restart_starts_members_that_wait_or_failed(tmp_path: Path, history: History, code: int, phase: Phase):
    broken = tmp_path / "broken"
    script = f"import pathlib, sys, time; pathlib.Path({str(broken)!r}).exists() and sys.exit({code}); time.sleep(60)"
    supervisor = Supervisor(tmp_path, history, Backoff(first=60, most=60))
    await supervisor.start([member("edited", script)], 10)
    broken.touch()
    supervisor.restart(["edited"])
    await until(
        lambda: [state for state in history.of(phase) if (state.pid is None and phase is Phase.FAILED) or state.message]
    )
    broken.unlink()
    ready = len(history.of(Phase.READY))
    supervisor.restart(["edited"])
    await until(lambda: len(history.of(Phase.READY)) > ready)
    await supervisor.stop()


async def test_a_member_that_is_not_ready_in_time_is_named(supervisor: Supervisor):
    with pytest.raises(StartError, match=r"not ready within 0 s: slow"):
        await supervisor.start([member("slow", SLEEPER, ready=False)], 0.2)


async def test_stages_stop_in_reverse_order(tmp_path: Path, history: History):
    ends = tmp_path / "ends"
    code = (
        "import signal, sys, time\n"
        "def end(*_): time.sleep({pause}); open({file!r}, 'a').write('{name} '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open({file!r} + '.{name}', 'w').close()\n"
        "time.sleep(60)\n"
    )

    def recorder(name: str, pause: float) -> Member:
        program = Program(name, (sys.executable, "-S", "-c", code.format(file=str(ends), name=name, pause=pause)))
        return Member(name, lambda: program, (tmp_path / f"ends.{name}").exists)

    supervisor = Supervisor(tmp_path, history, FAST)
    await supervisor.start([recorder("server", 0)], 10)
    await supervisor.start([recorder("worker", 0.3), recorder("quick", 0)], 10)
    await supervisor.stop()

    assert ends.read_text().split() == ["quick", "worker", "server"]
    assert {state.name for state in history.of(Phase.STOPPED)} == {"server", "worker", "quick"}


async def test_a_program_that_outlives_its_grace_period_is_killed(tmp_path: Path, history: History):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    supervisor = Supervisor(tmp_path, history, FAST)
    deaf = member("deaf", code, grace=0.2)
    heard = Member("deaf", deaf.program, lambda: "up" in (tmp_path / "deaf.log").read_text())
    await supervisor.start([heard], 10)
    pid = history.of(Phase.READY)[0].pid
    await supervisor.stop()
    assert pid is not None
    assert not psutil.pid_exists(pid)


SUPERVISE = """
import asyncio, sys
from pathlib import Path
from deploy.local.program import Program
from deploy.local.supervisor import Member, Supervisor

async def main():
    program = Program("child", (sys.executable, "-c", "import time; time.sleep(60)"))
    def report(members):
        print(members[0].pid or "", flush=True)
    await Supervisor(Path(sys.argv[1]), report).start([Member("child", lambda: program, lambda: True)], 10)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal")
def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path):
    command = [sys.executable, "-c", SUPERVISE, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = next(int(line) for line in supervisor.stdout if line.strip())
        child = psutil.Process(pid)
        supervisor.kill()
        supervisor.wait()
    deadline = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child is still running"
        time.sleep(0.02)


def test_the_last_words_of_a_json_log_are_its_event_and_fields(tmp_path: Path):
    log = tmp_path / "log"
    line = {"event": "position_lost", "level": "error", "exception": "Traceback\n  …", "command": "positions set"}
    log.write_text("something\n" + json.dumps(line) + "\n")
    assert last_words(log) == "position_lost command=positions set"
    log.write_text("plain words\n")
    assert last_words(log) == "plain words"
