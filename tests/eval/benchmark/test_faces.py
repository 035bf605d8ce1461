"""Pictures of a set → faces, and the same with masks that follow from the seed and the set's own order alone."""

from pathlib import Path

import numpy as np
import pytest

from data.alignment.detectors.detection import Detection
from data.masks.render import render_mask
from data.sources.source_file import SourceFile
from data.transforms import template
from eval.benchmark import faces
from eval.benchmark.faces import AFTER, BEFORE, FaceBatch, FaceOptions, face_batches, masks_checksums
from tests.pair_sets import SIZE, write_people
from tests.pair_sets import faces as made_faces

IMAGES = made_faces(people=3)


class Finder:
    """Finds the points of the template in every picture; none in those whose corner is black."""

    def __call__(self, images):
        return [self._found(image) for image in images]

    def _found(self, image):
        points = template(len(image))
        box = np.array([0, 0, len(image), len(image)], np.float32)
        return Detection(box, points, 1.0) if image[0, 0].any() else None


@pytest.fixture(autouse=True)
def finder(monkeypatch):
    monkeypatch.setattr(faces, "detector_for", lambda options: Finder)


@pytest.fixture
def pictures(tmp_path) -> dict[int, SourceFile]:
    write_people(tmp_path, IMAGES, "{person}_{number}.png")
    return {
        number: SourceFile(path.name, "", path.name, "", tmp_path) for number, path in enumerate(sorted_in(tmp_path))
    }


def sorted_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def made(pictures: dict[int, SourceFile], **changed) -> FaceBatch:
    """All batches as one."""
    options = {"size": SIZE, "crop": "arcface5", "aligned": False, "detector": "", "orders": (BEFORE, AFTER), "seed": 0}
    whole = FaceBatch(masked={BEFORE: {}, AFTER: {}}, lost_masked={BEFORE: {}, AFTER: {}})
    for batch in face_batches(pictures, FaceOptions(**options | changed), 1):
        whole.plain |= batch.plain
        whole.lost |= batch.lost
        whole.drawn |= batch.drawn
        for order in (BEFORE, AFTER):
            whole.masked[order] |= batch.masked.get(order, {})
            whole.lost_masked[order] |= batch.lost_masked.get(order, {})
    return whole


def test_masks_follow_from_seed_and_number_alone(pictures, monkeypatch):
    whole = made(pictures)
    monkeypatch.setattr(faces, "_BATCH", 2)
    again = made({number: pictures[number] for number in (7, 4, 1)})
    for order in (BEFORE, AFTER):
        for number, face in again.masked[order].items():
            assert (face == whole.masked[order][number]).all()
    checksums = masks_checksums(whole.drawn, 0, len(pictures))
    assert masks_checksums(made(pictures).drawn, 0, len(pictures)) == checksums
    fewer = masks_checksums({7: whole.drawn[7]}, 0, len(pictures))
    assert fewer["parameters"] == checksums["parameters"] and fewer["landmarks"] != checksums["landmarks"]
    other = made(pictures, seed=1)
    assert masks_checksums(other.drawn, 1, len(pictures))["parameters"] != checksums["parameters"]
    assert any((face != whole.masked[AFTER][number]).any() for number, face in other.masked[AFTER].items())


def test_a_mask_is_the_renderers_on_the_landmarks_found(pictures):
    whole = made(pictures, aligned=True, orders=(AFTER,))
    for number, drawn in whole.drawn.items():
        rng = np.random.default_rng([0, number])
        rng.integers(5)  # the draw of the kind
        assert (render_mask(IMAGES[number], template(SIZE), drawn.kind, rng) == whole.masked[AFTER][number]).all()
        assert (whole.plain[number] == IMAGES[number]).all()


def test_photographs_are_masked_before_alignment_unless_it_is_asked_for(pictures):
    before = made(pictures, orders=(BEFORE,))
    assert before.masked[BEFORE].keys() == pictures.keys() and not before.masked[AFTER]
    assert all((before.masked[BEFORE][n] != before.plain[n]).any() for n in pictures)


def test_what_is_not_found_is_lost_with_its_reason(pictures, tmp_path, monkeypatch):
    without_face = sorted_in(tmp_path)[1]
    image = IMAGES[1].copy()
    image[0, 0] = 0
    write_people(tmp_path / "other", image[None], "x.png")
    without_face.write_bytes((tmp_path / "other" / "x.png").read_bytes())
    sorted_in(tmp_path)[2].write_bytes(b"none")
    whole = made(pictures)
    assert whole.lost == {1: "no face found", 2: "unreadable: not an image"}
    assert whole.plain.keys() == whole.masked[BEFORE].keys() == pictures.keys() - {1, 2}
    # Points that another face has are none of this one.
    shifted = iter([0.0, 1.0] * len(pictures))

    def moved(self, images):
        by = next(shifted) * SIZE
        return [Detection(np.zeros(4, np.float32), template(len(image)) + by, 1.0) for image in images]

    monkeypatch.setattr(Finder, "__call__", moved)
    whole = made({0: pictures[0]})
    assert whole.lost_masked[BEFORE] == {0: "not found under the mask"} and whole.masked[AFTER].keys() == {0}
