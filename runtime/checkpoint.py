"""Checkpoints: tensors and plain values only, written whole or not at all."""

import os
import shutil
from pathlib import Path

import torch

from runtime.errors import InputError
from runtime.files import replace_file

FORMAT = 1


def save_checkpoint(path: Path, content: dict) -> None:
    """Write ``content`` (tensors and plain values) so that ``torch.load(weights_only=True)`` reads it back."""
    with replace_file(path) as temporary:
        torch.save({"format": FORMAT, **content}, temporary)


def copy_checkpoint(source: Path, target: Path) -> None:
    """Give ``source`` a second name, as a link where the file system has them: a replaced file keeps its content."""
    with replace_file(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint onto the CPU without running any code from it.

    Raises InputError: no such file, damaged, or not a checkpoint of this project.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail with anything: IndexError, KeyError, UnicodeError …
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is damaged or no checkpoint ({reason}); take another one") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of this project (format {FORMAT})")
    return content


def find_checkpoint(run_or_file: Path, name: str = "best.pt") -> Path:
    """A checkpoint file itself, or ``name`` in a run folder."""
    return run_or_file / name if run_or_file.is_dir() else run_or_file


def load_state(module: torch.nn.Module, state: dict, what: str) -> None:
    """``module.load_state_dict`` whose failure is one line that counts what does not fit."""
    own = module.state_dict()
    missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
    shapes = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or unexpected or shapes:
        example = next(iter(sorted([*missing, *unexpected, *shapes])))
        raise InputError(
            f"{what} is of another architecture or another number of identities: {len(missing)} values missing, "
            f"{len(unexpected)} left over, {len(shapes)} of another shape (first: {example}); "
            "use the settings it was made with"
        )
    module.load_state_dict(state)
