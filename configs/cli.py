"""From a settings instance to the command line and back."""

import argparse
import dataclasses
import difflib
import importlib
import pkgutil
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import tyro

import configs.presets
from configs.settings import Settings
from runtime.errors import InputError
from runtime.run_folder import names_a_run, read_config

S = TypeVar("S", bound=Settings)


def parse_settings(constants: S, description: str, arguments: list[str] | None = None) -> S:
    """The settings of a run: the script's constants, a preset or a resumed run's settings, changed by the options.

    Any field is an option (``--epochs 3``). A mistyped name ends the program with a suggestion.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    start = _starting_point(constants, arguments)
    return tyro.cli(type(constants), default=start, description=description, args=arguments)


def constants_of(script: Path) -> Settings:
    """The constants of a script. Raises InputError if it is not there or has none."""
    if not script.is_file():
        raise InputError(f"there is no script {script}; choose main_arcface.py or main_triplet.py")
    constants = runpy.run_path(str(script), run_name="constants").get("SETTINGS")
    if not isinstance(constants, Settings):
        raise InputError(f"{script} has no SETTINGS to change; choose main_arcface.py or main_triplet.py")
    return constants


def option_words(options: Mapping[str, object]) -> list[str]:
    """The options of a command, from setting → value."""
    return [word for name, value in options.items() for word in _words(name.replace("_", "-"), value)]


def preset_names(objective: type[Settings] | None = None) -> list[str]:
    """The names of the presets, all or those for one objective."""
    names = sorted(module.name for module in pkgutil.iter_modules(configs.presets.__path__))
    return [n for n in names if objective is None or _deltas(n).get(objective.__name__) is not None]


def apply_preset(constants: S, name: str) -> S:
    """The constants, changed by a preset.

    Raises InputError: no such preset, or one of the other objective.
    """
    names = preset_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"there is no preset {name}: {hint}The presets are {', '.join(names)}")
    delta = _deltas(name).get(type(constants).__name__)
    if delta is None:
        fitting = ", ".join(preset_names(type(constants)))
        raise InputError(f"preset {name} is for the other script; the presets of this one are {fitting}")
    return dataclasses.replace(constants, **delta, preset=name)


def _starting_point(constants: S, arguments: list[str]) -> S:
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--preset", default=constants.preset)
    peek.add_argument("--resume", default=constants.resume)
    chosen, _ = peek.parse_known_args(arguments)
    if names_a_run(chosen.resume):
        if chosen.preset != constants.preset:
            raise InputError("a resumed run keeps its own settings: leave --preset out, or change settings one by one")
        saved = type(constants).from_dict(read_config(Path(chosen.resume)), chosen.resume)
        return dataclasses.replace(saved, resume=chosen.resume)
    return apply_preset(constants, chosen.preset) if chosen.preset else constants


def _words(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *(str(v) for v in (value if isinstance(value, tuple | list) else (value,)))]


def _deltas(name: str) -> dict[str, dict]:
    """Settings class name → delta, as a preset module gives them."""
    return importlib.import_module(f"configs.presets.{name}").DELTAS
