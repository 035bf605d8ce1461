"""Images a second of PyTorch and of onnxruntime on the CPU, side by side, for every kind of backbone.

    python -m benchmarks.inference [--quick] [--check] [--json FILE]

Each network has fresh weights and takes batches of its usual size. The two take turns, batch by batch, so that a busy
machine slows both; the figure is the median batch. Both use the same number of threads. The bar: onnxruntime is at
least as fast as PyTorch for MobileFaceNet, the network that a door camera would run, and gives its embeddings.
"""

from functools import partial

import numpy as np
import torch

from benchmarks.harness.fresh_network import fresh_network
from benchmarks.harness.table import Options, Report, run_command
from benchmarks.harness.turns import median_seconds
from models.export import formats

# Backbone, image size in pixels.
NETWORKS = (
    ("mobilefacenet", 112),
    ("efficientnet_b0", 128),
    ("inception_resnet_v1", 128),
    ("seresnext101", 128),
)
QUICK = NETWORKS[:2]
BATCHES = (1, 16)
_ROUNDS, _SECONDS = 15, 8.0


def runners(backbone: str, size: int) -> dict[str, formats.Runner]:
    """The same network in PyTorch (channels last, as everything here runs it) and in onnxruntime."""
    model = fresh_network(backbone, size).eval()
    network = formats.as_onnx(model, size, {})
    return {
        "torch": formats.torch_runner(model.to(memory_format=torch.channels_last)),
        "onnxruntime": formats.open_onnx(network, torch.get_num_threads()),
    }


def main(options: Options) -> int:
    """The benchmark."""
    report = Report("inference")
    rng = np.random.default_rng(0)
    for backbone, size in QUICK if options.quick else NETWORKS:
        found = runners(backbone, size)
        for batch in BATCHES:
            images = rng.standard_normal((batch, 3, size, size), dtype=np.float32)
            a, b = (run(images) for run in found.values())
            steps = {name: partial(run, images) for name, run in found.items()}
            seconds = median_seconds(steps, rounds=5 if options.quick else _ROUNDS, seconds=_SECONDS)
            ratio = seconds["torch"] / seconds["onnxruntime"]
            rates = {f"{name} img/s": batch / value for name, value in seconds.items()}
            difference = float(np.abs(a - b).max())
            report.add(network=backbone, px=size, batch=batch, **rates, ratio=ratio, difference=difference)
            report.at_most(f"difference of embeddings, {backbone}, batch {batch}", difference, 1e-4)
            if backbone == "mobilefacenet":
                report.at_least(f"onnxruntime / torch, {backbone}, batch {batch}", ratio, 1.0)
    report.note("ratio: images/s of onnxruntime over those of PyTorch; medians of batches that took turns")
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, Options, __doc__)
