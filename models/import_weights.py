"""A run folder from a weight file of others; no code from the file is run.

    python -m models.import_weights FILE --out results/RUN

FILE is recognised by the names and shapes in it: InsightFace's backbone.pth (IResNet) and MobileFaceNet (MXNet names);
AdaFace's .ckpt, CVLface's model.pt and .safetensors, CurricularFace's (IR); facenet-pytorch's InceptionResnetV1; what
the 2021 system wrote (a dict {model, optimizer, scheduler} of pickled objects, a whole pickled network, or
{model_state_dict, optimizer_state_dict}); a safetensors export of this project. The run is then used as any other:
eval.threshold chooses its threshold anew (that of an export is kept), eval.verify tests it, models.export exports it,
and --pretrained results/RUN starts training from it, as --pretrained FILE does (not --resume: the optimiser's state is
left behind, as it belongs to other faces).
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from models.weights.import_file import import_file
from runtime.errors import one_line_errors


@dataclasses.dataclass(frozen=True)
class ImportSettings:
    """What to read, and where the run goes."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """Weights (.pth, .pt, .ckpt, .safetensors, any name)."""
    out: Path
    """Run folder to make."""


def main() -> None:
    """The command."""
    settings = tyro.cli(ImportSettings, description=__doc__)
    network = import_file(settings.file, settings.out)
    values, shown = network.settings, network.preprocessing
    print(f"{settings.file}: {network.kind}, {values['backbone']}, embedding of {values['embedding_size']} values")
    print(f"input: {shown['crop']} crops of {shown['size']} px, mean {shown['mean']}, std {shown['std']}")
    if network.class_centres is not None:
        print(f"class centres of {len(network.class_centres):,} people are kept in best.pt under criterion")
    for remark in network.remarks:
        print(remark)
    if "threshold" in network.chosen:
        print(f"written to {settings.out}, with the file's threshold, {network.chosen['threshold']:.4f}")
        return
    print(f"written to {settings.out}; choose its threshold with:")
    print(f"python -m eval.threshold {settings.out} PAIRS.csv --root FACES")


if __name__ == "__main__":
    with one_line_errors():
        main()
