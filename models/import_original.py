"""A run folder from a checkpoint of the 2021 system, or from bare face weights; no code from the file is run.

    python -m models.import_original FILE --out results/RUN

FILE is what its training wrote: a dict {model, optimizer, scheduler} of pickled objects, a whole pickled network,
or {model_state_dict, optimizer_state_dict}; or a bare state dict of facenet-pytorch's InceptionResnetV1, or
InsightFace's MobileFaceNet under its MXNet names. The run is then used as any other: eval.threshold chooses its
threshold anew, eval.verify tests it, models.export exports it, and --pretrained results/RUN starts a training from
it (not --resume: the optimiser's state is left behind, as it belongs to other faces).
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import tyro
from torch import Tensor

from models.build import build_model
from models.original import Imported, recognise
from models.pickled import StandIn, read_pickled
from models.weights import read_state
from runtime.checkpoint import load_state, save_checkpoint
from runtime.errors import InputError, one_line_errors
from runtime.run_folder import RunFolder

# Where a training file keeps its network, in the order of looking.
_NETWORK_KEYS = ("model", "model_state_dict", "state_dict")


@dataclasses.dataclass(frozen=True)
class ImportSettings:
    """What to read, and where the run goes."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """Checkpoint of the original (.pt, .pth, any name) or bare face weights (.pt, .pth, .safetensors)."""
    out: Path
    """Run folder to make."""


def import_file(path: Path, out: Path) -> Imported:
    """Read ``path`` and make the run folder ``out``: best.pt, without a threshold, and config.json.

    Raises InputError: no such file, damaged, refused (see ``read_pickled``), a network that is not here, or a
    folder that exists.
    """
    network = read_network(path)
    settings = {**network.settings, "dropout": 0.0}
    model = build_model(**settings, pretrained="none")
    load_state(model, network.state, str(path))
    run = RunFolder.create(out.parent, out.name)
    origin = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "kind": network.kind}
    content = {"model": model.state_dict(), "settings": settings, "preprocessing": network.preprocessing}
    if network.class_centres is not None:
        content["criterion"] = {"weight": network.class_centres}
    save_checkpoint(run.best, {**content, "epoch": 0, "images_seen": 0, "history": [], "origin": origin})
    run.write_config({**settings, "imported_from": origin})
    return network


def read_network(path: Path) -> Imported:
    """The network of a file, under this project's names. Raises InputError as ``import_file`` does."""
    content = read_state(path) if path.suffix == ".safetensors" else read_pickled(path)
    held = content
    if isinstance(content, Mapping):
        held = next((content[key] for key in _NETWORK_KEYS if key in content), content)
    if isinstance(held, StandIn):
        try:
            return recognise(module_state(held), path, padded_for=_padded_for(held))
        except RecursionError:
            raise InputError(f"{path} holds a network that contains itself; give a checkpoint") from None
    if isinstance(held, Mapping) and held and all(isinstance(value, Tensor) for value in held.values()):
        return recognise(dict(held), path)
    raise InputError(f"{path} holds no network: neither a pickled one nor names and tensors; give a checkpoint")


def module_state(module: StandIn, prefix: str = "") -> dict[str, Tensor]:
    """The state dict of a pickled module and all modules in it."""
    passing = module.state.get("_non_persistent_buffers_set") or ()
    own = _named(module, "_parameters") | _named(module, "_buffers")
    state = {f"{prefix}{name}": x for name, x in own.items() if isinstance(x, Tensor) and name not in passing}
    for name, child in _named(module, "_modules").items():
        if isinstance(child, StandIn):
            state |= module_state(child, f"{prefix}{name}.")
    return state


def _named(module: StandIn, kind: str) -> dict:
    held = module.state.get(kind)
    return dict(held) if isinstance(held, dict) else {}


def _padded_for(module: StandIn) -> int | None:
    """The image size that a pickled EfficientNet's padding was made for; None where the file does not say."""
    parameters = module.state.get("_global_params")
    if isinstance(parameters, StandIn):
        # efficientnet-pytorch 0.7 has image_size as the third of eleven fields, older ones as the last of ten.
        size = parameters.args[2 if len(parameters.args) > 10 else -1] if parameters.args else None
        return size if isinstance(size, int) else None
    children = _named(module, "_modules").values()
    return next((size for c in children if isinstance(c, StandIn) and (size := _padded_for(c))), None)


def main() -> None:
    """The command."""
    settings = tyro.cli(ImportSettings, description=__doc__)
    network = import_file(settings.file, settings.out)
    values, shown = network.settings, network.preprocessing
    print(f"{settings.file}: {network.kind}, {values['backbone']}, embedding of {values['embedding_size']} values")
    print(f"input: {shown['crop']} crops of {shown['size']} px, mean {shown['mean']}, std {shown['std']}")
    for remark in network.remarks:
        print(remark)
    print(f"written to {settings.out}; choose its threshold with: python -m eval.threshold {settings.out} PAIRS.csv")


if __name__ == "__main__":
    with one_line_errors():
        main()
