"""How small may a face be? Measured on evaluation faces that are made as small as far-away ones in a photograph are."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from data.transforms import Crop, box_side
from eval.embed import embed
from eval.evaluators import PairEvaluator
from eval.metrics.distances import all_distances
from eval.metrics.evaluation import Pairs
from runtime.checkpoints.file import load_checkpoint, load_state, save_checkpoint
from runtime.devices import unwrap
from runtime.processes.distributed import is_first
from runtime.run_folder import RunFolder

# Sides in pixels of a face's box in a photograph, the large ones first. At 20 data.prepare takes no face any more.
SIDES = (60, 48, 40, 32, 24, 20)
# A size is small enough to harm where strangers are accepted more than MOST_TIMES as often as on whole faces, and by
# more than MOST_ADDED: of some thousands of pairs fewer are chance.
MOST_TIMES, MOST_ADDED = 1.5, 0.001
# All pairs of two people among so many images are some 4,500. In the demo, six minutes on two slow cores, they take 1
# to 2 % of the time.
_MOST_IMAGES = 96
_BATCH = 64


@dataclass(frozen=True)
class LeastFace:
    """The smallest ``side`` in pixels of a face's box that a network can use, and ``false_matches``: side → share of
    pairs of two people within the threshold, for the whole face and each smaller side that was tried."""

    side: int
    false_matches: dict[int, float]

    def content(self) -> dict:
        """What a checkpoint holds of it."""
        shares = {str(side): share for side, share in self.false_matches.items()}
        return {"least_face": self.side, "false_matches_by_side": shares}

    def __str__(self) -> str:
        shares = ", ".join(f"{share:.2%} at {side}" for side, share in self.false_matches.items())
        return f"smallest usable face: {self.side} px (false match rate by face size in px: {shares})"


def store_least_face(run: RunFolder, model: nn.Module, evaluator: PairEvaluator, crop: Crop) -> None:
    """Measure the smallest face of the run's best checkpoint at its threshold, store it there, and print it.

    ``model`` takes the checkpoint's weights; ``evaluator`` has the evaluation pairs. Without a checkpoint (stopped in
    the first epoch), or where the evaluation faces are of one person, nothing is stored.
    """
    if not is_first() or not run.best.is_file():
        return
    checkpoint = load_checkpoint(run.best)
    model = unwrap(model)
    load_state(model, checkpoint["model"], str(run.best))
    found = measure_least_face(model, evaluator, checkpoint["threshold"], crop)
    if found is not None:
        save_checkpoint(run.best, {k: v for k, v in checkpoint.items() if k != "format"} | found.content())
        print(found)


def measure_least_face(model: nn.Module, evaluator: PairEvaluator, threshold: float, crop: Crop) -> LeastFace | None:
    """The smallest of SIDES at which, as at all larger ones, strangers are hardly accepted more often than on whole
    faces (MOST_TIMES, MOST_ADDED). None without two people.

    All pairs of two people among up to 96 of the evaluation images count, both faces of a pair equally small.
    """
    rows, people = _images(evaluator.pairs)
    faces = evaluator.loader.faces(rows)
    readable = faces.any(axis=(1, 2, 3))
    faces, people = faces[readable], people[readable]
    if len(np.unique(people)) < 2:
        return None

    def false_matches(shown: np.ndarray) -> float:
        batches = torch.from_numpy(shown).split(_BATCH)
        options = {"device": evaluator.device, "normalise": evaluator.normalise, "mirror": evaluator.mirror}
        distances = all_distances(embed(model, batches, **options))
        return float((distances <= threshold)[people[:, None] != people].mean())

    whole = round(box_side(faces.shape[1], crop))
    least, found = whole, {whole: false_matches(faces)}
    for side in (side for side in SIDES if side < whole):
        found[side] = false_matches(shrunk(faces, side / whole))
        if found[side] > max(MOST_TIMES * found[whole], found[whole] + MOST_ADDED):
            break
        least = side
    return LeastFace(least, found)


def shrunk(faces: np.ndarray, factor: float) -> np.ndarray:
    """Aligned faces uint8 (N, S, S, 3) as if their photographs had been ``factor`` times as large: made small, and
    enlarged again as the alignment does it."""
    size = faces.shape[1]
    side = max(1, round(size * factor))
    small = (cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in faces)
    return np.stack([cv2.resize(face, (size, size), interpolation=cv2.INTER_LINEAR) for face in small])


def _images(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Rows of up to 96 images of the list, drawn one a person in turn, and whose they are: int64 (M,) twice."""
    images, first = np.unique(np.concatenate([pairs.left, pairs.right]), return_index=True)
    people = np.concatenate([pairs.people[:, 0], pairs.people[:, 1]])[first]
    order = np.random.default_rng(0).permutation(len(images))
    times = np.zeros(people.max() + 1, dtype=np.int64)
    turns = np.empty(len(images), dtype=np.int64)
    for row in order:
        turns[row] = times[people[row]]
        times[people[row]] += 1
    chosen = order[np.argsort(turns[order], kind="stable")][:_MOST_IMAGES]
    return images[chosen], people[chosen]
