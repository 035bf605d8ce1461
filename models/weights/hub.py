"""Weights by their name on the Hugging Face Hub: ``hf:OWNER/NAME[/FILE][@REVISION]``."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from huggingface_hub import (
    _CACHED_NO_EXIST,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    list_repo_files,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import logging

from runtime.errors import InputError

PREFIX = "hf:"
_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:/([^@]+))?(?:@([\w./-]+))?")
_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
# Beside CVLface's weights one of these says whether they take BGR.
_CONFIGS = ("config.json", "model.yaml")
# What downloads raise: no network, no such repository or revision, an access that must be asked for.
_FAILED = (HfHubHTTPError, EntryNotFoundError, OSError, ValueError)


@dataclass(frozen=True)
class HubFile:
    """A file of a repository."""

    repository: str
    file: str
    revision: str

    @classmethod
    def named(cls, name: str) -> "HubFile":
        """Without a file model.safetensors, without a revision main. Raises InputError for a name of another form."""
        match = _NAME.fullmatch(name)
        if match is None or ".." in PurePosixPath(name).parts:
            raise InputError(f"{name} is no name on the Hugging Face Hub; they are hf:OWNER/NAME[/FILE][@REVISION]")
        return cls(match[1], match[2] or "model.safetensors", match[3] or "main")

    @property
    def put_at(self) -> Path:
        """Where the file is looked for first: it may be brought there by hand."""
        return Path(torch.hub.get_dir()) / "checkpoints" / "hf" / self.repository / self.revision / self.file

    def __str__(self) -> str:
        return f"https://huggingface.co/{self.repository}/resolve/{self.revision}/{self.file}"


def fetch(name: str) -> Path:
    """The local file, downloaded into the cache of huggingface_hub on the first use.

    Raises InputError if it is not here and can't be downloaded: which file, and where to put it.
    """
    wanted = HubFile.named(name)
    if wanted.put_at.is_file():
        return wanted.put_at
    try:
        with _quiet():
            path = _download(wanted, wanted.file)
            for config in _CONFIGS:
                _download_if_there(wanted, str(PurePosixPath(wanted.file).with_name(config)))
    except Exception as error:  # of the library for HTTP that huggingface_hub uses, another one in each generation
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise InputError(f"{wanted.repository} has no {wanted.file}; {_files(wanted)}") from None
        raise InputError(
            f"{name} is not here and can't be downloaded ({type(error).__name__}); get {wanted} and put it at "
            f"{wanted.put_at}, with {' or '.join(_CONFIGS)} beside it if the repository has one"
        ) from None
    return path


def revision_of(path: Path) -> str | None:
    """The commit that a downloaded file is of; None for a file from elsewhere."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-2] else None


def _download(wanted: HubFile, file: str) -> Path:
    if try_to_load_from_cache(wanted.repository, file, revision=wanted.revision) is None:
        # Fails at once without a network, for which hf_hub_download would wait half a minute. That there is no such
        # file is left to hf_hub_download, which remembers it.
        with suppress(EntryNotFoundError):
            get_hf_file_metadata(hf_hub_url(wanted.repository, file, revision=wanted.revision))
    return Path(hf_hub_download(wanted.repository, file, revision=wanted.revision))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without huggingface_hub's own lines about a network that is not there: the error says it in one."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _download_if_there(wanted: HubFile, file: str) -> None:
    if try_to_load_from_cache(wanted.repository, file, revision=wanted.revision) is _CACHED_NO_EXIST:
        return  # an earlier download was told so, and there may be no network now
    try:
        _download(wanted, file)
    except LocalEntryNotFoundError:  # no network: the colours would be guessed
        raise
    except EntryNotFoundError:
        pass


def _files(wanted: HubFile) -> str:
    """What to do instead."""
    try:
        found = list_repo_files(wanted.repository, revision=wanted.revision)
    except _FAILED:
        found = []
    weights = [file for file in found if file.endswith(_SUFFIXES)]
    return f"it has {', '.join(weights[:5])}" if weights else f"name another as hf:{wanted.repository}/FILE"
