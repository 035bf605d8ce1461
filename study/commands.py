"""Training commands: their options, and the settings that they stand for."""

from pathlib import Path

from configs.cli import constants_of, parse_settings
from configs.settings import Settings


def split_at_dashes(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments before ``--``, and those after it."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def settings_of(command: list[str]) -> Settings:
    """The settings of a command ``python SCRIPT OPTION …``. Raises InputError if there is no such script."""
    return parse_settings(constants_of(Path(command[1])), "", command[2:])
