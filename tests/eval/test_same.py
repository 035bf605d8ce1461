"""Photographs to embeddings and a verdict, with drawn people and a network that sees the mean colour."""

import dataclasses
import sys

import cv2
import numpy as np
import pytest
from torch import nn

from data.alignment.photos import FacePhoto
from data.synthetic.draw import draw_face
from eval import embed as embed_module
from eval import same as command
from eval.embed import Embedder
from models.trained_model import TrainedModel
from runtime.errors import InputError

SIZE = 64


class Colours(nn.Module):
    """The mean colour of each quarter of the face, as a direction."""

    def forward(self, x):
        return nn.functional.normalize(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


@pytest.fixture(autouse=True)
def network(monkeypatch):
    preprocessing = {"size": SIZE, "crop": "arcface5", "mean": [0.5] * 3, "std": [0.5] * 3}
    opened = TrainedModel("net", Colours(), preprocessing, 0.4, "balanced_accuracy")
    monkeypatch.setattr(embed_module, "open_model", lambda *_: opened)
    return opened


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two people; one of them also sideways and upside down, both in one photograph, and nobody."""
    folder = tmp_path_factory.mktemp("photos")
    ann, ben = draw_face(3, 0, 0, 200).image, draw_face(9, 0, 0, 200).image
    ann, ben = (np.pad(face, ((60, 60), (60, 60), (0, 0)), mode="reflect") for face in (ann, ben))
    pictures = {"ann": ann, "ben": ben, "sideways": np.rot90(ann), "upside_down": np.rot90(ann, 2)}
    pictures |= {"both": np.hstack([ann[:, :-60], ben[:, 60:]]), "nobody": np.full_like(ann, 90)}
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture[..., ::-1])
    return folder


def test_embeddings_of_photographs_come_in_order_whether_paths_or_arrays(photos):
    embedder = Embedder("net", device="cpu")
    paths = [photos / "ben.png", str(photos / "ann.png")]
    found = embedder.embed(paths)
    arrays = [cv2.imread(str(path))[..., ::-1] for path in paths]
    assert found.dtype == np.float32 and found.shape == (2, 12) and embedder.threshold == 0.4
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, embedder.embed(arrays), atol=1e-6)
    faces = np.stack([embedder.face(path).image for path in paths])
    np.testing.assert_allclose(found, embedder.embed_aligned(faces), atol=1e-6)


def test_arrays_of_opencv_are_bgr_and_files_are_what_they_are(photos):
    embedder, path = Embedder("net", device="cpu"), photos / "ann.png"
    bgr = cv2.imread(str(path))
    expected = embedder.embed([path, np.ascontiguousarray(bgr[..., ::-1])])
    np.testing.assert_array_equal(expected, embedder.embed([path, bgr], colour="bgr"))
    np.testing.assert_array_equal(embedder.embed(np.stack([bgr, bgr]), colour="bgr")[0], expected[1])
    assert np.abs(embedder.embed([bgr]) - expected[1]).max() > 0.01
    with pytest.raises(InputError, match="colour must be rgb or bgr"):
        embedder.embed([bgr], colour="brg")


def test_group_pictures_give_every_face_with_its_place(photos):
    embedder = Embedder("net", device="cpu")
    both, nobody, ann = embedder.group_pictures([photos / name for name in ("both.png", "nobody.png", "ann.png")])
    assert (len(both), len(nobody), len(ann)) == (2, 0, 1) and both[0].box[0] < both[1].box[0]
    for face in (*both, *ann):
        assert (face.landmarks > face.box[:2]).all() and (face.landmarks < face.box[2:]).all()
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)
    apart = [np.linalg.norm(face.embedding - ann[0].embedding) for face in both]
    assert apart[0] < apart[1]  # Ann stands on the left


def test_a_turned_photograph_gives_the_same_face_and_says_so(photos):
    embedder = Embedder("net", device="cpu")
    upright = embedder.face(photos / "ann.png")
    assert upright.remark == ""
    for name, turned in (("sideways", "rotated 90° clockwise"), ("upside_down", "rotated 180°")):
        face = embedder.face(photos / f"{name}.png")
        assert turned in face.remark
        assert np.abs(face.image.astype(int) - upright.image).mean() < 8


def test_several_faces_are_counted(photos):
    assert "2 faces: the one nearest the centre" in Embedder("net", device="cpu").face(photos / "both.png").remark


def test_a_small_face_is_said_and_refused_if_asked(photos, tmp_path, monkeypatch, capsys):
    ann = cv2.imread(str(photos / "ann.png"))
    cv2.imwrite(str(tmp_path / "small.png"), cv2.resize(ann, (64, 64), interpolation=cv2.INTER_AREA))
    large, small = str(photos / "ann.png"), str(tmp_path / "small.png")
    sides = [Embedder("net", device="cpu").face(path).side for path in (large, small)]
    assert sides[0] > 100 and sides[1] == pytest.approx(sides[0] * 64 / len(ann), rel=0.15)
    assert run(large, small, "--out", str(tmp_path / "same.png"), monkeypatch=monkeypatch) == 0
    assert f"small.png: face only {sides[1]:.0f} px wide" in capsys.readouterr().out
    assert run(large, small, "--least-face", "60", monkeypatch=monkeypatch) == 2
    assert f"the face is {sides[1]:.0f} px wide, under --least-face 60" in capsys.readouterr().err


def test_what_the_network_was_measured_to_need_is_refused_unless_asked_otherwise(
    photos, network, tmp_path, monkeypatch, capsys
):
    large, small = str(photos / "ann.png"), str(tmp_path / "small.png")
    ann = cv2.imread(large)
    cv2.imwrite(small, cv2.resize(ann, (128, 128), interpolation=cv2.INTER_AREA))
    out = ("--out", str(tmp_path / "same.png"))
    assert run(large, small, *out, monkeypatch=monkeypatch) == 0  # not measured: no remark at its 56 pixels
    assert "false matches rise" not in capsys.readouterr().out
    monkeypatch.setattr(embed_module, "open_model", lambda *_: dataclasses.replace(network, least_face=60))
    assert run(large, small, *out, monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert "under the 60 px that this network needs; take it from closer (--least-face 0 accepts any face)" in error
    assert error.count("\n") == 1
    assert run(large, small, *out, "--least-face", "0", monkeypatch=monkeypatch) == 0
    assert "false matches rise under 60" in capsys.readouterr().out


def test_blurred_and_turned_faces_are_said(photos, tmp_path):
    embedder = Embedder("net", device="cpu")
    plain = embedder.face(photos / "ann.png")
    assert plain.remark == "" and plain.measures.startswith(f"{plain.side:.0f} pixels, sharpness ")
    blurred = embedder.face(cv2.GaussianBlur(cv2.imread(str(photos / "ann.png"))[..., ::-1], (0, 0), 6))
    assert "blurred or enlarged" in blurred.remark and blurred.sharpness < plain.sharpness / 4
    assert FacePhoto(plain.image, 1, "", 90.0, 0.3, -52.0).remark == "head turned by 52°, over 40°"
    assert FacePhoto(plain.image, 1, "", 30.0, 0.01, 0.0).remark == "face only 30 px wide: false matches rise under 40"


def run(*arguments: str, monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", ["same", "net", *arguments, "--device", "cpu"])
    try:
        with command.one_line_errors():
            command.main()
    except SystemExit as end:
        return end.code
    return 0


def test_the_command_says_its_verdict_and_draws_both_faces(photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "same.png"
    ann, ben, sideways = (str(photos / f"{name}.png") for name in ("ann", "ben", "sideways"))
    assert run(ann, sideways, "--out", str(out), monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "Same person: distance 0." in printed and "≤ threshold 0.400" in printed and "rotated 90°" in printed
    assert cv2.imread(str(out)).shape[0] > 300
    assert run(ann, ben, "--threshold", "0.001", "--out", str(out), monkeypatch=monkeypatch) == 0
    assert "Different people" in capsys.readouterr().out


def test_what_cant_be_compared_ends_in_one_line(photos, tmp_path, monkeypatch, capsys):
    (tmp_path / "page.jpg").write_text("<html>")
    for path, words in ((photos / "nobody.png", "no face found"), (tmp_path / "page.jpg", "can't be read")):
        assert run(str(photos / "ann.png"), str(path), monkeypatch=monkeypatch) == 2
        error = capsys.readouterr().err
        assert words in error and path.name in error and error.count("\n") == 1


def test_a_threshold_must_be_a_distance(photos, monkeypatch, capsys):
    ann = str(photos / "ann.png")
    for threshold in ("nan", "2.5", "-1"):
        assert run(ann, ann, "--threshold", threshold, monkeypatch=monkeypatch) == 2
        assert "distances are from 0 to 2" in capsys.readouterr().err


def test_wrong_arguments_of_the_embedder_get_one_line(photos):
    embedder = Embedder("net", device="cpu")
    for images, words in (("ann.png", "brackets"), ([], "empty"), ([np.zeros((4, 4))], "uint8")):
        with pytest.raises(InputError, match=words):
            embedder.embed(images)
    with pytest.raises(InputError, match="64, 64, 3"):
        embedder.embed_aligned(np.zeros((2, 32, 32, 3), np.uint8))
