"""Focal loss: what the network already gets right counts less."""

import torch
from torch import Tensor
from torch.nn import functional as F

from runtime.processes.distributed import ranks, sum_over_ranks, sum_shares

# (1 − p)^γ has an infinite slope at p = 1 for γ < 1; from here on the factor is a constant.
LEAST_MISS = 1e-30


def focal_cross_entropy(logits: Tensor, labels: Tensor, gamma: float, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """(1 − p)^γ · cross-entropy of each sample (B,), and p (B,), the detached probability of the target.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002, eq. 4. logits (B, C), labels
    (B,). γ = 0 is the plain cross-entropy. ``smoothing`` ε mixes the target with the uniform distribution
    over the classes, (1 − ε) · one-hot + ε / C (Szegedy et al. 2016, arXiv:1512.00567, §7); p stays the
    probability of the target alone.
    """
    entropy = F.cross_entropy(logits, labels, reduction="none")
    even = None
    if smoothing:
        # Σ_c −log p_c / C = logsumexp − mean, and logsumexp = entropy + target logit: no second softmax
        # needed.
        target = logits.gather(1, labels[:, None])[:, 0]
        even = entropy + target - logits.mean(1)
    return focal_loss(entropy, even, gamma, smoothing)


def focal_loss(entropy: Tensor, even: Tensor | None, gamma: float, smoothing: float) -> tuple[Tensor, Tensor]:
    """The same from −log p of the target (B,), and the mean of −log p over all classes (B,), which only
    ``smoothing`` needs."""
    loss = entropy if even is None else (1 - smoothing) * entropy + smoothing * even
    if gamma:
        loss = (-(-entropy).expm1()).clamp(min=LEAST_MISS) ** gamma * loss
    return loss, (-entropy.detach()).exp()


def weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Σ wᵢ lᵢ / Σ wᵢ over the batch (B,): the weights say how samples share the step, not how large it is."""
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


def weighted_mean_over_ranks(losses: Tensor, weights: Tensor | None) -> Tensor:
    """The same where every process has a part of the batch: the value of the whole, the gradient of the part."""
    if ranks() == 1:
        return weighted_mean(losses, weights)
    weights = torch.ones_like(losses) if weights is None else weights
    return sum_shares((losses * weights).sum() / sum_over_ranks(weights.sum()))
