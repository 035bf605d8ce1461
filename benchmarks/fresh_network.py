"""The network that a benchmark measures: its weights count for nothing, but are the same in each run."""

import torch

from models import NECK_SIZES, build_model
from models.embedder import FaceEmbedder


def fresh_network(backbone: str, size: int, embedding_size: int | None = None) -> FaceEmbedder:
    """With its own pooling, for size×size pixels; ``embedding_size`` None: that of its published weights, or 512."""
    torch.manual_seed(0)
    return build_model(
        backbone,
        embedding_size=embedding_size or NECK_SIZES.get(backbone, 512),
        pooling="backbone",
        dropout=0.0,
        pretrained="none",
        image_size=size,
    )
