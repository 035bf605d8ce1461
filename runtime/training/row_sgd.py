"""An optimiser for tables of which a step sees a few rows."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class RowSGD(torch.optim.SGD):
    """SGD that takes sparse gradients: a row without a gradient is left as it is, its momentum too.

    Tensors with dense gradients are stepped by torch's SGD, so one optimiser serves network and head. For a
    sparse gradient each row that got one is stepped as by SGD with its own momentum; rows that were not
    sampled wait, which is how Partial FC treats them. Arguments are those of ``torch.optim.SGD``; dampening,
    maximize and a tensor learning rate are left to the dense tensors.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step; the sparse gradients are used up first, then torch steps what is dense."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    sparse.append((parameter, parameter.grad))
                    self._step_rows(parameter, parameter.grad.coalesce(), group)
                    parameter.grad = None
        super().step()
        for parameter, gradient in sparse:
            parameter.grad = gradient
        return loss

    def _step_rows(self, parameter: nn.Parameter, gradient: Tensor, group: dict) -> None:
        rows = gradient.indices()[0]
        change = gradient.values().add(parameter[rows], alpha=group["weight_decay"])
        if group["momentum"]:
            state = self.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            velocity = state["momentum_buffer"][rows].mul_(group["momentum"]).add_(change)
            state["momentum_buffer"][rows] = velocity
            change = change.add_(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
        parameter.index_add_(0, rows, change, alpha=-float(group["lr"]))
