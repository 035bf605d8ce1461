"""How far a trained network's points are off on people it has never seen, by kind of mask."""

import numpy as np
import torch

from data.alignment.align import eye_distance
from data.alignment.landmark_network import LandmarkNetwork
from data.landmarks.hide import natural_face
from data.landmarks.teacher import Taught
from data.masks.render import MASK_KINDS

_PARTS = {"eyes": [0, 1], "nose": [2], "mouth": [3, 4]}
_MOST_FACES = 600


@torch.inference_mode()
def held_out_errors(network: LandmarkNetwork, taught: Taught) -> dict[str, dict[str, float]]:
    """Kind of mask ("bare" among them) → eyes, nose, mouth → median error, as a share of the eyes' distance in an
    upright frontal face. From one look at coarse crops that are off as a detector's are."""
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(taught.held_out)[:_MOST_FACES]
    table = {}
    for kind in ("", *MASK_KINDS):
        faces = [natural_face(taught.crops[row], taught.landmarks[row], rng, kind) for row in rows]
        crops, truth = (np.stack(values) for values in zip(*faces, strict=True))
        found = torch.cat([network(part).landmarks for part in torch.from_numpy(crops).split(64)]).numpy()
        off = np.linalg.norm(found - truth, axis=-1) / np.array([eye_distance(points) for points in truth])[:, None]
        table[kind or "bare"] = {name: round(float(np.median(off[:, part])), 4) for name, part in _PARTS.items()}
    return table
