"""Feature map → unit embedding: pooling, dropout, neck, normalisation. The same for every backbone."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.errors import InputError

# A row of zeros stays zeros instead of becoming NaN. Healthy rows are about √D long (BatchNorm sees to that); those
# of an untrained EfficientNet in evaluation mode, the shortest that still have to come out as unit rows, 1e-5.
NORM_EPS = 1e-10


class Neck(nn.Module):
    """Linear map to the embedding size, then BatchNorm.

    The linear layer has no bias, as BatchNorm would take it away again; the weights of some face networks bring
    one. Its rows start with length about 1, so that its outputs vary as much as the pooled features. ``eps`` is
    added to that variance: 1e-3 as in facenet-pytorch's neck. ``affine``: BatchNorm has a scale and a shift.
    """

    def __init__(
        self, inputs: int, embedding_size: int, *, bias: bool = False, eps: float = 1e-3, affine: bool = True
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, embedding_size, bias=bias)
        nn.init.normal_(self.linear.weight, std=inputs**-0.5)
        self.norm = nn.BatchNorm1d(embedding_size, eps=eps, affine=affine)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, C) → (B, D)."""
        return self.norm(self.linear(pooled))


class FaceEmbedder(nn.Module):
    """images float (B, 3, H, W), RGB, normalised → float32 (B, D), each row of length 1.

    Pooling and neck run in float32 under autocast too: they cost nothing beside the backbone, and distances
    between embeddings are then as fine as float32. Only a row that is all zero before normalising stays zero.
    Parts that ``freeze`` names stay as they are, whatever is trained.
    """

    def __init__(self, backbone: nn.Module, pooling: nn.Module, dropout: float, neck: Neck) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.neck = neck
        self._frozen: tuple[nn.Module, ...] = ()

    def freeze(self, names: Sequence[str]) -> None:
        """Keep the named parts as they are: no gradients, and always in evaluation mode (BatchNorm, dropout).

        ``names``: backbone, neck, or a module of the backbone, such as ``layer1`` or ``layer3.0``. Raises InputError
        for a name that there is not, and where nothing is left to train.
        """
        features = getattr(self.backbone, "net", self.backbone)
        parts = {**dict(features.named_modules()), "backbone": self.backbone, "neck": self.neck}
        for name in names:
            if not name or name not in parts:
                stages = ", ".join(["backbone", "neck", *dict(features.named_children())])
                raise InputError(f"freeze: this network has no part {name!r}; its stages are {stages}")
        self._frozen = tuple(parts[name] for name in names)
        for part in self._frozen:
            part.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise InputError(f"freeze: {', '.join(names)} leave nothing of the network to train; name fewer")
        self.train(self.training)

    def train(self, mode: bool = True) -> "FaceEmbedder":
        """As of any module, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, D)."""
        return F.normalize(self.before_normalising(images), dim=1, eps=NORM_EPS)

    def before_normalising(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → float32 (B, D): the rows with their lengths, which published protocols sum and weigh by."""
        features = self.backbone(images)
        with torch.autocast(features.device.type, enabled=False):
            pooled = self.pooling(features.float())
            return self.neck(self.dropout(pooled))
