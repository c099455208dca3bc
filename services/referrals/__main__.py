"""The door: `python -m services.referrals api|worker|migrate|dead-letters|positions`."""

import sys

from services.referrals.api import build
from services.referrals.settings import Settings
from services.referrals.worker import spec
from shared.process.door import Door

if __name__ == "__main__":
    sys.exit(Door(Settings, spec, build).open())
