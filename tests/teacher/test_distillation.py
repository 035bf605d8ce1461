"""Distillation against a loop, and against the objective alone."""

import math

import pytest
import torch
from torch.nn import functional as F

from losses import ArcFaceLoss, TripletLoss
from runtime.errors import InputError
from runtime.processes.distributed import part_of, sum_parameter_gradients
from teacher.distillation import Distillation
from tests.processes import in_processes

ROWS = torch.tensor([4, 0, 4, 2])
TARGETS = torch.tensor([0, 1, 0, 1, 2])


def unit(*shape: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def objective() -> ArcFaceLoss:
    torch.manual_seed(0)
    return ArcFaceLoss(6, 3, scale=16.0, margin=0.2, focal_gamma=1.0, margin_warmup=0.5).double()


def distilled(share: float, teacher: torch.Tensor) -> Distillation:
    return Distillation(objective(), TARGETS, teacher, share=share, embedding_size=6)


def mean_cosine(embeddings: torch.Tensor, teacher: torch.Tensor) -> float:
    rows = zip(embeddings.tolist(), ROWS.tolist(), strict=True)
    cosines = [sum(a * b for a, b in zip(row, teacher[n].tolist(), strict=True)) for row, n in rows]
    return math.fsum(cosines) / len(cosines)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_it_is_the_weighted_sum_of_the_objective_and_the_distance_to_the_teacher(share):
    embeddings, teacher = unit(4, 6, seed=1), unit(5, 6, seed=2)
    loss, figures = distilled(share, teacher)(embeddings, ROWS)
    alone, own_figures = objective()(embeddings, torch.tensor([2, 0, 2, 0]))
    cosine = mean_cosine(embeddings, teacher)
    assert loss.item() == pytest.approx((1 - share) * alone.item() + share * (1 - cosine), abs=1e-12)
    assert figures["teacher_cosine"] == pytest.approx(cosine, abs=1e-12)
    if share < 1:
        assert {name: figures[name] for name in own_figures} == own_figures


def test_the_gradient_is_right_and_zero_where_the_student_has_arrived():
    embeddings, teacher = unit(4, 6, seed=1).requires_grad_(), unit(5, 6, seed=2)
    loss = distilled(1.0, teacher)
    assert torch.autograd.gradcheck(lambda x: loss(x, ROWS)[0], embeddings)
    arrived = teacher[ROWS].clone().requires_grad_()
    value, _ = loss(arrived, ROWS)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert arrived.grad.abs().max() < 1e-12


def test_half_precision_embeddings_and_teachers_give_a_float32_loss():
    embeddings, teacher = unit(4, 6, seed=1), unit(5, 6, seed=2)
    loss, _ = distilled(1.0, teacher.half())(embeddings.bfloat16(), ROWS)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1 - mean_cosine(embeddings, teacher), abs=0.01)


def test_a_checkpoint_holds_the_objective_and_not_the_teacher():
    loss = distilled(0.5, unit(5, 6, seed=2))
    loss.set_progress(0.25)
    assert set(loss.state_dict()) == {f"objective.{name}" for name in objective().state_dict()}
    assert loss(unit(4, 6, seed=1), ROWS)[1]["margin"] == pytest.approx(0.1)  # half way up the warm-up
    assert "margin" in loss.soften()
    alone = distilled(1.0, unit(5, 6, seed=2))
    alone.set_progress(0.5)
    assert (alone.state_dict(), alone.soften()) == ({}, None)


@pytest.mark.parametrize(("share", "size", "said"), [(0.0, 6, "teacher_share"), (1.5, 6, "teacher_share"), (1, 7, "6")])
def test_settings_that_make_no_sense_are_refused(share, size, said):
    with pytest.raises(InputError, match=said):
        Distillation(objective(), TARGETS, unit(5, 6, seed=2), share=share, embedding_size=size)


def test_the_objective_sees_the_faces_with_a_name_alone():
    embeddings, teacher = unit(4, 6, seed=1), unit(5, 6, seed=2)
    targets = torch.tensor([0, 1, 0, 1, -1])  # rows 4 and 4 of the batch have no name
    loss = Distillation(objective(), targets, teacher, share=0.25, embedding_size=6)
    found, figures = loss(embeddings, ROWS)
    alone, own_figures = objective()(embeddings[[1, 3]], torch.tensor([0, 0]))
    cosine = mean_cosine(embeddings, teacher)
    assert found.item() == pytest.approx(0.75 * alone.item() + 0.25 * (1 - cosine), abs=1e-12)
    assert {name: figures[name] for name in own_figures} == own_figures


def test_what_an_objective_reads_reaches_it_of_its_own_faces():
    class Reader(torch.nn.Module):
        reads = frozenset({"masked"})

        def forward(self, embeddings, labels, *, masked):
            self.seen = masked
            return embeddings.sum(), {}

    reader, targets = Reader(), torch.tensor([0, 1, 0, 1, -1])
    loss = Distillation(reader, targets, unit(5, 6, seed=2), share=0.5, embedding_size=6)
    assert loss.reads == {"masked"}
    loss(unit(4, 6, seed=1), ROWS, masked=torch.tensor([True, True, False, False]))
    assert reader.seen.tolist() == [True, False]
    assert Distillation(reader, targets, unit(5, 6, seed=2), share=1.0, embedding_size=6).reads == frozenset()


# ==== faces without a name ====

OBJECTIVES = {
    "arcface": objective,
    "smooth": lambda: ArcFaceLoss(6, 3, scale=16.0, margin=0.2, focal_gamma=1.0, label_smoothing=0.1).double(),
    "sub-centres": lambda: ArcFaceLoss(6, 3, scale=16.0, margin=0.2, focal_gamma=1.0, sub_centres=2).double(),
    "triplets": lambda: TripletLoss("semi_hard", 0.3),
}
NOBODY = torch.full((8,), -1)
BATCHES = {"first half": torch.tensor([0, 1, 0, 1, -1, -1, -1, -1]), "nobody": NOBODY}


def step_of_part(name: str, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """Loss, figures and the gradient by the embeddings of this process's part of a batch of eight."""
    torch.manual_seed(0)
    # Somebody has a name, though not in this batch.
    known = torch.cat([targets, torch.tensor([2])])
    criterion = Distillation(OBJECTIVES[name](), known, unit(9, 6, seed=2), share=0.25, embedding_size=6)
    part = part_of(8)
    embeddings = unit(8, 6, seed=1)[part].requires_grad_()
    loss, figures = sum_parameter_gradients(criterion)(embeddings, torch.arange(8)[part])
    loss.backward()
    return loss.detach(), embeddings.grad, {name: float(value) for name, value in figures.items()}


def steps_of_parts() -> dict:
    return {(name, named): step_of_part(name, targets) for name in OBJECTIVES for named, targets in BATCHES.items()}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_without_a_named_face_has_the_teachers_loss_alone(name):
    """If all named faces were unreadable, the objective's mean over nobody would be NaN, and the step skipped."""
    loss, gradient, figures = step_of_part(name, NOBODY)
    cosine = (unit(8, 6, seed=1) * unit(9, 6, seed=2)[:8]).sum(1).mean().item()
    assert loss.item() == pytest.approx(0.25 * (1 - cosine), abs=1e-12)
    assert gradient.isfinite().all() and figures == {"teacher_cosine": pytest.approx(cosine)}


def test_a_process_without_a_named_face_still_adds_up_to_the_whole_batch():
    found = in_processes(2, steps_of_parts)
    for case, (loss, gradient, figures) in steps_of_parts().items():
        parts = [part[case] for part in found]
        assert [own.item() for own, _, _ in parts] == pytest.approx([loss.item()] * 2, abs=1e-12)
        torch.testing.assert_close(torch.cat([own for _, own, _ in parts]), gradient, rtol=0, atol=1e-12)
        assert all(own == pytest.approx(figures, nan_ok=True) for _, _, own in parts)
