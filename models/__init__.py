"""Images → unit embeddings: backbones, pooling, neck, known weights."""

from models.backbones.by_name import BACKBONES
from models.build import NECK_SIZES, build_model, model_for
from models.embedder import FaceEmbedder
from models.pooling import POOLINGS
from models.weights.pretrained import start_of, weights_preprocessing

__all__ = [
    "BACKBONES",
    "NECK_SIZES",
    "POOLINGS",
    "FaceEmbedder",
    "build_model",
    "model_for",
    "start_of",
    "weights_preprocessing",
]
