"""The network that a benchmark measures, and its training step: its weights count for nothing, but are the same in each
run."""

from collections.abc import Callable

import torch
from torch import nn

from models import NECK_SIZES, build_model
from models.embedder import FaceEmbedder

# Pixels and faces of a step.
SIZE, BATCH = 112, 8


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


def training_step(model: nn.Module) -> Callable[[], None]:
    """Forward, backward and SGD on one batch."""
    images = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad()
        embeddings = model.train()(images)
        (embeddings[: BATCH // 2] * embeddings[BATCH // 2 :]).sum().backward()
        optimiser.step()

    return step
