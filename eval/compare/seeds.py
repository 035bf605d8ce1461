"""Runs that differ in nothing but their seed: one model, trained several times."""

import re
from collections.abc import Mapping
from itertools import takewhile

from configs import ArcFaceSettings, TripletSettings
from runtime.run_folder import OF_THE_MACHINE, WITHOUT_EFFECT

# What two trainings of one model may differ in.
OF_A_SEED = WITHOUT_EFFECT | OF_THE_MACHINE | {"seed", "run_name", "preset"}
# What runs of before a setting was added did.
_ADDED = {**ArcFaceSettings.completed({}), **TripletSettings.completed({})}


def group_by_settings(runs: Mapping[str, dict]) -> dict[str, list[str]]:
    """Run name → settings, to model name → the names of its runs, in the order of the first run of each.

    A model's name is what its runs' names begin with: demo_s0 and demo_s1 are two seeds of "demo".
    """
    groups: dict[str, list[str]] = {}
    for name, settings in runs.items():
        key = repr(sorted((k, v) for k, v in {**_ADDED, **settings}.items() if k not in OF_A_SEED))
        groups.setdefault(key, []).append(name)
    named: dict[str, list[str]] = {}
    for names in groups.values():
        label = _common_name(names)
        named[label if label and label not in named else names[0]] = names
    return named


def _common_name(names: list[str]) -> str:
    """A single run's own name, or the common beginning without "_s", "-seed" and the like."""
    if len(names) == 1:
        return names[0]
    common = "".join(
        letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    )
    return re.sub(r"[-_. ]*(s|seed)?[-_. ]*$", "", common)
