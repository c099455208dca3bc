"""Starts a process of the product with a bug in it: `python -m tests.prove.planted BUG MODULE ARGUMENTS…`."""

import runpy
import sys

from tests.prove.plants import PLANTS, tiers


def main() -> None:
    """Plant the bug, then run the program."""
    bug, module, *arguments = sys.argv[1:]
    ({tiers.SETTLED.name: tiers.SETTLED} | PLANTS)[bug].plant()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
