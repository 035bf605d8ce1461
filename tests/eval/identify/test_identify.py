"""Enrolment and identification: the file's life, and the command on drawn faces."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from data.synthetic.draw import draw_face
from data.tables.card import write_dataset_card
from eval.identify.__main__ import IdentifySettings, identify
from eval.identify.enrolment import Enrolment
from eval.verify import VerifySettings, verify
from models import build_model
from runtime.checkpoints.file import save_checkpoint
from runtime.errors import InputError


def unit(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32) / np.linalg.norm(values)


def test_an_enrolment_is_saved_extended_and_a_person_removed(tmp_path):
    enrolment = Enrolment("network")
    for person, picture, row in (("Bo", "1", unit(0, 1)), ("Ann", "1", unit(1, 0)), ("Ann", "2", unit(1, 1))):
        enrolment.add(person, picture, f"{person} {picture}", row)
    enrolment.save(tmp_path / "people.npz")
    again = Enrolment.load(tmp_path / "people.npz", "network")
    assert again.people == ["Ann", "Bo"]
    np.testing.assert_allclose(again.templates(), [unit(*(unit(1, 0) + unit(1, 1))), unit(0, 1)], atol=1e-6)
    again.add("Ann", "renamed", "Ann 2", unit(1, 0))  # the same picture again takes its own place
    assert len(again.person) == 3
    again.remove("Ann")
    assert again.people == ["Bo"] and again.picture == ["1"] and len(again.embeddings) == 1
    with pytest.raises(InputError, match="nobody is enrolled as 'Ann'"):
        again.remove("Ann")
    with pytest.raises(InputError, match="another network"):
        Enrolment.load(tmp_path / "people.npz", "other")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "people.npz").read_bytes()[:90])
    with pytest.raises(InputError, match="damaged"):
        Enrolment.load(tmp_path / "cut.npz", "network")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identify") / "run"
    settings = {"backbone": "timm:test_resnet", "embedding_size": 16, "pooling": "average", "image_size": 64}
    model = build_model(**settings, dropout=0.0, pretrained="none")
    preprocessing = {"size": 64, "crop": "arcface5", "mean": [0.5] * 3, "std": [0.5] * 3}
    content = {"model": model.state_dict(), "settings": {**settings, "dropout": 0.0}, "preprocessing": preprocessing}
    save_checkpoint(folder / "best.pt", {**content, "threshold": 0.5, "epoch": 1})
    return folder


def test_the_command_on_prepared_faces(run, drawn_faces, tmp_path):
    people = tmp_path / "people.npz"
    settings = {"people": people, "gallery": drawn_faces / "plain", "device": "cpu"}
    identify(IdentifySettings(str(run), pictures=1, **settings))
    everybody = Enrolment.load(people, np.load(people)["network"].item()).people
    assert len(everybody) == 14
    stranger = everybody[0]
    probe = {"people": people, "probe": drawn_faces / "masked", "device": "cpu"}
    found = identify(IdentifySettings(str(run), remove=(stranger,), **probe))
    # Three pictures each: the enrolled photograph's masked copy is left out, all three of the stranger count.
    assert (found["enrolled_people"], found["probes"], found["strangers"]) == (13, 26, 3)
    assert found["left_out_as_enrolled"] == 13 and 0 <= found["rank_1"] <= found["rank_5"] <= 1
    again = Enrolment.load(people, np.load(people)["network"].item())
    assert again.people == everybody[1:] and len(again.person) == 13


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nothing to do"),
        ({"probe": "masked"}, "nobody is enrolled"),
        ({"gallery": "nowhere"}, "no folder"),
        ({"gallery": "plain/person_000000"}, "no sub-folders"),
        ({"probe": "masked", "out": "found.csv"}, r"found.csv is the name of the table or page beside it"),
    ],
)
def test_what_cant_be_done_is_said_in_one_line(run, drawn_faces, tmp_path, changes, words):
    changes = {key: drawn_faces / value for key, value in changes.items()}
    with pytest.raises(InputError, match=words):
        identify(IdentifySettings(str(run), people=tmp_path / "people.npz", **changes))


def test_pictures_without_a_face_are_said(run, drawn_faces, tmp_path):
    identify(IdentifySettings(str(run), gallery=drawn_faces / "plain", people=tmp_path / "people.npz", device="cpu"))
    (tmp_path / "probe" / "Ann").mkdir(parents=True)
    (tmp_path / "probe" / "Ann" / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"no picture of .*probe shows a face"):
        identify(IdentifySettings(str(run), probe=tmp_path / "probe", people=tmp_path / "people.npz", device="cpu"))


def test_a_known_name_of_published_weights_is_looked_for_as_such(drawn_faces, tmp_path, monkeypatch):
    def no_network(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    settings = IdentifySettings("vggface2", gallery=drawn_faces / "plain", backbone="inception_resnet_v1")
    with pytest.raises(InputError, match=r"vggface2.pt for inception_resnet_v1 are not here and can't be downloaded"):
        identify(settings)


def photographs(folder, seed: int, names: str = "1") -> None:
    """A picture of each of four people; the card says that they are aligned."""
    for person in range(4):
        for name in names:
            face = draw_face(person, seed + ord(name), 0, 64).image
            (folder / f"p{person}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(face).save(folder / f"p{person}" / f"{name}.png")
    write_dataset_card(folder, "arcface5", 64)


def test_pictures_are_known_by_content_and_not_by_their_files_name(run, tmp_path, capsys):
    photographs(tmp_path / "first", 0)
    photographs(tmp_path / "second", 100)
    photographs(tmp_path / "visit", 200)
    people = {"people": tmp_path / "people.npz", "device": "cpu"}
    identify(IdentifySettings(str(run), gallery=tmp_path / "first", **people))
    identify(IdentifySettings(str(run), gallery=tmp_path / "second", **people))
    assert "4 pictures added, 0 were enrolled before" in capsys.readouterr().out
    assert len(np.load(people["people"])["person"]) == 8
    visit = identify(IdentifySettings(str(run), probe=tmp_path / "visit", **people))
    assert (visit["probes"], visit["left_out_as_enrolled"]) == (4, 0)
    # The same pictures under other names: they are enrolled, whoever is said to be in them.
    for person in range(4):
        (tmp_path / "first" / f"p{person}" / "1.png").rename(tmp_path / "first" / f"p{person}" / "other.png")
    (tmp_path / "first" / "p3").rename(tmp_path / "first" / "p9")
    with pytest.raises(InputError, match="all pictures of .* are enrolled"):
        identify(IdentifySettings(str(run), probe=tmp_path / "first", **people))
    identify(IdentifySettings(str(run), gallery=tmp_path / "first", **people))
    said = capsys.readouterr().out
    assert "0 pictures added, 4 were enrolled before and are replaced" in said and "p3/1.png (now p9/other.png)" in said


def test_each_picture_has_a_row_with_what_was_measured(run, tmp_path, capsys):
    faces = [np.pad(draw_face(p, 0, 0, 160).image, ((50, 50), (50, 50), (0, 0)), mode="reflect") for p in (3, 9)]
    sizes = {
        "gallery/Ann/1": (0, 1),
        "gallery/Ben/1": (1, 1),
        "visit/Ann/with_mask/2": (0, 0.9),
        "visit/Ben/3": (1, 0.25),
    }
    for name, (person, factor) in sizes.items():
        picture = Image.fromarray(faces[person]).resize((round(260 * factor),) * 2, Image.Resampling.BOX)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / f"{name}.png")
    Image.new("RGB", (200, 200), (90, 90, 90)).save(tmp_path / "visit" / "Ben" / "nobody.png")
    (tmp_path / "visit" / "Ben" / "plain.png").write_bytes((tmp_path / "gallery" / "Ben" / "1.png").read_bytes())
    settings = {"gallery": tmp_path / "gallery", "probe": tmp_path / "visit", "people": tmp_path / "people.npz"}
    figures = identify(IdentifySettings(str(run), device="cpu", **settings))
    assert (figures["probes"], figures["without_face"], figures["left_out_as_enrolled"]) == (2, 1, 1)
    assert "1 of 2 faces are under 40 px wide: false matches are likely" in capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "identify.csv").set_index("picture")
    masked, small = rows.loc["Ann/with_mask/2.png"], rows.loc["Ben/3.png"]
    assert masked["masked"] == 1 and np.isnan(small["masked"])
    assert masked["face_side"] > 80 and small["face_side"] == pytest.approx(masked["face_side"] * 0.25 / 0.9, rel=0.2)
    assert masked["sharpness"] > 0.05 and abs(masked["yaw"]) < 45 and masked["person"] == "Ann"
    assert "false matches rise" in small["remark"] and small["accepted"] == int(small["distance"] <= 0.5)
    assert small["nearest"] in ("Ann", "Ben")
    assert "no face found" in rows.loc["Ben/nobody.png", "left_out"]
    assert rows.loc["Ben/plain.png", "left_out"] == "an enrolled picture" and rows["left_out"].isna().sum() == 2


def test_an_enrolment_without_digests_knows_its_pictures_by_name(tmp_path):
    arrays = {"person": np.array(["Ann"]), "picture": np.array(["1.jpg"]), "embeddings": unit(1, 0)[None]}
    np.savez(tmp_path / "old.npz", network=np.array("network"), **arrays)
    old = Enrolment.load(tmp_path / "old.npz", "network")
    assert old.holds("Ann", "Ann/1.png", {"x"}) and not old.holds("Ann", "Ann/2.png", {"x"})
    old.add("Ann", "2.jpg", "x", unit(0, 1))
    old.save(tmp_path / "new.npz")
    assert Enrolment.load(tmp_path / "new.npz", "network").content == ["", "x"]


@pytest.mark.parametrize("threshold", [-0.1, 2.01, float("nan")])
def test_a_threshold_that_is_no_distance_is_refused(run, drawn_faces, tmp_path, threshold):
    photographs(tmp_path / "first", 0)
    people = {"people": tmp_path / "people.npz", "device": "cpu"}
    with pytest.raises(InputError, match="from 0 to 2"):
        identify(IdentifySettings(str(run), gallery=tmp_path / "first", probe=tmp_path, threshold=threshold, **people))
    with pytest.raises(InputError, match="from 0 to 2"):
        verify(VerifySettings(str(run), drawn_faces / "test.csv", drawn_faces, threshold=threshold))


def test_a_door_gets_a_page_and_figures_by_condition(run, drawn_faces, tmp_path):
    """Half of the people are strangers; those who come are bare or masked, in folders of data.prepare."""
    settings = {"people": tmp_path / "people.npz", "device": "cpu"}
    strangers = tuple(f"person_{number:06d}" for number in range(7))
    identify(IdentifySettings(str(run), gallery=drawn_faces / "plain", pictures=1, **settings))
    identify(IdentifySettings(str(run), remove=strangers, **settings))
    visits = tmp_path / "visits"
    for kind in ("original", "masked"):
        for person in sorted((drawn_faces / "plain").iterdir()):
            shutil.copytree(drawn_faces / kind.replace("original", "plain") / person.name, visits / person.name / kind)
    write_dataset_card(visits, "arcface5", 64)
    found = identify(IdentifySettings(str(run), probe=visits, threshold=0.3, **settings))
    door = found["door"]
    assert set(door) == {"all pictures", "masked", "plain"}
    whole, parts = door["all pictures"], (door["masked"], door["plain"])
    for name in ("probes", "strangers"):
        assert whole[name] == found[name] == sum(part[name] for part in parts)
    assert set(whole["points"]) == {"the stored threshold", "the chosen threshold"}
    chosen = whole["points"]["the chosen threshold"]
    assert chosen["tpir"]["share"] == found["recognised"] and chosen["fpir"]["share"] == found["stranger_accepted"]
    assert whole["points"]["the stored threshold"]["threshold"] == 0.5
    page = (tmp_path / "identify.html").read_text()
    assert (
        "Open-set identification" in page
        and "the chosen threshold" in page
        and (tmp_path / "identify_det.png").is_file()
    )
