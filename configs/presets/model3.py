"""Model 3 of the original: SE-ResNeXt-101 32x4d from scratch, ArcFace + focal loss. About 93 % on masked LFW.

    python main_arcface.py --preset model3 --data-root FOLDER

FOLDER holds masked faces aligned by five points (python -m data.prepare SOURCE --out FOLDER --size 128). Trained in
2021 on 4 GPUs of 11 GB for 60 to 120 epochs; here 60. On 2 CPU cores it runs at 10 to 13 images per second.

The original's settings, with its faults corrected as in model1. Its embeddings were the neck's raw BatchNorm output;
here they are unit vectors.
"""

from configs.presets.model1 import ORIGINAL_ARCFACE

DELTAS = {
    "ArcFaceSettings": {
        **ORIGINAL_ARCFACE,
        "backbone": "seresnext101",
        "pretrained": "none",
        "crop": "arcface5",
        "pooling": "gem",
        "epochs": 60,
        "milestones": (20, 35, 45, 55),
    }
}
