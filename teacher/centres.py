"""Class centres that start where the pre-trained network sees each identity: fine-tuning then keeps what it knows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.faces import FaceData
from data.tables.images import Images
from eval.evaluators import embed_images
from losses import ArcFaceLoss
from models.trained_model import TrainedModel
from models.weights.pretrained import open_pretrained
from runtime.devices import unwrap
from runtime.errors import InputError
from runtime.text_lines import text_lines
from runtime.training.state import TrainingState

# Embeddings in memory at once: half a gigabyte at 512 values.
_FACES_AT_ONCE = 2**18


def start_centres(state: TrainingState, faces: FaceData) -> None:
    """Put the class centres of a run that has not begun yet where ``centres_from`` says; each has length 1.

    ``means``: with k sub-centres an identity's faces are dealt out to k groups in the order of the CSV, and each
    sub-centre starts at the mean of its group; one without a face, at the mean of the identity. Unreadable faces are
    left out; raises InputError for an identity that has no other. A list of identities: see ``centres_of_file``; all
    sub-centres of an identity start at its centre.
    """
    source = state.settings.centres_from
    if source == "random" or any(state.position):
        return
    criterion = next(module for module in state.criterion.modules() if isinstance(module, ArcFaceLoss))
    if source == "means":
        centres = _means(state, faces, criterion.sub_centres)
    elif not Path(source).is_file():
        raise InputError(f"centres_from {source}: no such file; choose random, means, or a text file of identities")
    else:
        _, network = open_pretrained(state.settings.backbone, state.settings.pretrained)
        own = centres_of_file(network.class_centres, Path(source), faces.train.names, state.settings.pretrained)
        centres = own.repeat_interleave(criterion.sub_centres, dim=0)
    criterion.start_centres_at(F.normalize(centres, dim=1))


def centres_of_file(centres: Tensor | None, listed: Path, names: Sequence[str], weights: str) -> Tensor:
    """The rows of ``centres`` (C, D), whose identities a text file lists one per line, that belong to ``names``.

    Raises InputError: ``weights`` have no class centres, the numbers differ, or an identity is not in the list, or
    twice.
    """
    if centres is None:
        raise InputError(f"{weights} contains no class centres; set centres_from to means")
    identities = [name for _, name in text_lines(listed)]
    if len(identities) != len(centres):
        raise InputError(
            f"{listed} lists {len(identities):,} identities, but {weights} has {len(centres):,} class centres; "
            "give the list that belongs to it, or set centres_from to means"
        )
    row = {name.strip(): number for number, name in enumerate(identities)}
    if len(row) < len(identities):
        twice = next(name for number, name in enumerate(identities) if row[name.strip()] != number)
        raise InputError(f"{listed} lists {twice.strip()} twice; give each class centre an identity of its own")
    missing = [name for name in names if str(name) not in row]
    if missing:
        raise InputError(
            f"{listed} lacks {len(missing)} of the {len(names)} training identities (first: {missing[0]}); use the "
            "same names, or set centres_from to means"
        )
    return centres[[row[str(name)] for name in names]].float()


def _means(state: TrainingState, faces: FaceData, each: int) -> Tensor:
    """(C · ``each``, D): the mean, of any length, of each identity's groups of faces."""
    people = len(faces.train.names)
    rows = dealt_out(faces.train.named_targets, each)
    sums = _sums_of_rows(state, faces, rows, people * each).unflatten(0, (people, each))
    lost = (sums == 0).all(2).all(1).nonzero()
    if len(lost):
        raise InputError(f"no face of {faces.train.names[lost[0]]} can be read; leave it out of the training CSV")
    empty = (sums == 0).all(2, keepdim=True)
    return torch.where(empty, sums.sum(1, keepdim=True), sums).flatten(0, 1)


def dealt_out(targets: np.ndarray, each: int) -> np.ndarray:
    """The row of the class centres, of which an identity has ``each``, that every face (N,) counts for: int64 (N,)."""
    order = np.argsort(targets, kind="stable")
    ordered = targets[order]
    turn = np.empty_like(order)
    turn[order] = np.arange(len(targets)) - np.searchsorted(ordered, ordered)
    return targets * each + turn % each


def _sums_of_rows(state: TrainingState, faces: FaceData, rows: np.ndarray, count: int) -> Tensor:
    """Float32 (count, D): of each row of the class centres the sum of its faces' embeddings."""
    network, images = unwrap(state.model), faces.train_images
    name = state.settings.pretrained
    opened = TrainedModel(name, network, faces.preprocessing.to_dict(), threshold=None, threshold_source=None)
    sums = torch.zeros(count, state.settings.embedding_size)
    for start in range(0, len(rows), _FACES_AT_ONCE):
        some = np.arange(start, min(start + _FACES_AT_ONCE, len(rows)))
        part = Images(images.root, images.paths.take(some), images.packs)
        options = {"device": state.precision.device, "gpus": state.settings.gpus, "mirror": False}
        embeddings, loader = embed_images(opened, part, **options, title="class centres")
        readable = np.setdiff1d(np.arange(len(some)), np.fromiter(loader.unreadable, dtype=np.int64))
        sums.index_add_(0, torch.from_numpy(rows[some[readable]]), torch.from_numpy(embeddings[readable]))
    return sums
