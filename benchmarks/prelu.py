"""A training step on the CPU with this project's PReLU and with PyTorch's, whose values and gradients are the same.

    python -m benchmarks.prelu [--quick] [--check] [--json FILE]

The two take turns on the same batch of 112×112 faces, in float32.
"""

from torch import nn

from benchmarks.harness.fresh_network import BATCH, SIZE, fresh_network, training_step
from benchmarks.harness.table import Options, Report, run_command
from benchmarks.harness.turns import median_seconds
from models.prelu import PReLU
from runtime.memory.allocator import keep_freed_memory

NETWORKS = ("mobilefacenet", "iresnet18")
_ROUNDS, _SECONDS = 45, 60.0
LEAST_RATIO = 1.1  # of MobileFaceNet, which has more PReLUs to its convolutions


def with_torch_prelu(model: nn.Module) -> nn.Module:
    """The same network, in its place."""
    for module in model.modules():
        if isinstance(module, PReLU):
            module.__class__ = nn.PReLU
    return model


def main(options: Options) -> int:
    """The benchmark."""
    keep_freed_memory()  # as the main scripts do
    report = Report("prelu")
    for name in NETWORKS:
        steps = {
            "torch": training_step(with_torch_prelu(fresh_network(name, SIZE))),
            "here": training_step(fresh_network(name, SIZE)),
        }
        seconds = median_seconds(steps, rounds=_ROUNDS, seconds=10 if options.quick else _SECONDS)
        rates = {f"{key} (images/s)": BATCH / taken for key, taken in seconds.items()}
        report.add(network=name, **rates, ratio=seconds["torch"] / seconds["here"])
    report.at_least(f"{NETWORKS[0]}: images/s relative to PyTorch's PReLU", report.rows[0]["ratio"], LEAST_RATIO)
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, Options, __doc__)
