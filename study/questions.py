"""The questions of the study, and the ways to train (arms) that answer each.

An arm is a script and its options: a delta on the script's constants, like a preset. The arms of a question differ only
in what is asked (an ablation), and all see the same number of images. An arm that several questions need is trained
once.
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
    """``arms`` are names in ``ARMS``; the first is the baseline that the others are compared with.

    ``chosen``: two of them, which were selected on the first and on the second half of the people among the arms of
    another question. Each half is reported with the arm selected on the other.
    """

    asks: str
    arms: tuple[str, ...]
    chosen: tuple[str, str] | None = None


# ==== what arms share ====

FACES = {"train_faces": "plain", "mask_probability": 0.5, "mirror": False}
SCHEDULE = {"optimiser": "adamw", "schedule": "cosine", "warmup_epochs": 0.5, "weight_decay": 0.05}
MARGIN = {"scale": 32.0, "margin": 0.3, "focal_gamma": 1.0, "margin_warmup_epochs": 1.5}
MINING = {"mining": "semi_hard", "margin": 0.3, "people_per_batch": 16, "images_per_person": 4}
TAUGHT = {"teacher": WEIGHTS, "teacher_share": 1.0, "teacher_mean_share": 0.5}

MOBILEFACENET = {"backbone": "mobilefacenet", "pooling": "backbone", "embedding_size": 128, "image_size": 112}
FINE_TUNED = {**FACES, **SCHEDULE, **MOBILEFACENET, "pretrained": WEIGHTS, "epochs": 6}
FROM_SCRATCH = {**FACES, **SCHEDULE, "backbone": "inception_resnet_v1", "embedding_size": 128, "image_size": 80}
FROM_SCRATCH |= {"lr": 1e-3, "epochs": 5}

SCRATCH = Arm(ARCFACE, {**FROM_SCRATCH, **MARGIN, "batch_size": 64})
SCRATCH_TRIPLET = Arm(TRIPLET, {**FROM_SCRATCH, **MINING})
EFFICIENTNET = {"backbone": "efficientnet_b0", "lr": 3e-3, "clip_grad_norm": 5.0}
EFFICIENTNET_TRIPLET = Arm(TRIPLET, {**FROM_SCRATCH, **MINING, **EFFICIENTNET})
# Questions about any network are asked of one that a CPU core trains in half an hour.
SMALL = {"backbone": "timm:resnet18", "image_size": 64}
SMALL_ARCFACE = Arm(ARCFACE, {**FROM_SCRATCH, **SMALL, **MARGIN, "batch_size": 64})
SMALL_TRIPLET = Arm(TRIPLET, {**FROM_SCRATCH, **SMALL, **MINING})

# Triplets of hard positives and negatives, and a teacher whose target is halfway between a face and its person's mean.
HARD = {"mining": "batch_hard", "margin": 0.3, "people_per_batch": 16, "images_per_person": 4}
TAUGHT_HALF = {"teacher": WEIGHTS, "teacher_share": 0.5, "teacher_mean_share": 0.5}
FROM_TEACHER = {**FINE_TUNED, **TAUGHT_HALF, "lr": 1e-3, "mask_probability": 0.75, "jitter": True}
FROM_WEIGHTS = {**FROM_TEACHER, **HARD}
PILOT = Arm(TRIPLET, {**FROM_WEIGHTS, "epochs": 5})
SHORT = Arm(TRIPLET, {**FROM_WEIGHTS, "epochs": 2})
SHORTEST = Arm(TRIPLET, {**FROM_WEIGHTS, "epochs": 1})
# Two short epochs. The train CSV has unnamed faces, too, which one arm uses and the others leave out.
FEW_NAMED = {"epochs": 2, "most_images": 4, "unnamed_share": 0.0}
MASKED_FIRST = Arm(TRIPLET, {**FROM_WEIGHTS, **FEW_NAMED})
# Of the pilots these two have the lowest IOU, one on each half of the people.
RECIPE = Arm(TRIPLET, {**FROM_WEIGHTS, "lr": 3e-4})
SECOND_RECIPE = Arm(TRIPLET, {**FROM_WEIGHTS, "teacher_mean_share": 1.0})
# One short epoch of ArcFace from the weights: the initial class centres matter most in short training.
FROM_CENTRES = {**FINE_TUNED, **MARGIN, "batch_size": 64, "lr": 2e-4, "epochs": 1, "most_images": 4}
FROM_CENTRES |= {"warmup_epochs": 0.1, "margin_warmup_epochs": 0.25}
CENTRES = Arm(ARCFACE, {**FROM_CENTRES, "centres_from": "random"})
# MobileFaceNet up to its 28×28 maps: what faces have in common long before they are told apart.
FIRST_STAGES = ("conv_1", "conv_2_dw", "dconv_23", *(f"res_3_block{i}" for i in range(4)))
ADAFACE = {"margin_kind": "adaface", "margin": 0.4, "scale": 32.0, "batch_size": 64, "centres_from": "means"}
WITHOUT_CLOTH_AND_BLUE = {"mask_kinds": ("surgical_green", "n95", "kn95")}

# The original's settings, with its faults if they are what is asked. It cut its rate tenfold four times in 25 epochs.
ORIGINAL = {"optimiser": "sgd", "lr": 0.1, "weight_decay": 5e-4, "decay_norms": True, "warmup_epochs": 0.0}
ORIGINAL |= {"schedule": "multistep", "milestones": (1, 2, 3, 4), "lr_decay": 0.1, "dropout": 0.4}
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


def _changed(arm: Arm, **options: object) -> Arm:
    return Arm(arm.script, {**arm.options, **options})


def _original(backbone: str) -> Arm:
    return Arm(ARCFACE, {**FROM_SCRATCH, **ORIGINAL_ARCFACE, "batch_size": 64, "backbone": backbone})


ARMS: dict[str, Arm] = {
    # ---- from scratch ----
    "scratch_arcface": SCRATCH,
    "scratch_arcface_balanced": _changed(SCRATCH, balanced=True),
    "scratch_triplet": SCRATCH_TRIPLET,
    "scratch_taught": _changed(SCRATCH, **TAUGHT),
    "scratch_arcface_and_taught": _changed(SCRATCH, teacher=WEIGHTS, teacher_share=0.9),
    "original_arcface": _original("inception_resnet_v1"),
    "original_triplet": Arm(TRIPLET, {**FROM_SCRATCH, **MINING, **ORIGINAL_TRIPLET}),
    "efficientnet_b0": _changed(SCRATCH, backbone="efficientnet_b0"),
    "efficientnet_b0_triplet": EFFICIENTNET_TRIPLET,
    "efficientnet_b0_original": _original("efficientnet_b0"),
    # Three epochs, since SE-ResNeXt-101 takes four times as long as InceptionResNetV1.
    "inception_resnet_v1_3_epochs": _changed(SCRATCH_TRIPLET, epochs=3),
    "efficientnet_b0_3_epochs": _changed(EFFICIENTNET_TRIPLET, epochs=3),
    "seresnext101_3_epochs": _changed(SCRATCH_TRIPLET, backbone="seresnext101", epochs=3),
    "small_arcface": SMALL_ARCFACE,
    "small_balanced_batches": _changed(SMALL_ARCFACE, balanced=True),
    "small_most_8_images": _changed(SMALL_ARCFACE, most_images=8, epochs=9),
    "small_masks_fresh": _changed(SMALL_TRIPLET, mask_probability=1.0),
    "small_masks_made_once": _changed(SMALL_TRIPLET, train_faces="masked", mask_probability=0.0),
    # ---- fine-tuned ----
    "fine_tuned_taught": RECIPE,
    "fine_tuned_taught_second": SECOND_RECIPE,
    "fine_tuned_taught_without_cloth_and_blue": _changed(RECIPE, **WITHOUT_CLOTH_AND_BLUE),
    "fine_tuned_taught_second_without_cloth_and_blue": _changed(SECOND_RECIPE, **WITHOUT_CLOTH_AND_BLUE),
    "fine_tuned_arcface": Arm(ARCFACE, {**FINE_TUNED, **MARGIN, "batch_size": 64, "lr": 2e-4}),
    "fine_tuned_triplet": Arm(TRIPLET, {**FINE_TUNED, **MINING, "lr": 1e-4}),
    # ---- fine-tuned for five epochs: the recipe is selected among these ----
    "recipe": PILOT,
    "recipe_semi_hard": _changed(PILOT, mining="semi_hard"),
    "recipe_teacher_alone": _changed(PILOT, teacher_share=1.0),
    "recipe_more_teacher": _changed(PILOT, teacher_share=0.8),
    "recipe_own_target": _changed(PILOT, teacher_mean_share=0.0),
    "recipe_mean_target": _changed(PILOT, teacher_mean_share=1.0),
    "recipe_without_jitter": _changed(PILOT, jitter=False),
    "recipe_averaged_weights": _changed(PILOT, ema_decay=0.995),
    "recipe_lower_rate": _changed(PILOT, lr=3e-4),
    # ---- fine-tuned for two epochs ----
    "masks_on_75": SHORT,
    "masks_on_0": _changed(SHORT, mask_probability=0.0),
    "masks_on_25": _changed(SHORT, mask_probability=0.25),
    "masks_on_50": _changed(SHORT, mask_probability=0.5),
    "masks_on_100": _changed(SHORT, mask_probability=1.0),
    # ---- fine-tuned for one epoch ----
    "centres_random": CENTRES,
    "centres_means": _changed(CENTRES, centres_from="means"),
    "simulation": SHORTEST,
    "simulation_without_cloth_and_blue": _changed(SHORTEST, **WITHOUT_CLOTH_AND_BLUE),
    "simulation_surgical_only": _changed(SHORTEST, mask_kinds=("surgical_green", "surgical_blue")),
    "simulation_of_one_fit": _changed(SHORTEST, mask_fit="fixed"),
    "simulation_flat": _changed(SHORTEST, mask_fit="flat"),
    "simulation_in_more_colours": _changed(
        SHORTEST,
        mask_kinds=(
            *("surgical_green", "surgical_blue", "n95", "kn95", "cloth"),
            *("cloth:#b03050", "cloth:#d8c8a0", "cloth:#304878", "surgical:#e8e8f0", "n95:#303030"),
        ),
    ),
    # ---- for faces that data.prepare masked before it aligned them ----
    "aligned_as_bare": SHORTEST,
    "aligned_with_errors": _changed(SHORTEST, alignment_errors=True),
    "masked_first": MASKED_FIRST,
    "masked_first_unnamed": _changed(MASKED_FIRST, unnamed_share=0.25),
    "masked_first_with_errors": _changed(MASKED_FIRST, alignment_errors=True),
    "masked_first_adaface": Arm(ARCFACE, {**FROM_TEACHER, **ADAFACE, **FEW_NAMED}),
    "masked_first_restrained": _changed(MASKED_FIRST, mining="self_restrained"),
    "masked_first_frozen": _changed(MASKED_FIRST, freeze=FIRST_STAGES),
    "masked_first_without_cloth_and_blue": _changed(MASKED_FIRST, **WITHOUT_CLOTH_AND_BLUE),
    "all_photos": _changed(MASKED_FIRST, most_images=0),
    "all_photos_unnamed_restrained": _changed(
        MASKED_FIRST, most_images=0, unnamed_share=0.25, mining="self_restrained"
    ),
}

QUESTIONS: dict[str, Question] = {
    "losses": Question(
        "Triplet mining or ArcFace + focal loss, at the same number of images?",
        # Triplet batches are balanced by construction.
        ("scratch_arcface", "scratch_triplet", "scratch_arcface_balanced"),
    ),
    "backbones": Question(
        "Does EfficientNet work without collapse, and does it beat the others?",
        (
            *("scratch_triplet", "efficientnet_b0_triplet", "scratch_arcface", "efficientnet_b0"),
            "efficientnet_b0_original",
        ),
    ),
    "seresnext": Question(
        "And SE-ResNeXt-101, which takes four times as long?",
        ("inception_resnet_v1_3_epochs", "efficientnet_b0_3_epochs", "seresnext101_3_epochs"),
    ),
    "balance": Question(
        "Does a balanced set help: at most eight images per person, or every person equally often?",
        ("small_arcface", "small_balanced_batches", "small_most_8_images"),
    ),
    "masks": Question(
        "What share of the faces should be masked?",
        ("masks_on_75", "masks_on_0", "masks_on_25", "masks_on_50", "masks_on_100"),
    ),
    "fresh_masks": Question(
        "A new mask every time, or fixed masks?",
        ("small_masks_fresh", "small_masks_made_once"),
    ),
    "scratch": Question(
        "From scratch: these settings or the original's, and what does a teacher add?",
        (
            *("scratch_arcface", "scratch_taught", "scratch_arcface_and_taught"),
            *("original_arcface", "original_triplet"),
        ),
    ),
    "recipe": Question(
        "Which objective, target and augmentation in fine-tuning?",
        (
            *("recipe", "recipe_semi_hard", "recipe_teacher_alone", "recipe_more_teacher", "recipe_own_target"),
            *("recipe_mean_target", "recipe_without_jitter", "recipe_averaged_weights", "recipe_lower_rate"),
        ),
    ),
    "fine_tuning": Question(
        "How many of the pretrained network's errors can be removed?",
        (
            *("fine_tuned_taught", "fine_tuned_taught_second", "fine_tuned_arcface", "fine_tuned_triplet"),
            "fine_tuned_taught_without_cloth_and_blue",
            "fine_tuned_taught_second_without_cloth_and_blue",
        ),
        chosen=("fine_tuned_taught", "fine_tuned_taught_second"),
    ),
    "simulation": Question(
        "Which part of the mask simulation matters?",
        (
            *("simulation", "simulation_without_cloth_and_blue", "simulation_surgical_only"),
            *("simulation_of_one_fit", "simulation_flat", "simulation_in_more_colours"),
        ),
    ),
    "centres": Question(
        "ArcFace from a pretrained network: class centres at random or at the means?",
        ("centres_random", "centres_means"),
    ),
    "alignment": Question(
        "Should training repeat the alignment errors that masks cause?",
        ("aligned_as_bare", "aligned_with_errors"),
    ),
    # FACES as for "alignment", prepared with --unnamed.
    "masked_first": Question(
        "What improves on the recipe when the mask comes before the alignment?",
        (
            *("masked_first", "masked_first_unnamed", "masked_first_with_errors", "masked_first_adaface"),
            *("masked_first_restrained", "masked_first_frozen", "masked_first_without_cloth_and_blue"),
        ),
    ),
    "all_photos": Question(
        "With all photos: unnamed photos and self-restrained triplets together?",
        ("all_photos", "all_photos_unnamed_restrained"),
    ),
}
