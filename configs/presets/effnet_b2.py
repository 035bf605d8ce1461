"""EfficientNet-B2 from scratch, ArcFace + focal loss or triplets. The original's collapsed: all embeddings equal.

    python main_arcface.py --preset effnet_b2 --data-root FOLDER
    python main_triplet.py --preset effnet_b2 --data-root FOLDER

FOLDER holds masked faces aligned by five points (python -m data.prepare SOURCE --out FOLDER --size 128).

Against the collapse: BatchNorm's momentum of 0.1, AdamW, unit-length embeddings, a warm-up of the learning rate,
gradients clipped, no weight decay on norms and biases, a margin that grows from zero (ArcFace), semi-hard mining
(triplets). results/published/efficientnet shows the effect of each in short runs of B0. Not trained at full size yet.
"""

SHARED = {
    "pretrained": "none",
    "crop": "arcface5",
    "image_size": 128,
    "embedding_size": 512,
    "pooling": "average",
    "dropout": 0.2,
    "optimiser": "adamw",
    "lr": 1e-3,
    "momentum": 0.9,
    "weight_decay": 0.05,
    "decay_norms": False,
    "schedule": "cosine",
    "warmup_epochs": 2.0,
    "clip_grad_norm": 5.0,
    "deterministic": False,
}


def deltas(backbone: str) -> dict[str, dict]:
    """The deltas of both objectives for an EfficientNet."""
    return {
        "ArcFaceSettings": {
            **SHARED,
            "backbone": backbone,
            "batch_size": 128,
            "scale": 32.0,
            "margin": 0.4,
            "margin_warmup_epochs": 4.0,
            "epochs": 40,
        },
        "TripletSettings": {
            **SHARED,
            "backbone": backbone,
            "people_per_batch": 32,
            "images_per_person": 4,
            "mining": "semi_hard",
            "margin": 0.3,
            "epochs": 60,
        },
    }


DELTAS = deltas("efficientnet_b2")
