"""The margin at the target of a margin softmax: by how much a sample's own cosine is made smaller."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LEAST_SINE_SQUARED = 1e-7  # about the rounding error of 1 − cos² in float32; the slope of the root ends here


@dataclass(frozen=True)
class Margin:
    """cos(θ + ``angle``) − ``less`` at the target, each one number for all samples or one a sample (B,).

    Past θ > π − angle, where cos(θ + angle) would rise again, its place is taken by cos θ − angle · sin angle; with
    ``clipped``, θ + angle is clipped to 0 … π instead. ``angle`` may carry a gradient, ``less`` may not.
    """

    angle: float | Tensor = 0.0
    less: float | Tensor = 0.0
    clipped: bool = False

    def at(self, rows: Tensor) -> "Margin":
        """Those of some samples."""
        parts = {name: getattr(self, name) for name in ("angle", "less")}
        return replace(self, **{name: part[rows] for name, part in parts.items() if isinstance(part, Tensor)})


def margin_logits(cosines: Tensor, rows: Tensor, columns: Tensor, margin: Margin, scale: float) -> Tensor:
    """scale · cosines with the margin, of those rows, at (rows, columns); in the memory of the cosines (B, C)."""
    return _TargetMargin.apply(cosines, rows, columns, margin.angle, margin.less, margin.clipped, scale)


class _TargetMargin(torch.autograd.Function):
    """At a million classes every copy of (B, C) counts; all that the gradient needs is the margin's slope at the
    targets."""

    @staticmethod
    def forward(ctx, cosines: Tensor, rows, columns, angle, less, clipped: bool, scale: float) -> Tensor:
        target, slope, turn = _margined(cosines[rows, columns], angle, less, clipped)
        cosines[rows, columns] = target
        ctx.mark_dirty(cosines)
        ctx.save_for_backward(rows, columns, slope, turn)
        ctx.scale = scale
        return cosines.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns, slope, turn = ctx.saved_tensors
        gradient = gradient * ctx.scale
        of_angle = gradient[rows, columns] * turn if ctx.needs_input_grad[3] else None
        gradient[rows, columns] *= slope
        return gradient, None, None, of_angle, None, None, None


def _margined(cosine: Tensor, angle: float | Tensor, less: float | Tensor, clipped: bool) -> tuple[Tensor, ...]:
    """Target cosines (B,) with the margin, and their slopes (B,) by the cosines without, and by the angle."""
    if not isinstance(angle, Tensor) and angle == 0:
        return cosine - less, torch.ones_like(cosine), torch.zeros_like(cosine)
    sin, cos = (math.sin(angle), math.cos(angle)) if not isinstance(angle, Tensor) else (angle.sin(), angle.cos())
    sine_squared = (1 - cosine.square()).clamp(min=LEAST_SINE_SQUARED)
    sine = sine_squared.sqrt()
    turned = cosine * cos - sine * sin
    steep = torch.where(sine_squared > LEAST_SINE_SQUARED, cosine / sine, 0)
    slope, turn = cos + steep * sin, -(cosine * sin + sine * cos)
    if clipped:
        over, under = (angle > 0) & (cosine <= -cos), (angle < 0) & (cosine >= cos)
        ends = over | under
        target = torch.where(over, -1.0, torch.where(under, 1.0, turned))
        return target - less, slope.masked_fill(ends, 0), turn.masked_fill(ends, 0)
    within = cosine > -cos
    target = torch.where(within, turned, cosine - angle * sin)
    return target - less, torch.where(within, slope, 1.0), torch.where(within, turn, -(sin + angle * cos))
