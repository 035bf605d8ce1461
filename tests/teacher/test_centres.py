"""Class centres at the means of a network's embeddings, against a loop over people and pictures."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from data.tables.images import Images
from data.tables.train_csv import read_train_csv
from data.transforms import Preprocessing
from eval.embed import Embedder
from losses import ArcFaceLoss, ShardedArcFaceLoss
from models.trained_model import open_model
from models.weights.imported import Imported
from models.weights.pretrained import Start
from runtime.errors import InputError
from runtime.processes.shards import Shard
from runtime.training.state import Position
from teacher.centres import centres_of_file, start_centres
from teacher.distillation import Distillation
from tests.engine import settings_of
from tests.small_run import write_small_run

START = Position(0, 0)
PRETRAINED = {"pretrained": "run", "embedding_size": 16, "centres_from": "means"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_small_run(tmp_path_factory.mktemp("centres") / "run")


def scene(run, root, criterion, position=START, **changes):
    """State and faces, as far as they are needed, of a run that starts from ``run``."""
    opened, table = open_model(str(run)), read_train_csv(root / "train.csv")
    faces = SimpleNamespace(
        train=table,
        train_images=Images(root, table.paths),
        preprocessing=Preprocessing.from_dict(opened.preprocessing),
    )
    state = SimpleNamespace(
        settings=settings_of(**PRETRAINED | changes),
        position=position,
        model=opened.model,
        criterion=criterion,
        precision=SimpleNamespace(device=torch.device("cpu")),
    )
    return state, faces


def head(kind=ArcFaceLoss, **changes) -> ArcFaceLoss:
    torch.manual_seed(1)
    return kind(16, 6, scale=16.0, margin=0.2, focal_gamma=0.0, **changes)


@pytest.fixture(scope="module")
def embedded(run, drawn_faces) -> dict[str, np.ndarray]:
    """Path → embedding, of faces that another decoder reads."""
    paths = pd.read_csv(drawn_faces / "train.csv")["path"]
    images = np.stack([np.asarray(Image.open(drawn_faces / path)) for path in paths])
    return dict(zip(paths, Embedder(str(run), device="cpu").embed_aligned(images), strict=True))


def means_by_a_loop(embedded, root, sub_centres: int) -> np.ndarray:
    """(people × sub-centres, 16): the j-th picture of a person counts for sub-centre j mod k."""
    frame, rows = pd.read_csv(root / "train.csv"), []
    for person in sorted(frame["target"].unique()):
        groups = [[] for _ in range(sub_centres)]
        for j, path in enumerate(frame["path"][frame["target"] == person]):
            groups[j % sub_centres].append(embedded[path])
        everything = np.sum([np.sum(group, 0) for group in groups if group], 0)
        for group in groups:
            total = np.sum(group, 0) if group else everything
            rows.append(total / np.linalg.norm(total))
    return np.stack(rows)


@pytest.mark.parametrize("sub_centres", [1, 2, 7])
def test_every_centre_is_the_mean_of_its_identitys_embeddings(run, embedded, drawn_faces, sub_centres):
    criterion = head(sub_centres=sub_centres)
    state, faces = scene(run, drawn_faces, criterion)
    start_centres(state, faces)
    wanted = means_by_a_loop(embedded, drawn_faces, sub_centres)
    np.testing.assert_allclose(criterion.weight.detach(), wanted, atol=5e-3)
    assert criterion.weight.requires_grad and criterion.weight.is_leaf


def test_sampled_and_shared_heads_and_one_beside_a_teacher_start_there_too(run, embedded, drawn_faces):
    wanted = means_by_a_loop(embedded, drawn_faces, 1)
    shared = head(ShardedArcFaceLoss)
    part = head(ShardedArcFaceLoss)
    part.weight.data = part.weight.data[2:4].clone()
    part.weight.shard = Shard(2, 4, 6)
    beside = Distillation(head(), torch.zeros(6, dtype=torch.int64), torch.ones(6, 16), share=0.5, embedding_size=16)
    for criterion, rows in (
        (head(sample_share=0.5), wanted), (shared, wanted), (part, wanted[2:4]), (beside, wanted)
    ):  # fmt: skip
        start_centres(*scene(run, drawn_faces, criterion))
        weight = getattr(criterion, "objective", criterion).weight
        np.testing.assert_allclose(weight.detach(), rows, atol=5e-3)


@pytest.mark.parametrize(
    ("position", "changes"), [(Position(0, 0), {"centres_from": "random"}), (Position(0, 3), {}), (Position(1, 0), {})]
)
def test_random_centres_and_those_of_a_run_under_way_are_left_alone(run, drawn_faces, position, changes):
    criterion = head()
    before = criterion.weight.detach().clone()
    start_centres(*scene(run, drawn_faces, criterion, position, **changes))
    assert torch.equal(criterion.weight, before)


def test_unreadable_faces_are_left_out_and_an_identity_without_another_is_named(run, embedded, drawn_faces, tmp_path):
    broken = shutil.copytree(drawn_faces, tmp_path / "broken")
    frame = pd.read_csv(broken / "train.csv")
    first = frame["target"].min()
    paths = frame["path"][frame["target"] == first].tolist()
    (broken / paths[0]).write_bytes(b"no image")
    criterion = head()
    start_centres(*scene(run, broken, criterion))
    total = np.sum([embedded[path] for path in paths[1:]], 0)
    np.testing.assert_allclose(criterion.weight[0].detach(), total / np.linalg.norm(total), atol=5e-3)
    for path in paths[1:]:
        (broken / path).write_bytes(b"no image")
    with pytest.raises(InputError, match=f"no face of {first} can be read; leave it out"):
        start_centres(*scene(run, broken, head()))


def test_means_are_computed_on_the_gpus_of_the_run_alone(run, drawn_faces, monkeypatch):
    chosen = []
    monkeypatch.setattr("eval.evaluators.to_device", lambda model, device, gpus=(): chosen.append(gpus) or model)
    start_centres(*scene(run, drawn_faces, head(), gpus=(1,)))
    assert chosen == [(1,)]


def test_centres_of_the_weight_file_go_to_the_identities_that_its_list_names(run, drawn_faces, tmp_path, monkeypatch):
    names = sorted(pd.read_csv(drawn_faces / "train.csv")["target"].unique())
    listed = ["Nobody", *reversed(names), "Somebody"]
    (tmp_path / "people.txt").write_text("\n".join(map(str, listed)) + "\n")
    centres = torch.randn(len(listed), 16, generator=torch.Generator().manual_seed(5))
    network = Imported("a file", {}, {}, None, class_centres=centres)
    monkeypatch.setattr("teacher.centres.open_pretrained", lambda *_: Start(tmp_path, network))
    for criterion in (head(), head(sub_centres=2)):
        start_centres(*scene(run, drawn_faces, criterion, centres_from=str(tmp_path / "people.txt")))
        for row, weight in enumerate(criterion.weight.detach()):
            own = centres[listed.index(names[row // criterion.sub_centres])]
            np.testing.assert_allclose(weight, own / own.norm(), atol=1e-6)


@pytest.mark.parametrize(
    ("centres", "lines", "said"),
    [
        (None, "Ann\nBob\n", "weights.ckpt contains no class centres; set centres_from to means"),
        (torch.ones(3, 4), "Ann\nBob\n", "lists 2 identities, but weights.ckpt has 3 class centres"),
        (torch.ones(2, 4), "Ann\nAnn\n", "lists Ann twice"),
        (torch.ones(2, 4), "Ann\nCid\n", r"lacks 1 of the 2 training identities \(first: Bob\)"),
    ],
)
def test_a_list_that_does_not_belong_to_the_centres_is_refused(tmp_path, centres, lines, said):
    (tmp_path / "people.txt").write_text(lines)
    with pytest.raises(InputError, match=said):
        centres_of_file(centres, tmp_path / "people.txt", ["Ann", "Bob"], "weights.ckpt")


def test_settings_that_leave_nothing_to_start_from_are_refused():
    with pytest.raises(InputError, match="centres_from means needs a pre-trained network"):
        settings_of(centres_from="means")
    with pytest.raises(InputError, match="teacher_share 1 leaves out the class centres"):
        settings_of(**PRETRAINED, teacher="run", teacher_share=1.0)
    with pytest.raises(InputError, match="freeze would keep random weights"):
        settings_of(freeze=("layer1",))
