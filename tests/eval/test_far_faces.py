"""Faces far from their main sub-centre, against a loop over faces, on drawn faces and an untrained network."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from eval.embed import Embedder
from eval.far_faces import FarFacesSettings, degrees_from_main, far_faces
from runtime.checkpoints.file import load_checkpoint, save_checkpoint
from runtime.errors import InputError
from tests.small_run import write_small_run


def with_centres(run: Path, people: list[str], each: int, name: str = "weight") -> torch.Tensor:
    """Give a run class centres near its embeddings: (C·k, 16)."""
    path = run / "best.pt"
    content = {key: value for key, value in load_checkpoint(path).items() if key != "format"}
    weight = torch.randn(len(people) * each, 16, generator=torch.Generator().manual_seed(0))
    save_checkpoint(path, {**content, "criterion": {name: weight}, "identities": people})
    return weight


def naive_degrees(rows: np.ndarray, centres: np.ndarray) -> list[float]:
    """Of one person's embeddings, with its centres."""
    cosines = [[float(r @ c / np.linalg.norm(r) / np.linalg.norm(c)) for c in centres] for r in rows]
    votes = Counter(max(range(len(centres)), key=line.__getitem__) for line in cosines)
    main = min(votes, key=lambda centre: (-votes[centre], centre))
    return [math.degrees(math.acos(line[main])) for line in cosines]


def test_angles_equal_the_naive_loop():
    rng = np.random.default_rng(0)
    rows, labels, centres = rng.normal(size=(60, 5)), rng.integers(0, 7, 60), rng.normal(size=(7, 3, 5))
    inputs = (torch.tensor(rows).float(), torch.tensor(labels), torch.tensor(centres).float())
    found = degrees_from_main(*inputs).numpy()
    for person in range(7):
        expected = naive_degrees(rows[labels == person], centres[person])
        np.testing.assert_allclose(found[labels == person], expected, atol=1e-3)


@pytest.mark.parametrize("name", ["weight", "objective.weight"])
def test_far_faces_leave_with_their_masked_copies(drawn_faces, tmp_path, name):
    run, out = write_small_run(tmp_path / "run", mirror=True), tmp_path / "near.csv"
    frame = pd.read_csv(drawn_faces / "train.csv", keep_default_na=False)
    people = sorted(frame["target"].unique())[:-1]  # the run does not know the last one
    weight = with_centres(run, people, 2, name).unflatten(0, (len(people), 2)).numpy()
    degrees = {}
    embedder = Embedder(str(run))
    for person, centres in zip(people, weight, strict=True):
        mine = frame[(frame["target"] == person) & (frame["masked"] == 0)]["path"]
        rows = embedder.embed_aligned(np.stack([np.asarray(Image.open(drawn_faces / path)) for path in mine]))
        degrees |= dict(zip(mine, naive_degrees(rows, centres), strict=True))
    foreign = tmp_path / "foreign.csv"
    frame.assign(path="/old/faces/" + frame["path"]).to_csv(foreign, index=False)
    angle = sorted(degrees.values())[-4] - 0.05
    far = {path for path, found in degrees.items() if found > angle}
    counts = far_faces(FarFacesSettings(str(run), drawn_faces / "train.csv", drawn_faces, out, angle=angle))
    gone = far | {path.replace("plain/", "masked/") for path in far}
    kept = pd.read_csv(out, keep_default_na=False)
    assert kept["path"].tolist() == [path for path in frame["path"] if path not in gone]
    assert list(kept.columns) == list(frame.columns)
    options = {"angle": angle, "path_prefix": "/old/faces="}
    assert far_faces(FarFacesSettings(str(run), foreign, drawn_faces, tmp_path / "other.csv", **options)) == counts
    assert pd.read_csv(tmp_path / "other.csv")["path"].tolist() == ("/old/faces/" + kept["path"]).tolist()
    assert counts == {"judged": len(degrees), "far": len(far), "rows": len(frame) - len(kept)}


def test_what_cannot_be_judged_is_one_clear_line(drawn_faces, tmp_path):
    run, csv = write_small_run(tmp_path / "run"), drawn_faces / "train.csv"

    def refused(said: str, **changed):
        with pytest.raises(InputError, match=said):
            far_faces(FarFacesSettings(**{"model": str(run), "csv": csv, "root": drawn_faces, "out": out, **changed}))
        assert not out.exists()

    out = tmp_path / "near.csv"
    refused("holds no class centres")
    with_centres(run, ["a", "b"], 1)
    refused("one class centre per identity")
    with_centres(run, ["a", "b"], 3)
    refused("no plain face of anybody")
    refused("angle is 0", angle=0.0)
    out.mkdir()
    with pytest.raises(InputError, match="exists"):
        far_faces(FarFacesSettings(str(run), csv, drawn_faces, out))
