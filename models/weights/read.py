"""The network of a weight file; no code from the file is run."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from models.export.formats import NO_THRESHOLD
from models.weights.imported import ORIGINAL_PREPROCESSING, Imported
from models.weights.pickled import read_pickled
from models.weights.recognise import recognise
from runtime.checkpoints.content import check_network
from runtime.errors import InputError
from runtime.inert_pickle import StandIn
from runtime.kinds import FLAG, NUMBER, Fields, or_none, require, table_of, whole

# Where a training file keeps its network, in the order of looking.
_NETWORK_KEYS = ("model", "model_state_dict", "state_dict", "state_dict_backbone")

# What an export states that was chosen after training.
_CHOSEN: Fields = {
    "threshold": NUMBER,
    "thresholds": table_of(table_of(or_none(NUMBER))),
    "least_face": or_none(whole(1)),
    "mirror": FLAG,
}

# The largest network here, EfficientNet-B7, has 824 modules; one that contains itself has endlessly many.
_MOST_MODULES = 5_000

_KNOWN = (
    "InsightFace's IResNet and MobileFaceNet (MXNet names), AdaFace's, CVLface's and CurricularFace's IR, "
    "facenet-pytorch's InceptionResnetV1, checkpoints of the 2021 system"
)


def read_network(path: Path) -> Imported:
    """The network of a file, under this project's names.

    Raises InputError: no such file, damaged, refused (see ``read_pickled``), or a network that is not known.
    """
    network, state = recognise_file(path)
    if network is None:
        raise unknown_network(path, state)
    return network


def unknown_network(path: Path, state: Mapping[str, Tensor]) -> InputError:
    """What is to be said of a file whose tensors are those of no network that is known."""
    names = ", ".join(list(state)[:3])
    return InputError(f"{path} holds an unknown network (first tensors: {names}, …); supported are {_KNOWN}")


def recognise_file(path: Path) -> tuple[Imported | None, dict[str, Tensor]]:
    """The network of a file, or None if it is of none that are known, and its tensors as they are in it.

    Raises InputError as ``read_network`` does.
    """
    if path.suffix == ".safetensors":
        content, metadata = _read_safetensors(path)
        if "network" in metadata and "neck.linear.weight" in content:
            return _own_export(content, metadata, path), content
    else:
        content = read_pickled(path)
    if isinstance(content, Mapping):
        if "preprocessing" in content:
            raise InputError(f"{path} is a checkpoint of this project: use it, or its run folder, as it is")
        content = next((content[key] for key in _NETWORK_KEYS if key in content), content)
    try:
        state, padded_for = _tensors(content, path)
        return recognise(state, path, padded_for), state
    except InputError:
        raise
    except Exception as error:  # tensors and objects of wrong shapes can fail with anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is damaged: its parts don't fit together ({reason}); get it again") from None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, and the texts beside them."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"{path} is damaged or no safetensors file ({type(error).__name__}); get it again") from None


def _own_export(state: dict[str, Tensor], metadata: dict[str, str], path: Path) -> Imported:
    """What models.export wrote: the metadata say how the network was built and what it takes."""
    try:
        shown = {name: json.loads(metadata[name]) for name in ("size", "mean", "std")}
        preprocessing = {**shown, "crop": metadata["crop"]}
        if "alignment" in metadata:
            preprocessing["alignment"] = json.loads(metadata["alignment"])
        settings = {**json.loads(metadata["network"])}
        settings.setdefault("image_size", shown["size"])  # of published weights it is not said
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} lacks metadata of models.export ({type(error).__name__}); export it again") from None
    check_network({"model": state, "settings": {**settings, "dropout": 0.0}, "preprocessing": preprocessing}, path)
    return Imported("an export of this project", state, settings, preprocessing, chosen=_chosen(metadata, path))


def _chosen(metadata: Mapping[str, str], path: Path) -> dict:
    """What was chosen for an exported network after its training."""
    texts = {name: metadata[name] for name in _CHOSEN if metadata.get(name, NO_THRESHOLD) != NO_THRESHOLD}
    try:
        values = {name: json.loads(text) for name, text in texts.items()}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} has damaged metadata ({type(error).__name__}); export it again") from None
    require(values, _CHOSEN, f"{path}, metadata", "export it again", optional=True)
    if "threshold" in values:
        values["threshold_metric"] = metadata.get("threshold_source", "chosen").partition(" on the ")[0]
    return {name: value for name, value in values.items() if value is not None}


def _tensors(held: object, path: Path) -> tuple[dict[str, Tensor], int | None]:
    """The state dict of what a file holds, and what a pickled EfficientNet is padded for."""
    if isinstance(held, StandIn):
        modules = list(_modules(held, path))
        state = _state(modules)
        if not state:
            raise InputError(f"{path} holds a network without tensors; give a checkpoint")
        return state, _padded_for(modules)
    named = isinstance(held, Mapping) and all(isinstance(k, str) and isinstance(x, Tensor) for k, x in held.items())
    if not named or not held:
        raise InputError(f"{path} holds no network: neither a pickled one nor names and tensors; give a checkpoint")
    return dict(held), None


def _modules(network: StandIn, path: Path) -> Iterator[tuple[str, StandIn]]:
    """A pickled network and all modules in it, each after its name with a dot behind it."""
    found = [("", network)]
    for prefix, module in found:
        if len(found) > _MOST_MODULES:
            raise InputError(f"{path} holds a network of too many modules, or one that contains itself")
        yield prefix, module
        children = _named(module, "_modules").items()
        found += [(f"{prefix}{name}.", child) for name, child in children if isinstance(child, StandIn)]


def _state(modules: list[tuple[str, StandIn]]) -> dict[str, Tensor]:
    """Their state dict."""
    state = {}
    for prefix, module in modules:
        passing = module.state.get("_non_persistent_buffers_set")
        own = _named(module, "_parameters") | _named(module, "_buffers")
        for name, value in own.items():
            if isinstance(value, Tensor) and not (isinstance(passing, set) and name in passing):
                state[f"{prefix}{name}"] = value
    return state


def _named(module: StandIn, kind: str) -> dict:
    held = module.state.get(kind)
    return dict(held) if isinstance(held, dict) else {}


def _padded_for(modules: list[tuple[str, StandIn]]) -> int:
    """The image size for which efficientnet-pytorch 0.7.1 pads as the pickled network does.

    It halves the image five times. Where a size is odd it pads on both sides alike, else less on the first. Versions
    before pad after other rules (0.7.0 always on both sides), but the sides tell sizes that lead to the same.
    """
    padded = [module for _, module in modules if "static_padding" in _named(module, "_modules")]
    strided = [module for module in padded if 2 in module.state["stride"]]
    paddings = [_named(module, "_modules")["static_padding"].state["padding"] for module in strided]
    if not paddings:
        return ORIGINAL_PREPROCESSING["size"]  # padded for what comes
    size = 8
    for left, right, *_ in reversed(paddings):
        size = 2 * size - (left == right)
    return size
