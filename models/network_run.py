"""A run folder of a network that no training here made: it was imported, or averaged."""

import shutil
from pathlib import Path

from runtime.checkpoints.file import save_checkpoint
from runtime.errors import InputError
from runtime.files import require_writable
from runtime.run_folder import RunFolder


def refuse_existing(out: Path) -> None:
    """Before the work begins. Raises InputError if ``out`` is there already, or can't be made."""
    if out.exists():
        raise InputError(f"{out} exists; set --out to another folder")
    require_writable(out / "best.pt")


def write_network_run(out: Path, settings: dict, content: dict) -> None:
    """Make ``out`` with config.json (``settings``) and best.pt, or nothing.

    ``content`` has the checkpoint's model, settings, preprocessing and origin, and a threshold if one is known.
    Raises InputError as ``RunFolder.create`` does.
    """
    run = RunFolder.create(out.parent, out.name, settings)
    try:
        save_checkpoint(run.best, {**content, "epoch": 0, "images_seen": 0, "history": []})
    except BaseException:  # a full disk, Ctrl-C: no run without its weights
        shutil.rmtree(run.path)
        raise
