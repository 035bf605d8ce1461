"""The demo: what both scripts ship with, for when their constants have been edited.

    python main_arcface.py --preset demo
    python main_triplet.py --preset demo

InceptionResNetV1 from scratch on built-in faces, 9,180 images seen. It takes six minutes on 2 slow CPU cores, with
drawing and test; docs/demo.md has the results.
"""

SHARED = {
    "data_root": "builtin",
    "train_csv": "train.csv",
    "train_faces": "all",
    "eval_csvs": ("eval_same.csv", "eval_diff.csv"),
    "test_csv": "test.csv",
    "eval_root": "",
    "path_prefix": "",
    "crop": "arcface5",
    "image_size": 80,
    "normalisation": "auto",
    "most_images": 0,
    "mask_probability": 0.0,
    "mask_kinds": ("surgical_green", "surgical_blue", "n95", "kn95", "cloth"),
    "mask_fit": "varied",
    "jitter": False,
    "mirror": True,
    "cache": "none",
    "builtin_people": 170,
    "builtin_images": 9,
    "backbone": "inception_resnet_v1",
    "pretrained": "none",
    "embedding_size": 512,
    "pooling": "average",
    "dropout": 0.0,
    "norm_momentum": 0.1,
    "teacher": "",
    "teacher_share": 0.5,
    "teacher_mean_share": 0.5,
    "epochs": 3,
    "optimiser": "adamw",
    "lr": 1e-3,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "decay_norms": False,
    "schedule": "cosine",
    "warmup_epochs": 0.2,
    "clip_grad_norm": 0.0,
    "accumulate_steps": 1,
    "ema_decay": 0.0,
    "on_collapse": "stop",
    "seed": 0,
}

DELTAS = {
    "ArcFaceSettings": {
        **SHARED,
        "batch_size": 32,
        "balanced": False,
        "scale": 16.0,
        "margin": 0.2,
        "focal_gamma": 1.0,
        "frequency_weights": "inverse_log",
        "margin_kind": "arcface",
        "sub_centres": 1,
        "sampled_share": 1.0,
        "shard_classes": False,
        "label_smoothing": 0.0,
        "margin_warmup_epochs": 1.0,
    },
    "TripletSettings": {
        **SHARED,
        "people_per_batch": 16,
        "images_per_person": 4,
        "epoch_mode": "random",
        "mining": "semi_hard",
        "margin": 0.3,
        "squared": False,
        "allow_saturating_margin": False,
    },
}
