"""Pictures of built-in faces, for the eye: ``python -m data.gallery FILE.png``.

python -m data.gallery docs/built_in_faces.jpg                 people, plain above masked
python -m data.gallery docs/masks.jpg --show masks --size 112  every mask on turned and tilted heads
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro

from data.masks.render import MASK_KINDS, render_mask
from data.synthetic.draw import DrawnFace, draw_face, render
from data.synthetic.people import make_person, make_scene
from data.transforms import template
from runtime.errors import InputError, one_line_errors
from runtime.files import write_file

# Yaw and roll in degrees of the columns that show masks.
POSES = ((-45, 0), (-30, 0), (-15, 0), (0, 0), (15, 0), (30, 0), (45, 0), (0, -30), (0, 30))


@dataclass(frozen=True)
class GallerySettings:
    """Draw people who don't exist, each plain and with a mask; or every mask under many poses."""

    file: Annotated[Path, tyro.conf.Positional]
    """Picture to write."""
    show: Literal["faces", "masks"] = "faces"
    """faces: a column per person, plain above masked. masks: a row per mask, a column per pose."""
    people: int = 8
    """Columns of faces: people."""
    images: int = 2
    """Pictures of each person, every one in a row plain and a row masked."""
    mask_kinds: tuple[str, ...] = (*MASK_KINDS, "surgical:#e8a0b8", "cloth:docs/tartan.png")
    """Rows of masks: names, or a cut with a colour or a picture of the fabric."""
    size: int = 128
    """Side of a face in pixels."""
    seed: int = 0
    """Seed of the people."""

    def __post_init__(self) -> None:
        """Raise InputError if a number is too small, or the file has no ending of a picture."""
        for name, low in {"people": 1, "images": 1, "size": 32, "seed": 0}.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least {low}")
        if not cv2.haveImageWriter(str(self.file)):
            raise InputError(f"{self.file} has no ending of a picture; name a .png or .jpg")


def gallery(people: int, images: int, size: int, seed: int) -> np.ndarray:
    """Faces in a grid, uint8 (2 · images · size, people · size, 3) RGB: a column a person, plain above masked."""
    columns = []
    for person in range(people):
        cells = []
        for image in range(images):
            face = draw_face(person, image, seed, size)
            kind = MASK_KINDS[(person + image) % len(MASK_KINDS)]
            rng = np.random.default_rng((seed, person, image))
            cells += [face.image, render_mask(face.image, face.landmarks, kind, rng)]
        columns.append(np.vstack(cells))
    return np.hstack(columns)


def mask_gallery(kinds: Sequence[str], size: int, seed: int) -> np.ndarray:
    """Masks in a grid, uint8 (kinds · size, poses · size, 3) RGB: a row a mask and a person, a column each of POSES."""
    rows = []
    for row, kind in enumerate(kinds):
        faces = [_posed_face(row, yaw, roll, size, seed) for yaw, roll in POSES]
        # The same seed along a row, so that only the pose differs.
        cells = [render_mask(face.image, face.landmarks, kind, np.random.default_rng((seed, row))) for face in faces]
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def _posed_face(person: int, yaw: float, roll: float, size: int, seed: int) -> DrawnFace:
    """A face somewhat smaller than aligned ones are, so that a tilted chin is in the picture."""
    scene = make_scene(person, 0, seed)
    scene = replace(scene, yaw=np.deg2rad(yaw), pitch=0.0, roll=0.0, hat=0.0, glasses=0, eye_open=1.0)
    turn = cv2.getRotationMatrix2D((size / 2, 0.62 * size), -roll, 0.8)
    return render(make_person(person, seed), scene, size, template(size) @ turn[:, :2].T + turn[:, 2])


def main() -> None:
    """The command."""
    settings = tyro.cli(GallerySettings, description=__doc__)
    if settings.show == "faces":
        picture = gallery(settings.people, settings.images, settings.size, settings.seed)
    else:
        picture = mask_gallery(settings.mask_kinds, settings.size, settings.seed)
    write_file(settings.file, cv2.imencode(settings.file.suffix, picture[..., ::-1])[1].tobytes())


if __name__ == "__main__":
    with one_line_errors():
        main()
