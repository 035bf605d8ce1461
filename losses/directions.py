"""Rows at length 1: what the margin softmax compares are directions."""

import torch
from torch import Tensor

SHORTEST = 1e-6  # rows shorter than this have no direction to speak of


def unit_rows(rows: Tensor) -> Tensor:
    """Rows (N, D) at length 1; one without direction stays near zero, and so does its pull on the gradient."""
    length = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(length > SHORTEST, length, 1.0)
