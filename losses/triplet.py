"""Online triplet mining: one loss, several rules for which triplets of the batch count."""

import torch
from torch import Tensor

from losses.distances import pairwise_distances
from losses.mining import MASK_RULES, RULES, Batch, Mined
from losses.warmup import ProgressiveLoss
from runtime.errors import InputError
from runtime.processes.distributed import gather_rows

MINING_RULES = tuple(RULES)  # those that need labels alone
_ALL_RULES = RULES | MASK_RULES


class TripletLoss(ProgressiveLoss):
    """Triplet loss with online mining: max(0, d(anchor, positive) − d(anchor, negative) + margin).

    Hermans et al. 2017, "In Defense of the Triplet Loss", arXiv:1703.07737; semi-hard: Schroff et al. 2015,
    "FaceNet", arXiv:1503.03832. The rules are documented one by one in ``losses/mining.py``:

    - ``batch_hard``: farthest positive and nearest negative of each anchor; mean over anchors.
    - ``batch_hard_soft``: the same with softplus in place of the hinge, no margin.
    - ``semi_hard``: for each positive the nearest negative beyond it; mean over positive pairs.
    - ``batch_all``: every triplet; mean over the active ones.
    - ``distance_weighted``: every triplet, a negative the more the rarer its distance is; hard without
      collapse.
    - ``self_restrained``: masked anchor, plain positive and negative; only pulls once negatives are far.

    ``margin`` is in the unit of the distance: Euclidean, or squared Euclidean with ``squared``. On unit
    embeddings the distance never passes 2 (4 squared), so from there on a margin is never met and "all
    embeddings equal" is the way downhill: refused, unless ``allow_saturating_margin``. ``margin_warmup`` is
    the share of the run over which the margin rises in a line from 0 (see ``ProgressiveLoss``).
    """

    def __init__(
        self,
        mining: str,
        margin: float,
        *,
        squared: bool = False,
        allow_saturating_margin: bool = False,
        margin_warmup: float = 0.0,
    ) -> None:
        super().__init__()
        if mining not in _ALL_RULES:
            raise InputError(f"unknown mining rule {mining!r}; choose one of {', '.join(_ALL_RULES)}")
        if mining != "batch_hard_soft":
            _check_margin(margin, squared, allow_saturating_margin)
        if not 0 <= margin_warmup <= 1:
            raise InputError(f"margin_warmup {margin_warmup} is a share of the run: choose from 0 to 1")
        self.mining = mining
        self.margin = margin
        self.squared = squared
        self.margin_warmup = margin_warmup

    @property
    def reads(self) -> frozenset[str]:
        """What ``forward`` needs beside embeddings and labels."""
        return frozenset({"masked"}) if self.mining in MASK_RULES else frozenset()

    def forward(
        self, embeddings: Tensor, labels: Tensor, *, masked: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Loss and figures of a batch: embeddings (B, D), unit rows; labels (B,) integers; ``masked`` bool (B,) for
        ``self_restrained``.

        With several processes each gives its own part of the batch, and triplets are mined over the whole.

        A batch without any positive or any negative has loss 0, still with a gradient graph; "triplets" is 0
        then. A NaN or infinite embedding makes the loss NaN under every rule. The figures, floats or
        detached scalars (distances always Euclidean, nan where the batch has no such pair):

        - ``active``: share of the rule's triplets that have a positive hinge; 0 without any triplet.
        - ``triplets``: number of triplets that the rule looked at (``distance_weighted``: sum of their
          weights).
        - ``positive_distance``, ``negative_distance``: mean over all positive and over all negative pairs.
        - ``hardest_negative_distance``: mean over anchors of the distance to the nearest negative.
        - ``margin``: the margin of this step.
        - ``restrained``: of ``self_restrained`` alone, 1 if it only pulled.
        """
        # One process's part may be empty (of faces without a name alone), but not the whole batch.
        embeddings, labels = gather_rows(embeddings, labels)
        _check_batch(embeddings, labels)
        if masked is not None:
            (masked,) = gather_rows(masked)
        margin = self.margin * self.ramp(self.margin_warmup)
        distances = pairwise_distances(embeddings, self.squared)
        batch = Batch.from_labels(distances, labels, margin, self.squared, masked)
        mined = _ALL_RULES[self.mining](batch)
        # The sum adds nothing but a graph to an empty batch, and a NaN that a comparison would have hidden.
        loss = mined.loss + 0 * embeddings.to(distances.dtype).sum()
        return loss, _stats(batch, mined) | {"margin": margin}

    def _soften(self, at: float) -> str | None:
        """Semi-hard mining in place of hard mining: the hardest negatives of a young network pull everything to
        one point (FaceNet, section 3.2). A margin that begins at zero again would let them."""
        if not self.mining.startswith("batch_hard"):
            return None
        was, self.mining = self.mining, "semi_hard"
        return f"semi-hard mining in place of {was}"

    def extra_repr(self) -> str:
        return f"mining={self.mining}, margin={self.margin}, squared={self.squared}"


def _check_margin(margin: float, squared: bool, allow_saturating: bool) -> None:
    if margin <= 0:
        raise InputError(f"margin {margin} is not above 0; choose a larger one, 0.2 to 0.5 is usual")
    limit = 4 if squared else 2
    if margin >= limit and not allow_saturating:
        raise InputError(
            f"margin {margin} can never be met: {'squared ' if squared else ''}distances of unit embeddings "
            f"end at {limit}, and the way downhill is to make all embeddings equal; choose one below {limit}, "
            "0.2 to 0.5 is usual (allow_saturating_margin reproduces the failure)"
        )


def _check_batch(embeddings: Tensor, labels: Tensor) -> None:
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or not len(labels):
        shapes = f"{tuple(embeddings.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"expected embeddings (B, D) and labels (B,) with B above 0; got {shapes}")


@torch.no_grad()
def _stats(batch: Batch, mined: Mined) -> dict[str, Tensor]:
    nearest = batch.negative_distances(missing=torch.inf).amin(1)
    there = nearest < torch.inf
    nearest = nearest.where(there, 0)
    positive = batch.positive_distances(missing=0)
    everything = batch.distances
    if batch.squared:
        nearest, positive, everything = nearest.sqrt(), positive.sqrt(), everything.sqrt()
    pull = positive.sum(dtype=torch.float64)
    push = everything.sum(dtype=torch.float64) - pull  # the diagonal is 0
    figures = {
        "active": mined.active / mined.triplets.clamp(min=1),
        "triplets": mined.triplets,
        "positive_distance": pull / batch.is_positive.sum(),
        "negative_distance": push / batch.negative.sum(),
        "hardest_negative_distance": nearest.sum() / there.sum(),
    }
    if mined.restrained is not None:
        figures["restrained"] = mined.restrained
    return figures
