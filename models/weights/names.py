"""Names of tensors in weight files of others ↔ this project's: the end of a network is the neck, all else the backbone.

A backbone's modules carry upstream's names, so that a prefix is all that they need.
"""

from collections.abc import Mapping

from torch import Tensor

BACKBONE = "backbone."
FACENET = {"last_linear.": "neck.linear.", "last_bn.": "neck.norm."}
IRESNET = {"fc.": "neck.linear.", "features.": "neck.norm."}
IR = {"output_layer.3.": "neck.linear.", "output_layer.4.": "neck.norm."}


def own_names(state: Mapping[str, Tensor], neck: Mapping[str, str]) -> dict[str, Tensor]:
    """Upstream's names → this project's; ``neck``: how the names begin that are the neck's, and how they do here."""
    return {_renamed(key, neck) or BACKBONE + key: value for key, value in state.items()}


def upstream_names(state: Mapping[str, Tensor], neck: Mapping[str, str]) -> dict[str, Tensor]:
    """The inverse of ``own_names``."""
    back = {ours: theirs for theirs, ours in neck.items()} | {BACKBONE: ""}
    return {_renamed(key, back): value for key, value in state.items()}


def _renamed(key: str, starts: Mapping[str, str]) -> str | None:
    found = ((new, key.removeprefix(old)) for old, new in starts.items() if key.startswith(old))
    return next((new + rest for new, rest in found), None)
