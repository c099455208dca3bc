"""Creates the virtual environment `.venv` from the lock files: `python3 deploy/setup.py`.

Runs before anything is installed, on the machine's Python, so it imports the standard library only. It does nothing if
`.venv` was created from the same lock files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
REPOSITORY = Path(__file__).resolve().parent.parent
VENV = REPOSITORY / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "wafa.stamp"
LOCKED = REPOSITORY / "requirements"
INSTALLER = LOCKED / "lock.txt"  # uv, which installs the other packages quickly
EVERYTHING = LOCKED / "dev.txt"
SAMPLE_DATA = LOCKED / "sample-data.txt"  # installed without its dependencies


def main() -> None:
    """Install the packages of the lock files, unless that is done already."""
    if sys.version_info < OLDEST:
        _become_newer()
    wanted = fingerprint([INSTALLER, EVERYTHING, SAMPLE_DATA])
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    print("setting up .venv from requirements/*.txt", flush=True)
    if not PYTHON.exists():
        _run(sys.executable, "-m", "venv", str(VENV))
    STAMP.unlink(missing_ok=True)
    if not _install_with_uv():
        print("uv could not install: pip does it, more slowly", flush=True)
        _pip("install", "--require-hashes", "-r", EVERYTHING)
        _pip("install", "--require-hashes", "--no-deps", "-r", SAMPLE_DATA)
    STAMP.write_text(wanted)


def fingerprint(files: list[Path]) -> str:
    """A digest of the lock files and the Python version, which together define the environment."""
    digest = hashlib.sha256(sysconfig.get_python_version().encode() + sysconfig.get_platform().encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _become_newer() -> None:
    """Continue with a newer Python of this machine, if there is one."""
    for name in NEWER:
        path = shutil.which(name)
        if path is not None:
            os.execv(path, [path, *sys.argv])  # noqa: S606 - replaces this process
    sys.exit(f"Wafa needs Python 3.11 or newer; {sys.executable} is {sys.version_info[0]}.{sys.version_info[1]}")


def _install_with_uv() -> bool:
    uv = VENV / "bin" / "uv"
    try:
        if not uv.exists():
            _pip("install", "-q", "--require-hashes", "-r", INSTALLER)
        # compiled once here, not by each of the first processes that start at the same time
        flags = ("-q", "--require-hashes", "--compile-bytecode")
        _run(str(uv), "pip", "sync", *flags, "-p", PYTHON, EVERYTHING, SAMPLE_DATA)
    except subprocess.CalledProcessError:
        return False
    return True


def _pip(*arguments: str | Path) -> None:
    _run(str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments)


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, cwd=str(REPOSITORY))


if __name__ == "__main__":
    main()
