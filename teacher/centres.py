"""Class centres that start where the pre-trained network sees each identity: fine-tuning then keeps what it knows."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.faces import FaceData
from data.tables.images import Images
from eval.evaluators import embed_images
from losses import ArcFaceLoss
from models.trained_model import TrainedModel
from runtime.devices import unwrap
from runtime.errors import InputError
from runtime.training.state import TrainingState

# Embeddings in memory at once: half a gigabyte at 512 values.
_FACES_AT_ONCE = 2**18


def start_centres(state: TrainingState, faces: FaceData) -> None:
    """With ``centres_from = "means"``, put the class centres of a run that has not begun yet at the means.

    Every centre has length 1. With k sub-centres an identity's faces are dealt out to k groups in the order of the
    CSV, and each sub-centre starts at the mean of its group; one without a face, at the mean of the identity.
    Unreadable faces are left out; raises InputError for an identity that has no other.
    """
    if state.settings.centres_from != "means" or any(state.position):
        return
    criterion = next(module for module in state.criterion.modules() if isinstance(module, ArcFaceLoss))
    each, people = criterion.sub_centres, len(faces.train.names)
    sums = _sums_of_rows(state, faces, dealt_out(faces.train.named_targets, each), people * each).unflatten(
        0, (people, each)
    )
    lost = (sums == 0).all(2).all(1).nonzero()
    if len(lost):
        raise InputError(f"no face of {faces.train.names[lost[0]]} can be read; leave it out of the training CSV")
    empty = (sums == 0).all(2, keepdim=True)
    sums = torch.where(empty, sums.sum(1, keepdim=True), sums)
    criterion.start_centres_at(F.normalize(sums, dim=2).flatten(0, 1))


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
        embeddings, loader = embed_images(
            opened, part, device=state.precision.device, mirror=False, title="class centres"
        )
        readable = np.setdiff1d(np.arange(len(some)), np.fromiter(loader.unreadable, dtype=np.int64))
        sums.index_add_(0, torch.from_numpy(rows[some[readable]]), torch.from_numpy(embeddings[readable]))
    return sums
