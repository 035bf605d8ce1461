"""Weights that others trained and that have a name here: which files, and where they lie."""

from dataclasses import dataclass
from pathlib import Path

import torch
from efficientnet_pytorch.utils import url_map as efficientnet_urls
from huggingface_hub import try_to_load_from_cache

from models.backbones.by_name import SERESNEXT101
from models.backbones.timm_networks import TIMM_PREFIX
from models.weights.hub import PREFIX, fetch
from runtime.checkpoints.file import find_checkpoint
from runtime.errors import InputError

NONE = "none"

_FACENET_URL = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
FACENET_FILES = {
    "vggface2": "20180402-114759-vggface2.pt",
    "casia-webface": "20180408-102900-casia-webface.pt",
}


@dataclass(frozen=True)
class WeightFile:
    """A published file: its name in the cache folder, its address, its Hugging Face repository if it has one."""

    name: str
    url: str
    repository: str | None = None


def known_weights(backbone: str) -> dict[str, WeightFile]:
    """Name → file of the published weights for a backbone; empty if there are none."""
    if backbone == "inception_resnet_v1":
        return {name: WeightFile(file, _FACENET_URL + file) for name, file in FACENET_FILES.items()}
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


def find_weights(backbone: str, pretrained: str) -> Path:
    """The local file for a known name or one of the Hub (downloaded on the first use), a path, or a run folder (its
    best.pt).

    Raises InputError if there is no such name and no such file, and where a download fails.
    """
    if pretrained.startswith(PREFIX):
        return fetch(pretrained)
    known = known_weights(backbone)
    if pretrained in known:
        return _cached(known[pretrained]) or _download(known[pretrained], backbone)
    path = find_checkpoint(Path(pretrained))
    if Path(pretrained).is_dir() and not path.is_file():
        raise InputError(f"{pretrained} has no {path.name}; let the run finish an epoch, or name another start")
    if not path.is_file():
        names = ", ".join([NONE, *known])
        raise InputError(
            f"pretrained {pretrained!r} for {backbone} is neither an existing file or run folder nor one of: {names}"
        )
    return path


def _timm_name(backbone: str) -> str | None:
    if backbone == "seresnext101":
        return SERESNEXT101
    return backbone.removeprefix(TIMM_PREFIX) if backbone.startswith(TIMM_PREFIX) else None


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
