"""What training starts from (the setting ``pretrained``): a published file by its name, any weight file that is
recognised, or a run of this project."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from models.backbones.by_name import SERESNEXT101, check_backbone
from models.backbones.timm_networks import TIMM_PREFIX
from models.tail import same_pooling
from models.weights.hub import PREFIX, revision_of
from models.weights.imported import FACENET_KIND, FACENET_PREPROCESSING, Imported
from models.weights.known import FACENET_FILES, NONE, find_weights, known_weights
from models.weights.names import BACKBONE
from models.weights.read import recognise_file, unknown_network
from runtime.checkpoints.file import load_network, load_state, require_finite
from runtime.errors import InputError
from runtime.files import sha256


def weights_preprocessing(backbone: str, pretrained: str) -> dict | None:
    """The input that the weights expect: dict {"size", "crop", "mean", "std"}, or None: no constraint.

    A run of this project carries its own. None for weights of general images (``imagenet``), which bind no face crop
    and are trained on anyway, and for a local file of InceptionResNetV1 under a name that is not one of
    facenet-pytorch's. Raises InputError as ``open_pretrained`` does.
    """
    check_backbone(backbone)
    if pretrained == NONE or pretrained == "imagenet":
        return None
    if pretrained in FACENET_FILES and pretrained in known_weights(backbone):
        return dict(FACENET_PREPROCESSING)
    return preprocessing_of(open_pretrained(backbone, pretrained))


class Start(NamedTuple):
    """The file that training starts from, and the network in it."""

    path: Path
    network: Imported


def preprocessing_of(start: Start) -> dict | None:
    """``weights_preprocessing`` of a file that is open already."""
    path, network = start
    if network.kind == FACENET_KIND and path.name not in FACENET_FILES.values():
        return None
    return network.preprocessing and dict(network.preprocessing)


def open_pretrained(backbone: str, pretrained: str) -> Start:
    """What ``pretrained`` names.

    Raises InputError: nothing of that name, damaged, of another backbone, or of a network that is not known.
    """
    path = find_weights(backbone, pretrained)
    network = _own(path, is_run=Path(pretrained).is_dir()) or _foreign(path, backbone)
    require_settings(network, pretrained, backbone=backbone)
    return Start(path, network)


def start_of(backbone: str, pretrained: str) -> dict | None:
    """For the record of a run: which file training starts from, its digest, whose network it is, its revision on the
    Hub. None if it starts from scratch. Raises InputError as ``open_pretrained`` does."""
    if pretrained == NONE:
        return None
    path, network = open_pretrained(backbone, pretrained)
    made = {"file": path.name, "sha256": sha256(path), "kind": network.kind}
    revision = revision_of(path) if pretrained.startswith(PREFIX) else None
    return {**made, "revision": revision} if revision else made


def require_settings(network: Imported, source: str, **wanted: object) -> None:
    """Raise InputError, which says the settings that fit, if a network was made with others than those ``wanted``."""
    wrong = [name for name, value in wanted.items() if not _is_made_with(network, name, value)]
    if network.settings and wrong:
        told = network.settings if "backbone" in wrong else wrong
        remedy = ", ".join(f"{name} {network.settings[name]}" for name in told)
        raise InputError(
            f"{source} holds {network.kind}; set {remedy} (not {', '.join(str(wanted[n]) for n in wrong)})"
        )


def _is_made_with(network: Imported, name: str, value: object) -> bool:
    if name != "pooling":
        return network.settings.get(name) == value
    free = "pooling." in network.missing
    return free or same_pooling(network.settings["backbone"], network.settings["pooling"], str(value))


def load_weights(embedder: nn.Module, start: Start) -> None:
    """Fill a fresh embedder. Raises InputError for weights that are no numbers or don't fit."""
    path, network = start
    require_finite(network.state, str(path))
    load_state(embedder, network.state, str(path), optional=network.missing)


def _own(path: Path, is_run: bool) -> Imported | None:
    """A checkpoint of this project; None for anything else. Raises InputError if that of a run is not usable."""
    if path.suffix == ".safetensors":
        return None
    try:
        content = load_network(path)
    except InputError:
        if is_run:
            raise
        return None
    names = ("backbone", "embedding_size", "pooling", "image_size")
    settings = {name: content["settings"][name] for name in names}
    kind = f"a run of this project with {settings['backbone']}"
    return Imported(kind, content["model"], settings, content["preprocessing"])


def _foreign(path: Path, backbone: str) -> Imported:
    network, state = recognise_file(path)
    if network is not None:
        return network
    if backbone.startswith(("efficientnet_", "seresnext101", TIMM_PREFIX)):
        return _of_general_images(state, backbone)
    raise unknown_network(path, state)


def _of_general_images(state: Mapping[str, Tensor], backbone: str) -> Imported:
    """A classifier by efficientnet-pytorch or timm, without its last layer."""
    dropped = ("_fc.",) if backbone.startswith("efficientnet_") else _timm_classifier(backbone)
    kept = {f"{BACKBONE}net.{key}": value for key, value in state.items() if not key.startswith(dropped)}
    return Imported("weights of general images", kept, {}, None, missing=("pooling.", "neck."))


def _timm_classifier(backbone: str) -> tuple[str, ...]:
    import timm

    name = SERESNEXT101 if backbone == "seresnext101" else backbone.removeprefix(TIMM_PREFIX)
    config = timm.get_pretrained_cfg(name)
    names = (config.classifier if config else None) or ()
    return tuple(f"{each}." for each in ((names,) if isinstance(names, str) else names))
