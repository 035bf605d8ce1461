"""What ``python -m data.landmarks train`` can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data.masks.render import MASK_KINDS, check_mask_kinds
from runtime.errors import InputError


@dataclass(frozen=True)
class LandmarkSettings:
    """Train the network that finds the five points of a masked face, on photographs of bare ones."""

    faces: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FACES…")]
    """Folders of photographs without masks, one sub-folder a person."""
    out: Path = Path("landmarks.safetensors")
    """The trained file; beside it lie its card (.json) and a checkpoint (.pt), from which the same command resumes."""
    cache: Path = Path("landmark_faces")
    """Folder for the faces that were found, 110 KB each: found once, whatever is trained on them."""
    steps: int = 6_000
    """Training steps."""
    batch_size: int = 32
    """Faces a step."""
    lr: float = 2e-3
    """Learning rate."""
    most_of_a_person: int = 5
    """Most photographs of a person."""
    mask_kinds: tuple[str, ...] = MASK_KINDS
    """Masks to hide faces with; other than all of them, to see what one of another kind does."""
    workers: int = 1
    """Processes that draw masks beside the one that trains; 0: none."""
    seed: int = 0
    """Seed of all that is random."""

    def made_with(self) -> dict:
        """What a trained network depends on, besides the photographs."""
        made_with = {name: getattr(self, name) for name in ("steps", "batch_size", "lr", "most_of_a_person", "seed")}
        return made_with | {"mask_kinds": list(self.mask_kinds)}

    def check(self) -> None:
        """Raise InputError where a setting is impossible."""
        for name in ("steps", "batch_size", "most_of_a_person"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.lr <= 0 or self.workers < 0:
            raise InputError("lr must be above 0, and workers 0 or more")
        if self.out.suffix != ".safetensors":
            raise InputError(f"out must end in .safetensors, not {self.out}")
        check_mask_kinds(self.mask_kinds)
