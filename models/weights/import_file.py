"""A run folder from somebody else's weight file; no code from the file is run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from models.build import build_model
from models.network_run import refuse_existing, write_network_run
from models.weights.known import read_state
from models.weights.pickled import read_pickled
from models.weights.recognise import ORIGINAL_PREPROCESSING, Imported, recognise
from runtime.checkpoints.file import load_state, require_finite
from runtime.errors import InputError
from runtime.files import sha256
from runtime.inert_pickle import StandIn

# Where a training file keeps its network, in the order of looking.
_NETWORK_KEYS = ("model", "model_state_dict", "state_dict")

# The largest network here, EfficientNet-B7, has 824 modules; one that contains itself has endlessly many.
_MOST_MODULES = 5_000


def import_file(path: Path, out: Path) -> Imported:
    """Read ``path`` and make the run folder ``out``: best.pt, without a threshold, and config.json.

    Raises InputError: no such file, damaged, refused (see ``read_pickled``), a network that is not here, or a
    folder that exists.
    """
    refuse_existing(out)
    network = read_network(path)
    settings = {**network.settings, "dropout": 0.0}
    model = build_model(**settings, pretrained="none")
    require_finite(network.state, str(path))
    load_state(model, network.state, str(path))
    origin = {"file": path.name, "sha256": sha256(path), "kind": network.kind}
    content = {"model": model.state_dict(), "settings": settings, "preprocessing": network.preprocessing}
    content["origin"] = origin
    if network.class_centres is not None:
        content["criterion"] = {"weight": network.class_centres}
    write_network_run(out, {**settings, "imported_from": origin}, content)
    return network


def read_network(path: Path) -> Imported:
    """The network of a file, under this project's names. Raises InputError as ``import_file`` does."""
    content = read_state(path) if path.suffix == ".safetensors" else read_pickled(path)
    if isinstance(content, Mapping):
        if "preprocessing" in content:
            raise InputError(f"{path} is a checkpoint of this project: use it, or its run folder, as it is")
        content = next((content[key] for key in _NETWORK_KEYS if key in content), content)
    try:
        return _network(content, path)
    except InputError:
        raise
    except Exception as error:  # tensors and objects of wrong shapes can fail with anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is damaged: its parts don't fit together ({reason}); get it again") from None


def _network(held: object, path: Path) -> Imported:
    if isinstance(held, StandIn):
        modules = list(_modules(held, path))
        return recognise(_state(modules), path, padded_for=_padded_for(modules))
    named = isinstance(held, Mapping) and all(isinstance(k, str) and isinstance(x, Tensor) for k, x in held.items())
    if not named or not held:
        raise InputError(f"{path} holds no network: neither a pickled one nor names and tensors; give a checkpoint")
    return recognise(dict(held), path)


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
