"""All distances of a batch, fast as a matrix product and exact where a matrix product is not."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# d² = |a|² + |b|² − 2ab loses about 1e-7 · (|a|² + |b|²) in float32, which is 5e-4 in the distance of two
# equal unit vectors. Below this share of |a|² + |b|² (d = 0.14 for unit vectors) a pair is computed again
# from its difference.
CLOSE = 0.01
# With more close pairs than this share of all, it is faster to compute every pair from its difference.
MANY = 1 / 16
CHUNK = 8192  # close pairs handled at a time: 16 MB of differences at D = 512
# Numbers at a time where every pair is: what a CPU core's own cache holds, or enough to fill a GPU.
CPU_BLOCK, GPU_BLOCK = 2**18, 2**25


def pairwise_distances(embeddings: Tensor, squared: bool = False) -> Tensor:
    """Distances (B, B) of the rows of ``embeddings`` (B, D): Euclidean, or squared Euclidean.

    Computed in float32 whatever the precision around it (float64 stays float64). Equal rows have distance
    exactly 0 and exactly the same distances to all others, so ties are ties. The gradient at distance 0 is 0
    instead of NaN. The value of every pair is good to about 1e-4 relative, also for pairs 1e-6 apart.
    Differentiable once.
    """
    dtype = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
    with torch.autocast(embeddings.device.type, enabled=False):
        return _PairwiseDistances.apply(embeddings.to(dtype), squared)


class _PairwiseDistances(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, squared: bool) -> Tensor:
        result, close = _squared_distances(rows)
        if not squared:
            result = result.sqrt_()
        ctx.squared = squared
        ctx.save_for_backward(rows, result, close)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        rows, result, close = ctx.saved_tensors
        # factor[i, j] · (row i − row j) is what pair (i, j) adds to the gradient of row i.
        factor = gradient + gradient.T
        if ctx.squared:
            factor.mul_(2)
        else:
            # Both triangles of the matrix count, and they can differ in the last bit: one of them divides.
            factor.div_(torch.maximum(result, result.T)).masked_fill_(result == 0, 0)
        # A backward pass computes in its caller's precision, not in that of the forward pass.
        with torch.autocast(gradient.device.type, enabled=False):
            return _apply_factors(rows, factor, close), None


def _squared_distances(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances (B, B), and the close pairs (2, pairs), i < j, computed from differences."""
    norms = rows.square().sum(1)
    scale = norms[:, None] + norms
    result = torch.addmm(scale, rows, rows.T, alpha=-2).fill_diagonal_(0)
    close = (result < scale.mul_(CLOSE)).triu_(1)
    del scale
    pairs = close.nonzero().T
    if pairs.shape[1] > MANY * rows.shape[0] ** 2:
        return _from_differences(rows), pairs[:, :0]
    for i, j in zip(pairs[0].split(CHUNK), pairs[1].split(CHUNK), strict=True):
        result[i, j] = result[j, i] = (rows[i] - rows[j]).square().sum(1)
    return _equalise_copies(result, pairs), pairs


def _from_differences(rows: Tensor) -> Tensor:
    """Squared distances (B, B), every pair from its difference. torch.cdist takes a root, which squared again is off in
    the last bit, and longer on a CPU (benchmarks/losses.py)."""
    block = min(len(rows), (CPU_BLOCK if rows.is_cpu else GPU_BLOCK) // rows.numel() or 1)
    result, differences = rows.new_empty(len(rows), len(rows)), rows.new_empty(block, *rows.shape)
    for some, part in zip(rows.split(block), result.split(block), strict=True):
        torch.sub(some[:, None], rows, out=differences[: len(some)])
        torch.sum(differences[: len(some)].square_(), 2, out=part)
    return result


def _equalise_copies(result: Tensor, pairs: Tensor) -> Tensor:
    """Give equal rows equal distances: the matrix product may round two equal columns differently."""
    i, j = pairs[:, result[pairs[0], pairs[1]] == 0]
    if not len(i):
        return result.clamp_(min=0)
    first = torch.arange(len(result), device=result.device).scatter_reduce(0, j, i, "amin")
    return result[first][:, first].clamp_(min=0)


def _apply_factors(rows: Tensor, factor: Tensor, close: Tensor) -> Tensor:
    """Σ_j factor[i, j] · (row i − row j), (B, D); close pairs from their differences, where a product would
    cancel."""
    i, j = close
    near = factor[i, j]
    factor[i, j] = factor[j, i] = 0
    rows = rows - rows.mean(0)  # moves no difference, and makes a product of nearly equal rows lose less
    gradient = torch.addmm(rows * factor.sum(1, keepdim=True), factor, rows, alpha=-1)
    for k in torch.arange(len(i), device=rows.device).split(CHUNK):
        step = near[k, None] * (rows[i[k]] - rows[j[k]])
        gradient.index_put_((i[k],), step, accumulate=True)
        gradient.index_put_((j[k],), -step, accumulate=True)
    return gradient
