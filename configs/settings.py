"""Every setting of a run: its type, its choices and its meaning (the text of ``--help``).

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


def _plain(values: Mapping) -> dict:
    """As JSON has them: lists for tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that both objectives share."""

    # ---- data ----
    data_root: str
    """Folder that the CSVs' paths start from (made by data.prepare), or "builtin": faces drawn from a seed."""
    train_csv: str
    """Training faces (path,target), relative to data_root or to the working folder; a .pack (data.pack) works, too."""
    train_faces: Literal["all", "plain", "masked"]
    """Rows of the train CSV to use, by its column masked; "plain" goes with mask_probability."""
    eval_csvs: tuple[str, ...]
    """Evaluation pairs (path,target,pair_path,pair_target), or packs: checkpoint and threshold are selected on them."""
    test_csv: str
    """Test pairs (or a pack); nothing is selected on them."""
    eval_root: str
    """Folder of the evaluation and test faces and their CSVs, if it is another; empty: data_root."""
    path_prefix: str
    """OLD=NEW maps absolute paths in CSVs to paths under data_root; empty: paths are relative."""
    crop: Literal["arcface5", "mtcnn_box"]
    """How the faces were cropped: five-point alignment, or the detector's box."""
    image_size: int
    """Side of the network's input in pixels; faces of another size are resized."""
    normalisation: Literal["auto", "imagenet", "symmetric"]
    """Mean and std of the input; auto: those of the pre-trained weights, else ImageNet's."""
    most_images: int
    """Maximum number of training images per identity, the first in the CSV; 0: all."""
    least_images: int = 0
    """Identities with fewer training faces (after train_faces and most_images) are left out; 0: none."""
    mask_probability: float
    """Share of plain training faces that get a new simulated mask when they are drawn (needs landmarks in the CSV)."""
    mask_kinds: tuple[str, ...]
    """Masks to draw from: surgical_green, surgical_blue, n95, kn95, cloth, or surgical, n95, kn95, cloth with a colour
    (cloth:#b03050) or a picture of the fabric (cloth:tartan.png)."""
    mask_fit: Literal["varied", "fixed", "flat"]
    """varied: place, size, tilt and light vary slightly; fixed: all fit alike; flat: none turns with the head."""
    jitter: bool
    """Small random rotations, shifts and changes of size and light in training, to reduce overfitting."""
    alignment_errors: bool = False
    """Shift each newly masked training face by an alignment error that data.prepare measured. Without such measurements
    (--masks none, --masks-after-alignment), no face is shifted."""
    max_unreadable: float
    """Share of an epoch's images that may be unreadable before the run stops."""
    mirror: bool
    """Evaluate the sum of the embeddings of each face and its mirror image: slightly better, twice the time."""
    measure_least_face: bool = False
    """After training, measure the smallest face that the best checkpoint can use, and store it in the checkpoint for
    eval.same, eval.identify and Embedder."""
    cache: Literal["none", "memory"]
    """memory: keep decoded training faces, one copy for all workers, image_size² × 3 bytes each."""
    builtin_people: int
    """Built-in faces: people for training (evaluation and test people are extra)."""
    builtin_images: int
    """Built-in faces: plain images per person, each with a masked copy."""

    # ---- network ----
    backbone: str
    """inception_resnet_v1, seresnext101, efficientnet_b0 … efficientnet_b7, mobilefacenet, iresnet18 (34, 50, 100,
    200), ir_18 (34, 50, 101; ir_50_se, ir_50_curricular and so on) or timm:NAME."""
    pretrained: str
    """none, the name of known weights (vggface2, casia-webface, imagenet), a weight file (InsightFace's, AdaFace's …),
    a file on the Hugging Face Hub (hf:OWNER/NAME[/FILE][@REVISION]), or a run of this project."""
    embedding_size: int
    """Dimension of the embeddings."""
    pooling: Literal["backbone", "average", "gem"]
    """From feature map to vector: the backbone's own, average, or generalised mean with a learned exponent."""
    dropout: float
    """Share of pooled features dropped in training."""
    norm_momentum: float
    """BatchNorm's momentum: the share of each batch in the running statistics, which evaluation uses. If small, they
    lag behind the weights (with EfficientNet's 0.01, a learning network looks collapsed for hundreds of steps)."""
    freeze: tuple[str, ...] = ()
    """Parts of the pre-trained network that stay as they are, BatchNorm statistics included: names of its stages
    (layer1, …), backbone or neck."""

    # ---- teacher ----
    teacher: str
    """A trained run, or an ONNX file, whose embedding of each face without its mask is the target (distillation);
    empty: none."""
    teacher_share: float
    """Share of the teacher in the loss, the rest is the objective's; 1: the teacher alone."""
    teacher_mean_share: float
    """Share of the person's mean embedding in the teacher's target, the rest is the face's own embedding."""
    unnamed_share: float = 0.25
    """Share of each batch that consists of faces with an empty target in the train CSV; only the teacher's loss uses
    them. 0 leaves them out. batch_size and P×K count only the named faces."""

    # ---- optimiser ----
    epochs: int
    """Passes over the training faces."""
    optimiser: OptimiserName
    """The optimiser."""
    lr: float
    """Peak learning rate."""
    backbone_lr: float = 1.0
    """Factor of lr for the backbone: below 1, a pre-trained one changes more slowly than neck and class centres."""
    momentum: float
    """Nesterov's for sgd, plain for rmsprop, beta1 for adam and adamw, unused by adadelta."""
    weight_decay: float
    """L2 penalty; decoupled for adamw."""
    decay_norms: bool
    """Whether weight decay applies to norms and biases, too."""
    schedule: ScheduleName
    """How the learning rate changes."""
    milestones: tuple[int, ...]
    """Epochs after which multistep multiplies the learning rate by lr_decay."""
    lr_decay: float
    """Factor of multistep (at each milestone) and step (each epoch); the low end of cyclic."""
    warmup_epochs: float
    """Epochs of linear warm-up from zero."""
    clip_grad_norm: float
    """Largest gradient norm; 0: no clipping."""
    accumulate_steps: int
    """Parts that each batch is computed in, to save memory; loss and mining see the whole batch."""
    ema_decay: float
    """Decay of a moving average of the weights, evaluated and kept instead of them: about 0.999; 0: none."""

    # ---- machine ----
    device: Literal["auto", "cpu", "cuda"]
    """auto: the GPUs if there are any, else the CPU."""
    gpus: tuple[int, ...]
    """Numbers of the GPUs to use; empty: all visible."""
    precision: Literal["auto", "float32", "bf16", "fp16"]
    """auto: bf16 or fp16 on a GPU; on a CPU bf16 if it has the instructions and the backbone is known to gain, else
    float32. With auto, a resumed run keeps the precision that it started with."""
    compile: bool
    """Compile the network with torch.compile: minutes at the start, faster steps; needs a C++ compiler."""
    cuda_graphs: bool = False
    """With compile, on a GPU: record the network's kernels and launch them all at once; for networks with many small
    kernels (InceptionResNetV1)."""
    activation_checkpointing: bool
    """Recompute the network's blocks in the backward pass: less memory, about a third slower."""
    workers: int
    """Processes that load data; -1: by the number of cores."""
    data_timeout_minutes: float = 0.0
    """A run that gets no data for this many minutes is saved and ends; 0: it waits, and says what it waits for."""
    seed: int
    """Everything random derives from it."""
    deterministic: bool
    """Bit-identical results on the same machine; slower on a GPU."""

    # ---- run ----
    results_dir: str
    """Folder of the run folders."""
    run_name: str
    """Name of the run folder; empty: objective, backbone, date and time."""
    checkpoint_minutes: float
    """Minutes between checkpoints: the most that a stopped run loses."""
    keep_checkpoints: int
    """How many of the latest checkpoints to keep, and how many of the latest epoch ends, besides best.pt."""
    on_collapse: OnCollapse
    """If all embeddings become equal: stop; warn; or recover: go back, change one setting, continue."""
    collapse_check_steps: int
    """Steps between two checks for collapse."""
    tensorboard: bool
    """Also write curves, distance histograms and a batch of faces for TensorBoard to the run folder."""
    profile: int = 0
    """Steps to run under torch's profiler, such as 5; where their time goes is printed and saved in the run folder. 0:
    none."""
    preset: str = ""
    """Start from a preset of configs/presets instead of the script's constants; other options still count."""
    resume: str = "auto"
    """auto: resume the newest unfinished run with the same settings; never: start a new run; or a run folder to resume,
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
            ("unnamed_share", 0, 0.99),
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
            "backbone_lr",
            "builtin_people",
            "builtin_images",
            "accumulate_steps",
            "keep_checkpoints",
            "collapse_check_steps",
        ):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above zero")
        for name in (
            "most_images",
            "least_images",
            "weight_decay",
            "warmup_epochs",
            "clip_grad_norm",
            "data_timeout_minutes",
            "checkpoint_minutes",
            "profile",
            "seed",
        ):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must not be below zero")
        if self.seed >= 2**63:
            raise InputError(f"seed is {self.seed}; torch takes numbers below 2**63")
        if not self.eval_csvs:
            raise InputError("eval_csvs is empty; name the evaluation pairs, which choose checkpoint and threshold")
        if not -1 <= self.workers <= MOST_WORKERS:
            raise InputError(
                f"workers is {self.workers}; choose a number of processes up to {MOST_WORKERS}, or -1 to let the cores "
                "decide"
            )
        if self.cuda_graphs and not self.compile:
            raise InputError("cuda_graphs works only with a compiled network; set compile, or leave cuda_graphs off")
        if self.cuda_graphs and self.accumulate_steps > 1:
            raise InputError("cuda_graphs needs a batch in one part; set accumulate_steps 1, or leave cuda_graphs off")
        if self.freeze and self.pretrained == "none":
            raise InputError("freeze would keep random weights; set pretrained, or leave freeze empty")
        if self.tensorboard:
            check_tensorboard()

    @property
    def sparse_centres(self) -> bool:
        """Whether a step gives a gradient to some class centres alone, which only sgd moves row by row."""
        return False

    @property
    def needs_both_looks(self) -> bool:
        """Whether the loss compares masked faces with plain ones."""
        return False

    def to_dict(self) -> dict:
        """Plain values, for config.json and the checkpoint."""
        return _plain(asdict(self))

    @classmethod
    def completed(cls, values: Mapping) -> dict:
        """``values`` of a run that may be older, and the settings added since, plain as in ``to_dict``."""
        added = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
        return {**_plain(added), **values}

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
    """Images per step."""
    balanced: bool
    """Draw every identity equally often, however many images it has; off: every image once per epoch."""
    scale: float
    """s: factor of the cosines before the softmax."""
    margin: float
    """m: added to the angle between a face and its class centre, in radians; cosface: taken from its cosine."""
    margin_kind: Literal["arcface", "cosface", "adaface", "magface"]
    """Where the margin acts: on the angle (ArcFace) or on the cosine (CosFace, usually 0.35). AdaFace (usually 0.4) and
    MagFace (0.45 for the shortest embeddings) vary it with an embedding's length before normalising."""
    length_effect: float = 0.333
    """adaface: h, how strongly the embedding's length changes the margin."""
    largest_margin: float = 0.8
    """magface: margin of the longest embeddings."""
    length_range: tuple[float, ...] = (10.0, 110.0)
    """magface: the lengths that count as shortest and longest; a new network's are about √embedding_size."""
    length_weight: float = 35.0
    """magface: λ, how strongly lengths are pulled towards the longest."""
    sub_centres: int
    """Class centres per identity, of which the nearest counts: 3 for noisy labels or very different images."""
    centres_from: str = "random"
    """Initial class centres. random. means: of the pre-trained network's embeddings of each identity. A text file: the
    centres stored in the weight file, whose identities this file lists in order, one per line."""
    sampled_share: float
    """Share of the identities that take part in a step (Partial FC): 0.1 for a million of them; below 1 needs sgd."""
    shard_classes: bool
    """Under torchrun, split the class centres over the processes: for very many identities."""
    focal_gamma: float
    """Exponent of the focal loss; 0 is cross-entropy."""
    frequency_weights: Literal["none", "inverse_log", "effective_number"]
    """Factors of the loss by the number of images per identity."""
    label_smoothing: float
    """Share of the target spread over all identities."""
    margin_warmup_epochs: float
    """Epochs over which the margin grows from zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise InputError(f"batch_size is {self.batch_size}; BatchNorm needs at least two images")
        if not 0 < self.sampled_share <= 1:
            raise InputError(f"sampled_share is {self.sampled_share}; it must be above 0 and at most 1")
        if self.sampled_share < 1 and self.optimiser != "sgd":
            raise InputError(
                f"sampled_share below 1 needs --optimiser sgd: {self.optimiser} would also move the identities "
                "that a step has not drawn"
            )
        if self.margin_warmup_epochs < 0:
            raise InputError(f"margin_warmup_epochs is {self.margin_warmup_epochs}; it must not be below zero")
        if self.centres_from != "random" and self.pretrained == "none":
            raise InputError(
                f"centres_from {self.centres_from} needs a pre-trained network; set pretrained, or centres_from random"
            )
        if self.centres_from != "random" and self.teacher and self.teacher_share == 1:
            raise InputError("teacher_share 1 leaves out the class centres; set centres_from random")

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
    """P: identities per batch."""
    images_per_person: int
    """K: images per identity."""
    epoch_mode: Literal["all", "random"]
    """all: every identity once per epoch; random: as many batches of random identities as N images fill."""
    mining: Literal["batch_hard", "batch_hard_soft", "semi_hard", "batch_all", "distance_weighted", "self_restrained"]
    """Which triplets of a batch are used; self_restrained: a masked anchor, a plain positive and plain negatives."""
    margin: float
    """How much farther the negative must be than the positive; distances lie in [0, 2]."""
    squared: bool
    """Squared distances, in [0, 4]."""
    allow_saturating_margin: bool
    """Allow a margin that no embeddings can meet: only to reproduce the original's collapse."""

    @property
    def needs_both_looks(self) -> bool:
        """See the base class."""
        return self.mining == "self_restrained"
