"""Model 1 of the original: InceptionResNetV1 from VGGFace2 weights, ArcFace + focal loss. 95.85 % on masked LFW.

    python main_arcface.py --preset model1 --data-root FOLDER

FOLDER holds masked CASIA-WebFace or VGGFace2 faces, cropped by the detector's box (python -m data.prepare SOURCE --out
FOLDER --crop mtcnn_box --size 128); the weights themselves were trained at 160 px. Trained in 2021 on 4 GPUs of 11 GB,
25 epochs.

The original's settings, with its faults corrected: frequency weights apply to each sample's loss before the mean (they
had no effect), the input is normalised as it was for the weights (it was ImageNet's), embeddings are unit vectors.
"""

ORIGINAL_ARCFACE = {
    "embedding_size": 512,
    "image_size": 128,
    "normalisation": "auto",
    "mask_probability": 0.0,
    "mirror": False,
    "dropout": 0.4,
    "batch_size": 128,
    "scale": 45.0,
    "margin": 0.4,
    "focal_gamma": 2.0,
    "frequency_weights": "inverse_log",
    "label_smoothing": 0.0,
    "margin_warmup_epochs": 0.0,
    "optimiser": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "decay_norms": True,
    "schedule": "multistep",
    "milestones": (5, 10, 15, 20),
    "lr_decay": 0.1,
    "warmup_epochs": 0.0,
    "clip_grad_norm": 0.0,
    "epochs": 25,
    "deterministic": False,
}

DELTAS = {
    "ArcFaceSettings": {
        **ORIGINAL_ARCFACE,
        "backbone": "inception_resnet_v1",
        "pretrained": "vggface2",
        "crop": "mtcnn_box",
        "pooling": "average",
    }
}
