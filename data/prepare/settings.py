"""The settings of ``python -m data.prepare``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from data.alignment.alignment import LANDMARKS, Alignment, Landmarks
from data.alignment.finder import MTCNN, check_detector, detector_name
from data.alignment.landmarks import check_trained
from data.masks.render import MASK_KINDS, check_mask_kinds
from data.prepare.proposals import read_proposals
from data.transforms import Crop
from runtime.errors import InputError

SIZES = (112, 128, 160)
DEFAULT_SIZE = 128


@dataclass(frozen=True)
class PrepareSettings:
    """Turn raw faces into aligned, masked faces with the CSVs that the training scripts read."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Folder with one sub-folder per person (may be nested deeper); InsightFace's train.rec, or its folder; an
    InsightFace verification .bin; or lfw, which is downloaded."""
    out: Path
    """Folder to make, or to resume."""
    person_level: int = 0
    """How deep the people's folders lie: 1 for PHOTOS/<person>, 2 for PHOTOS/train/<person>; 0: as the names say."""
    masked_source: Path | None = None
    """Folder of real masked photos, one sub-folder per person; the same name as in SOURCE is the same person. They get
    no simulated mask and are labelled as masked."""
    unnamed: Path | None = None
    """Folder of photos of unnamed people, in any sub-folders, for training with a teacher. They get no masked copy,
    and an empty target in train.csv."""
    mask_labels: Path | None = None
    """File with a line "name, number, mask type" per picture of SOURCE, as for MFR2: all but no-mask are real masked
    photos."""
    size: int | None = None
    """Side of the aligned faces in pixels: 112, 128 or 160; unless set, that of the pictures in a .rec or .bin, and
    128 for folders."""
    crop: Crop = "arcface5"
    """arcface5: five landmarks to the ArcFace template. mtcnn_box: the detector's box, as for facenet-pytorch's
    weights."""
    detector: str = MTCNN
    """What finds the faces: mtcnn, yunet (OpenCV's; its file is fetched on the first use), or an ONNX file of YuNet's
    kind."""
    landmarks: Landmarks = LANDMARKS
    """Source of the five landmarks that faces are aligned to. network: a small network that predicts them under masks
    (data.landmarks). detector: the detector itself."""
    detections: Literal["one", "all"] = "one"
    """one: the face nearest the centre of each picture. all: every face; further ones are called 0001_face2.jpg, get
    the folder's person like the first, and are used for training only."""
    align: Literal["detect", "landmarks", "none"] = "detect"
    """detect: find and align the face. The others are for faces that are aligned already. landmarks: only find the five
    points that masks are fitted to. none: skip detection, so that no masks can be drawn."""
    masks: Literal["simulated", "none"] = "simulated"
    """simulated: each plain face gets a masked copy. none: no copies (the training scripts' mask_probability draws
    fresh ones)."""
    masks_after_alignment: bool = False
    """Draw masks on aligned faces, as in most papers. Otherwise masks are drawn on photographs, and then the masked
    face is detected and aligned, as a camera in use has to."""
    mask_kinds: tuple[str, ...] = MASK_KINDS
    """Simulated masks to draw from: these names, or surgical, n95, kn95, cloth with a colour (cloth:#b03050) or a
    picture of the fabric (cloth:tartan.png)."""
    seed: int = 0
    """Seed of masks, people and pairs."""
    train_share: float = 0.9
    """Share of the people for training, 0 to 1."""
    eval_share: float = 0.5
    """Share of the remaining people for evaluation, 0 to 1; the others are for the test."""
    eval_pairs: int = 3_000
    """Maximum number of evaluation pairs; half are same-person pairs."""
    test_pairs: int = 6_000
    """Maximum number of test pairs; half are same-person pairs."""
    pairs_per_person: int = 24
    """Maximum number of same-person pairs per person, and half the maximum of different-person pairs: each of these has
    two people."""
    proposals: Path | None = None
    """CSV of corrections from eval.audit: people merged, pictures moved or left out; only the CSVs change."""
    jobs: int = 0
    """Processes; 0: one per core."""

    @property
    def alignment(self) -> Alignment:
        """How the faces are aligned, for cards."""
        # Faces that are aligned already keep their place, and get their masks there.
        before = self.masks == "simulated" and self.align == "detect" and not self.masks_after_alignment
        return Alignment(
            detector_name(self.detector), self.landmarks, "before alignment" if before else "after alignment"
        )

    def made_with(self) -> dict:
        """The settings that a face on disk depends on."""
        made_with = {name: getattr(self, name) for name in ("size", "crop", "align", "detections", "masks", "seed")}
        made_with["alignment"] = self.alignment.to_dict()
        return made_with | {"mask_kinds": list(self.mask_kinds)}

    def check(self) -> None:
        """Raise InputError if a setting is impossible."""
        if self.size not in (None, *SIZES):
            raise InputError(f"size must be one of {', '.join(map(str, SIZES))}, not {self.size}")
        for name in ("train_share", "eval_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1, not {getattr(self, name):g}")
        for name in ("eval_pairs", "test_pairs"):
            if getattr(self, name) < 2:
                raise InputError(f"{name} must be 2 or more, not {getattr(self, name)}")
        if self.pairs_per_person < 1 or min(self.jobs, self.person_level, self.seed) < 0:
            raise InputError("pairs_per_person must be 1 or more, jobs, person_level and seed 0 or more")
        check_detector(self.detector, self.crop)
        if self.landmarks == "network":
            check_trained()
        if self.detections == "all" and self.align != "detect":
            raise InputError("detections all looks for faces: it needs align detect")
        if self.align == "none" and self.masks != "none":
            raise InputError("masks are fitted to landmarks: with align none set masks to none, or align to landmarks")
        check_mask_kinds(self.mask_kinds)
        if self.proposals is not None:
            read_proposals(self.proposals)
        self._check_folders()

    def _check_folders(self) -> None:
        out = self.out.resolve()
        for source in filter(None, (Path(self.source), self.masked_source, self.unnamed)):
            if out.is_relative_to(source.resolve()) or source.resolve().is_relative_to(out):
                raise InputError(f"{self.out} and the source {source} are nested; use separate folders")
        if out.exists() and not out.is_dir():
            raise InputError(f"{self.out} is a file; name a folder")
