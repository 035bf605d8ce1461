"""Packs: the same table and images as the CSV, resumed after any interruption, damage refused with its place."""

import json
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from data.alignment.alignment import Alignment
from data.datasets import ImageLoader, TrainFaces, train_loader
from data.faces import faces_for
from data.loading.cache import FaceCache
from data.samplers import PKBatchSampler
from data.tables.card import check_card, read_dataset_card
from data.tables.images import Images
from data.tables.pack_file import HEADER_BYTES, Pack
from data.tables.pair_csv import read_pair_csvs
from data.tables.text_array import ImagePaths, TextArray
from data.tables.train_csv import read_train_csv
from data.tables.write_pack import check_pack, pack_csv
from runtime.errors import InputError
from tests.engine import settings_of
from tests.processes import ROOT

SIZE = 64


@pytest.fixture
def pack(drawn_faces, tmp_path):
    out = tmp_path / "train.pack"
    pack_csv(drawn_faces / "train.csv", out, root=drawn_faces)
    return out


def _loader(images, table, workers=0, cache=None, masks=0.5):
    faces = TrainFaces(images, table, SIZE, disk_size=SIZE, mask_probability=masks, seed=3, cache=cache)
    sampler = PKBatchSampler(table.targets, 3, 4, seed=3, epoch_mode="random")
    return train_loader(faces, sampler, workers=workers, pin_memory=False)


def _epochs(loader, count=2):
    batches = []
    for epoch in range(1, count + 1):
        loader.batch_sampler.set_epoch(epoch)
        batches += [(b.images.clone(), b.labels.clone(), b.unreadable) for b in loader]
    return batches


def _equal(some, others):
    return len(some) == len(others) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(some, others, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_csv_pack_and_cache_give_the_same_bits(drawn_faces, pack, workers):
    table = read_train_csv(drawn_faces / "train.csv")
    expected = _epochs(_loader(Images(drawn_faces, table.paths), table))
    packed = read_train_csv(pack)
    nowhere = drawn_faces / "no such folder"
    from_pack = _epochs(_loader(Images(nowhere, packed.paths, [Pack(pack)]), packed, workers))
    cache = FaceCache(len(table.paths.distinct), SIZE)
    cached = _loader(Images(drawn_faces, table.paths), table, workers, cache)
    assert _equal(from_pack, expected)
    assert _equal(_epochs(cached), expected)
    # All of it is in the cache now: another time round there is no file to read, and no worker needs one.
    assert _equal(_epochs(_loader(Images(nowhere, table.paths), table, workers, cache)), expected)


def test_a_pack_holds_the_table_of_its_csv(drawn_faces, pack):
    table, packed = read_train_csv(drawn_faces / "train.csv"), read_train_csv(pack)
    assert list(packed.paths) == list(table.paths)
    assert packed.names == table.names
    for name in ("targets", "landmarks", "masked"):
        assert np.array_equal(getattr(packed, name), getattr(table, name))
    with safe_open(pack, "np") as file:
        first = file.get_tensor("images")[: file.get_tensor("sizes")[0]].tobytes()
    assert first == (drawn_faces / table.paths[0]).read_bytes()
    # A worker of a system that does not fork gets the images pickled, and opens the file again.
    sent = pickle.loads(pickle.dumps(Images(drawn_faces, packed.paths, [Pack(pack)])))
    assert bytes(sent.read(0)) == first


def test_an_image_named_in_many_rows_is_packed_once(drawn_faces, tmp_path):
    frame = pd.read_csv(drawn_faces / "train.csv")
    pd.concat([frame] * 3).to_csv(tmp_path / "thrice.csv", index=False)
    pack_csv(tmp_path / "thrice.csv", tmp_path / "thrice.pack", root=drawn_faces)
    assert len(Pack(tmp_path / "thrice.pack")) == len(frame)
    assert len(read_train_csv(tmp_path / "thrice.pack").targets) == 3 * len(frame)


def test_a_run_needs_nothing_but_packs(drawn_faces, tmp_path):
    names = ("train", "eval_same", "eval_diff", "test")
    for name in names:
        pack_csv(drawn_faces / f"{name}.csv", tmp_path / f"{name}.pack", root=drawn_faces)

    def opened(root, suffix):
        return faces_for(
            settings_of(
                data_root=str(root),
                image_size=SIZE,
                train_csv=f"train.{suffix}",
                train_faces="plain",
                eval_csvs=(f"eval_same.{suffix}", f"eval_diff.{suffix}"),
                test_csv=f"test.{suffix}",
            )
        )

    from_csv, from_pack = opened(drawn_faces, "csv"), opened(tmp_path, "pack")
    assert from_pack.disk_size == from_csv.disk_size == SIZE
    for field in ("left", "right", "same", "condition", "people"):
        assert np.array_equal(getattr(from_pack.evaluation, field), getattr(from_csv.evaluation, field))
    loaders = [
        [ImageLoader(images, SIZE, batch_size=5, workers=0) for images in (f.evaluation_images, f.test_images)]
        for f in (from_csv, from_pack)
    ]
    for one, other in zip(*loaders, strict=True):
        assert torch.equal(torch.cat([b.clone() for b in one]), torch.cat([b.clone() for b in other]))
    assert len(from_pack.train_images) == len(from_csv.train.targets)
    # The crop of the packed faces is held against the network's, as that of a folder is.
    card = json.loads((drawn_faces / "dataset.json").read_text())
    assert Pack(tmp_path / "test.pack").card == card


# ==== damage ====


@pytest.mark.parametrize("at", ["first", "header", "index", "last"])
def test_a_flipped_bit_outside_the_images_is_refused_with_its_place(pack, at):
    size = pack.stat().st_size
    index = HEADER_BYTES + _images_bytes(pack) + 5
    place = {"first": 1, "header": 40, "index": index, "last": size - 1}[at]
    _flip(pack, place)
    with pytest.raises(InputError, match=r"train\.pack.*bytes ([\d,]+) to ([\d,]+)") as caught:
        Pack(pack)
    start, end = (int(n.replace(",", "")) for n in caught.value.args[0].split("bytes ")[1].split(" (")[0].split(" to "))
    assert start <= place < end


@given(data=st.data())
@settings(max_examples=60)
def test_any_flipped_bit_is_found(tmp_path_factory, drawn_faces, data):
    pack = tmp_path_factory.getbasetemp() / "whole.pack"
    if not pack.exists():
        pack_csv(drawn_faces / "train.csv", pack, root=drawn_faces)
        check_pack(pack)
    # Every byte counts but those that fill the images up to a multiple of eight.
    used = HEADER_BYTES + int(Pack(pack).arrays["sizes"].sum())
    places = st.one_of(
        st.integers(0, used - 1), st.integers(HEADER_BYTES + _images_bytes(pack), pack.stat().st_size - 1)
    )
    copy = pack.with_name("flipped.pack")
    copy.write_bytes(pack.read_bytes())
    _flip(copy, data.draw(places), 1 << data.draw(st.integers(0, 7)))
    with pytest.raises(InputError, match="flipped"):
        check_pack(copy)


@pytest.mark.parametrize("keep", [0, 5, 1000, HEADER_BYTES, -1])
def test_a_cut_pack_is_refused(pack, keep):
    pack.write_bytes(pack.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"train\.pack"):
        Pack(pack)


def test_another_version_and_another_file_are_refused(pack, tmp_path):
    content = pack.read_bytes()
    pack.write_bytes(content.replace(b'"pack_version":"1"', b'"pack_version":"0"'))
    with pytest.raises(InputError, match="say version 0, this program reads version 1; pack the CSV again"):
        Pack(pack)
    (tmp_path / "text.pack").write_text("path,target\n" * 9)
    with pytest.raises(InputError, match="is no pack"):
        Pack(tmp_path / "text.pack")
    with pytest.raises(InputError, match="make it with python -m data.pack"):
        Pack(tmp_path / "none.pack")


def test_a_corrupt_image_is_left_out_and_named_with_its_place(drawn_faces, pack):
    table = read_train_csv(pack)
    whole = Pack(pack)
    place = whole.place(4)
    _flip(pack, HEADER_BYTES + int(whole.arrays["starts"][4]) + 700)
    with pytest.raises(InputError, match=r"1 of 36 images are damaged") as caught:
        check_pack(pack)
    assert table.paths[4] in str(caught.value) and place in str(caught.value)
    batches = _epochs(_loader(Images(drawn_faces, table.paths, [Pack(pack)]), table), 8)
    named = {name for _, _, unreadable in batches for name in unreadable}
    assert named == {f"{table.paths[4]} ({place})"}
    images, labels = (sum(len(b[i]) for b in batches) for i in (0, 1))
    assert images == labels == 12 * len(batches) - sum(len(b[2]) for b in batches)


# ==== packing ====


def test_packing_goes_on_where_it_was_stopped(drawn_faces, tmp_path, monkeypatch):
    monkeypatch.setattr("data.tables.write_pack._FLUSH_BYTES", 20_000)
    whole, out = tmp_path / "whole.pack", tmp_path / "out.pack"
    pack_csv(drawn_faces / "train.csv", whole, root=drawn_faces)
    part, journal = tmp_path / "out.pack.part", tmp_path / "out.pack.journal"
    read, stop_at = Images.read, [0]

    def failing(self, row):
        if row >= stop_at[0]:
            raise OSError(5, "disk on fire")
        return read(self, row)

    monkeypatch.setattr(Images, "read", failing)
    for stop_at[0] in (0, 10, 11, 25):
        with pytest.raises(InputError, match="disk on fire.*resumes from here"):
            pack_csv(drawn_faces / "train.csv", out, root=drawn_faces)
        # A torn last write, and bytes behind what the journal knows.
        part.write_bytes(part.read_bytes() + b"torn")
        journal.write_bytes(journal.read_bytes() + b"\1\2\3")
    _flip(part, HEADER_BYTES + 20_500)
    first = []
    monkeypatch.setattr("data.tables.write_pack._COMPARED", 0)  # what is read is packed
    monkeypatch.setattr(Images, "read", lambda self, row: (first.append(row), read(self, row))[1])
    pack_csv(drawn_faces / "train.csv", out, root=drawn_faces)
    assert out.read_bytes() == whole.read_bytes()
    assert 0 < min(first) < 10
    assert not part.exists() and not journal.exists()


def test_an_unfinished_or_finished_pack_of_another_csv_is_not_touched(drawn_faces, pack, capsys):
    pack_csv(drawn_faces / "train.csv", pack, root=drawn_faces)
    assert "is made already" in capsys.readouterr().out
    with pytest.raises(InputError, match="pack of another CSV"):
        pack_csv(drawn_faces / "test.csv", pack, root=drawn_faces)
    other = pack.with_name("other.pack")
    other.with_name("other.pack.part").write_bytes(b"x")
    other.with_name("other.pack.journal").write_bytes(b"y" * 50)
    with pytest.raises(InputError, match="begun with another CSV"):
        pack_csv(drawn_faces / "test.csv", other, root=drawn_faces)
    with pytest.raises(InputError, match="must end in .pack"):
        pack_csv(drawn_faces / "test.csv", pack.with_suffix(".bin"), root=drawn_faces)


@pytest.fixture
def flat_faces(tmp_path):
    """A folder of four faces of one colour, its CSV and card, and what makes them anew, in files as large as before."""

    def make(colour, masks="before alignment"):
        for number in range(4):
            cv2.imwrite(str(tmp_path / f"{number}.bmp"), np.full((16, 16, 3), colour + number, np.uint8))
        card = {"crop": "arcface5", "size": 16, "masks": masks}
        (tmp_path / "dataset.json").write_text(json.dumps(card))

    rows = "".join(f"{number}.bmp,{'ab'[number % 2]}\n" for number in range(4))
    (tmp_path / "faces.csv").write_text("path,target\n" + rows)
    make(10)
    return tmp_path, make


def test_a_pack_of_faces_that_were_made_anew_is_refused(flat_faces, capsys):
    root, make = flat_faces
    csv, out = root / "faces.csv", root / "faces.pack"
    pack_csv(csv, out, root=root)
    make(10)
    pack_csv(csv, out, root=root)
    assert "is made already" in capsys.readouterr().out
    make(200)
    with pytest.raises(InputError, match=r"faces\.pack was made of other images: 0\.bmp has changed .*; delete it"):
        pack_csv(csv, out, root=root)
    make(10, masks="after alignment")
    with pytest.raises(InputError, match=r"faces\.pack was packed when .* had another dataset\.json; delete it"):
        pack_csv(csv, out, root=root)


@pytest.mark.parametrize(
    ("card", "line"),
    [
        ({"size": 64}, "lacks crop"),
        ({"crop": "arcface5"}, "lacks size"),
        (
            {"crop": "arcface5", "size": 64, "alignment": "mtcnn"},
            "alignment is 'mtcnn', not a text for each",
        ),
        ({"crop": "arcface5", "size": 64, "alignment": {"camera": "x"}}, "alignment is a dict, not a text for each"),
    ],
)
def test_a_card_that_somebody_else_wrote_is_one_line_in_folder_and_pack(flat_faces, card, line):
    root, _ = flat_faces
    pack = root / "faces.pack"
    (root / "dataset.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=line):
        check_card(read_dataset_card(root), root, "arcface5", Alignment())
    with pytest.raises(InputError, match=line):
        pack_csv(root / "faces.csv", pack, root=root)
        check_card(Pack(pack).card, pack, "arcface5", Alignment())


def test_a_column_named_as_a_part_of_the_pack_is_left_out_of_it(flat_faces):
    root, _ = flat_faces
    frame = pd.read_csv(root / "faces.csv").assign(**{"note.text": "x", "box.ends": "y", "note": "z"})
    frame.to_csv(root / "faces.csv", index=False)
    pack_csv(root / "faces.csv", root / "faces.pack", root=root)
    assert list(Pack(root / "faces.pack").frame()) == ["path", "target", "note"]


def test_a_half_written_pack_of_faces_that_were_made_anew_is_not_mixed_with_the_new_ones(flat_faces, monkeypatch):
    root, make = flat_faces
    csv, out = root / "faces.csv", root / "faces.pack"
    monkeypatch.setattr("data.tables.write_pack._FLUSH_BYTES", 1)
    (root / "3.bmp").rename(root / "away")
    monkeypatch.setattr("data.tables.write_pack.require_files", lambda *_: None)
    with pytest.raises(InputError, match="can't read .*; the same command resumes from here"):
        pack_csv(csv, out, root=root)
    assert (root / "faces.pack.part").exists()
    make(200)
    with pytest.raises(InputError, match=r"faces\.pack\.part was made of other images: 0\.bmp has changed"):
        pack_csv(csv, out, root=root)
    make(10)
    pack_csv(csv, out, root=root)
    assert bytes(Pack(out).read(3)) == (root / "3.bmp").read_bytes()


def test_what_training_would_refuse_is_refused_before_packing(drawn_faces, tmp_path):
    (tmp_path / "gone.csv").write_text("path,target\nplain/nobody.jpg,a\nplain/nobody2.jpg,b\n")
    with pytest.raises(InputError, match="2 images are not under"):
        pack_csv(tmp_path / "gone.csv", tmp_path / "gone.pack", root=drawn_faces)
    (tmp_path / "one.csv").write_text("path,target\na.jpg,a\n")
    with pytest.raises(InputError, match="one identity only"):
        pack_csv(tmp_path / "one.csv", tmp_path / "one.pack", root=drawn_faces)


def test_the_command_packs_checks_and_says_what_is_wrong_in_a_line(drawn_faces, tmp_path):
    out = tmp_path / "test.pack"

    def run(*arguments):
        command = [sys.executable, "-m", "data.pack", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert f"{out}: 40 rows" in run(drawn_faces / "test.csv", "--out", out).stdout
    assert "all bytes match their checksums" in run(out).stdout
    _flip(out, HEADER_BYTES + 100)
    damaged = run(out)
    assert damaged.returncode == 2
    assert damaged.stderr.splitlines()[-1].startswith(f"error: {out}: 1 of")


# ==== the arrays ====


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=20))
def test_text_arrays_give_back_their_strings(strings):
    texts = TextArray.of(strings)
    assert list(texts) == texts.tolist() == strings


@given(st.lists(st.text(max_size=3), unique=True, max_size=9), st.lists(st.text(max_size=3), unique=True, max_size=9))
def test_text_arrays_find_strings_and_keep_some(strings, others):
    texts = TextArray.of(strings)
    places = [strings.index(other) if other in strings else -1 for other in others]
    assert texts.places_of(TextArray.of(others)).tolist() == places
    assert texts.places_of(TextArray.of(strings)).tolist() == list(range(len(strings)))
    kept = sorted({place for place in places if place >= 0})
    assert list(texts.subset(np.array(kept, np.int64))) == [strings[i] for i in kept]


@given(st.lists(st.sampled_from(["a/1.jpg", "b/ü.jpg", "c"]), min_size=1, max_size=30), st.data())
def test_image_paths_are_the_rows_they_were_made_of(paths, data):
    arrays = ImagePaths.of(paths)
    rows = data.draw(st.lists(st.integers(0, len(paths) - 1), min_size=1))
    taken = arrays.take(np.array(rows))
    assert list(arrays) == paths
    assert list(taken) == [paths[row] for row in rows]
    assert sorted(taken.distinct) == sorted({paths[row] for row in rows})


def test_pair_packs_keep_what_a_csv_leaves_out(drawn_faces, tmp_path):
    frame = pd.read_csv(drawn_faces / "test.csv", dtype=str)
    frame.loc[3, "pair_path"] = ""
    pd.concat([frame, frame[:1]]).to_csv(tmp_path / "odd.csv", index=False)
    pack_csv(tmp_path / "odd.csv", tmp_path / "odd.pack", root=drawn_faces)
    from_csv, from_pack = (read_pair_csvs([tmp_path / f"odd.{suffix}"]) for suffix in ("csv", "pack"))
    assert len(from_pack.left_out) == 2
    lost = [pairs.left_out.drop(columns="csv").astype(object).values.tolist() for pairs in (from_csv, from_pack)]
    assert lost[0] == lost[1]
    assert np.array_equal(from_pack.left, from_csv.left) and list(from_pack.paths) == list(from_csv.paths)


def _images_bytes(pack):
    return len(Pack(pack).arrays["images"])


def _flip(path, place, mask=4):
    content = bytearray(path.read_bytes())
    content[place] ^= mask
    path.write_bytes(content)
