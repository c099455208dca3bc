"""Becomes a program that cannot outlive its parent: `launch.py PARENT SIGNAL UID GID -- ARGV…`.

The kernel sends SIGNAL to the program when PARENT ends, also by `kill -9`. A `preexec_fn` would do the same but is
unsafe with threads. Run by path with `-I -S`, so that it imports the standard library only. Except on Linux the program
merely starts.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(arguments: list[str]) -> None:
    """Drop to UID and GID (-1: stay), bind the life of this process to PARENT's, and become ARGV."""
    parent, death_signal, uid, gid = (int(word) for word in arguments[:4])
    if gid >= 0:
        os.setgroups([])
        os.setgid(gid)
    if uid >= 0:
        os.setuid(uid)  # before prctl: a change of user clears the death signal
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # the parent ended before prctl
            raise SystemExit(1)
    argv = arguments[5:]
    os.execvp(argv[0], argv)  # noqa: S606 - this program's purpose


if __name__ == "__main__":
    main(sys.argv[1:])
