"""Several processes against one with the same whole batch: loss, figures and every gradient."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from losses import MINING_RULES, ArcFaceLoss, ShardedArcFaceLoss, TripletLoss
from losses.quality import AdaFaceMargin, MagFaceMargin
from runtime.errors import InputError
from runtime.processes import distributed, shards
from runtime.training.row_sgd import RowSGD
from tests.processes import in_processes

IMAGES, PEOPLE, EMBEDDING = 22, 11, 16  # neither 22 nor 11 can be divided by 4
HEAD = {"scale": 16.0, "margin": 0.3, "focal_gamma": 2.0}
HEADS = {
    "plain": {},
    "weighted": {"frequency_weights": "inverse_log", "class_counts": [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]},
    "smooth": {"label_smoothing": 0.1},
    "sub-centres": {"sub_centres": 3},
    "cosface": {"kind": "cosface", "focal_gamma": 0.0},
    "all sampled": {"sample_share": 1.0},
    "adaface": {"kind": "adaface"},
    "magface": {"kind": "magface", "sub_centres": 2},
}
LENGTH_RULES = {"adaface": lambda: AdaFaceMargin(0.333), "magface": lambda: MagFaceMargin(0.8, (2.0, 6.0), 35.0)}
TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}
# Sums round otherwise on every processor: on an Intel Xeon this one differs by 1.1e-6.
ROUNDS_MORE = {("distance_weighted", torch.float32): 2e-6}
CASES = [
    *MINING_RULES,
    "self_restrained",
    *(f"full {name}" for name in HEADS if name != "all sampled"),
    *(f"shared {n}" for n in HEADS),
]


def build(case: str, single: bool) -> tuple[nn.Module, nn.Module]:
    """Model and criterion, the same values in every process; BatchNorm in eval mode."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, EMBEDDING))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    kind, _, name = case.partition(" ")
    if kind in (*MINING_RULES, "self_restrained"):
        return model.eval(), TripletLoss(kind, 0.3)
    make = ShardedArcFaceLoss if kind == "shared" and not single else ArcFaceLoss
    options = {k: v for k, v in HEADS[name].items() if not (single and k == "sample_share")}
    rule = LENGTH_RULES.get(name, lambda: None)()
    return model.eval(), make(EMBEDDING, PEOPLE, **HEAD | options, length_rule=rule)


def whole_batch(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(IMAGES, 3, 8, 8, generator=generator, dtype=dtype), torch.arange(IMAGES) * 7 % PEOPLE // 2


def step(case: str, dtype: torch.dtype, single: bool) -> dict:
    """Loss, figures and whole gradients of a forward and backward pass in this process."""
    model, criterion = (module.to(dtype) for module in build(case, single))
    wrapped = distributed.distribute(model, torch.device("cpu"))
    distributed.sum_parameter_gradients(criterion)
    images, labels = whole_batch(dtype)
    part = distributed.part_of(IMAGES)
    rows = wrapped(images[part])
    known = {"lengths": rows.norm(dim=1), "masked": (torch.arange(IMAGES) % 3 > 0)[part]}
    loss, stats = criterion(F.normalize(rows), labels[part], **{name: known[name] for name in criterion.reads})
    loss.backward()
    parameters = [*model.parameters(), *criterion.parameters()]
    norm = shards.clip_gradients(parameters, math.inf)
    for parameter in criterion.parameters():
        parameter.data = parameter.grad.to_dense()  # so that the whole gradient is gathered as the whole weight is
    gradients = [parameter.grad for parameter in model.parameters()]
    return {
        "loss": loss.detach(),
        "stats": {name: float(figure) for name, figure in stats.items()},
        "norm": norm,
        "model": torch.cat([gradient.flatten() for gradient in gradients]),
        "criterion": shards.whole_state(criterion).get("weight"),
    }


def assert_equal_gradients(gradient: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """To ``tolerance`` of the gradient's length; in float64, where rounding hides nothing, each single value too."""
    assert (gradient - expected).norm() < tolerance * expected.norm()
    if gradient.dtype == torch.float64:
        torch.testing.assert_close(gradient, expected, rtol=0, atol=tolerance)


def all_steps() -> dict:
    return {(case, dtype): step(case, dtype, single=False) for case in CASES for dtype in TOLERANCES}


@pytest.fixture(scope="module", params=[2, 4], ids="{} processes".format)
def several(request):
    """The steps of every case in float32 and float64, a dict from each process."""
    return in_processes(request.param, all_steps)


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_equal_one_process_with_the_whole_batch(several, case):
    for dtype, usual in TOLERANCES.items():
        tolerance = ROUNDS_MORE.get((case, dtype), usual)
        expected = step(case, dtype, single=True)
        assert expected["loss"] > 0.01 and expected["model"].abs().max() > 1e-3
        for number, results in enumerate(several):
            result = results[case, dtype]
            torch.testing.assert_close(result["loss"], expected["loss"], rtol=tolerance, atol=tolerance)
            assert_equal_gradients(result["model"], expected["model"], tolerance)
            torch.testing.assert_close(result["norm"], expected["norm"], rtol=tolerance * 10, atol=tolerance)
            assert result["stats"] == pytest.approx(expected["stats"], rel=1e-5, nan_ok=True)
            if number == 0 and expected["criterion"] is not None:
                assert_equal_gradients(result["criterion"], expected["criterion"], tolerance)


@pytest.mark.parametrize("case", CASES)
def test_all_processes_have_bit_for_bit_the_same_loss_and_gradients(several, case):
    for dtype in TOLERANCES:
        for other in several[1:]:
            for part in ("loss", "model", "norm"):
                assert torch.equal(other[case, dtype][part], several[0][case, dtype][part])


# ==== training and checkpoints ====


OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1),
    "rows": lambda parameters: RowSGD(parameters, lr=0.1, momentum=0.9),
}


def train(steps: int, state: dict | None, optimiser_name: str) -> dict:
    """Some steps of the shared head from a whole checkpoint; its whole state afterwards."""
    _, criterion = build("shared weighted", single=distributed.ranks() == 1)
    optimiser = OPTIMISERS[optimiser_name](criterion.parameters())
    if state:
        criterion.load_state_dict(shards.own_state(criterion, state["criterion"]))
        optimiser.load_state_dict(shards.own_optimiser_state(optimiser, state["optimiser"]))
    rows = F.normalize(torch.randn(IMAGES, EMBEDDING, generator=torch.Generator().manual_seed(1)))
    part = distributed.part_of(IMAGES)
    for _ in range(steps):
        optimiser.zero_grad()
        criterion(rows[part], whole_batch(torch.float32)[1][part])[0].backward()
        optimiser.step()
    whole = {"criterion": shards.whole_state(criterion), "optimiser": shards.whole_optimiser_state(optimiser)}
    return {"own": criterion.weight.shape[0], **whole}


def train_all(steps: int, states: dict) -> dict:
    return {name: train(steps, states.get(name), name) for name in OPTIMISERS}


def test_a_checkpoint_of_the_shared_head_goes_on_with_another_number_of_processes():
    expected, states = train_all(6, {}), train_all(2, {})
    for ranks in (4, 2):
        results = in_processes(ranks, train_all, 2, states)
        own = [result["sgd"]["own"] for result in results]
        assert sum(own) == PEOPLE and max(own) == -(-PEOPLE // ranks)
        states = results[0]
    for name in OPTIMISERS:
        end, whole = states[name], expected[name]
        assert end["criterion"].keys() == whole["criterion"].keys()
        torch.testing.assert_close(end["criterion"]["weight"], whole["criterion"]["weight"], rtol=0, atol=1e-6)
        for part, value in whole["optimiser"]["state"][0].items():
            torch.testing.assert_close(end["optimiser"]["state"][0][part], value, rtol=0, atol=1e-6)


def test_a_checkpoint_of_another_number_of_classes_is_left_for_the_loading_to_refuse():
    _, criterion = build("full plain", single=True)
    criterion.weight.shard = shards.Shard(0, PEOPLE, PEOPLE)
    other = ArcFaceLoss(EMBEDDING, PEOPLE + 1, **HEAD).state_dict()
    assert len(shards.own_state(criterion, other)["weight"]) == PEOPLE + 1


def first_values() -> tuple[torch.Tensor | None, torch.Tensor]:
    torch.manual_seed(3)
    loss = ShardedArcFaceLoss(EMBEDDING, PEOPLE, **HEAD, sub_centres=2)
    return shards.whole_state(loss)["weight"], torch.rand(3)


def test_first_values_do_not_depend_on_the_number_of_processes(monkeypatch):
    torch.manual_seed(3)
    whole, after = ArcFaceLoss(EMBEDDING, PEOPLE, **HEAD, sub_centres=2).weight, torch.rand(3)
    monkeypatch.setattr(shards, "ROWS_AT_ONCE", 5)
    for results in (in_processes(4, first_values), [first_values()]):
        assert torch.equal(results[0][0], whole)
        assert all(torch.equal(result[1], after) for result in results)


def sampled_step() -> tuple:
    _, criterion = build("shared plain", single=False)
    criterion.sample_share = 0.5
    embeddings = F.normalize(torch.randn(6, EMBEDDING)).requires_grad_()
    labels = torch.arange(6) % 3
    value, _ = criterion(embeddings, labels)
    value.backward()
    return (
        value.item(),
        criterion.weight.grad._nnz(),
        len(criterion.weight),
        bool(torch.isfinite(embeddings.grad).all()),
    )


def test_each_process_samples_its_own_classes():
    for value, rows, own, finite in in_processes(2, sampled_step):
        assert value > 0 and finite
        assert rows == max(round(own * 0.5), 3 if own == 5 else 0)  # labels 0, 1, 2 belong to the first process


def refused_heads() -> tuple[str, str]:
    with pytest.raises(InputError) as few:
        ShardedArcFaceLoss(EMBEDDING, 1, **HEAD)
    with pytest.raises(InputError) as sampled:
        ArcFaceLoss(EMBEDDING, PEOPLE, **HEAD, sample_share=0.5)
    return str(few.value), str(sampled.value)


def test_heads_that_several_processes_cannot_have_are_refused():
    few, sampled = in_processes(2, refused_heads)[0]
    assert few.startswith("1 identities can't be shared out over 2 processes")
    assert sampled == "sampled_share below 1 with several processes needs --shard-classes"


@pytest.mark.parametrize("largest", [0.5, 1e6, math.inf])
def test_clipping_is_torchs_and_takes_sparse_rows(largest):
    torch.manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.randn(5, 3)) for _ in range(3)] for _ in range(2))
    for a, b in zip(ours, theirs, strict=True):
        b.grad = torch.randn(5, 3)
        a.grad = b.grad.clone()
    ours[1].grad = torch.sparse_coo_tensor(
        torch.arange(5)[None], ours[1].grad, is_coalesced=True, check_invariants=True
    )
    expected = nn.utils.clip_grad_norm_(theirs, largest)
    torch.testing.assert_close(shards.clip_gradients([*ours, nn.Parameter(torch.ones(2))], largest), expected)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad.to_dense(), b.grad)


# ==== the small parts ====


def small_parts() -> dict:
    number = distributed.rank()
    order = []
    with distributed.first_goes_ahead():
        order.append(number)
    model = nn.BatchNorm1d(2)
    model.running_mean += number
    distributed.equal_buffers(model)
    rows = torch.arange(number + 1.0)[:, None] + 10 * number
    return {
        "gathered": distributed.gather_rows(rows, torch.full((number + 1,), number)),
        "first": distributed.from_first(f"from {number}"),
        "all": distributed.from_all(number),
        "parts": distributed.part_of(7),
        "sum": distributed.sum_over_ranks(torch.tensor([1.0, number])).tolist(),
        "most": distributed.max_over_ranks(torch.tensor([1.0, number])).tolist(),
        "mean": model.running_mean.tolist(),
    }


def test_collectives_by_hand():
    results = in_processes(3, small_parts)
    for result in results:
        rows, numbers = result["gathered"]
        assert rows[:, 0].tolist() == [0, 10, 11, 20, 21, 22]
        assert numbers.tolist() == [0, 1, 1, 2, 2, 2]
        assert (result["first"], result["all"]) == ("from 0", [0, 1, 2])
        assert (result["sum"], result["most"], result["mean"]) == ([3, 3], [1, 2], [0, 0])
    assert [i for result in results for i in range(7)[result["parts"]]] == list(range(7))
