"""The optimiser of sparse rows against torch's SGD."""

import pytest
import torch

from runtime.training.row_sgd import RowSGD

SETTINGS = [
    {"momentum": 0.0},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_with_all_rows_every_step_it_is_sgd(settings):
    start = torch.randn(30, 4, dtype=torch.float64)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    row, plain = RowSGD([ours], lr=0.1, **settings), torch.optim.SGD([theirs], lr=0.1, **settings)
    for step in range(5):
        gradient = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        theirs.grad = gradient
        ours.grad = torch.sparse_coo_tensor(torch.arange(30)[None], gradient, (30, 4), check_invariants=True)
        row.step()
        plain.step()
        assert ours.grad.is_sparse  # still there for whoever wants to look
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_a_row_without_a_gradient_waits():
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}
    start = torch.randn(6, 4, dtype=torch.float64)
    ours = torch.nn.Parameter(start.clone())
    rows = [torch.nn.Parameter(start[i].clone()) for i in range(6)]  # each row stepped alone, when its turn comes
    optimiser, singles = RowSGD([ours], **settings), [torch.optim.SGD([row], **settings) for row in rows]
    for step, chosen in enumerate([[0, 1], [1, 4], [0, 4], [1, 0]]):
        gradient = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        ours.grad = torch.sparse_coo_tensor(torch.tensor([chosen]), gradient, (6, 4), check_invariants=True)
        optimiser.step()
        for i, g in zip(chosen, gradient, strict=True):
            rows[i].grad = g
            singles[i].step()
    torch.testing.assert_close(ours, torch.stack(list(rows)), rtol=1e-12, atol=0)
    assert torch.equal(ours[[2, 3, 5]], start[[2, 3, 5]])
