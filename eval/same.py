"""Do two photos show the same person?

    python -m eval.same results/RUN A.jpg B.jpg

Finds and aligns the face in each, compares their embeddings with the run's threshold, and draws both faces as the
network saw them into same.png. Exit code 0: same or different was said; 2: it could not be (no face, no threshold …).
"""

import dataclasses
import textwrap
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from data.alignment.photos import FacePhoto
from eval.embed import Embedder
from eval.metrics.choose_threshold import checked_threshold
from eval.plots.style import DIFFERENT, FAINT, SAME, headline, house_style, new_figure, save
from runtime.errors import InputError, in_one_line, one_line_errors
from runtime.files import require_writable


@dataclasses.dataclass(frozen=True)
class SameSettings:
    """Two photographs and the network that compares them."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run folder (its best.pt), a checkpoint, an ONNX or weight file, hf:OWNER/NAME, or vggface2 (--backbone)."""
    a: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="A.jpg")]
    """A photograph."""
    b: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="B.jpg")]
    """Another one."""
    backbone: str = ""
    """For weights by name (vggface2, casia-webface): their network, inception_resnet_v1."""
    threshold: float | None = None
    """Distance up to which the two are one person; otherwise the one stored in the checkpoint."""
    out: Path = Path("same.png")
    """Picture to write."""
    detector: str = "mtcnn"
    """What finds the faces: mtcnn, yunet, or an ONNX file of YuNet's kind."""
    least_face: int | None = None
    """Side in pixels of the smallest face that is taken from a photograph; 0: any, with a remark; otherwise what the
    network needs, if that was measured when its threshold was chosen."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The two faces, their L2 distance and the threshold."""

    faces: tuple[FacePhoto, FacePhoto]
    distance: float
    threshold: float

    @property
    def same(self) -> bool:
        """The verdict."""
        return self.distance <= self.threshold


def compare(settings: SameSettings) -> Comparison:
    """Raises InputError: no model, no threshold, a photograph that can't be read or shows no face, or a
    picture that can't be written."""
    require_writable(settings.out)
    embedder = Embedder(settings.model, settings.backbone, settings.device, settings.detector, settings.least_face)
    threshold = embedder.threshold if settings.threshold is None else settings.threshold
    if threshold is None:
        raise InputError(f"{settings.model} has no stored threshold; give --threshold, or choose one by eval.threshold")
    threshold = checked_threshold(threshold)
    faces = embedder.face(settings.a), embedder.face(settings.b)
    a, b = embedder.embed_aligned(np.stack([face.image for face in faces]))
    return Comparison(faces, float(np.linalg.norm(a - b)), threshold)


@house_style()
def draw(found: Comparison, settings: SameSettings) -> None:
    """Both aligned faces under the verdict, and a scale of distances with the threshold."""
    figure = new_figure(7, 5.4)
    title, line = _verdict(found)
    headline(figure, title, line)
    left, right, scale = figure.subplot_mosaic("AB;CC", height_ratios=[5, 0.45]).values()
    for axes, face, path in zip((left, right), found.faces, (settings.a, settings.b), strict=True):
        axes.imshow(face.image)
        axes.set_title(textwrap.fill(path.name, 34), fontsize=12, parse_math=False)
        axes.set_xlabel("\n".join(_notes(face)), color=FAINT, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    scale.axvspan(0, found.threshold, color=SAME, alpha=0.25, linewidth=0)
    scale.axvspan(found.threshold, 2, color=DIFFERENT, alpha=0.25, linewidth=0)
    scale.plot(found.distance, 0.5, "o", color=SAME if found.same else DIFFERENT, markersize=12, clip_on=False)
    scale.set_xlim(0, 2)
    scale.set_ylim(0, 1)
    scale.set_yticks([])
    scale.grid(False)
    scale.set_xlabel("L2 distance of the embeddings (blue: same person)")
    save(figure, settings.out)


def _notes(face: FacePhoto) -> list[str]:
    return [text for text in (*face.remark.split("; "), face.measures) if text]


def _verdict(found: Comparison) -> tuple[str, str]:
    sign, word = ("≤", "Same person") if found.same else (">", "Different people")
    return word, f"distance {found.distance:.3f} {sign} threshold {found.threshold:.3f}"


def main() -> None:
    """The command."""
    settings = tyro.cli(SameSettings, description=__doc__)
    found = compare(settings)
    print(": ".join(_verdict(found)))
    for face, path in zip(found.faces, (settings.a, settings.b), strict=True):
        print(in_one_line(f"{path}: {'; '.join(_notes(face))}"))
    draw(found, settings)
    print(f"both faces: {settings.out}")


if __name__ == "__main__":
    with one_line_errors():
        main()
