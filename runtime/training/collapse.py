"""Collapse: all embeddings (nearly) equal. Seen in the embeddings before the loss shows it."""

from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

OnCollapse = Literal["stop", "warn", "recover"]

# Healthy embeddings of a batch lie about √2 apart and fill dozens of dimensions. These bounds are far below that:
# at distance 0.1 the cosine is 0.995, and rank 1.5 is "one direction, with noise".
MIN_MEAN_DISTANCE = 0.1
MIN_EFFECTIVE_RANK = 1.5

# A checkpoint to go back to must not be on the way down already.
HEALTHY_MEAN_DISTANCE = 0.5
HEALTHY_EFFECTIVE_RANK = 3.0

ADVICE = (
    "try a lower lr, a longer warm-up (--warmup-epochs), --mining semi_hard in place of batch_hard, "
    "or a smaller margin; on triplets keep the margin well under 2"
)


class Collapsed(Exception):
    """The embeddings have collapsed; the message says how."""


class CollapseGuard:
    """Looks at training embeddings now and then: warns once a run of bad looks, or raises Collapsed."""

    def __init__(self, every: int, on_collapse: OnCollapse):
        self.every, self.on_collapse = every, on_collapse
        self._warned = False

    def look(self, step: int, embeddings: Tensor) -> None:
        """Every so many steps of a run. Raises Collapsed unless it is to warn only."""
        if step % self.every == 0:
            self.judge(embedding_health(embeddings))

    def judge(self, health: dict[str, float]) -> None:
        """``health`` as of ``embedding_health``. Raises Collapsed unless it is to warn only."""
        reason = collapse_reason(health)
        if reason and self.on_collapse != "warn":
            raise Collapsed(reason)
        if reason and not self._warned:
            tqdm.write(f"{reason}; {ADVICE}")
        self._warned = reason is not None


def is_healthy(health: dict[str, float]) -> bool:
    """Whether embeddings are so far from a collapse that a run may go back to them."""
    return health["mean_distance"] >= HEALTHY_MEAN_DISTANCE and health["effective_rank"] >= HEALTHY_EFFECTIVE_RANK


def embedding_health(embeddings: Tensor) -> dict[str, float]:
    """Mean distance of random pairs and effective rank of unit embeddings (B, D).

    The pairs are each row with its neighbour half a batch away. Effective rank: exp of the entropy of the normalised
    singular values (Roy & Vetterli 2007), between 1 and min(B, D).
    """
    x = embeddings.detach().float()
    distance = (x - x.roll(len(x) // 2, dims=0)).norm(dim=1).mean()
    values = torch.linalg.svdvals(x)
    share = values / values.sum().clamp_min(1e-12)
    rank = torch.exp(-(share * share.clamp_min(1e-12).log()).sum())
    return {"mean_distance": distance.item(), "effective_rank": rank.item()}


def collapse_reason(health: dict[str, float]) -> str | None:
    """One line that names the collapse, or None for healthy embeddings."""
    distance, rank = health["mean_distance"], health["effective_rank"]
    if distance >= MIN_MEAN_DISTANCE and rank >= MIN_EFFECTIVE_RANK:
        return None
    return (
        f"the embeddings have collapsed (mean distance of random pairs {distance:.3f}, effective rank {rank:.2f}): "
        "all faces look the same to the network"
    )
