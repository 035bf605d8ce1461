"""Lists of pairs and of images with a trained network: opened, and every distinct image embedded once."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from configs.settings import Settings
from data.alignment.alignment import Alignment
from data.datasets import ImageLoader
from data.faces import FaceData, alignment_of, open_pairs
from data.tables.images import Images
from data.transforms import Preprocessing
from eval.embed import embed
from eval.metrics.distances import pair_distances
from eval.metrics.evaluation import Pairs
from eval.text import counted
from models.trained_model import TrainedModel
from runtime.devices import loader_workers, to_device
from runtime.errors import InputError, in_one_line
from runtime.processes.distributed import failing_together, from_all, gather_rows, is_first, ranks
from runtime.processes.watched_loader import DataLost

_BATCH = 128


class PairEvaluator:
    """One list of pairs, evaluated with any model: every distinct image is embedded once.

    ``loader`` gives the N distinct images in order as uint8 batches (B, H, W, 3), and afterwards the indices of
    those it could not read in ``unreadable``; ``loader.faces(indices)`` gives single ones. ``pairs`` is a
    ``data.tables.pair_csv.PairTable`` or what has its fields; those with an unreadable image are left out, counted in
    ``lost_pairs`` and, with what was left out before, named in ``left_out``. ``mirror`` sums the embeddings of each
    image and its mirror. ``alignment``: how the faces were aligned, if it is known.
    """

    def __init__(
        self,
        loader,
        pairs,
        *,
        device: torch.device,
        normalise: Callable[[Tensor], Tensor],
        mirror: bool = False,
        alignment: Alignment | None = None,
    ):
        self.loader, self.pairs = loader, pairs
        self.device, self.normalise, self.mirror = device, normalise, mirror
        self.alignment = alignment
        self.lost_pairs = 0
        self.left_out = pairs.left_out

    def embed(
        self, model: nn.Module, title: str, *, lengths: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Embeddings of the distinct images: float32 (N, D); with ``lengths`` also those before normalising (N,).

        Of several processes each embeds a part.
        """
        options = {"device": self.device, "normalise": self.normalise, "mirror": self.mirror, "lengths": lengths}
        return _embed_parts(model, self.loader, title=title, **options)

    def readable_pairs(self) -> Pairs:
        """The pairs without those of unreadable images, which are counted and named.

        Raises InputError if no pair is left.
        """
        pairs = self.pairs
        unreadable = np.array(sorted(self.loader.unreadable), dtype=np.int64)
        lost = np.isin(pairs.left, unreadable) | np.isin(pairs.right, unreadable)
        self.lost_pairs = int(lost.sum())
        if self.lost_pairs:
            first = ", ".join(map(in_one_line, pairs.paths[unreadable[:10]])) + (", …" if len(unreadable) > 10 else "")
            lost_images = counted(len(unreadable), "image")
            tqdm.write(f"{lost_images} can't be read ({first}): {counted(self.lost_pairs, 'pair')} left out")
        readable = pairs.without(lost, "unreadable image")
        self.left_out = readable.left_out
        if not len(readable.same):
            raise InputError(f"not one of {counted(len(lost), 'pair')} has two readable images; make the faces again")
        return readable

    def score(self, model: nn.Module, title: str) -> tuple[np.ndarray, Pairs]:
        """Distances of the readable pairs, float64 (P,), and these pairs. Raises InputError as ``readable_pairs``."""
        embeddings, pairs = self.embed(model, title), self.readable_pairs()
        return pair_distances(embeddings, pairs.left, pairs.right), pairs


def evaluators_for(settings: Settings, faces: FaceData, device: torch.device) -> dict[str, PairEvaluator]:
    """Those of a run's pairs: "evaluation" selects the checkpoint, "test" is only ever reported on."""
    workers = loader_workers(settings.workers, device, settings.gpus)
    return {
        name: PairEvaluator(
            ImageLoader(
                images,
                faces.preprocessing.size,
                batch_size=_BATCH,
                workers=workers,
                timeout_minutes=settings.data_timeout_minutes,
            ),
            pairs,
            device=device,
            normalise=faces.preprocessing.normalise,
            mirror=settings.mirror,
            alignment=alignment_of(images),
        )
        for name, pairs, images in (
            ("evaluation", faces.evaluation, faces.evaluation_images),
            ("test", faces.test, faces.test_images),
        )
    }


def open_pair_evaluator(
    opened: TrainedModel,
    root: Path,
    csvs: Sequence[str],
    *,
    device: torch.device,
    path_prefix: str = "",
    mirror: bool = False,
    workers: int = -1,
    batch_size: int = _BATCH,
) -> PairEvaluator:
    """The pairs of CSVs or packs, cropped and normalised as the model needs them.

    ``csvs`` are names under ``root`` or in the working folder (see ``named_here``). The mirror is used if it is asked
    for here or the model's threshold was chosen with it. Raises InputError as ``data.faces.open_pairs``: a table
    that is not as it should be, more than a few missing images, faces of another crop.
    """
    needed = Preprocessing.from_dict(opened.preprocessing)
    pairs, images = open_pairs(root, tuple(csvs), path_prefix, needed.crop, needed.alignment)
    loader = ImageLoader(images, needed.size, batch_size=batch_size, workers=loader_workers(workers, device))
    mirror = mirror or opened.mirror
    return PairEvaluator(
        loader, pairs, device=device, normalise=needed.normalise, mirror=mirror, alignment=alignment_of(images)
    )


def named_here(csvs: Iterable[Path]) -> tuple[str, ...]:
    """The CSVs of a command line: those of the working folder come before files of the same name under the root."""
    return tuple(str(csv.absolute() if csv.is_file() else csv) for csv in csvs)


def embed_images(
    opened: TrainedModel,
    images: Images,
    *,
    device: torch.device,
    gpus: Sequence[int] = (),
    mirror: bool,
    title: str,
) -> tuple[np.ndarray, ImageLoader]:
    """Embeddings of a list of images, float32 (N, D), and its loader.

    The loader knows the ``unreadable`` ones and gives single ``faces``. It is split over ``gpus`` (empty: all visible);
    of several processes each embeds a part.
    """
    needed = Preprocessing.from_dict(opened.preprocessing)
    loader = ImageLoader(images, needed.size, batch_size=_BATCH, workers=loader_workers(-1, device, gpus))
    model = opened.model.to(device, memory_format=torch.channels_last)
    # With several processes each has a part of the images, and there are no gradients to sum.
    model = to_device(model, device, gpus) if ranks() == 1 else model
    embeddings = _embed_parts(model, loader, device=device, normalise=needed.normalise, mirror=mirror, title=title)
    return embeddings, loader


def _embed_parts(
    model: nn.Module, loader, *, title: str, lengths: bool = False, **options: object
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """``embed`` with each process's part of the loader: all rows, and all unreadable images, in every process."""
    with failing_together(DataLost):
        own = embed(model, loader, progress=title if is_first() else None, lengths=lengths, **options)
    loader.unreadable = set().union(*from_all(loader.unreadable))
    rows = gather_rows(*map(torch.from_numpy, own if lengths else [own]))
    return tuple(part.numpy() for part in rows) if lengths else rows[0].numpy()
