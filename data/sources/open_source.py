"""Open a source of faces: a folder of people, InsightFace's files, or LFW from the network."""

import warnings
from pathlib import Path

from data.sources.folders import list_folder
from data.sources.recordio import list_records
from data.sources.source_file import Source
from data.sources.verification_bin import list_verification_bin
from runtime.errors import InputError

LFW = "lfw"


def open_source(name: str, person_level: int = 0) -> tuple[Path, Source]:
    """The pictures of a source, and the folder or file it is.

    ``name`` is a folder with one sub-folder per person, InsightFace's ``train.rec`` (or the folder that holds it), a
    verification ``.bin``, or ``lfw``, which is downloaded if it isn't there yet. ``person_level`` as in
    ``list_folder``. Raises InputError.
    """
    path = Path(name)
    if name == LFW and not path.exists():
        path = fetch_lfw()
    if path.is_dir() and (path / "train.rec").is_file():
        path = path / "train.rec"
    try:
        if path.is_file() and path.suffix == ".rec":
            return path, list_records(path)
        if path.is_file() and path.suffix == ".bin":
            return path, list_verification_bin(path)
        return path, list_folder(path, person_level=person_level)
    except OSError as error:
        raise InputError(f"the source {path} can't be read: {error.strerror or error}") from None


def fetch_lfw() -> Path:
    """Labeled Faces in the Wild, 250×250 pixels, as scikit-learn's fetcher keeps it (about 200 MB).

    Raises InputError if it isn't there and can't be downloaded.
    """
    from sklearn.datasets import fetch_lfw_people, get_data_home

    folder = Path(get_data_home()) / "lfw_home" / "lfw"
    try:
        with warnings.catch_warnings():
            # It warns of every attempt that failed; the last one raises.
            warnings.simplefilter("ignore")
            # The fetcher decodes what it returns: only the one person with more than 500 pictures.
            fetch_lfw_people(funneled=False, min_faces_per_person=500)
    except (OSError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"LFW can't be downloaded ({reason}); copy lfw.tgz from another machine and unpack it, so that {folder} "
            "holds one folder per person, and give that folder as the source"
        ) from None
    return folder
