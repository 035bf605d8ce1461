"""What the study asks, and the ways to train (arms) that answer each question.

An arm is a script and its options: a delta on the script's constants, as a preset is. Within a question arms differ in
what is asked and in nothing else; every arm sees the same number of images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

ARCFACE, TRIPLET = "main_arcface.py", "main_triplet.py"
# Stands for the run folder of the imported MS1M weights, which the runner makes.
WEIGHTS = "{weights}"


@dataclass(frozen=True)
class Arm:
    """One way to train: ``script`` with ``options``, setting → value."""

    script: str
    options: Mapping[str, object]


@dataclass(frozen=True)
class Question:
    """``arms`` by name; the first is what the others are compared with."""

    asks: str
    arms: Mapping[str, Arm]


# ==== what arms share ====

FACES = {"train_faces": "plain", "mask_probability": 0.5, "image_size": 112}
SCHEDULE = {"optimiser": "adamw", "schedule": "cosine", "warmup_epochs": 0.5, "weight_decay": 0.05}
MARGIN = {"scale": 32.0, "margin": 0.3, "focal_gamma": 1.0, "margin_warmup_epochs": 2.0}
MINING = {"mining": "semi_hard", "margin": 0.3, "people_per_batch": 16, "images_per_person": 4}

MOBILEFACENET = {"backbone": "mobilefacenet", "pooling": "backbone", "embedding_size": 128}
FINE_TUNED = {**FACES, **SCHEDULE, **MOBILEFACENET, "pretrained": WEIGHTS, "epochs": 4}
FROM_SCRATCH = {**FACES, **SCHEDULE, "backbone": "inception_resnet_v1", "embedding_size": 128, "lr": 1e-3, "epochs": 20}

TAUGHT = {"teacher": WEIGHTS, "teacher_share": 1.0}
RECIPE = Arm(ARCFACE, {**FINE_TUNED, **TAUGHT, "lr": 1e-3, "mask_probability": 0.75})
SCRATCH_ARCFACE = Arm(ARCFACE, {**FROM_SCRATCH, **MARGIN})
SCRATCH_TRIPLET = Arm(TRIPLET, {**FROM_SCRATCH, **MINING})

# The original's settings, with its faults where they are what is asked.
ORIGINAL = {"optimiser": "sgd", "lr": 0.1, "weight_decay": 5e-4, "decay_norms": True, "warmup_epochs": 0.0}
ORIGINAL |= {"schedule": "multistep", "milestones": (4, 8, 12, 16), "lr_decay": 0.1, "dropout": 0.4}
ORIGINAL_ARCFACE = {**ORIGINAL, "scale": 45.0, "margin": 0.4, "focal_gamma": 2.0, "margin_warmup_epochs": 0.0}
ORIGINAL_TRIPLET = {
    "optimiser": "adadelta",
    "lr": 0.05,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "dropout": 0.3,
    "mining": "batch_hard",
    "margin": 3.0,
    "allow_saturating_margin": True,
}


def option_words(options: Mapping[str, object]) -> list[str]:
    """Setting → value as the words of a command."""
    return [word for name, value in options.items() for word in _words(name.replace("_", "-"), value)]


def _words(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *(str(v) for v in (value if isinstance(value, tuple) else (value,)))]


def _changed(arm: Arm, **options: object) -> Arm:
    return Arm(arm.script, {**arm.options, **options})


def _with_backbone(backbone: str) -> Arm:
    return _changed(SCRATCH_ARCFACE, backbone=backbone)


QUESTIONS: dict[str, Question] = {
    "losses": Question(
        "Triplet mining or ArcFace + focal loss, at the same number of images on the same backbone?",
        {"arcface": SCRATCH_ARCFACE, "triplet": SCRATCH_TRIPLET},
    ),
    "backbones": Question(
        "Does EfficientNet work without a collapse, and does it beat InceptionResNetV1 and SE-ResNeXt-101?",
        {
            "inception": SCRATCH_ARCFACE,
            "efficientnet_b0": _with_backbone("efficientnet_b0"),
            "efficientnet_b2": _with_backbone("efficientnet_b2"),
            "seresnext101": _with_backbone("seresnext101"),
            "efficientnet_b0_original": Arm(
                ARCFACE, {**FROM_SCRATCH, **ORIGINAL_ARCFACE, "backbone": "efficientnet_b0"}
            ),
        },
    ),
    "balance": Question(
        "Does a balanced set help: the same number of images a person, or every person equally often?",
        {
            "as_it_is": SCRATCH_ARCFACE,
            "balanced_batches": _changed(SCRATCH_ARCFACE, balanced=True),
            "most_8_images": _changed(SCRATCH_ARCFACE, most_images=8, epochs=28),
        },
    ),
    "masks": Question(
        "Masks made once or fresh each time, and on what share of the faces?",
        {
            "fresh_75": RECIPE,
            "fresh_0": _changed(RECIPE, mask_probability=0.0),
            "fresh_25": _changed(RECIPE, mask_probability=0.25),
            "fresh_50": _changed(RECIPE, mask_probability=0.5),
            "fresh_100": _changed(RECIPE, mask_probability=1.0),
            "made_once_50": _changed(RECIPE, train_faces="all", mask_probability=0.0, epochs=2),
        },
    ),
    "teacher": Question(
        "Pre-trained or from scratch, and how much does a teacher add?",
        {
            "scratch": SCRATCH_ARCFACE,
            "scratch_taught": _changed(SCRATCH_ARCFACE, **TAUGHT),
            "scratch_taught_half": _changed(SCRATCH_ARCFACE, teacher=WEIGHTS, teacher_share=0.9),
            "scratch_original_arcface": Arm(ARCFACE, {**FROM_SCRATCH, **ORIGINAL_ARCFACE}),
            "scratch_original_triplet": Arm(TRIPLET, {**FROM_SCRATCH, **MINING, **ORIGINAL_TRIPLET}),
            "fine_tuned_arcface": Arm(ARCFACE, {**FINE_TUNED, **MARGIN, "lr": 2e-4}),
            "fine_tuned_triplet": Arm(TRIPLET, {**FINE_TUNED, **MINING, "lr": 1e-4}),
            "fine_tuned_taught": RECIPE,
        },
    ),
    "simulation": Question(
        "Which part of the mask simulation matters?",
        {
            "all": RECIPE,
            "without_cloth_and_blue": _changed(RECIPE, mask_kinds=("surgical_green", "n95", "kn95")),
            "surgical_only": _changed(RECIPE, mask_kinds=("surgical_green", "surgical_blue")),
            "one_fit": _changed(RECIPE, mask_fit="fixed"),
            "flat": _changed(RECIPE, mask_fit="flat"),
            "more_colours": _changed(
                RECIPE,
                mask_kinds=(
                    *("surgical_green", "surgical_blue", "n95", "kn95", "cloth"),
                    *("cloth:#b03050", "cloth:#d8c8a0", "cloth:#304878", "surgical:#e8e8f0", "n95:#303030"),
                ),
            ),
        },
    ),
}
