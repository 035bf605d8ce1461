"""A picture of built-in faces, plain above masked: ``python -m data.synthetic.gallery FILE.png``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro

from data.mask import MASK_KINDS, render_mask
from data.synthetic.draw import draw_face
from runtime.errors import one_line_errors
from runtime.files import replace_file


@dataclass(frozen=True)
class GallerySettings:
    """Draw people who don't exist, each plain and with a mask."""

    file: Annotated[Path, tyro.conf.Positional]
    """Picture to write."""
    people: int = 8
    """Columns: people."""
    images: int = 2
    """Pictures of each person, every one in a row plain and a row masked."""
    size: int = 128
    """Side of a face in pixels."""
    seed: int = 0
    """Seed of the people."""


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


def main() -> None:
    """The command."""
    settings = tyro.cli(GallerySettings)
    picture = gallery(settings.people, settings.images, settings.size, settings.seed)
    with replace_file(settings.file) as temporary:
        encoded = cv2.imencode(settings.file.suffix, picture[..., ::-1])[1]
        temporary.write_bytes(encoded.tobytes())


if __name__ == "__main__":
    with one_line_errors():
        main()
