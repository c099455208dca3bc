"""What the sample asks of its environment: the variables that `.local/wafa.env` holds."""

from collections.abc import Mapping


class SettingMissingError(Exception):
    """The environment does not say where the system is. The message is one line for the user."""


def setting(env: Mapping[str, str], name: str) -> str:
    """A variable that has to be there.

    Raises:
        SettingMissingError: it is absent or empty.
    """
    value = env.get(name)
    if not value:
        raise SettingMissingError(f"{name} is not set: start the system, or source .local/wafa.env first")
    return value


def flag(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A variable that is on or off."""
    value = env.get(name)
    return default if not value else value.lower() not in ("0", "false", "no", "off")
