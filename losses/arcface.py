"""Margin softmax over learned class centres: ArcFace and its relatives, sub-centres, and a sampled head."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.focal import focal_cross_entropy, weighted_mean, weighted_mean_over_ranks
from losses.frequency import class_factors
from losses.margin import Margin, margin_logits
from losses.quality import LENGTH_RULES, LengthRule
from losses.sampled_head import sample_classes, sampled_unit_rows, unit_rows
from losses.warmup import ProgressiveLoss
from runtime.errors import InputError
from runtime.processes.distributed import gather_rows, ranks, sum_over_ranks
from runtime.processes.shards import own_state

MARGIN_KINDS = ("arcface", "cosface", *LENGTH_RULES)


class ArcFaceLoss(ProgressiveLoss):
    """Focal loss on s · cos θ with a margin at the target: ArcFace cos(θ + m) or CosFace cos θ − m.

    Deng et al. 2019, "ArcFace", arXiv:1801.07698, eq. 3; Wang et al. 2018, "CosFace", arXiv:1801.09414,
    eq. 4. θ is the angle between an embedding and a class centre, a row of the parameter ``weight`` (C, D).
    With k ``sub_centres`` it is (C·k, D), k rows a class, and the nearest of them counts (Deng et al. 2020,
    "Sub-center ArcFace"). Past θ > π − m, where cos(θ + m) would rise again, the ArcFace target is
    cos θ − m·sin m. All of it runs in float32 whatever the precision around it; value and gradient are
    finite for any finite input, cos θ = ±1 included.

    With the ``kind`` ``adaface`` or ``magface`` the margin depends on each embedding's length before normalising, as
    ``length_rule`` says (see ``losses/quality.py``); ``margin`` is then AdaFace's m, or that of MagFace's shortest.

    - ``scale``: s, the inverse temperature, 30 to 64. ``margin``: m, radians for ArcFace (0.3 to 0.5), cosine
      for CosFace (0.35).
    - ``focal_gamma``: γ of the focal loss, 0 for plain cross-entropy. ``label_smoothing``: ε, 0 to below 1.
    - ``class_counts``, ``frequency_weights``: see ``losses/frequency.py``. They act on the loss of each
      sample, which is then divided by the sum of the weights in the batch.
    - ``sample_share``: share of the classes that take part in a step (Partial FC, see
      ``losses/sampled_head.py``); None for all. ``weight`` then gets a sparse gradient, so train it with
      ``runtime.training.row_sgd.RowSGD``.
    - ``margin_warmup``, ``scale_warmup``: share of the run over which the margin rises from 0, and the scale
      from that of AdaCos for C classes, √2 · log(C − 1) (Zhang et al. 2019, arXiv:1905.00292, eq. 12). A share
      above 1, as in a run that is shorter than its warm-up, leaves the margin on its way.

    With γ = 0, no weights, no smoothing and no margin this is ``F.cross_entropy(scale * cosines, labels)``.
    """

    batch_is_spread = True  # over the processes, where there are several

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        *,
        scale: float,
        margin: float,
        focal_gamma: float,
        class_counts: Sequence[int] | Tensor | None = None,
        frequency_weights: str = "none",
        label_smoothing: float = 0.0,
        kind: str = "arcface",
        length_rule: LengthRule | None = None,
        sub_centres: int = 1,
        sample_share: float | None = None,
        margin_warmup: float = 0.0,
        scale_warmup: float = 0.0,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.scale = scale
        self.margin = margin
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
        self.kind = kind
        self.length_rule = length_rule
        self.sub_centres = sub_centres
        self.sample_share = sample_share
        self.margin_warmup = margin_warmup
        self.scale_warmup = scale_warmup
        self._check_settings()
        self.weight = self._new_weight(embedding_size)
        factors = class_factors(frequency_weights, class_counts, classes)
        self.register_buffer("class_factors", factors, persistent=False)  # a resumed run's own settings decide

    def _new_weight(self, embedding_size: int) -> nn.Parameter:
        weight = nn.Parameter(torch.empty(self.classes * self.sub_centres, embedding_size))
        nn.init.xavier_uniform_(weight)
        return weight

    @torch.no_grad()
    def start_centres_at(self, centres: Tensor) -> None:
        """Make (C·k, D) rows the class centres, k ``sub_centres`` an identity; of several processes with parts of the
        classes each takes its own."""
        self.weight.copy_(own_state(self, {"weight": centres})["weight"])

    @property
    def reads(self) -> frozenset[str]:
        """What ``forward`` needs beside embeddings and labels."""
        return frozenset() if self.length_rule is None else frozenset({"lengths"})

    def forward(
        self, embeddings: Tensor, labels: Tensor, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Loss and figures of a batch: embeddings (B, D), labels (B,) int64 in 0 … C − 1, and with a ``length_rule``
        the embeddings' lengths (B,) before normalising.

        With several processes each gives its own part of the batch; loss and figures are those of the whole, and
        the processes' gradients add up to its gradient. The figures, floats or detached scalars still on the device:

        - ``train_accuracy``: share of the batch whose nearest class (no margin) is its own, among the sampled
          ones.
        - ``target_angle``: mean angle to the own centre, degrees. About 90 at the start, under 45 when
          trained.
        - ``target_probability``: mean probability of the own class, with margin: what the focal factor sees.
        - ``margin``, ``scale``: those of this step.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
            return self._loss(embeddings, labels, None if lengths is None else lengths.to(embeddings.dtype))

    def _loss(
        self, embeddings: Tensor, labels: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        scale = self._scale_now()
        samples = self._samples(embeddings, labels, lengths, scale)
        weights = None if self.class_factors is None else self.class_factors[samples.labels]
        mean = weighted_mean_over_ranks if self.batch_is_spread else weighted_mean
        loss = mean(samples.losses, weights)
        angles = samples.own.clamp(-1, 1).acos().rad2deg()
        sums = torch.stack([column.double().sum() for column in (samples.correct, angles, samples.probability)])
        sums = torch.cat([sums, sums.new_full((1,), len(angles))])
        *figures, count = (sum_over_ranks(sums) if self.batch_is_spread else sums).unbind()
        names = ("train_accuracy", "target_angle", "target_probability")
        stats = {name: figure / count for name, figure in zip(names, figures, strict=True)}
        return loss, stats | {"margin": self.margin * self.ramp(self.margin_warmup), "scale": scale}

    def _samples(self, embeddings: Tensor, labels: Tensor, lengths: Tensor | None, scale: float) -> "Samples":
        """The loss of each sample of the batch, before the mean."""
        cosines, columns = self._cosines(embeddings, labels)
        rows = torch.arange(len(columns), device=columns.device)
        own = cosines.detach()[rows, columns]
        correct = cosines.detach().argmax(1) == columns
        logits = margin_logits(cosines, rows, columns, self._margin_now(lengths), scale)
        losses, probability = focal_cross_entropy(logits, columns, self.focal_gamma, self.label_smoothing)
        return Samples(labels, self._with_penalty(losses, lengths), own, correct, probability)

    def _margin_now(self, lengths: Tensor | None) -> Margin:
        """That of this step, for each sample where it depends on its length."""
        ramp = self.ramp(self.margin_warmup)
        if self.length_rule is not None:
            everyone = gather_rows(lengths.detach())[0] if self.batch_is_spread else lengths.detach()
            return self.length_rule.margin(lengths, everyone, self.margin, ramp)
        return Margin(less=self.margin * ramp) if self.kind == "cosface" else Margin(self.margin * ramp)

    def _with_penalty(self, losses: Tensor, lengths: Tensor | None) -> Tensor:
        penalty = None if self.length_rule is None else self.length_rule.penalty(lengths)
        return losses if penalty is None else losses + penalty

    def _cosines(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines (B, S) to the S classes of this step, and each label's column (B,) among them."""
        columns = labels
        if self.sample_share is None:
            centres = unit_rows(self.weight.to(embeddings.dtype))
        else:
            sampled = sample_classes(labels, len(self.weight) // self.sub_centres, self.sample_share)
            columns = torch.searchsorted(sampled, labels)
            offsets = torch.arange(self.sub_centres, device=sampled.device)
            rows = (sampled[:, None] * self.sub_centres + offsets).view(-1)
            centres = sampled_unit_rows(self.weight, rows, embeddings.dtype)
        cosines = F.linear(unit_rows(embeddings), centres)
        if self.sub_centres > 1:
            cosines = cosines.unflatten(1, (-1, self.sub_centres)).max(2).values
        return cosines, columns

    def _scale_now(self) -> float:
        start = min(self.scale, math.sqrt(2) * math.log(max(self.classes - 1, 2)))
        return start + (self.scale - start) * self.ramp(self.scale_warmup)

    def _check_settings(self) -> None:
        if self.kind not in MARGIN_KINDS:
            raise InputError(f"unknown kind {self.kind!r}; choose one of {', '.join(MARGIN_KINDS)}")
        if type(self.length_rule) is not LENGTH_RULES.get(self.kind, type(None)):
            raise InputError(f"kind {self.kind} does not go with the length_rule {self.length_rule}")
        if self.sample_share is not None and self.batch_is_spread and ranks() > 1:
            raise InputError("sampled_share below 1 with several processes needs --shard-classes")
        limits = {
            "classes": (self.classes >= 1, "at least 1"),
            "scale": (self.scale > 0, "above 0"),
            "margin": (0 <= self.margin < math.pi / 2, "from 0 to below π/2"),
            "focal_gamma": (self.focal_gamma >= 0, "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "from 0 to below 1"),
            "sub_centres": (self.sub_centres >= 1, "at least 1"),
            "sample_share": (self.sample_share is None or 0 < self.sample_share <= 1, "above 0, at most 1"),
            "margin_warmup": (self.margin_warmup >= 0, "0 or more, 1 for the whole run"),
            "scale_warmup": (0 <= self.scale_warmup <= 1, "a share of the run from 0 to 1"),
        }
        for name, (fits, allowed) in limits.items():
            if not fits:
                raise InputError(f"{name} {getattr(self, name)} makes no sense; choose {allowed}")
        largest = getattr(self.length_rule, "largest", self.margin)
        if not self.margin <= largest < math.pi / 2:
            raise InputError(
                f"largest_margin {largest} makes no sense; choose from margin ({self.margin}) to below π/2"
            )

    def extra_repr(self) -> str:
        return f"{self.kind}, classes={self.classes}, scale={self.scale}, margin={self.margin}"


@dataclass(frozen=True)
class Samples:
    """A batch, sample by sample, each (B,)."""

    labels: Tensor
    losses: Tensor  # with the gradient
    own: Tensor  # cosine to the own class centre, without margin
    correct: Tensor  # whether that is the nearest one
    probability: Tensor  # of the own class, with margin
