"""Checkpoints: tensors and plain values only, written whole or not at all."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from runtime.checkpoints.archive import refuse_bomb
from runtime.checkpoints.content import check_content, check_network
from runtime.errors import InputError
from runtime.files import MAKE_ROOM, replace_file

FORMAT = 1


def save_checkpoint(path: Path, content: dict, *, then: str = MAKE_ROOM) -> None:
    """Write ``content`` (tensors and plain values) so that ``torch.load(weights_only=True)`` reads it back.

    Raises InputError if the disk can't take it, with what to do ``then``.
    """
    with replace_file(path, then=then) as temporary:
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

    Raises InputError: no such file, damaged, not a checkpoint of this project, or a part of a wrong kind.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    try:
        refuse_bomb(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail with anything: IndexError, KeyError, UnicodeError …
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is damaged or no checkpoint ({reason}); take another one") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of this project (format {FORMAT})")
    try:
        check_content(content, path)
    except RecursionError:
        raise InputError(f"{path} is nested too deep, or contains itself; take another one") from None
    return content


def load_network(path: Path) -> dict:
    """A checkpoint that a network can be built from: ``load_checkpoint``, and nothing that this needs is lacking."""
    content = load_checkpoint(path)
    check_network(content, path)
    return content


def require_finite(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Raise InputError where weights are NaN or infinite: every embedding would be, and so every distance."""
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        first = ", ".join(broken[:3])
        raise InputError(f"{source} has weights that are no numbers ({len(broken)} tensors: {first}); take another one")


def find_checkpoint(run_or_file: Path, name: str = "best.pt") -> Path:
    """A checkpoint file itself, or ``name`` in a run folder."""
    return run_or_file / name if run_or_file.is_dir() else run_or_file


def load_state(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], source: str, optional: tuple[str, ...] = ()
) -> None:
    """``module.load_state_dict``, strict, with one line instead of a page where names or shapes differ.

    Parameters whose names begin with one of ``optional`` may be missing; they keep their values. ``source``
    is named in the message. Raises InputError, and then the module is unchanged.
    """
    expected = module.state_dict()
    missing = [
        key
        for key in expected
        # BatchNorm's step counter: old files have none, and with a fixed momentum nothing reads it.
        if key not in state and not key.startswith(optional) and not key.endswith("num_batches_tracked")
    ]
    # What a module computes from its settings is not loaded; older checkpoints hold some of it.
    computed = {name for name, _ in module.named_buffers()} - expected.keys()
    unexpected = [key for key in state if key not in expected and key not in computed]
    reshaped = [
        f"{key} {list(value.shape)} instead of {list(expected[key].shape)}"
        for key, value in state.items()
        if key in expected and value.shape != expected[key].shape
    ]
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for names, kind in ((missing, "missing"), (unexpected, "unexpected"), (reshaped, "of another shape"))
        if names
    ]
    if problems:
        raise InputError(
            f"{source} is of another architecture: {', '.join(problems)}; use the settings it was made with"
        )
    module.load_state_dict(state, strict=False)
