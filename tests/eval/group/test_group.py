"""Photographs grouped by person: from prepared faces with names; what is written for people and for data.prepare."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.sources.folders import list_folder
from eval.group import __main__ as command
from eval.group.__main__ import GroupSettings, group
from eval.group.grouping import grouping_figures
from eval.photographs.cut_outs import cut_out
from runtime.errors import InputError
from tests.small_run import write_small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("group") / "run"
    write_small_run(folder)
    return str(folder)


def test_labelled_faces_get_folders_a_table_a_sheet_and_figures(run, drawn_faces, tmp_path, monkeypatch, capsys):
    out = tmp_path / "groups"
    settings = [run, str(drawn_faces / "plain"), "--labelled", "--threshold", "0.03", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["eval.group", *settings, "--device", "cpu"])
    command.main()
    table = pd.read_csv(out / "groups.csv")
    assert len(table) == 42 and table["photo"].nunique() == 42
    # The folders are people as data.prepare reads them, and the cut-outs lie where the table says.
    pictures = list_folder(out / "people").pictures
    assert {(p.person, f"people/{p.path}") for p in pictures} == set(zip(table["group"], table["cut_out"], strict=True))
    sizes = table["group"].value_counts()
    assert sizes["person_001"] == sizes.max() and len(sizes) > 1
    people = table["photo"].str.split("/").str[0].to_numpy()
    figures = json.loads((out / "figures.json").read_text())
    assert figures == {"threshold": 0.03, **grouping_figures(people, table["group"].to_numpy())}
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width == 1650
    said = capsys.readouterr().out
    assert "42 photographs, 42 faces" in said and "faces (BCubed)" in said


def test_a_second_call_replaces_the_folders(run, drawn_faces, tmp_path):
    for threshold in (0.0, 2.0):
        settings = {"out": tmp_path / "groups", "threshold": threshold, "device": "cpu"}
        group(GroupSettings(run, (drawn_faces / "plain" / "person_000000",), **settings))
        count = len(list((tmp_path / "groups" / "people").iterdir()))
        assert count == (3 if threshold == 0 else 1)


def test_a_folder_of_other_people_and_the_photographs_themselves_are_left_alone(run, drawn_faces, tmp_path):
    out = tmp_path / "album"
    shutil.copytree(drawn_faces / "plain" / "person_000000", out / "people" / "Ada")
    before = sorted(path.read_bytes() for path in out.rglob("*.jpg"))
    for photos in (drawn_faces / "plain" / "person_000000", out / "people"):
        with pytest.raises(InputError, match="people holds other pictures and would be replaced; set --out"):
            group(GroupSettings(run, (photos,), out=out, device="cpu"))
        (out / "groups.csv").touch()  # as if it were of an earlier grouping
    assert sorted(path.read_bytes() for path in out.rglob("*.jpg")) == before


def test_a_cut_out_has_its_face_nearest_to_the_centre():
    image = np.zeros((100, 200, 3), np.uint8)
    for box in ([80, 30, 110, 70], [0, 0, 30, 40], [170, 60, 205, 102], [60, 2, 90, 42]):
        marked = image.copy()
        left, top, right, bottom = np.clip(box, 0, [200, 100, 200, 100])
        marked[top:bottom, left:right] = 255
        cut = cut_out(marked, np.array(box, np.float32))
        assert (cut > 0).sum() == (marked > 0).sum()  # the whole face is in it
        rows, columns = np.nonzero(cut[..., 0])
        middle = np.array([rows.mean() + 0.5, columns.mean() + 0.5])
        assert np.abs(middle - np.array(cut.shape[:2]) / 2).max() <= 3


def test_what_cant_be_done_is_said_in_one_line(run, tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no face in 1 photograph;"):
        group(GroupSettings(run, (tmp_path / "1.jpg",), out=tmp_path / "out", device="cpu"))
    with pytest.raises(InputError, match="one folder"):
        group(GroupSettings(run, (tmp_path, tmp_path), out=tmp_path / "out", labelled=True))
    with pytest.raises(InputError, match="from 0 to 2"):
        group(GroupSettings(run, (tmp_path,), threshold=3.0))
    assert not (tmp_path / "out").exists()
