"""Weights that others trained: which files, where they lie, what input they expect, how their names map."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from efficientnet_pytorch.utils import url_map as efficientnet_urls
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.backbones import mobilefacenet
from models.backbones.by_name import SERESNEXT101, check_backbone
from models.backbones.timm_networks import TIMM_PREFIX
from models.embedder import FaceEmbedder
from runtime.checkpoints.archive import refuse_bomb
from runtime.checkpoints.file import find_checkpoint, load_network, load_state, require_finite
from runtime.errors import InputError

NONE = "none"

# What torch and safetensors raise for truncated, foreign and forbidden content.
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, UnpicklingError, SafetensorError)

_FACENET_URL = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
_FACENET_FILES = {
    "vggface2": "20180402-114759-vggface2.pt",
    "casia-webface": "20180408-102900-casia-webface.pt",
}
# (x − 127.5) / 128 on the scale 0 … 255.
_SYMMETRIC = {"mean": [0.5, 0.5, 0.5], "std": [128 / 255, 128 / 255, 128 / 255]}
FACENET_PREPROCESSING = {"size": 160, "crop": "mtcnn_box", **_SYMMETRIC}
MOBILEFACENET_PREPROCESSING = {"size": mobilefacenet.IMAGE_SIZE, "crop": "arcface5", **_SYMMETRIC}


@dataclass(frozen=True)
class WeightFile:
    """A published file: its name in the cache folder, its address, its Hugging Face repository if it has one."""

    name: str
    url: str
    repository: str | None = None


def known_weights(backbone: str) -> dict[str, WeightFile]:
    """Name → file of the published weights for a backbone; empty if there are none."""
    if backbone == "inception_resnet_v1":
        return {name: WeightFile(file, _FACENET_URL + file) for name, file in _FACENET_FILES.items()}
    if backbone.startswith("efficientnet_"):
        url = efficientnet_urls[backbone.replace("_", "-")]
        return {"imagenet": WeightFile(url.rsplit("/", 1)[1], url)}
    if not _timm_name(backbone):
        return {}
    import timm

    config = timm.get_pretrained_cfg(_timm_name(backbone))
    if config is None or not config.hf_hub_id:
        return {}
    repository = config.hf_hub_id
    url = f"https://huggingface.co/{repository}/resolve/main/model.safetensors"
    return {"imagenet": WeightFile(f"{repository.rsplit('/', 1)[-1]}.safetensors", url, repository)}


def weights_preprocessing(backbone: str, pretrained: str) -> dict | None:
    """The input that the weights expect: dict {"size", "crop", "mean", "std"}, or None: no constraint.

    A run of this project carries its own. None for weights of general images (``imagenet``), which bind no face crop
    and are trained on anyway, and for a local file of InceptionResNetV1 under a name that is not one of
    facenet-pytorch's.
    """
    check_backbone(backbone)
    if pretrained == NONE:
        return None
    own = own_checkpoint(pretrained)
    if own is not None:
        return dict(own["preprocessing"])
    if backbone == "mobilefacenet":
        return dict(MOBILEFACENET_PREPROCESSING)
    if backbone == "inception_resnet_v1" and (
        pretrained in _FACENET_FILES or Path(pretrained).name in _FACENET_FILES.values()
    ):
        return dict(FACENET_PREPROCESSING)
    return None


def find_weights(backbone: str, pretrained: str) -> Path:
    """The local file for a known name (downloaded on the first use), a path, or a run folder (its best.pt).

    Raises InputError if there is no such name and no such file, and where a download fails.
    """
    known = known_weights(backbone)
    if pretrained in known:
        return _cached(known[pretrained]) or _download(known[pretrained], backbone)
    path = find_checkpoint(Path(pretrained))
    if not path.is_file():
        names = ", ".join([NONE, *known])
        raise InputError(
            f"pretrained {pretrained!r} for {backbone} is neither an existing file or run folder nor one of: {names}"
        )
    return path


def own_checkpoint(pretrained: str) -> dict | None:
    """The content of a run folder's best.pt or of a checkpoint of this project; None for anything else.

    Raises InputError for a run folder without a readable best.pt.
    """
    path = Path(pretrained)
    if path.is_dir():
        return load_network(find_checkpoint(path))
    try:
        return load_network(path)
    except InputError:
        return None


def load_pretrained(embedder: FaceEmbedder, backbone: str, path: Path) -> None:
    """Put the weights of a published file, one in the same format, or a run of this project into a fresh embedder.

    Raises InputError for a damaged file and for one that does not fit.
    """
    own = own_checkpoint(str(path))
    if own is not None:
        require_finite(own["model"], str(path))
        load_state(embedder, own["model"], str(path))
        return
    state = read_state(path)
    require_finite(state, str(path))
    optional: tuple[str, ...] = ("pooling.", "neck.")
    if backbone == "mobilefacenet":
        state, optional = mobilefacenet.from_mxnet(state), ()
    elif backbone == "inception_resnet_v1":
        state, optional = from_facenet(state), ("pooling.",)
    elif _timm_name(backbone):
        classifier = embedder.backbone.net.pretrained_cfg.get("classifier") or ()
        names = (classifier,) if isinstance(classifier, str) else classifier
        state = _under(state, "backbone.net.", dropped=tuple(f"{name}." for name in names))
    else:
        state = _under(state, "backbone.net.", dropped=("_fc.",))
    load_state(embedder, state, str(path), optional=optional)


def read_state(path: Path) -> dict[str, Tensor]:
    """The named tensors of a .safetensors file or of a torch file; no code from the file is run.

    Raises InputError if the file is damaged or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            if is_zipfile(path):
                refuse_bomb(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = type(error).__name__
        raise InputError(
            f"can't read weights from {path} ({reason}): damaged or no weight file; get it again, or if it is a "
            "training's checkpoint, bring it in with python -m models.import_original"
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(
            f"{path} holds no state dict (names and tensors alone); give a file of weights, or bring a training's "
            "checkpoint in with python -m models.import_original"
        )
    return dict(state)


def _timm_name(backbone: str) -> str | None:
    if backbone == "seresnext101":
        return SERESNEXT101
    return backbone.removeprefix(TIMM_PREFIX) if backbone.startswith(TIMM_PREFIX) else None


def _under(state: dict[str, Tensor], prefix: str, dropped: tuple[str, ...]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items() if not key.startswith(dropped)}


def from_facenet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """facenet-pytorch's names: last_linear and last_bn are our neck, the classifier behind them is dropped."""
    neck = {"last_linear.": "neck.linear.", "last_bn.": "neck.norm."}
    renamed = _under(state, "backbone.", dropped=("logits.", *neck))
    for theirs, ours in neck.items():
        renamed |= {ours + key.removeprefix(theirs): v for key, v in state.items() if key.startswith(theirs)}
    return renamed


def _cache_folders() -> tuple[Path, Path]:
    """torch.hub's, where downloads go, and the one facenet-pytorch itself uses."""
    from facenet_pytorch.models.inception_resnet_v1 import get_torch_home

    return Path(torch.hub.get_dir()) / "checkpoints", Path(get_torch_home()) / "checkpoints"


def _cached(file: WeightFile) -> Path | None:
    for folder in _cache_folders():
        if (folder / file.name).is_file():
            return folder / file.name
    found = try_to_load_from_cache(file.repository, "model.safetensors") if file.repository else None
    return Path(found) if isinstance(found, str) else None


def _download(file: WeightFile, backbone: str) -> Path:
    target = _cache_folders()[0] / file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(file.url, str(target))
    except OSError as error:  # urllib's errors are OSErrors
        raise InputError(
            f"the weights {file.name} for {backbone} are not here and can't be downloaded ({error}); "
            f"get them from {file.url} and put them at {target}"
        ) from None
    return target
