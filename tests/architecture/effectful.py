"""A module as none may be: importing it does things. The test of imports looks whether it notices."""

import os
import socket
import subprocess
import sys

from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    """Nothing in particular."""


SETTINGS = Settings()

with socket.socket():
    pass

with open(os.devnull, "w", encoding="utf-8"):  # noqa: PTH123 the plainest way
    pass

subprocess.run([sys.executable, "--version"], check=True, capture_output=True)
