"""A list of pairs with its images, ready to be evaluated with any model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from data.datasets import image_loader
from data.faces import check_card
from data.tables.card import read_dataset_card
from data.tables.pair_csv import read_pair_csvs
from data.tables.paths import require_files
from eval.embed import embed
from eval.metrics.distances import pair_distances
from eval.metrics.evaluation import Pairs
from eval.text import counted
from models.trained_model import TrainedModel
from runtime.devices import loader_workers, pick_device, to_device
from runtime.errors import InputError, in_one_line
from runtime.processes.distributed import from_all, gather_rows, is_first


class PairEvaluator:
    """One list of pairs, evaluated with any model: every distinct image is embedded once.

    ``loader`` gives the N distinct images in order as uint8 batches (B, H, W, 3), and afterwards the indices of
    those it could not read in ``unreadable``; ``loader.faces(indices)`` gives single ones. ``pairs`` is a
    ``data.tables.PairTable`` or what has its fields; those with an unreadable image are left out, counted in
    ``lost_pairs`` and, with what was left out before, named in ``left_out``. ``mirror`` sums the embeddings of each
    image and its mirror.
    """

    def __init__(
        self, loader, pairs, *, device: torch.device, normalise: Callable[[Tensor], Tensor], mirror: bool = False
    ):
        self.loader, self.pairs = loader, pairs
        self.device, self.normalise, self.mirror = device, normalise, mirror
        self.lost_pairs = 0
        self.left_out = pairs.left_out

    def embed(self, model: nn.Module, title: str) -> np.ndarray:
        """Embeddings of the distinct images: float32 (N, D). Of several processes each embeds a part."""
        progress = title if is_first() else None
        own = embed(
            model, self.loader, device=self.device, normalise=self.normalise, mirror=self.mirror, progress=progress
        )
        self.loader.unreadable = set().union(*from_all(self.loader.unreadable))
        return gather_rows(torch.from_numpy(own))[0].numpy()

    def readable_pairs(self) -> Pairs:
        """The pairs without those of unreadable images, which are counted and named."""
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
        return readable


def score_pairs(
    opened: TrainedModel, csvs: Sequence[Path], root: Path, *, path_prefix: str = "", device: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Distances float64 (P,) and same bool (P,) of the readable pairs of pair CSVs.

    Raises InputError: a CSV that is not as it should be, missing images, another crop than the model's, and where
    not one pair can be read.
    """
    check_card(read_dataset_card(root), root, opened.preprocessing.crop)
    pairs = read_pair_csvs(csvs, path_prefix)
    require_files(root, pairs.paths, ", ".join(map(str, csvs)))
    where = pick_device(device)
    loader = image_loader(
        root, pairs.paths, opened.preprocessing.size, batch_size=64, workers=loader_workers(-1, where)
    )
    embeddings = embed(
        to_device(opened.model, where),
        loader,
        device=where,
        normalise=opened.preprocessing.normalise,
        mirror=opened.mirror,
        progress="embedding",
    )
    unreadable = list(loader.unreadable)
    kept = ~(np.isin(pairs.left, unreadable) | np.isin(pairs.right, unreadable))
    if not kept.any():
        raise InputError(f"{', '.join(map(str, csvs))}: not one pair has two readable images")
    if not kept.all():
        print(f"{(~kept).sum()} pairs are left out: an image of theirs can't be read")
    return pair_distances(embeddings, pairs.left[kept], pairs.right[kept]), pairs.same[kept]
