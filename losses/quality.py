"""Margins by the length of an embedding before normalising, from which AdaFace and MagFace read a picture's quality.

A mask makes a face harder, not its picture worse: compare ``length_plain`` and ``length_masked`` in the run's log. If
masked faces are much shorter, these rules treat them as bad pictures: AdaFace then cares less about its hard samples,
and MagFace demands less of them.
"""

import torch
from torch import Tensor, nn

from configs.settings import ArcFaceSettings
from losses.margin import Margin
from runtime.errors import InputError

# AdaFace's code: lengths beyond these are taken for them; a batch's share in the running mean and deviation.
SHORTEST, LONGEST = 1e-3, 100.0
MOMENTUM = 0.01
LEAST_DEVIATION = 1e-3


class AdaFaceMargin(nn.Module):
    """cos(θ − m·q) − (m + m·q), with q = h · (length − mean) / deviation, clipped to −1 … 1.

    Kim, Jain, Liu 2022, "AdaFace: Quality Adaptive Margin for Face Recognition", arXiv:2204.00964, eq. 13 to 15. A long
    embedding (q near 1) is pushed most if it is hard, a short one (q near −1) if it is easy. ``effect`` is h: with
    0.333, a length must be three standard deviations from the mean to count fully. θ − m·q is clipped to 0 … π. q is a
    constant for the gradient.

    Mean and deviation follow those of the batches, of all processes together, and are saved with the loss; they begin
    with the first batch's. (AdaFace's code begins with 20 and 100, which takes it some 400 steps to forget.)

    Raises InputError if h is not above 0.
    """

    def __init__(self, effect: float) -> None:
        super().__init__()
        if not effect > 0:
            raise InputError(f"length_effect {effect} makes no sense; choose above 0 (0.333 is AdaFace's)")
        self.effect = effect
        self.register_buffer("statistics", torch.zeros(2))  # mean and standard deviation; 0 before the first batch

    def margin(self, lengths: Tensor, everyone: Tensor, margin: float, ramp: float) -> Margin:
        """Of samples with these lengths (B,), in a batch with those of ``everyone``; ``ramp`` 0 … 1 warms it up."""
        if self.training:
            held = everyone.clamp(SHORTEST, LONGEST)
            self._follow(torch.stack([held.mean(), held.std()]), everyone.isfinite().all())
        mean, deviation = self.statistics
        distance = (lengths.detach().clamp(SHORTEST, LONGEST) - mean) / (deviation + LEAST_DEVIATION)
        quality = (distance * self.effect).clamp(-1, 1)
        return Margin(-margin * ramp * quality, margin * ramp * (1 + quality), clipped=True)

    def penalty(self, lengths: Tensor) -> None:
        """None: the loss has no term of the lengths."""

    def _follow(self, found: Tensor, usable: Tensor) -> None:
        moved = torch.where(self.statistics[1] == 0, found, self.statistics.lerp(found.to(self.statistics), MOMENTUM))
        # A batch that is skipped because it is not finite must not stay here for good.
        self.statistics.copy_(torch.where(usable & found.isfinite().all(), moved, self.statistics))


class MagFaceMargin(nn.Module):
    """cos(θ + m(a)), and λ · (1/a + a/u²) on top of each sample's loss; a is the length, held between l and u.

    Meng, Zhao, Huang, Zhou 2021, "MagFace: A Universal Representation for Face Recognition and Quality Assessment",
    arXiv:2103.06627, eq. 3 to 5. m(a) rises in a line from the loss's margin at l to ``largest`` at u; the other term
    pulls lengths towards u. Both have a gradient by the length: easy samples grow long, hard ones stay short.

    ``bounds`` are (l, u), ``weight`` is λ. Raises InputError for values that make no sense.
    """

    def __init__(self, largest: float, bounds: tuple[float, float], weight: float) -> None:
        super().__init__()
        if not (len(bounds) == 2 and 0 < bounds[0] < bounds[1]):
            raise InputError(f"length_range {bounds} makes no sense; choose two lengths, the first above 0 and below "
                             "the second (10 110 are MagFace's)")  # fmt: skip
        if weight < 0:
            raise InputError(f"length_weight {weight} makes no sense; choose 0 or more (35 is MagFace's)")
        self.largest, self.bounds, self.weight = largest, bounds, weight

    def margin(self, lengths: Tensor, everyone: Tensor, margin: float, ramp: float) -> Margin:
        """Of samples with these lengths (B,); ``ramp`` 0 … 1 warms it up."""
        low, high = self.bounds
        share = (lengths.clamp(low, high) - low) / (high - low)
        return Margin(ramp * (margin + (self.largest - margin) * share))

    def penalty(self, lengths: Tensor) -> Tensor:
        """What each sample's length adds to its loss: (B,)."""
        held = lengths.clamp(*self.bounds)
        return self.weight * (1 / held + held / self.bounds[1] ** 2)


LengthRule = AdaFaceMargin | MagFaceMargin
LENGTH_RULES: dict[str, type[LengthRule]] = {"adaface": AdaFaceMargin, "magface": MagFaceMargin}


def length_rule_for(settings: ArcFaceSettings) -> LengthRule | None:
    """That of the settings' ``margin_kind``; None if its margin is the same for all."""
    if settings.margin_kind == "adaface":
        return AdaFaceMargin(settings.length_effect)
    if settings.margin_kind == "magface":
        return MagFaceMargin(settings.largest_margin, settings.length_range, settings.length_weight)
    return None
