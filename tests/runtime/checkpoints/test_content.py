"""Well-formed checkpoints with wrong values: one line each, before anything is built from them."""

import math
import zipfile

import pytest
import torch

from eval.embed import Embedder
from models.average import AverageSettings, average
from models.trained_model import open_model
from runtime.checkpoints.file import load_checkpoint, load_network, save_checkpoint
from runtime.errors import InputError
from tests.small_run import write_small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_small_run(tmp_path_factory.mktemp("content") / "run")


def changed(run, folder, change) -> str:
    """A run folder with another best.pt."""
    content = torch.load(run / "best.pt", weights_only=True)
    change(content)
    save_checkpoint(folder / "best.pt", content)
    return str(folder)


WRONG = {
    "a size that is text": lambda c: c["settings"].update(embedding_size="abc"),
    "a size of a billion": lambda c: c["settings"].update(embedding_size=10**9),
    "a size with a point": lambda c: c["settings"].update(embedding_size=16.0),
    "settings in a list": lambda c: c.update(settings=[1, 2]),
    "settings without names": lambda c: c.update(settings={1: 2}),
    "a history of numbers": lambda c: c.update(history=[1, 2]),
    "a history of texts": lambda c: c.update(history=[{"epoch": 1, "iou": "low"}]),
    "a threshold in words": lambda c: c.update(threshold="about one"),
    "a threshold that is no number": lambda c: c.update(threshold=math.nan),
    "thresholds in a list": lambda c: c.update(thresholds=[1]),
    "a size that is no number": lambda c: c["settings"].update(image_size=math.nan),
    "an input that is no number": lambda c: c["preprocessing"].update(size=math.nan),
    "a mean in words": lambda c: c["preprocessing"].update(mean="grey"),
    "a mean of two": lambda c: c["preprocessing"].update(mean=[0.5, 0.5]),
    "std of nothing": lambda c: c["preprocessing"].update(std=[0.2, 0.0, 0.2]),
    "an epoch before the first": lambda c: c.update(epoch=-1),
    "a backbone by number": lambda c: c["settings"].update(backbone=3),
    "an unknown precision": lambda c: c.update(precision="int3"),
    "weights in a list": lambda c: c.update(model=[torch.zeros(3)]),
    "weights in words": lambda c: c["model"].update(x="heavy"),
    "a sparse tensor": lambda c: c["model"].update(x=torch.eye(3).to_sparse()),
    "a tensor larger than its bytes": lambda c: c["model"].update(x=torch.zeros(1).expand(2**40)),
    "a value that contains itself": lambda c: c.update(sums=(lambda d: d.update(d=d) or d)({})),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_value_is_one_line(run, tmp_path, kind):
    folder = changed(run, tmp_path, WRONG[kind])
    for open_it in (open_model, lambda name: load_checkpoint(tmp_path / "best.pt")):
        with pytest.raises(InputError) as error:
            open_it(folder)
        said = str(error.value)
        assert "best.pt" in said and "; take " in said and "\n" not in said and len(said) < 400


@pytest.mark.parametrize("lacking", ["model", "settings", "preprocessing", "dropout", "embedding_size", "std"])
def test_what_a_network_is_built_from_must_be_there(run, tmp_path, lacking):
    def without(content):
        for part in (content, content["settings"], content["preprocessing"]):
            if lacking in part:
                del part[lacking]
                return

    folder = changed(run, tmp_path, without)
    with pytest.raises(InputError, match=f"lacks {lacking}; "):
        open_model(folder)
    with pytest.raises(InputError, match=f"lacks {lacking}; "):
        average(AverageSettings((run, tmp_path), tmp_path / "mean"))
    load_checkpoint(tmp_path / "best.pt")  # it may serve for something else


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(run, tmp_path, value):
    def break_one(content):
        next(iter(content["model"].values())).select(0, 0).fill_(value)

    folder = changed(run, tmp_path, break_one)
    for open_it in (open_model, Embedder):
        with pytest.raises(InputError, match=r"weights that are no numbers \(1 tensors"):
            open_it(folder)


def test_an_unknown_crop_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="known are arcface5 and mtcnn_box"):
        Embedder(str(changed(run, tmp_path, lambda c: c["preprocessing"].update(crop="round"))))


def test_a_pickle_that_asks_for_memory_is_refused(tmp_path):
    """Torch lets a pickle make a bytearray of any size, also one of half a gigabyte from 200 bytes."""
    call = b"cbuiltins\nbytearray\nJ\x00\x00\x00\x20\x85R"
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}(X\x06\x00\x00\x00formatK\x01X\x01\x00\x00\x00x" + call + b"u.")
    with pytest.raises(InputError, match="asks for a bytearray"):
        load_checkpoint(tmp_path / "x.pt")


def test_a_sound_one_passes(run, tmp_path):
    assert load_network(run / "best.pt")["threshold"] == 1.0
    history = [{"epoch": 1, "iou": 0.5, "auc": 0.9, "thresholds": {"all": {"1e-2": None}}}]
    folder = changed(run, tmp_path, lambda c: c.update(history=history, healthy=None))
    assert open_model(folder).thresholds == {"all": {"1e-2": None}}
