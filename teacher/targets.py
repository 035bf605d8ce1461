"""The targets of distillation: a trained network's embeddings of the training faces without masks."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.settings import Settings
from data.faces import FaceData
from data.tables.images import Images
from data.tables.train_csv import UNNAMED, FaceTable
from eval.evaluators import embed_images
from models.trained_model import TrainedModel, network_digest, open_model
from models.weights.known import find_weights
from runtime.devices import pick_device
from runtime.errors import InputError
from runtime.files import write_file
from runtime.processes.distributed import from_first, is_first
from teacher.distillation import Distillation

# Faces whose size in bytes tells whether they are still the same; of all, a network disk would take minutes.
_SIZES_COMPARED = 1000
# Faces whose targets are in float32 at once: 134 MB at 512 values, several times over.
_FACES_AT_ONCE = 2**16


def beside_teacher(objective: nn.Module, faces: FaceData, settings: Settings) -> nn.Module:
    """The objective with the teacher that the settings name beside it; the objective itself where they name none.

    Raises InputError as ``teacher_embeddings`` and ``Distillation`` do.
    """
    if not settings.teacher:
        return objective
    embeddings = teacher_embeddings(
        settings.teacher,
        faces.train,
        faces.train_images,
        mean_share=settings.teacher_mean_share,
        crop=settings.crop,
        device=settings.device,
        gpus=settings.gpus,
    )
    targets = torch.from_numpy(faces.train.targets)
    return Distillation(
        objective, targets, embeddings, share=settings.teacher_share, embedding_size=settings.embedding_size
    )


def teacher_embeddings(
    name: str,
    faces: FaceTable,
    images: Images,
    *,
    mean_share: float,
    crop: str,
    device: str,
    gpus: Sequence[int] = (),
) -> Tensor:
    """The teacher's target for every training face, without its mask: float16 (N, D), unit rows.

    ``name``: a run folder or checkpoint (``models.import_weights`` makes one of published weights), or anybody's ONNX
    file. A plain face has its own embedding (its mirror averaged in), into which ``mean_share`` of its person's mean is
    mixed; a masked one, whose plain photograph may not exist, has that mean alone; one without a name, its own
    embedding alone. Embeddings are kept beside the teacher's file, so that each is computed once for all runs.

    Raises InputError: no such model, one that needs another crop than the faces', a person without a plain face, a
    masked face without a name, or faces that can't be read.
    """
    teacher = open_model(name)
    needed = teacher.preprocessing["crop"]
    if needed != crop:
        raise InputError(f"the teacher {name} needs {needed} crops, but the faces are {crop} crops")
    plain = np.arange(len(faces.targets)) if faces.masked is None else np.flatnonzero(~faces.masked)
    _refuse_people_without_plain_face(faces, plain)
    _refuse_masked_without_name(faces)
    kept = from_first(_file_for(name, images, plain) if is_first() else None)
    if not from_first(kept.is_file()):
        _keep(kept, _embed_plain(teacher, images, plain, device, gpus))
    own = from_first(safetensors.torch.load_file(kept)["embeddings"] if is_first() else None)
    return _with_means_of_people(own, plain, faces, mean_share)


def _embed_plain(teacher: TrainedModel, images: Images, plain: np.ndarray, device: str, gpus: Sequence[int]) -> Tensor:
    """Float32 (plain faces, D). Of several processes each embeds a part."""
    of_plain = Images(images.root, images.paths.take(plain), images.packs)
    where = {"device": pick_device(device, gpus), "gpus": gpus}
    own, loader = embed_images(teacher, of_plain, **where, mirror=True, title="teacher")
    unreadable = loader.unreadable
    if unreadable:
        raise InputError(
            f"{len(unreadable)} training faces can't be read (first: {of_plain.name(min(unreadable))}), so that the "
            "teacher can't see them; leave them out of the training CSV"
        )
    return torch.from_numpy(own)


def _keep(path: Path, embeddings: Tensor) -> None:
    if is_first():
        content = safetensors.torch.save({"embeddings": embeddings.half()})
        write_file(path, content, then="make room, or copy the teacher to where it can be written")


def _with_means_of_people(own: Tensor, plain: np.ndarray, faces: FaceTable, mean_share: float) -> Tensor:
    """In float32 a part at a time: the whole table in it, several times over, would be tens of gigabytes."""
    people, rows = torch.from_numpy(faces.targets), torch.from_numpy(plain)
    # The last row, which UNNAMED picks, takes the faces without a name; they have no mean.
    sums = torch.zeros(len(faces.names) + 1, own.shape[1])
    for some, embeddings in zip(rows.split(_FACES_AT_ONCE), own.split(_FACES_AT_ONCE), strict=True):
        sums.index_add_(0, people[some] % len(sums), embeddings.float())
    means = F.normalize(sums)
    wanted = torch.empty(len(people), own.shape[1], dtype=own.dtype)
    for part, whose in zip(wanted.split(_FACES_AT_ONCE), people.split(_FACES_AT_ONCE), strict=True):
        part.copy_(means[whose])
    for some, embeddings in zip(rows.split(_FACES_AT_ONCE), own.split(_FACES_AT_ONCE), strict=True):
        whose, alone = people[some], embeddings.float()
        mixed = (1 - mean_share) * alone + mean_share * means[whose]
        wanted[some] = F.normalize(torch.where((whose == UNNAMED)[:, None], alone, mixed)).to(own.dtype)
    return wanted


def _refuse_people_without_plain_face(faces: FaceTable, plain: np.ndarray) -> None:
    named = faces.targets[plain]
    lacking = np.flatnonzero(np.bincount(named[named != UNNAMED], minlength=len(faces.names)) == 0)
    if len(lacking):
        raise InputError(
            f"{len(lacking)} people have no plain face for the teacher to see (first: {faces.names[lacking[0]]}); "
            "leave them out of the training CSV"
        )


def _refuse_masked_without_name(faces: FaceTable) -> None:
    lost = np.flatnonzero((faces.targets == UNNAMED) & faces.masked) if faces.masked is not None else ()
    if len(lost):
        raise InputError(
            f"{len(lost)} faces without a target wear a mask (first: {faces.paths[lost[0]]}), and the teacher needs "
            "them plain; set --train-faces plain and draw masks (--mask-probability), or delete these rows"
        )


def _file_for(name: str, images: Images, plain: np.ndarray) -> Path:
    """One file for each teacher and list of faces: it is named after what both are.

    Faces that were made anew, with another alignment say, have the same paths, but not the same sizes.
    """
    digest = hashlib.sha256()
    digest.update(bytes.fromhex(network_digest(name)))
    digest.update(str(images.root.resolve()).encode())
    paths = images.paths.take(plain)
    digest.update("\n".join(paths.distinct.tolist()).encode() + paths.rows.tobytes())
    looked_at = plain[np.linspace(0, len(plain) - 1, min(len(plain), _SIZES_COMPARED)).astype(int)]
    digest.update(np.array([images.size(row) for row in looked_at]).tobytes())
    return find_weights("", name).parent / "taught" / f"{digest.hexdigest()[:16]}.safetensors"
