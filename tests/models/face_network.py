"""Fresh networks of the families that take 112×112 faces alone."""

import torch

from models import build_model
from models.embedder import FaceEmbedder
from tests.models.upstream import SIZE

EMBEDDING = 64


def build(name: str, pooling: str = "backbone", size: int = SIZE) -> FaceEmbedder:
    """The same weights for each call."""
    torch.manual_seed(0)
    settings = {"embedding_size": EMBEDDING, "dropout": 0.0, "pretrained": "none"}
    return build_model(name, pooling=pooling, image_size=size, **settings)
