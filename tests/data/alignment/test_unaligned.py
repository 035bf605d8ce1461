"""Photographs in a table of faces are named; aligned faces are not aligned a second time."""

import cv2
import numpy as np
import pytest
from PIL import Image

from data.alignment.photos import PhotoReader
from data.alignment.unaligned import raw_photographs, refuse_not_square
from data.sources.read_image import read_image
from data.tables.card import write_dataset_card
from data.tables.images import Images
from runtime.errors import InputError


def pictures(folder, *sizes: tuple[int, int]) -> Images:
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(folder / f"{i}.png")
    return Images(folder, [f"{i}.png" for i in range(len(sizes))])


def test_a_table_of_photographs_is_refused_and_a_single_one_is_not(tmp_path):
    with pytest.raises(InputError, match=r"2 of 3 pictures looked at are no aligned faces.*1.png, 90×60"):
        refuse_not_square(pictures(tmp_path, (80, 80), (60, 90), (90, 60)), "train.csv")
    refuse_not_square(pictures(tmp_path, (80, 80), (80, 80), (90, 60)), "train.csv")
    (tmp_path / "0.png").write_bytes(b"damaged")
    refuse_not_square(Images(tmp_path, ["0.png", "gone.png"]), "train.csv")


def test_square_photographs_are_told_from_aligned_faces(drawn_faces, tmp_path):
    paths = sorted(str(path.relative_to(drawn_faces)) for path in (drawn_faces / "plain").rglob("*.jpg"))[:8]
    aligned = Images(drawn_faces, paths)
    raw, found, _ = raw_photographs(aligned, range(8))
    assert found > 4 and raw == 0
    for path in paths:
        face = read_image(drawn_faces / path)
        photograph = cv2.copyMakeBorder(face, 60, 20, 50, 30, cv2.BORDER_REPLICATE)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph).save(tmp_path / path, quality=95)
    raw, found, first = raw_photographs(Images(tmp_path, paths), range(8))
    assert raw == found > 2 and first in paths


def test_an_aligned_face_is_known_by_its_card(drawn_faces, tmp_path):
    reader = PhotoReader(64, "arcface5")
    path = next((drawn_faces / "masked").rglob("*.jpg"))
    taken = reader(path)
    assert taken.side is None and "taken as it is" in taken.remark
    np.testing.assert_array_equal(taken.image, read_image(path))
    assert PhotoReader(48, "arcface5")(path).image.shape == (48, 48, 3)
    with pytest.raises(InputError, match="cropped as arcface5, but mtcnn_box"):
        PhotoReader(64, "mtcnn_box")(path)


def test_a_photograph_among_aligned_faces_is_searched(drawn_faces, tmp_path):
    write_dataset_card(tmp_path, "arcface5", 64)
    face = read_image(next((drawn_faces / "plain").rglob("*.jpg")))
    large = cv2.copyMakeBorder(cv2.resize(face, (160, 160)), 40, 40, 40, 40, cv2.BORDER_REPLICATE)
    Image.fromarray(large).save(tmp_path / "photo.jpg", quality=95)
    assert PhotoReader(64, "arcface5")(tmp_path / "photo.jpg").side > 60
    (tmp_path / "dataset.json").write_text("[1, 2]")
    assert PhotoReader(64, "arcface5")(tmp_path / "photo.jpg").side > 60
