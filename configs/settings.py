"""Every setting of a run: its type, its choices and what it means (the text of ``--help``).

The values stand at the top of main_arcface.py and main_triplet.py; a preset is a delta on them.

A setting that is added later has a default in its class: the value that reproduces what runs did before it was there.
Runs, checkpoints and config.json files that lack it are read with that value.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import ClassVar, Literal, Self

from configs.check_types import check_types
from runtime.errors import InputError
from runtime.tensorboard import check_tensorboard
from runtime.training.collapse import OnCollapse
from runtime.training.optim import OptimiserName, ScheduleName

BUILT_IN = "builtin"
MOST_WORKERS = 256


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What both objectives share."""

    # ---- data ----
    data_root: str
    """Folder that the CSVs' paths start from (made by data.prepare), or "builtin": faces drawn from a seed."""
    train_csv: str
    """Training faces (path,target), relative to data_root or to the working folder; a .pack (data.pack) serves too."""
    train_faces: Literal["all", "plain", "masked"]
    """Which rows of the train CSV count, by its column masked; "plain" goes with mask_probability."""
    eval_csvs: tuple[str, ...]
    """Evaluation pairs (path,target,pair_path,pair_target), or packs: they choose checkpoint and threshold."""
    test_csv: str
    """Test pairs (or a pack), only ever reported on."""
    eval_root: str
    """Folder of the evaluation and test faces and their CSVs, where they lie apart; empty: data_root."""
    path_prefix: str
    """OLD=NEW maps the absolute paths of foreign CSVs under data_root; empty: paths are relative."""
    crop: Literal["arcface5", "mtcnn_box"]
    """How the faces were cropped: five-point alignment, or the detector's box."""
    image_size: int
    """Side of the network's input in pixels; faces of another size are resized."""
    normalisation: Literal["auto", "imagenet", "symmetric"]
    """Mean and std of the input; auto: those of the pre-trained weights, else ImageNet's."""
    most_images: int
    """At most so many training faces of an identity, the first of the CSV; 0: all."""
    mask_probability: float
    """Share of draws of a plain training face that get a fresh simulated mask (needs landmarks in the CSV)."""
    mask_kinds: tuple[str, ...]
    """Masks to draw from: surgical_green, surgical_blue, n95, kn95, cloth, or surgical, n95, kn95, cloth with a colour
    (cloth:#b03050) or a picture of the fabric (cloth:tartan.png)."""
    mask_fit: Literal["varied", "fixed", "flat"]
    """varied: each mask sits and is lit a little differently; fixed: all alike; flat: none turns with the head."""
    jitter: bool
    """Training faces are turned, sized, shifted and lit a little differently at each sight."""
    max_unreadable: float
    """Share of images an epoch may lose to damaged files before the run stops."""
    mirror: bool
    """Evaluate on the embeddings of each face and its mirror, summed: twice the time, a little better."""
    cache: Literal["none", "memory"]
    """memory: training faces are decoded once and kept, one copy for all workers; image_size² × 3 bytes each."""
    builtin_people: int
    """Built-in faces: training identities (evaluation and test people come on top)."""
    builtin_images: int
    """Built-in faces: plain images a person, each with a masked copy."""

    # ---- network ----
    backbone: str
    """inception_resnet_v1, seresnext101, efficientnet_b0 … efficientnet_b7, mobilefacenet, iresnet18 (34, 50, 100,
    200) or timm:NAME."""
    pretrained: str
    """none, the name of known weights (vggface2, casia-webface, imagenet), or a weight file."""
    embedding_size: int
    """Values in an embedding."""
    pooling: Literal["backbone", "average", "gem"]
    """Feature map to vector: the backbone's own, average, or generalised mean with a learned exponent."""
    dropout: float
    """Share of pooled features dropped in training."""
    norm_momentum: float
    """Share of a batch in BatchNorm's running statistics, which evaluation uses: the smaller, the farther behind the
    weights (with EfficientNet's own 0.01 a network that learns looks collapsed for hundreds of steps)."""

    # ---- teacher ----
    teacher: str
    """A trained run that shows where each face lies without its mask; empty: none."""
    teacher_share: float
    """Share of the loss that pulls towards the teacher, the rest is the objective; 1: the teacher alone."""
    teacher_mean_share: float
    """Share of the person's mean in what the teacher shows of a face, the rest is the face's own embedding."""

    # ---- optimiser ----
    epochs: int
    """Passes over the training faces."""
    optimiser: OptimiserName
    """The optimiser."""
    lr: float
    """Peak learning rate."""
    momentum: float
    """Nesterov's for sgd, plain for rmsprop, beta1 for adam and adamw, unused by adadelta."""
    weight_decay: float
    """L2 penalty; decoupled for adamw."""
    decay_norms: bool
    """Whether norms and biases decay too."""
    schedule: ScheduleName
    """How the learning rate moves."""
    milestones: tuple[int, ...]
    """Epochs after which multistep multiplies the rate with lr_decay."""
    lr_decay: float
    """Factor of multistep (at each milestone) and step (each epoch); the low end of cyclic."""
    warmup_epochs: float
    """Epochs of linear warm-up from zero."""
    clip_grad_norm: float
    """Largest gradient norm; 0 does not clip."""
    accumulate_steps: int
    """Parts that a batch is computed in to save memory; the loss and the mining see the whole batch."""
    ema_decay: float
    """Moving average of the weights, evaluated and kept in their place: 0.999 or so; 0 for none."""

    # ---- machine ----
    device: Literal["auto", "cpu", "cuda"]
    """auto: the GPUs where there are any, else the CPU."""
    gpus: tuple[int, ...]
    """Numbers of the GPUs to use; empty: all visible."""
    precision: Literal["auto", "float32", "bf16", "fp16"]
    """auto: bf16 or fp16 on a GPU, float32 on a CPU."""
    compile: bool
    """Let torch.compile make kernels of the network: minutes at the start, faster steps; needs a C++ compiler."""
    activation_checkpointing: bool
    """Compute the inside of the network's blocks again in the backward pass: less memory, about a third slower."""
    workers: int
    """Processes that load data; -1 chooses by the cores."""
    seed: int
    """Everything random derives from it."""
    deterministic: bool
    """The same run gives the same bits on the same machine; costs speed on a GPU."""

    # ---- run ----
    results_dir: str
    """Folder of the run folders."""
    run_name: str
    """Name of the run folder; empty: objective, backbone, date and time."""
    checkpoint_minutes: float
    """A stopped run loses so many minutes at the most."""
    keep_checkpoints: int
    """Checkpoints to go on from that are kept, beside best.pt."""
    on_collapse: OnCollapse
    """Where all embeddings become equal: stop; warn; or recover: go back, change one thing, go on."""
    collapse_check_steps: int
    """Steps between two looks at the embeddings."""
    tensorboard: bool
    """Curves, distance histograms and a batch of faces for TensorBoard in the run folder, too."""
    preset: str = ""
    """Start from a preset of configs/ instead of the script's constants; further options still count."""
    resume: str = "auto"
    """auto: go on with the newest unfinished run of the same settings; never: a new run; or a run folder to go on with,
    with its own settings."""

    objective: ClassVar[str]
    """What the scripts train with, in the name of a run."""

    def __post_init__(self) -> None:
        check_types(self)
        for name, low, high in (
            ("mask_probability", 0, 1),
            ("max_unreadable", 0, 1),
            ("dropout", 0, 0.999),
            ("norm_momentum", 0, 1),
            ("teacher_share", 0, 1),
            ("teacher_mean_share", 0, 1),
            ("momentum", 0, 0.9999),
            ("ema_decay", 0, 0.999999),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}; it must lie between {low} and {high}")
        for name in (
            "image_size",
            "embedding_size",
            "epochs",
            "lr",
            "builtin_people",
            "builtin_images",
            "accumulate_steps",
            "keep_checkpoints",
            "collapse_check_steps",
        ):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above zero")
        for name in ("weight_decay", "warmup_epochs", "clip_grad_norm", "checkpoint_minutes", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must not be below zero")
        if not -1 <= self.workers <= MOST_WORKERS:
            raise InputError(
                f"workers is {self.workers}; choose a number of processes up to {MOST_WORKERS}, or -1 to let the cores "
                "decide"
            )
        if self.tensorboard:
            check_tensorboard()

    @property
    def sparse_centres(self) -> bool:
        """Whether a step gives a gradient to some class centres alone, which only sgd moves row by row."""
        return False

    def to_dict(self) -> dict:
        """Plain values, for config.json and the checkpoint."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def completed(cls, values: Mapping) -> dict:
        """``values`` of a run that may be older, with the settings that have been added since."""
        added = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
        return {**added, **values}

    @classmethod
    def from_dict(cls, values: Mapping, source: str) -> Self:
        """Inverse of ``to_dict``, also for ``values`` of an older run; ``source`` names them in a message.

        Raises InputError: settings that this class has not, or lacks, and what ``__post_init__`` refuses.
        """
        values = cls.completed(values)
        if differing := values.keys() ^ {f.name for f in fields(cls)}:
            listed = ", ".join(sorted(map(str, differing)))
            raise InputError(f"{source} is of the other script or a newer version (settings that differ: {listed})")
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        except InputError as error:
            raise InputError(f"{source}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class ArcFaceSettings(Settings):
    """ArcFace with focal loss."""

    objective = "arcface"

    # ---- objective ----
    batch_size: int
    """Images a step."""
    balanced: bool
    """Every identity equally often, whatever the number of its images; off: every image once an epoch."""
    scale: float
    """s: what the cosines are multiplied with before the softmax."""
    margin: float
    """m: added to the angle between a face and its class centre, in radians; cosface: taken from its cosine."""
    margin_kind: Literal["arcface", "cosface"]
    """Where the margin acts: on the angle (ArcFace), or on the cosine (CosFace, usually 0.35)."""
    sub_centres: int
    """Class centres of each identity, of which the nearest counts: 3 where its images are dirty or very unlike."""
    sampled_share: float
    """Share of the identities that take part in a step (Partial FC), 0.1 for a million of them; below 1 with sgd."""
    shard_classes: bool
    """Under torchrun each process holds the class centres of its part of the identities: for very many of them."""
    focal_gamma: float
    """Exponent of the focal loss; 0 is cross-entropy."""
    frequency_weights: Literal["none", "inverse_log", "effective_number"]
    """Factors of the loss by images per identity."""
    label_smoothing: float
    """Share of the target spread over all identities."""
    margin_warmup_epochs: float
    """Epochs over which the margin grows from zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise InputError(f"batch_size is {self.batch_size}; BatchNorm needs two images at the least")
        if not 0 < self.sampled_share <= 1:
            raise InputError(f"sampled_share is {self.sampled_share}; it must lie above 0 and be 1 at the most")
        if self.sampled_share < 1 and self.optimiser != "sgd":
            raise InputError(
                f"sampled_share below 1 needs --optimiser sgd: {self.optimiser} would move identities that a step "
                "has not drawn"
            )

    @property
    def sparse_centres(self) -> bool:
        """See the base class."""
        return self.sampled_share < 1


@dataclass(frozen=True, kw_only=True)
class TripletSettings(Settings):
    """Online triplet mining."""

    objective = "triplet"

    # ---- objective ----
    people_per_batch: int
    """P: identities a batch."""
    images_per_person: int
    """K: images of each."""
    epoch_mode: Literal["all", "random"]
    """all: every identity once an epoch; random: as many batches as N images fill, of random identities."""
    mining: Literal["batch_hard", "batch_hard_soft", "semi_hard", "batch_all", "distance_weighted"]
    """Which triplets of a batch count."""
    margin: float
    """How much farther the negative must be than the positive; distances lie in [0, 2]."""
    squared: bool
    """Squared distances, in [0, 4]."""
    allow_saturating_margin: bool
    """Allow a margin that no pair of embeddings can reach: only to reproduce the original's collapse."""
