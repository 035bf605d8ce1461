"""The whole training: the teacher's faces, the steps, the figures on held-out people, the trained file and its card."""

import cv2
import torch
from safetensors.torch import save

from data.alignment.landmark_network import LandmarkNetwork
from data.landmarks.figures import held_out_errors
from data.landmarks.fit import fit
from data.landmarks.settings import LandmarkSettings
from data.landmarks.teacher import Taught, teach
from runtime.devices import available_cores
from runtime.errors import InputError
from runtime.files import require_writable, write_file, write_json

LICENCE = (
    "For research only, not under the project's MIT licence: trained on photographs of people who did not agree to it. "
    "It holds no face and no embedding of one."
)


def train(settings: LandmarkSettings) -> dict:
    """Write the trained file and its card, and return the card. Raises InputError: see ``teach`` and ``fit``, and if
    the file can't be written, before all work."""
    settings.check()
    require_writable(settings.out)
    torch.set_num_threads(max(1, available_cores() - settings.workers))
    cv2.setNumThreads(1)
    taught = teach(settings.faces, settings.cache, settings.most_of_a_person)
    if taught.held_out.all() or not taught.held_out.any():
        raise InputError("too few people: training needs some to learn from and others to test on")
    network = fit(taught, settings, settings.out.with_suffix(".pt"))
    return write_trained(network, taught, settings)


def write_trained(network: LandmarkNetwork, taught: Taught, settings: LandmarkSettings) -> dict:
    """The file in float16, and beside it the card with its figures, measured on the file as it is read back."""
    halves = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    # By way of bytes: the library's own files can be read by their owner alone.
    write_file(settings.out, save(halves))
    network.load_state_dict(halves, strict=False)
    people = [folder.resolve().name for folder in settings.faces]
    card = {
        "parameters": sum(value.numel() for value in network.parameters()),
        "trained_on": {
            "folders": people,
            "faces": int((~taught.held_out).sum()),
            **settings.made_with(),
        },
        "held_out_faces": int(taught.held_out.sum()),
        "median_error_of_eye_distance": held_out_errors(network, taught),
        "teacher": "MTCNN's points on the bare photographs",
        "licence": LICENCE,
    }
    write_json(settings.out.with_suffix(".json"), card)
    print(f"{settings.out}: {card['parameters']} parameters; figures in {settings.out.with_suffix('.json')}")
    return card
