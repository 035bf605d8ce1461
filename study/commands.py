"""Training commands: their options, and the settings that they stand for."""

import runpy
from collections.abc import Mapping
from pathlib import Path

from configs.cli import parse_settings
from configs.settings import Settings
from runtime.errors import InputError


def split_at_dashes(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments before ``--``, and those after it."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def settings_of(command: list[str]) -> Settings:
    """The settings of a command ``python SCRIPT OPTION …``. Raises InputError if there is no such script."""
    script = command[1]
    if not Path(script).is_file():
        raise InputError(f"there is no script {script}; choose main_arcface.py or main_triplet.py")
    constants = runpy.run_path(script, run_name="constants").get("SETTINGS")
    if not isinstance(constants, Settings):
        raise InputError(f"{script} has no SETTINGS to change; choose main_arcface.py or main_triplet.py")
    return parse_settings(constants, "", command[2:])


def option_words(options: Mapping[str, object]) -> list[str]:
    """The options of a command, from setting → value."""
    return [word for name, value in options.items() for word in _words(name.replace("_", "-"), value)]


def _words(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *(str(v) for v in (value if isinstance(value, tuple) else (value,)))]
