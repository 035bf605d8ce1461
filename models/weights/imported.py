"""A network from a weight file, under this project's names, and what its input must look like."""

from dataclasses import dataclass, field

from torch import Tensor

from models.backbones import mobilefacenet

FACENET_KIND = "InceptionResnetV1 of facenet-pytorch"  # its kind in words

# (x − 127.5) / 128 on the scale 0 … 255.
_SYMMETRIC = {"mean": [0.5, 0.5, 0.5], "std": [128 / 255, 128 / 255, 128 / 255]}
FACENET_PREPROCESSING = {"size": 160, "crop": "mtcnn_box", **_SYMMETRIC}
MOBILEFACENET_PREPROCESSING = {"size": mobilefacenet.IMAGE_SIZE, "crop": "arcface5", **_SYMMETRIC}
# (x − 127.5) / 127.5: IResNet and IR.
ARCFACE_PREPROCESSING = {"size": 112, "crop": "arcface5", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
ORIGINAL_PREPROCESSING = {
    "size": 128,
    "crop": "mtcnn_box",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


@dataclass(frozen=True)
class Imported:
    """A recognised network: ``state`` under this project's names, ``settings`` for build_model, ``preprocessing``
    (None: it binds no face crop), ``class_centres`` (C, D) or None, ``kind`` in words, ``remarks`` for the user.

    ``chosen``: threshold, threshold_metric, thresholds, least_face and mirror, as far as the file states them.
    ``missing``: how the names of parameters begin that the file has not, and that training may therefore choose.
    """

    kind: str
    state: dict[str, Tensor]
    settings: dict
    preprocessing: dict | None
    class_centres: Tensor | None = None
    remarks: list[str] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    chosen: dict = field(default_factory=dict)
