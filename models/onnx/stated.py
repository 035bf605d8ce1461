"""What the metadata of an ONNX file say of the faces that it takes, and what is taken where they say nothing.

The names are those that ``models.export`` writes; whoever has a file of another origin can add them to it.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.export.formats import NO_THRESHOLD
from models.onnx.interface import Front
from runtime.checkpoints.content import ALIGNMENT
from runtime.errors import InputError
from runtime.kinds import (
    FLAG,
    NUMBER,
    POSITIVE,
    Fields,
    list_of,
    or_none,
    parse_json,
    require,
    table_of,
    whole,
)

_IN_JSON: Fields = {
    "size": whole(1, 8_192),
    "mean": list_of(NUMBER, 3),
    "std": list_of(POSITIVE, 3),
    "mirror": FLAG,
    "threshold": NUMBER,
    "thresholds": table_of(table_of(or_none(NUMBER))),
    "alignment": ALIGNMENT,
    "least_face": or_none(whole(1)),
}
_ORDERS = ("RGB", "BGR")
_CROP = "arcface5"
# A range of values that a network's first layer takes is about 2 wide, about 5 with ImageNet's normalisation.
_WIDEST = 20.0
_PIXELS = 255.0


def stated_in(metadata: Mapping[str, str], size: int, path: Path) -> dict:
    """What the metadata state under the names of ``models.export``, as plain values.

    Raises InputError for values of a wrong kind, and for another size than the graph's.
    """
    texts = {name: text for name, text in metadata.items() if name in _IN_JSON and text != NO_THRESHOLD}
    remedy = "correct the file's metadata, or export it again"
    values = {name: parse_json(text, f"{path}, metadata, {name}", remedy) for name, text in texts.items()}
    require(values, _IN_JSON, f"{path}, metadata", remedy, optional=True)
    values |= {name: metadata[name] for name in ("crop", "channel_order", "threshold_source") if name in metadata}
    if values.get("size", size) != size:
        raise InputError(f"{path}: the metadata say {values['size']} pixels, the graph {size}; {remedy}")
    if values.get("channel_order", "RGB") not in _ORDERS:
        raise InputError(f"{path}, metadata: channel_order is neither {' nor '.join(_ORDERS)}; {remedy}")
    return values


def preprocessing_of(stated: Mapping, front: Front | None, size: int) -> dict:
    """The values of ``data.transforms.Preprocessing``: stated ones first, then what the front of the graph asks for.

    Where neither says anything it is the field's habit: (x − 127.5) / 127.5 of an ``arcface5`` crop.
    """
    mean, std = _normalisation(front)
    usual = {"size": size, "crop": _CROP, "mean": [mean] * 3, "std": [std] * 3}
    return {**usual, **{name: stated[name] for name in ("crop", "mean", "std", "alignment") if name in stated}}


def _normalisation(front: Front | None) -> tuple[float, float]:
    """Mean and std, on the scale 0 … 1 of a pixel, of what goes into the graph."""
    if front is None:
        return 0.5, 0.5
    centre = np.abs(front.offset / front.factor).max()  # which the graph turns into zero
    takes_pixels = centre > 1 or _PIXELS * np.abs(front.factor).max() <= _WIDEST
    return 0.0, 1 / _PIXELS if takes_pixels else 1.0


def threshold_metadata(chosen: Mapping, *, mirror: bool) -> dict[str, str]:
    """The metadata of a threshold, as ``stated_in`` reads them."""
    least = {"least_face": json.dumps(chosen["least_face"])} if "least_face" in chosen else {}
    return least | {
        "threshold": repr(chosen["threshold"]),
        "threshold_source": f"{chosen['threshold_metric']} on the evaluation pairs",
        "thresholds": json.dumps(chosen["thresholds"]),
        "mirror": json.dumps(mirror),
    }
