"""Frequency weights: per-class factors of the loss from the number of images of each class, never learned."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from runtime.errors import InputError

FREQUENCY_WEIGHTS = ("none", "inverse_log", "effective_number")
EFFECTIVE_NUMBER_BETA = 0.999  # Cui 2019 tries 0.9 to 0.9999; 0.999 tells 10 images from 1,000, not 5,000 from 10,000


def class_factors(kind: str, class_counts: Sequence[int] | Tensor | None, classes: int) -> Tensor | None:
    """Factors (C,) float32 with mean 1 over the classes, or None for ``none``; ``class_counts`` (C,) images
    per class.

    - ``inverse_log``: 1 / log(1 + n). From 10 to 1,000 images the factor falls to a third.
    - ``effective_number``: (1 − β) / (1 − βⁿ), β = 0.999 (Cui et al. 2019, arXiv:1901.05555, eq. 2).

    Raises InputError for an unknown kind and for counts that are missing, of another length, or below 1.
    """
    if kind not in FREQUENCY_WEIGHTS:
        raise InputError(f"unknown frequency_weights {kind!r}; choose one of {', '.join(FREQUENCY_WEIGHTS)}")
    if kind == "none":
        return None
    if class_counts is None:
        raise InputError(f"frequency_weights {kind!r} needs class_counts: the number of images of every class")
    counts = torch.as_tensor(class_counts, dtype=torch.float64)
    if counts.shape != (classes,):
        raise InputError(f"class_counts has shape {(*counts.shape,)}; give one count for each of {classes} classes")
    if not bool((counts >= 1).all()):
        raise InputError(f"class_counts: class {int((counts < 1).int().argmax())} has no image; drop the class")
    if kind == "inverse_log":
        factors = 1 / torch.log1p(counts)
    else:
        # (1 − βⁿ) through expm1, which keeps its digits for small n.
        factors = (1 - EFFECTIVE_NUMBER_BETA) / -torch.expm1(counts * math.log(EFFECTIVE_NUMBER_BETA))
    return (factors / factors.mean()).float()
