"""Errors planted into a set of drawn faces are found, and nothing else is."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from data.prepare.proposals import apply_proposals, read_proposals
from eval import audit as command
from eval.audit import LEAK, RENAMED, TWICE, TWO_NAMES, TWO_PEOPLE, AuditSettings, audit
from eval.metrics.suspects import near_pairs, same_picture, split_of
from models.trained_model import TrainedModel
from runtime.errors import InputError

SIZE = 32


class ReadsCorners(nn.Module):
    """Embeds a face by the person's code in its first row of pixels."""

    def forward(self, x):
        return nn.functional.normalize(x[:, 0, 0, :24])


@pytest.fixture
def world(tmp_path, monkeypatch):
    """12 people, 4 pictures each; the code of a picture is its person's with a little noise."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, (12, 24))
    preprocessing = {"size": SIZE, "crop": "arcface5", "mean": [0.0] * 3, "std": [1.0] * 3}
    opened = TrainedModel("net", ReadsCorners(), preprocessing, None, None)
    monkeypatch.setattr(command, "open_model", lambda *_: opened)
    torch.manual_seed(0)

    def face(path: str, person: int) -> None:
        image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        image[0, :24] = np.clip(codes[person] + rng.integers(-12, 13, 24), 0, 255)[:, None]
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / path), image)

    rows = []
    for person in range(12):
        for picture in range(4):
            rows.append((f"p{person}/{picture}.png", f"p{person}"))
            face(rows[-1][0], person)
    return tmp_path, rows


def run(folder, rows, pairs=()) -> list:
    pd.DataFrame(rows, columns=["path", "target"]).to_csv(folder / "train.csv", index=False)
    csvs = [folder / "train.csv"]
    if pairs:
        columns = ["path", "target", "pair_path", "pair_target"]
        pd.DataFrame(pairs, columns=columns).to_csv(folder / "test.csv", index=False)
        csvs.append(folder / "test.csv")
    return audit(AuditSettings("net", tuple(csvs), folder, out=folder / "audit", device="cpu"))


def test_a_clean_set_has_no_findings(world):
    folder, rows = world
    assert run(folder, rows) == []
    assert list(read_proposals(folder / "audit" / "proposals.csv").index) == []


def test_absolute_paths_are_mapped_under_the_root(world):
    folder, rows = world
    rows[21] = (rows[21][0], "p6")
    expected = [(f.kind, f.path) for f in run(folder, rows)]
    csv = folder / "foreign.csv"
    pd.DataFrame([(f"/old/{path}", name) for path, name in rows], columns=["path", "target"]).to_csv(csv, index=False)
    found = audit(AuditSettings("net", (csv,), folder, path_prefix="/old=", out=folder / "audit", device="cpu"))
    assert [(f.kind, f.path) for f in found] == expected != []


def test_a_file_where_the_folder_is_to_be_is_one_line(world):
    folder, rows = world
    (folder / "audit").touch()
    with pytest.raises(InputError, match=r"can't write .*audit/proposals.csv \(Not a directory"):
        run(folder, rows)


def test_planted_errors_are_found_and_their_proposals_mend_the_table(world):
    folder, rows = world
    truth = dict(rows)
    for picture in range(2):  # one person under two names
        rows[picture] = (rows[picture][0], "alias")
    wrong = rows[21][0]  # a picture of p5 among p6's
    rows[21] = (wrong, "p6")
    found = run(folder, rows)
    assert {(f.kind, f.action) for f in found} == {(TWO_NAMES, "merge"), (TWO_PEOPLE, "move")}
    mended, used = apply_proposals(
        pd.DataFrame(rows, columns=["path", "target"]), read_proposals(folder / "audit" / "proposals.csv")
    )
    assert used == 2
    names = dict(zip(mended["path"], mended["target"].replace("alias", "p0"), strict=True))
    assert names == truth
    assert {path.name for path in (folder / "audit").glob("*.png")} == {"two_names.png", "two_people.png"}


def test_one_picture_twice_is_found_by_its_pixels(world):
    folder, rows = world
    image = cv2.imread(str(folder / rows[0][0]))
    cv2.imwrite(str(folder / "p0/copy.png"), np.clip(image * 0.9 + 5, 0, 255).astype(np.uint8))
    (finding,) = run(folder, [*rows, ("p0/copy.png", "p0")])
    assert (finding.kind, finding.action) == (TWICE, "remove") and finding.path in ("p0/copy.png", rows[0][0])


def test_a_person_in_train_and_pairs_is_found_by_face_and_by_name(world):
    folder, rows = world
    train, test = rows[:40] + rows[42:44], rows[40:42] + rows[44:]
    named = [(path, "stranger" if path.startswith("p10/") else name) for path, name in test]
    pairs = [(*a, *b) for a, b in zip(named[::2], named[1::2], strict=True)]
    (finding,) = run(folder, train, pairs)
    assert (finding.kind, finding.action, {finding.target, finding.new_target}) == (LEAK, "merge", {"p10", "stranger"})
    by_name = run(folder, train, [(*test[0], *test[1])])
    assert {(f.kind, f.action, f.target) for f in by_name} == {(LEAK, "remove", "p10")}


def in_pairs(rows: list) -> list:
    return [(*a, *b) for a, b in zip(rows[::2], rows[1::2], strict=True)]


def numbered(rows: list, first: int) -> list:
    return [(path, str(first + int(name[1:]))) for path, name in rows]


def flat(folder, rows: list) -> list:
    """The rows with all pictures in one folder, so that no folder says who is who."""
    for path, _ in rows:
        (folder / path.replace("/", "_")).write_bytes((folder / path).read_bytes())
    return [(path.replace("/", "_"), name) for path, name in rows]


@pytest.mark.parametrize("layout", [lambda _, rows: rows, flat])
def test_numbers_belong_to_their_csv(world, layout):
    """Two CSVs of different people, both numbered from 0; and the same pictures with other numbers."""
    folder, rows = world
    rows = layout(folder, rows)
    others = [(path, f"p{int(name[1:]) - 6}") for path, name in rows[24:]]
    assert run(folder, numbered(rows[:24], 0), in_pairs(numbered(others, 0))) == []
    found = run(folder, numbered(rows[:24], 0), in_pairs(numbered(rows[16:24], 100)))
    assert {f.kind for f in found} == {LEAK} and {f.path for f in found} >= {path for path, _ in rows[16:24]}


@pytest.mark.parametrize("apart", [False, True])
def test_one_picture_under_two_names_is_a_finding(world, apart):
    folder, rows = world
    again = [(path, "somebody_else") for path, _ in rows[:4]]
    found = run(folder, rows, in_pairs(again)) if apart else run(folder, rows + again)
    renamed = [f for f in found if f.kind == RENAMED]
    assert {(f.path, f.target, f.new_target) for f in renamed} == {(path, "somebody_else", "p0") for path, _ in again}
    assert (folder / "audit/renamed.png").exists() and {f.kind for f in found} <= {RENAMED, LEAK}


def test_masked_rows_are_left_out(world):
    folder, rows = world
    frame = pd.DataFrame(rows, columns=["path", "target"]).assign(masked=0)
    frame.loc[5] = ("missing.png", "p1", 1)
    frame.to_csv(folder / "train.csv", index=False)
    assert audit(AuditSettings("net", (folder / "train.csv",), folder, out=folder / "audit", device="cpu")) == []


def test_near_pairs_are_those_of_a_naive_search():
    rows = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    naive = sorted(
        (float(np.linalg.norm(a - b)), i, j) for i, a in enumerate(rows) for j, b in enumerate(rows) if i < j
    )
    wanted = [(i, j) for distance, i, j in naive if distance <= 0.6]
    assert [(i, j) for i, j, _ in near_pairs(rows, 0.6)] == wanted and len(wanted) > 3


def test_a_split_takes_the_smaller_group_and_pictures_compare_by_content():
    rows = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.98, -0.1]], dtype=np.float32)
    smaller, distance = split_of(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    assert smaller.tolist() == [False, False, True, False] and distance == pytest.approx(np.sqrt(2), abs=0.02)
    a, b = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert same_picture(a, (a * 0.7).astype(np.uint8)) and not same_picture(a, b)
