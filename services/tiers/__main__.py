"""The door: `python -m services.tiers {api|worker|migrate|dead-letters|positions}`."""

import sys

from services.tiers.api import build
from services.tiers.settings import Settings
from services.tiers.worker import spec
from shared.process.door import Door

if __name__ == "__main__":
    sys.exit(Door(Settings, spec, build).open())
