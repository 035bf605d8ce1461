"""A million identities in the memory of one GPU: a step sees its own classes and a random share of the
others."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORTEST = 1e-6  # rows shorter than this have no direction to speak of


def unit_rows(rows: Tensor) -> Tensor:
    """Rows (N, D) at length 1; one without direction stays near zero, and so does its pull on the gradient."""
    length = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(length > SHORTEST, length, 1.0)


# Rows made unit at a time: what stays in a CPU's cache (1 MB at 512 values a row); a GPU would rather have few calls.
ROWS_AT_ONCE = {"cpu": 512, "cuda": 16_384}


def sample_classes(labels: Tensor, classes: int, share: float) -> Tensor:
    """Class numbers, ascending, of one step: all of ``labels`` (B,), then random others up to ``share`` of
    all.

    Partial FC: An et al. 2021, arXiv:2010.05222, and 2022, arXiv:2203.15565. Uses torch's generator of the
    labels' device, whose state a checkpoint keeps. There are more than ``share · classes`` of them if the
    labels alone are.
    """
    wanted = max(1, round(share * classes))
    present = torch.zeros(classes, dtype=torch.bool, device=labels.device)
    present[labels] = True
    draw = torch.rand(classes, device=labels.device).masked_fill_(present, 2.0)
    count = max(wanted, int(present.sum()))
    return draw.topk(count, sorted=False).indices.sort().values


def sampled_unit_rows(weight: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows (S,), ascending and all different, of ``weight`` (C, D) at length 1: (S, D) of ``dtype``.

    The gradient is sparse: as large as the sample, not as the table. The rows are read again for the backward pass,
    a few at a time, so that one copy of the sample is in memory and not five.
    """
    return _SampledUnitRows.apply(weight, rows, dtype)


class _SampledUnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(weight, rows)
        result = torch.empty(len(rows), weight.shape[1], dtype=dtype, device=weight.device)
        some_rows = ROWS_AT_ONCE[weight.device.type]
        for part, some in zip(result.split(some_rows), rows.split(some_rows), strict=True):
            part.copy_(unit_rows(weight[some].to(dtype)))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        weight, rows = ctx.saved_tensors
        values = torch.empty(len(rows), weight.shape[1], dtype=weight.dtype, device=weight.device)
        parts = (tensor.split(ROWS_AT_ONCE[weight.device.type]) for tensor in (values, gradient, rows))
        for part, some_gradient, some in zip(*parts, strict=True):
            raw = weight.detach()[some].requires_grad_()
            with torch.enable_grad():
                unit = unit_rows(raw.to(gradient.dtype))
            part.copy_(*torch.autograd.grad(unit, raw, some_gradient))
        known = {"is_coalesced": True, "check_invariants": False}
        return torch.sparse_coo_tensor(rows[None], values, weight.shape, **known), None, None
