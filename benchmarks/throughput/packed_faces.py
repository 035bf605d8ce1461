"""Faces to train on: a pack of JPEGs, read over and over by the real loader."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from data.datasets import TrainFaces, train_loader
from data.samplers import ShuffledBatchSampler
from data.synthetic import FaceSet, make_faces
from data.tables.images import Images
from data.tables.pack_file import Pack
from data.tables.train_csv import choose_faces, read_train_csv
from data.tables.write_pack import pack_csv

# So many that no epoch ends while the clock runs.
ROWS = 2_000_000


def pack_faces(folder: Path, size: int, people: int) -> Path:
    """A pack of two plain and two masked built-in faces of so many people, ``size`` pixels."""
    pack = folder / "train.pack"
    if not pack.exists():
        few = {"eval_people": 2, "test_people": 2, "eval_pairs": 2, "test_pairs": 2}
        make_faces(folder, FaceSet(train_people=people, images_per_person=2, seed=0, size=size, **few))
        pack_csv(folder / "train.csv", pack, root=folder)
    return pack


def pack_loader(
    pack: Path, size: int, *, rows: int, batch: int, masked: bool, workers: int, pin_memory: bool
) -> DataLoader:
    """Batches of the plain faces of a pack, over and over up to ``rows`` of them, flipped at random; each with a fresh
    mask where ``masked``."""
    table = choose_faces(read_train_csv(pack), "plain", 0)
    rows = np.resize(np.arange(len(table.targets)), rows)
    paths = table.paths.take(rows)
    table = replace(table, paths=paths, targets=table.targets[rows], landmarks=table.landmarks[rows], masked=None)
    images = Images(pack.parent, paths, [Pack(pack)])
    faces = TrainFaces(images, table, size, disk_size=size, mask_probability=float(masked), seed=0)
    return train_loader(faces, ShuffledBatchSampler(len(rows), batch, seed=0), workers=workers, pin_memory=pin_memory)
