"""The environment variables that the sample reads, from `.local/wafa.env`."""

from collections.abc import Mapping


class SettingMissingError(Exception):
    """A required environment variable is missing. The message is one line for the user."""


def setting(env: Mapping[str, str], name: str) -> str:
    """A required variable.

    Raises:
        SettingMissingError: it is absent or empty.
    """
    value = env.get(name)
    if not value:
        raise SettingMissingError(f"{name} is not set: start the system, or source .local/wafa.env first")
    return value


def flag(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A boolean variable."""
    value = env.get(name)
    return default if not value else value.lower() not in ("0", "false", "no", "off")
