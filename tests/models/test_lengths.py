"""Lengths before normalising: beside the same unit rows, from the same pass, with a gradient."""

import pytest
import torch
from torch import nn

import train
from eval.embed import embed
from models import build_model
from runtime.devices import to_device
from tests.engine import Softmax, setup
from tests.processes import in_processes

IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def network(recompute: bool = False) -> nn.Module:
    torch.manual_seed(0)
    usual = {"embedding_size": 16, "pooling": "average", "dropout": 0.0, "pretrained": "none", "image_size": 32}
    model = build_model("timm:test_resnet", **usual)
    return to_device(model, torch.device("cpu"), recompute=recompute)


@pytest.mark.parametrize("training", [True, False])
def test_rows_times_lengths_are_what_the_neck_gave(training):
    model = network().train(training)
    given = []
    model.neck.register_forward_hook(lambda *event: given.append(event[-1]))
    rows, lengths = model(IMAGES, lengths=True)
    torch.testing.assert_close(rows * lengths[:, None], given[0])
    assert len(given) == 1 and lengths.shape == (6,) and lengths.dtype == torch.float32
    assert torch.equal(rows, network().train(training)(IMAGES))


def gradients(recompute: bool) -> list[torch.Tensor]:
    model = network(recompute).train()
    rows, lengths = model(IMAGES, lengths=True)
    (rows[0] @ rows[1] + lengths.square().mean()).backward()
    return [parameter.grad for parameter in model.parameters()]


def test_activation_checkpointing_changes_no_gradient():
    for found, expected in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(found, expected)


class LongestWins(Softmax):
    """A criterion that reads lengths."""

    reads = frozenset({"lengths"})

    def forward(self, embeddings, labels, lengths):
        loss, figures = super().forward(embeddings, labels)
        return loss + (lengths - 2).square().mean(), figures


class Measuring(nn.Module):
    """A network without BatchNorm, which would see parts."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(48, 8)

    def forward(self, images, *, lengths=False):
        rows = self.layer(images.flatten(1))
        unit = nn.functional.normalize(rows)
        return (unit, rows.norm(dim=1)) if lengths else unit


def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole(tmp_path):
    found = []
    for parts in (1, 3):
        state, loader, _ = setup(tmp_path, criterion=LongestWins, network=Measuring)
        object.__setattr__(state.settings, "accumulate_steps", parts)
        batch = loader.read(next(iter(loader.batch_sampler)))
        loss, _, _ = train._forward(state, batch.images, batch.labels, batch.masked)
        loss.backward()
        found.append((loss.detach(), state.model.layer.weight.grad))
    torch.testing.assert_close(found[0], found[1])


def one_share(share: slice) -> list[torch.Tensor]:
    model = to_device(Measuring(), torch.device("cpu"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    images = IMAGES[:, :, :4, :4].contiguous()
    rows, lengths = model(images[share], lengths=True)
    (rows[:, 0].sum() + lengths.square().sum()).backward()
    return [parameter.grad for parameter in model.parameters()]


def of_this_process() -> list[torch.Tensor]:
    rank = torch.distributed.get_rank()
    return one_share(slice(3 * rank, 3 * rank + 3))


def test_two_processes_sum_to_the_gradient_of_one():
    for found in in_processes(2, of_this_process):
        torch.testing.assert_close(found, one_share(slice(0, 6)))


def test_an_evaluation_gets_them_in_order_and_the_mean_with_the_mirror():
    torch.manual_seed(0)
    model, faces = Measuring(), torch.randint(0, 256, (5, 4, 4, 3), dtype=torch.uint8)
    how = {"device": "cpu", "normalise": lambda batch: batch.permute(0, 3, 1, 2).float()}
    rows, lengths = embed(model, faces.split(2), lengths=True, **how)
    assert (rows == embed(model, faces.split(2), **how)).all()
    raw = model.layer(how["normalise"](faces).flatten(1)).norm(dim=1)
    torch.testing.assert_close(torch.from_numpy(lengths), raw.detach())
    mirrored = model.layer(how["normalise"](faces.flip(2)).flatten(1)).norm(dim=1)
    _, both = embed(model, faces.split(2), lengths=True, mirror=True, **how)
    torch.testing.assert_close(torch.from_numpy(both), (raw + mirrored).detach() / 2)
