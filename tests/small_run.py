"""A run folder with a small untrained network, for commands that take a trained one."""

from pathlib import Path

import torch

from data.transforms import make_preprocessing
from models import build_model
from runtime.checkpoints.file import save_checkpoint

SETTINGS = {
    "backbone": "timm:mobilenetv3_small_050",
    "embedding_size": 16,
    "pooling": "average",
    "dropout": 0.0,
    "image_size": 64,
}


def write_small_run(folder: Path, seed: int = 0, *, size: int = 64, mirror: bool = False, **changed) -> Path:
    """``folder`` with best.pt: weights from the seed, BatchNorms that have seen something; ``changed``: settings."""
    torch.manual_seed(seed)
    settings = {**SETTINGS, **changed}
    model = build_model(**settings, pretrained="none").train()
    model(torch.randn(8, 3, 64, 64))
    preprocessing = make_preprocessing(size=size, crop="arcface5", normalisation="imagenet", weights=None).to_dict()
    content = {"model": model.state_dict(), "settings": settings | {"mirror": mirror}, "preprocessing": preprocessing}
    folder.mkdir()
    save_checkpoint(folder / "best.pt", {**content, "epoch": 3, "threshold": 1.0})
    return folder
