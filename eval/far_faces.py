"""Leave out the training faces that lie far from their identity's main class centre: they are probably somebody else.

    python main_arcface.py --sub-centres 3 …                                   # 1. several class centres per identity
    python -m eval.far_faces results/RUN DIR/train.csv --root DIR --out DIR/train_near.csv
    python main_arcface.py --train-csv train_near.csv …                        # 2. one, on the faces that are left

Deng et al. 2020, "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web Faces", section 3.4: the main
centre of an identity is the one nearest to most of its faces, and a face more than 75° from it is left out.

A mask moves an embedding without making anybody somebody else. So masked faces aren't judged: a masked copy goes with
its plain original (masked/X with plain/X), and a photograph of a mask stays. So do faces without a name and people whom
the run does not know.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from data.prepare.proposals import photo_of
from data.tables.card import check_card, read_dataset_card
from data.tables.images import Images
from data.tables.pack_file import SUFFIX, Pack
from data.tables.paths import relative_paths, require_files
from data.tables.rows import read_flags, read_rows, write_table
from eval.evaluators import embed_images
from models.trained_model import open_model
from runtime.checkpoints.file import find_checkpoint, load_checkpoint
from runtime.devices import pick_device
from runtime.errors import InputError, one_line_errors
from runtime.files import require_writable

# Faces compared with their centres at once.
_PART = 2**16


@dataclasses.dataclass(frozen=True)
class FarFacesSettings:
    """Which run judges which faces."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run of main_arcface.py with sub_centres of 2 or more (its best.pt), or a checkpoint of it."""
    csv: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CSV")]
    """The train CSV (path,target), or a pack of it."""
    root: Path
    """Folder that the CSV's paths start from."""
    out: Path
    """CSV to write: the rows that are left."""
    angle: float = 75.0
    """Degrees from the main centre above which a face is left out."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of the CSV under root."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


def far_faces(settings: FarFacesSettings) -> dict[str, int]:
    """Write the CSV without far faces; returns the numbers of rows ``judged``, ``far`` and left out (``rows``).

    Raises InputError: a run without sub-centres, a CSV that is not as it should be or has nobody whom the run knows,
    faces that can't be read, or ``out`` exists or can't be
    written.
    """
    if settings.out.exists():
        raise InputError(f"{settings.out} exists; set --out to another file")
    require_writable(settings.out)
    if not 0 < settings.angle < 180:
        raise InputError(f"angle is {settings.angle}; it must lie between 0 and 180 degrees")
    centres, people = _centres(settings.model)
    frame = read_rows(settings.csv, ["path", "target"])
    paths = np.asarray(relative_paths(frame["path"], settings.csv, settings.path_prefix), dtype=str)
    numbers = {name: number for number, name in enumerate(people)}
    labels = frame["target"].map(numbers).fillna(-1).to_numpy(np.int64)
    masked = read_flags(frame, "masked", settings.csv) if "masked" in frame else np.zeros(len(frame), dtype=bool)
    judged = np.flatnonzero((labels >= 0) & ~masked)
    if not len(judged):
        raise InputError(f"{settings.csv} has no plain face of anybody whom {settings.model} was trained on")
    angles = degrees_from_main(_embedded(settings, paths[judged]), torch.from_numpy(labels[judged]), centres)
    far = judged[angles.numpy() > settings.angle]
    lost = {photo_of(path) for path in paths[far]}
    dropped = np.array([photo_of(path) in lost for path in paths])
    write_table(frame[~dropped], settings.out)
    return {"judged": len(judged), "far": len(far), "rows": int(dropped.sum())}


def degrees_from_main(embeddings: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Of embeddings (N, D), each of the identity ``labels`` int64 (N,), the angle (N,) to that one's main centre.

    ``centres`` (C, k, D); the main one is nearest to most of the identity's embeddings, the first of equals.
    """
    centres = F.normalize(centres, dim=2)
    # A part at a time: each face's k centres beside it would be gigabytes.
    parts = zip(embeddings.split(_PART), labels.split(_PART), strict=True)
    cosines = torch.cat([torch.einsum("nd,nkd->nk", F.normalize(some), centres[own]) for some, own in parts])
    votes = torch.zeros(centres.shape[:2])
    votes.index_put_((labels, cosines.argmax(1)), torch.ones(len(labels)), accumulate=True)
    return cosines.gather(1, votes.argmax(1)[labels, None])[:, 0].clamp(-1, 1).acos().rad2deg()


def _centres(model: str) -> tuple[Tensor, list[str]]:
    """The class centres (C, k, D) of a run, and whose they are."""
    content = load_checkpoint(find_checkpoint(Path(model)))
    state, people = content.get("criterion", {}), content.get("identities", [])
    weight = next((state[name] for name in ("weight", "objective.weight") if name in state), None)
    if weight is None or not people or len(weight) % len(people):
        raise InputError(f"{model} holds no class centres; give a run of main_arcface.py")
    each = len(weight) // len(people)
    if each < 2:
        raise InputError(
            f"{model} has one class centre per identity, and mislabelled faces pull it towards themselves; train with "
            "--sub-centres 3"
        )
    return weight.float().unflatten(0, (len(people), each)), people


def _embedded(settings: FarFacesSettings, paths: np.ndarray) -> Tensor:
    """Float32 (N, D)."""
    opened = open_model(settings.model)
    packs = [Pack(settings.csv)] if settings.csv.suffix == SUFFIX else []
    card, place = (packs[0].card, packs[0].path) if packs else (read_dataset_card(settings.root), settings.root)
    check_card(card, place, opened.preprocessing["crop"])
    images = Images(settings.root, paths, packs)
    if images.loose:
        require_files(settings.root, images.loose, str(settings.csv))
    embeddings, loader = embed_images(
        opened, images, device=pick_device(settings.device), mirror=opened.mirror, title="embedding"
    )
    if loader.unreadable:
        first = images.name(min(loader.unreadable))
        raise InputError(f"{len(loader.unreadable)} faces can't be read (first: {first}); take them out of the CSV")
    return torch.from_numpy(embeddings)


def main() -> None:
    """The command."""
    settings = tyro.cli(FarFacesSettings, prog="python -m eval.far_faces")
    found = far_faces(settings)
    print(
        f"{found['far']:,} of {found['judged']:,} plain faces ({found['far'] / found['judged']:.1%}) are more than "
        f"{settings.angle:g}° from their main centre; {settings.out} leaves out {found['rows']:,} rows, masked copies "
        "included"
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
