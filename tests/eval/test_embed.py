"""Embedding a list of images: in order, once each, in eval mode, with and without the mirror."""

import numpy as np
import pytest
import torch
from torch import nn

from eval.embed import embed
from runtime.errors import InputError


class Recorder(nn.Module):
    """A linear network that remembers what it was given and in which mode it was."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 4 * 4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.inputs: list[torch.Tensor] = []
        self.modes: list[tuple[bool, bool, bool]] = []

    def forward(self, x):
        self.inputs.append(x)
        self.modes.append((self.training, self.norm.training, torch.is_inference_mode_enabled()))
        return nn.functional.normalize(self.norm(self.linear(x.flatten(1))))


def images(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8))


def normalise(batch: torch.Tensor) -> torch.Tensor:
    return batch.permute(0, 3, 1, 2).float() / 255


def plain_embeddings(model: Recorder, faces: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model.eval()(normalise(face[None])).numpy() for face in faces])


def test_embeddings_come_in_order_and_each_image_is_embedded_once():
    torch.manual_seed(0)
    model, faces = Recorder(), images(7)
    found = embed(model, faces.split(3), device="cpu", normalise=normalise)
    assert [len(x) for x in model.inputs] == [3, 3, 1]
    assert torch.equal(torch.cat(model.inputs), normalise(faces))
    assert found.dtype == np.float32 and found.shape == (7, 8)
    np.testing.assert_allclose(found, plain_embeddings(model, faces), atol=1e-6)


def test_mirror_sums_both_embeddings_and_normalises():
    torch.manual_seed(1)
    model, faces = Recorder(), images(5)
    mirrored = torch.from_numpy(faces.numpy()[:, :, ::-1].copy())
    both = plain_embeddings(model, faces) + plain_embeddings(model, mirrored)
    expected = both / np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(
        embed(model, faces.split(2), device="cpu", normalise=normalise, mirror=True), expected, atol=1e-6
    )


def test_an_image_and_its_mirror_have_one_embedding_with_mirror():
    model, faces = Recorder(), images(2)
    faces[1] = faces[0].flip(1)
    a, b = embed(model, [faces], device="cpu", normalise=normalise, mirror=True)
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_eval_mode_during_and_every_module_as_before_afterwards():
    model = Recorder().train()
    model.norm.eval()  # a frozen BatchNorm in a model that trains
    before = model.norm.running_mean.clone()
    embed(model, images(4).split(2), device="cpu", normalise=normalise)
    assert model.modes == [(False, False, True)] * 2
    assert model.training and model.linear.training and not model.norm.training
    assert torch.equal(model.norm.running_mean, before)


def test_the_mode_comes_back_after_an_error():
    model = Recorder().train()

    def broken(batch):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        embed(model, [images(1)], device="cpu", normalise=broken)
    assert model.training and model.norm.training


def test_autocast_runs_the_network_in_the_given_type_and_returns_float32():
    class HalfSeen(nn.Module):
        def forward(self, x):
            self.product = x.flatten(1) @ torch.ones(48, 8)
            return self.product

    model = HalfSeen()
    found = embed(model, [images(2)], device="cpu", normalise=normalise, autocast_dtype=torch.bfloat16)
    assert model.product.dtype == torch.bfloat16
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_an_empty_loader_is_refused():
    with pytest.raises(InputError, match="no image to embed"):
        embed(Recorder(), [], device="cpu", normalise=normalise)
