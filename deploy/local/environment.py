"""The file that a script sources to reach the stack, `wafa.env`: lines of `export NAME='value'`."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from deploy.local.layout import Layout, write_private
from deploy.local.program import StartError


def write(layout: Layout, values: Mapping[str, str]) -> None:
    """Replace the file. It contains secrets, so its mode is 600."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    write_private(layout.env_file, "# How to reach the one-machine stack of Wafa: source it.\n" + "".join(lines))


def read(layout: Layout) -> dict[str, str]:
    """Read the file.

    Raises:
        StartError: there is no file: the stack was never started.
    """
    try:
        return parse(layout.env_file)
    except FileNotFoundError:
        raise StartError("the stack has not been started yet: `python -m deploy.local up`") from None


def parse(file: Path) -> dict[str, str]:
    """Parse the variables as a shell would set them."""
    words = shlex.split(file.read_text(), comments=True)
    return dict(word.split("=", 1) for word in words if "=" in word)
