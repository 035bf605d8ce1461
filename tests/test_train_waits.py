"""How often a step waits for the GPU. On a CPU, counts the calls that would wait: those that bring values to Python."""

from collections import Counter
from contextlib import ExitStack

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import train
from data.transforms import make_preprocessing
from losses import ArcFaceLoss, TripletLoss
from teacher.distillation import Distillation
from tests.engine import IMAGES, setup

# Python functions that show only by their names, and operators, which are seen in the backward pass, too.
CALLS = {"tolist", "cpu", "numpy", "tensor", "new_tensor"}
OPERATORS = {"_local_scalar_dense", "nonzero", "_unique2", "masked_select", "equal"}
# What mining must know in between: the size of the largest class, close pairs, equal ones, the triplets.
OF_MINING = {"_unique2": 1, "_local_scalar_dense": 1, "nonzero": 2, "boolean index": 1}


class Waits:
    """Counts the calls in its context that would wait for a GPU."""

    def __init__(self):
        self.counts = Counter()

    def __enter__(self):
        counts = self.counts

        class Calls(TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                if function.__name__ in CALLS:
                    counts[function.__name__] += 1
                return function(*args, **(kwargs or {}))

        class Operators(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                name = function.overloadpacket.__name__
                if name in OPERATORS:
                    counts[name] += 1
                elif name.startswith("index") and any(_is_mask(key) for key in _keys(args)):
                    counts["boolean index"] += 1
                return function(*args, **(kwargs or {}))

        self._both = ExitStack()
        self._both.enter_context(Calls())
        self._both.enter_context(Operators())
        return self

    def __exit__(self, *error):
        self._both.close()


def _keys(arguments):
    return arguments[1] if len(arguments) > 1 and isinstance(arguments[1], list | tuple) else ()


def _is_mask(key):
    return isinstance(key, torch.Tensor) and key.dtype == torch.bool


def arcface():
    return ArcFaceLoss(8, 3, scale=16, margin=0.3, focal_gamma=2)


def taught():
    teacher = torch.nn.functional.normalize(torch.randn(24, 8))
    return Distillation(arcface(), torch.arange(24) % 3, teacher, share=0.5, embedding_size=8)


@pytest.mark.parametrize("scaled", [False, True], ids=["float32", "fp16"])
@pytest.mark.parametrize(
    ("criterion", "more"),
    [(arcface, {}), (taught, {}), (lambda: TripletLoss("semi_hard", 0.3), OF_MINING)],
    ids=["arcface", "with a teacher", "triplet"],
)
def test_the_engine_waits_once_a_step(tmp_path, criterion, more, scaled):
    state, _, _ = setup(tmp_path, criterion=criterion, ema=0.9)
    state.preprocessing = make_preprocessing(size=4, crop="arcface5", normalisation="imagenet", weights=None)
    state.precision.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, enabled=scaled)
    parts = [IMAGES[:12], torch.arange(12) % 3, torch.zeros(12, dtype=torch.bool)]
    buffers = train._BufferCopy(state.model)
    train._step(state, parts, buffers)  # makes what is made only once
    with Waits() as waits:
        assert train._step(state, parts, buffers) is not None
    assert waits.counts == {"tolist": 1, **more}


def test_a_wait_is_counted_in_a_backward_pass_too():
    class Reading(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * gradient.sum().item()

    with Waits() as waits:
        Reading.apply(torch.ones(2, requires_grad=True)).sum().backward()
    assert waits.counts == {"_local_scalar_dense": 1}
