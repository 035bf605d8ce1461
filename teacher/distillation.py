"""Distillation beside an objective: the target of a masked face is a trained network's embedding without the mask."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.focal import weighted_mean_over_ranks
from runtime.errors import InputError
from runtime.processes.distributed import sum_over_ranks


class Distillation(nn.Module):
    """(1 − w) · objective + w · mean(1 − cos θ), θ between a face's embedding and the teacher's of the same face.

    Template-level knowledge distillation (Huber et al. 2021, "Mask-invariant Face Recognition through Template-level
    Knowledge Distillation", arXiv:2112.05646), with the cosine in place of the squared distance, of which it is half
    for unit embeddings. Called with the numbers of the training faces, ``rows`` int64 (B,) in 0 … N − 1, where the
    objective alone takes labels.

    - ``objective``: any criterion of this project, or None if the teacher is all (w = 1).
    - ``targets``: int64 (N,), the identity of each training face: what the objective gets. Below 0: none, and the
      objective does not see the face. In a batch without any named face, only the teacher's part of the loss counts.
    - ``teacher``: (N, D) unit rows, of any floating type, what each face is to come to; kept out of checkpoints.
    - ``share``: w, above 0 and at most 1.

    Raises InputError if the share lies outside, or the teacher's embeddings are of another size than
    ``embedding_size``.
    """

    def __init__(
        self, objective: nn.Module, targets: Tensor, teacher: Tensor, *, share: float, embedding_size: int
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError(f"teacher_share is {share}; it must lie above 0 and be 1 at the most")
        if teacher.shape[1] != embedding_size:
            raise InputError(
                f"the teacher's embeddings have {teacher.shape[1]} values; set embedding_size to it, not "
                f"{embedding_size}"
            )
        self.objective = objective if share < 1 else None
        self.share = share
        self._all_named = bool((targets >= 0).all())  # checked per batch, this would wait for the GPU
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer("teacher", teacher, persistent=False)

    @property
    def reads(self) -> frozenset[str]:
        """What the objective takes beside embeddings and labels."""
        return frozenset() if self.objective is None else self.objective.reads

    def forward(self, embeddings: Tensor, rows: Tensor, **more: Tensor) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Loss and figures of a batch: unit embeddings (B, D), rows (B,), and what it ``reads`` of each face (B,).

        The figures are the objective's, and ``teacher_cosine``: mean cosine to the teacher's embeddings, 1 where
        they are the same. Several processes: as for the objective, each gives its own part.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            wanted = self.teacher[rows].to(torch.promote_types(embeddings.dtype, torch.float32))
            cosines = (F.normalize(embeddings.to(wanted.dtype)) * wanted).sum(1)
            distant = weighted_mean_over_ranks(1 - cosines, None)
        stats = {"teacher_cosine": 1 - distant.detach().double()}
        if self.objective is None:
            return distant, stats
        labels = self.targets[rows]
        if not self._all_named:
            named = labels >= 0
            if not sum_over_ranks(named.sum()):  # in no process could a named face of this batch be read
                return self.share * distant, stats
            embeddings, labels = embeddings[named], labels[named]
            more = {name: values[named] for name, values in more.items()}
        loss, figures = self.objective(embeddings, labels, **more)
        return (1 - self.share) * loss + self.share * distant, figures | stats

    def set_progress(self, fraction: float) -> None:
        """Tell the objective which share of the run, 0 to 1, is done."""
        if self.objective is not None:
            self.objective.set_progress(fraction)

    def soften(self) -> str | None:
        """Make the objective easier, against a collapse; see ``ProgressiveLoss.soften``."""
        return None if self.objective is None else self.objective.soften()
