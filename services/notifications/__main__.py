"""The door: `python -m services.notifications {api|worker|migrate|dead-letters|positions}`."""

import sys

from services.notifications.api import build
from services.notifications.settings import Settings
from services.notifications.worker import spec
from shared.process.door import Door

if __name__ == "__main__":
    sys.exit(Door(Settings, spec, build).open())
