"""Faces to embeddings, each distinct image once."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from runtime.errors import InputError


@torch.inference_mode()
def embed(
    model: nn.Module,
    loader: Iterable[Tensor],
    *,
    device: torch.device | str,
    normalise: Callable[[Tensor], Tensor],
    autocast_dtype: torch.dtype | None = None,
    mirror: bool = False,
    progress: str | None = None,
) -> np.ndarray:
    """Embeddings of all images of a loader, in its order: float32 (N, D), rows of length 1.

    ``loader`` yields uint8 (B, H, W, 3) RGB; ``normalise`` turns such a batch into the network's float input
    (B, 3, H, W). ``mirror`` sums the embeddings of each image and its mirror before normalising. ``progress``
    is the title of a progress bar (None: no bar). The model runs in eval mode and is left as it was found.
    Raises InputError where the loader is empty.
    """
    device = torch.device(device)
    parts = []
    with _eval_mode(model):
        for batch in tqdm(loader, desc=progress, unit="batch", disable=progress is None, leave=False):
            images = batch.to(device, non_blocking=True)
            with torch.autocast(device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None):
                embeddings = model(normalise(images)).float()
                if mirror:
                    embeddings = embeddings + model(normalise(images.flip(2))).float()
            parts.append(F.normalize(embeddings).cpu().numpy())
    if not parts:
        raise InputError("no image to embed: the list of images is empty")
    return np.concatenate(parts)


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; then each module gets its own mode back, a frozen BatchNorm too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
