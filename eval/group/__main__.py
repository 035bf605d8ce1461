"""Photographs without names, grouped by person: who is often together in an album, and where?

    python -m eval.group results/RUN PHOTOS                     a folder of photographs, of one person each or of many
    python -m eval.group results/RUN PEOPLE --labelled          the sub-folders are names: how right are the groups?

OUT gets people/ with a folder per person, which data.prepare reads, groups.csv with a row for each face, and sheet.png,
the largest groups to look at. Masked and bare faces are grouped together. Two faces of one photograph count as
different people (distance 2), so they rarely end up in one group.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from data.sources.folders import list_folder
from eval.embed import Embedder
from eval.group.grouping import group_faces, grouping_figures
from eval.group.outputs import TABLE, refuse_to_replace, write_groups
from eval.metrics.choose_threshold import checked_threshold
from eval.photographs.files import list_photographs
from eval.photographs.stream import FoundFace, found_faces
from eval.text import counted
from runtime.errors import InputError, in_one_line, one_line_errors
from runtime.files import require_writable, write_json

# Of the stored threshold. That is chosen for pairs, half of them of one person; among all pairs of many photographs
# nearly none is. Of 2,031 LFW faces, half of them masked before alignment, MobileFaceNet's groups had a BCubed F of
# 75.0 % at the threshold of the best balanced accuracy (1.2475), 89.4 % at 0.9 of it, 87.7 % at 0.88.
_STRICTER = 0.9


@dataclasses.dataclass(frozen=True)
class GroupSettings:
    """Which network, which photographs."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run folder (its best.pt), a checkpoint, an ONNX or weight file, hf:OWNER/NAME, or vggface2 (--backbone)."""
    photos: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PHOTOS…")]
    """Photographs, and folders of them."""
    out: Path = Path("groups")
    """Folder to make or fill."""
    labelled: bool = False
    """PHOTOS is one folder with a sub-folder per person: print and write how right the groups are."""
    threshold: float | None = None
    """Mean distance up to which two groups of faces are one person; otherwise 0.9 of the one stored in the checkpoint,
    which is chosen for pairs."""
    backbone: str = ""
    """For weights by name (vggface2, casia-webface): their network, inception_resnet_v1."""
    detector: str = "mtcnn"
    """What finds the faces: mtcnn, yunet, or an ONNX file of YuNet's kind."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


def group(settings: GroupSettings) -> dict | None:
    """Group the faces, and write OUT; the figures of ``labelled`` photographs.

    Raises InputError: no photograph, no face in any, no threshold, or OUT can't be written.
    """
    if settings.threshold is not None:
        checked_threshold(settings.threshold)
    files, people = _photographs(settings)
    refuse_to_replace(settings.out, files.values())
    require_writable(settings.out / TABLE)
    embedder = Embedder(settings.model, settings.backbone, settings.device, settings.detector)
    threshold = _threshold(settings, embedder)
    found = found_faces(embedder, files)
    for line in found.problems():
        print(line)
    if not found.faces:
        raise InputError(f"no face in {counted(len(files), 'photograph')}; give pictures with larger or sharper faces")
    photo = np.unique([face.photo for face in found.faces], return_inverse=True)[1]
    groups = group_faces(found.embeddings, photo, threshold)
    write_groups(settings.out, found.faces, found.embeddings, groups, files)
    sizes = np.bincount(groups)
    print(
        f"{counted(len(files), 'photograph')}, {counted(len(groups), 'face')}: {counted(len(sizes), 'group')}, "
        f"{int((sizes > 1).sum())} with more than one face (threshold {threshold:.4f})"
    )
    if not settings.labelled:
        return None
    return {"threshold": threshold, **_figures(found.faces, groups, people)}


def _threshold(settings: GroupSettings, embedder: Embedder) -> float:
    if settings.threshold is not None:
        return settings.threshold
    if embedder.threshold is None:
        raise InputError(f"{settings.model} has no stored threshold; give --threshold, or choose one by eval.threshold")
    return _STRICTER * embedder.threshold


def _photographs(settings: GroupSettings) -> tuple[dict[str, Path], dict[str, str]]:
    """The photographs by name, and of labelled ones the person of each."""
    if not settings.labelled:
        return list_photographs(settings.photos, apart_from=settings.out), {}
    if len(settings.photos) != 1:
        raise InputError("--labelled takes one folder with a sub-folder per person")
    pictures = list_folder(settings.photos[0]).pictures
    return {p.path: settings.photos[0] / p.path for p in pictures}, {p.path: p.person for p in pictures}


def _figures(faces: list[FoundFace], groups: np.ndarray, people: dict[str, str]) -> dict:
    """Of the largest face of each photograph, which its folder's name is meant for."""
    largest: dict[str, int] = {}
    for row, face in enumerate(faces):
        best = largest.get(face.photo)
        if best is None or face.pixels > faces[best].pixels:
            largest[face.photo] = row
    rows = np.array(list(largest.values()))
    return grouping_figures(np.array([people[faces[row].photo] for row in rows]), groups[rows])


def _lines(figures: dict) -> list[str]:
    """The figures in words."""
    lines = [f"{figures['faces']:,} labelled faces of {figures['people']:,} people in {figures['groups']:,} groups"]
    for name, words in (("pair", "pairs of faces"), ("bcubed", "faces (BCubed)")):
        precision, recall, f = (figures[f"{name}_{kind}"] for kind in ("precision", "recall", "f"))
        lines.append(f"{words:16s} F {f:7.2%}   precision {precision:7.2%}   recall {recall:7.2%}")
    return lines


def main() -> None:
    """The command."""
    settings = tyro.cli(GroupSettings, description=__doc__)
    figures = group(settings)
    if figures is not None:
        print("\n".join(_lines(figures)))
        write_json(settings.out / "figures.json", figures)
    print(in_one_line(f"look at {settings.out / 'sheet.png'}; a folder per person: {settings.out / 'people'}"))


if __name__ == "__main__":
    with one_line_errors():
        main()
