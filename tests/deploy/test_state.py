import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import state
from deploy.local.layout import REPOSITORY, Layout
from deploy.local.state import AlreadyRunsError, MemberState, Phase, StackState

HOLD = """
import os, sys
from pathlib import Path
from deploy.local import state
from deploy.local.layout import Layout
with state.locked(Layout(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_supervisor_locks_a_data_directory_until_it_ends_even_if_killed(tmp_path: Path):
    layout = Layout(tmp_path)
    assert state.running_pid(layout) is None
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert state.running_pid(layout) == holder.pid
        with pytest.raises(AlreadyRunsError), state.locked(layout):
            pass
        holder.kill()
    assert state.running_pid(layout) is None
    with state.locked(layout):
        pass


def test_the_state_reads_back_as_written(tmp_path: Path):
    layout = Layout(tmp_path)
    assert state.read(layout) is None
    written = StackState(7, Phase.READY, "all well", [MemberState("broker", Phase.RESTARTING, None, 2, "ended")])
    state.write(layout, written)
    assert state.read(layout) == written
