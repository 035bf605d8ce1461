"""What a teacher says of plain and masked faces, on a made-up run and drawn faces."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from data.tables.images import Images
from data.tables.text_array import ImagePaths
from data.tables.train_csv import UNNAMED, FaceTable, read_train_csv
from eval import evaluators
from eval.embed import Embedder
from models.export.__main__ import ExportSettings, export
from models.weights.hub import HubFile
from runtime.errors import InputError
from teacher import targets as teacher
from tests.engine import settings_of
from tests.small_run import write_small_run


@pytest.fixture
def run(tmp_path):
    """The folder of an untrained network."""
    return write_small_run(tmp_path / "teacher", mirror=True)


def taught(run: Path | str, root: Path, csv: Path | None = None, crop="arcface5", mean_share=0.0) -> torch.Tensor:
    table = read_train_csv(csv or root / "train.csv")
    options = {"mean_share": mean_share, "crop": crop, "device": "cpu"}
    return teacher.teacher_embeddings(str(run), table, Images(root, table.paths), **options)


@pytest.mark.parametrize("mean_share", [0.0, 0.5, 1.0])
def test_plain_faces_lie_towards_their_persons_mean_where_masked_ones_lie(run, drawn_faces, mean_share):
    frame = pd.read_csv(drawn_faces / "train.csv")
    found = taught(run, drawn_faces, mean_share=mean_share).float()
    plain = frame[frame["masked"] == 0]
    # The embedder averages the mirror in by itself, and another decoder reads the files.
    images = np.stack([np.asarray(Image.open(drawn_faces / path)) for path in plain["path"]])
    own = torch.from_numpy(Embedder(str(run)).embed_aligned(images))
    for person, rows in frame.groupby("target"):
        mine = own[(plain["target"] == person).tolist()]
        mean = F.normalize(mine.mean(0), dim=0)
        for kind, wanted in ((0, (1 - mean_share) * mine + mean_share * mean), (1, mean[None])):
            those = rows.index[rows["masked"] == kind].tolist()
            wanted = F.normalize(wanted).expand(len(those), -1)
            assert torch.allclose(found[those], wanted, atol=5e-3)


class LargestFloat32(TorchDispatchMode):
    """Values of the largest float32 tensor that is made inside."""

    values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.float32:
            self.values = max(self.values, made.numel())
        return made


def means_of_people_at_once(own, plain, faces, mean_share):
    """The whole table at a time."""
    sums = torch.zeros(len(faces.names) + 1, own.shape[1])
    sums.index_add_(0, torch.from_numpy(faces.targets[plain] % len(sums)), own.float())
    means = F.normalize(sums)
    wanted, rows = means[torch.from_numpy(faces.targets)], torch.from_numpy(plain)
    wanted[rows] = F.normalize((1 - mean_share) * own.float() + mean_share * wanted[rows])
    unnamed = torch.from_numpy(faces.targets[plain] == UNNAMED)
    wanted[rows[unnamed]] = F.normalize(own[unnamed].float())
    return wanted.half()


@pytest.mark.parametrize("mean_share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("at_once", [16, 64, 1000])
def test_targets_in_parts_have_the_bits_of_the_whole_table_and_never_its_size_in_float32(
    monkeypatch, at_once, mean_share
):
    rng = np.random.default_rng(0)
    targets = np.concatenate([rng.permutation(np.arange(170) % 9), np.full(30, UNNAMED)])
    masked = (rng.random(200) < 0.3) & (targets != UNNAMED)
    faces = FaceTable(ImagePaths.of([f"{row}.jpg" for row in range(200)]), targets, list("abcdefghi"), None, masked)
    plain = np.flatnonzero(~masked)
    own = F.normalize(torch.from_numpy(rng.normal(size=(len(plain), 50)))).half()
    monkeypatch.setattr(teacher, "_FACES_AT_ONCE", at_once)
    with LargestFloat32() as largest:
        found = teacher._with_means_of_people(own, plain, faces, mean_share)
    assert torch.equal(found, means_of_people_at_once(own, plain, faces, mean_share))
    assert found.dtype == torch.float16 and largest.values <= at_once * 50


def test_they_are_computed_once_for_a_teacher_and_a_list_of_faces(run, drawn_faces, tmp_path, monkeypatch):
    first = taught(run, drawn_faces)
    shorter = tmp_path / "shorter.csv"
    pd.read_csv(drawn_faces / "train.csv")[:-2].to_csv(shorter, index=False)
    assert len(taught(run, drawn_faces, shorter)) == len(first) - 2
    monkeypatch.setattr(teacher, "_embed_plain", lambda *_: pytest.fail("computed again"))
    assert torch.equal(taught(run, drawn_faces), first)


def test_a_teacher_uses_the_gpus_of_the_run_alone(run, drawn_faces, tmp_path, monkeypatch):
    chosen = []

    def pick(device, gpus=()):
        chosen.append(gpus)
        return torch.device("cpu")

    def place(model, device, gpus=()):
        chosen.append(gpus)
        return model

    monkeypatch.setattr(teacher, "pick_device", pick)
    monkeypatch.setattr(evaluators, "to_device", place)
    table = read_train_csv(drawn_faces / "train.csv")
    faces = SimpleNamespace(train=table, train_images=Images(drawn_faces, table.paths))
    settings = settings_of(teacher=str(run), embedding_size=16, device="cuda", gpus=(1,))
    teacher.beside_teacher(torch.nn.Identity(), faces, settings)
    assert chosen == [(1,), (1,)]


def test_faces_that_were_made_anew_under_the_same_names_are_computed_again(run, drawn_faces, tmp_path):
    root = shutil.copytree(drawn_faces, tmp_path / "faces")
    before = taught(run, root)
    for path in root.rglob("*.jpg"):
        Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)
    found, from_elsewhere = taught(run, root), taught(run, shutil.copytree(root, tmp_path / "elsewhere"))
    assert torch.equal(found, from_elsewhere) and not torch.equal(found, before)


def test_a_teacher_of_the_hub_keeps_them_beside_its_file(run, drawn_faces, tmp_path, monkeypatch):
    """Not in a folder hf:me of the working folder."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    exported, _ = export(ExportSettings(str(run), "safetensors"))
    file = HubFile.named("hf:me/net").put_at
    file.parent.mkdir(parents=True)
    shutil.copy(exported, file)
    monkeypatch.chdir(tmp_path)
    taught("hf:me/net", drawn_faces)
    assert list(file.parent.glob("taught/*.safetensors")) and not list(tmp_path.glob("hf:*"))


def test_what_a_teacher_can_not_teach_is_one_clear_line(run, drawn_faces, tmp_path):
    with pytest.raises(InputError, match="needs arcface5 crops, but the faces are mtcnn_box crops"):
        taught(run, drawn_faces, crop="mtcnn_box")
    frame = pd.read_csv(drawn_faces / "train.csv")
    first = frame["target"].min()
    masked_alone = tmp_path / "masked.csv"
    frame[(frame["masked"] == 1) | (frame["target"] != first)].to_csv(masked_alone, index=False)
    with pytest.raises(InputError, match=f"1 people have no plain face for the teacher to see .first: {first}"):
        taught(run, drawn_faces, masked_alone)
    broken = shutil.copytree(drawn_faces, tmp_path / "broken")
    path = frame[frame["masked"] == 0]["path"].iloc[0]
    (broken / path).write_bytes(b"no image")
    with pytest.raises(InputError, match=f"1 training faces can't be read .first: {path}"):
        taught(run, broken)
    (run / "taught").write_text("a file in the way")
    with pytest.raises(InputError, match="can't write .*/taught/.*; make room, or copy the teacher"):
        taught(run, drawn_faces)


def test_a_face_without_a_name_has_its_own_embedding_and_changes_no_mean(run, drawn_faces, tmp_path):
    frame = pd.read_csv(drawn_faces / "train.csv")
    before, last = taught(run, drawn_faces, mean_share=1.0), frame["target"] == frame["target"].max()
    alone = frame[~last | (frame["masked"] == 0)]
    csv = tmp_path / "some.csv"
    alone.assign(target=alone["target"].mask(last, "")).to_csv(csv, index=False)
    found = taught(run, drawn_faces, csv, mean_share=1.0)
    own = taught(run, drawn_faces, mean_share=0.0)
    named = int((~last).sum())
    assert torch.allclose(found[:named].float(), before[(~last).to_list()].float(), atol=1e-3)
    assert torch.allclose(found[named:].float(), own[(last & (frame["masked"] == 0)).to_list()].float(), atol=1e-3)
    frame.assign(target=frame["target"].mask(last, "")).to_csv(csv, index=False)
    with pytest.raises(InputError, match="faces without a target wear a mask .first: masked"):
        taught(run, drawn_faces, csv)
