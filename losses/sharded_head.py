"""Very many identities on several processes: each holds the class centres of its part of the classes."""

import torch
from torch import Tensor, nn

from losses.arcface import ArcFaceLoss, Samples
from losses.focal import focal_loss
from losses.margin import margin_logits
from runtime.errors import InputError
from runtime.processes.distributed import (
    gather_rows,
    max_over_ranks,
    part_of,
    ranks,
    sum_gradients,
    sum_over_ranks,
    sum_shares,
)
from runtime.processes.shards import sharded_parameter


class ShardedArcFaceLoss(ArcFaceLoss):
    """``ArcFaceLoss`` with the classes shared out over the processes, so that class centres, logits, gradients and
    the optimiser's state of a process shrink as their number grows (Deng et al. 2019, arXiv:1801.07698, §2.3).

    The embeddings of all processes meet every class: each process has the cosines (B, C / ranks) of the whole batch
    to its own classes, and the softmax over all classes needs three numbers a sample from each. Settings, loss and
    figures are those of ``ArcFaceLoss``. With ``sample_share`` every process draws that share of its own classes,
    which is Partial FC. ``weight`` holds the process's rows; ``runtime.processes.shards.whole_state`` joins them.

    Raises InputError with fewer classes than processes.
    """

    batch_is_spread = False  # every process has the losses of the whole batch

    def _new_weight(self, embedding_size: int) -> nn.Parameter:
        if self.classes < ranks():
            raise InputError(f"{self.classes} identities can't be shared out over {ranks()} processes; start fewer")
        self.own_classes = part_of(self.classes)
        rows = slice(self.own_classes.start * self.sub_centres, self.own_classes.stop * self.sub_centres)
        return sharded_parameter(rows, self.classes * self.sub_centres, embedding_size)

    def _samples(self, embeddings: Tensor, labels: Tensor, lengths: Tensor | None, scale: float) -> Samples:
        embeddings, labels = gather_rows(embeddings, labels)
        if lengths is not None:
            (lengths,) = gather_rows(lengths)
        here = (labels >= self.own_classes.start) & (labels < self.own_classes.stop)
        rows = here.nonzero()[:, 0]
        cosines, columns = self._cosines(sum_gradients(embeddings), labels[rows] - self.own_classes.start)
        own = sum_over_ranks(_spread(cosines.detach(), rows, columns))
        correct = own >= max_over_ranks(cosines.detach().amax(1))
        margin = self._margin_now(None if lengths is None else sum_gradients(lengths)).at(rows)
        logits = margin_logits(cosines, rows, columns, margin, scale)
        target = sum_shares(_spread(logits, rows, columns))
        total = _log_sum_exp(logits)
        even = None
        if self.label_smoothing:
            even = total - sum_shares(logits.sum(1)) / sum_over_ranks(logits.new_full((), logits.shape[1]))
        losses, probability = focal_loss(total - target, even, self.focal_gamma, self.label_smoothing)
        return Samples(labels, self._with_penalty(losses, lengths), own, correct, probability)


def _spread(table: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The values at (rows, columns) of a table (B, C) as a vector (B,), 0 in the other rows."""
    return table.new_zeros(len(table)).index_put((rows,), table[rows, columns])


def _log_sum_exp(logits: Tensor) -> Tensor:
    """log Σ exp (B,) over the classes of all processes, of which ``logits`` (B, C / ranks) are this one's."""
    own = torch.logsumexp(logits, 1)
    largest = max_over_ranks(own)
    return largest + sum_shares((own - largest).exp()).log()
