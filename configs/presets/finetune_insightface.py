"""InsightFace's IResNet-50 fine-tuned for masks: ArcFace on plain faces, half of them masked when sampled.

    python main_arcface.py --preset finetune_insightface --pretrained backbone.pth --data-root FOLDER

backbone.pth is a file of arcface_torch (its model zoo: MS1MV3 or Glint360K, R50; research only). Another depth needs
--backbone iresnet18 … iresnet200; a file that doesn't fit says so. FOLDER holds plain faces, aligned by five points at
112 px with their landmarks (python -m data.prepare SOURCE --out FOLDER --size 112 --masks none).

Scale, margin, weight decay and clipping are those of arcface_torch. The learning rate is a tenth of its 0.02 for 128
images, with a short warm-up, and the class centres start at the means of the network's embeddings: from random ones the
first gradients would undo what the network knows. The margin grows over the first epoch for the same reason. About half
of each batch stays unmasked, so that accuracy on plain pairs is kept. One GPU of 11 GB with mixed precision; nothing at
full size has been measured yet, so compare with the untouched network (python -m models.import_weights, then
eval.verify) before you use the result.
"""

DELTAS = {
    "ArcFaceSettings": {
        "backbone": "iresnet50",
        "pretrained": "backbone.pth",
        "embedding_size": 512,
        "pooling": "backbone",
        "dropout": 0.0,
        "crop": "arcface5",
        "image_size": 112,
        "normalisation": "auto",
        "train_faces": "plain",
        "mask_probability": 0.5,
        "batch_size": 128,
        "scale": 64.0,
        "margin": 0.5,
        "centres_from": "means",
        "focal_gamma": 0.0,
        "frequency_weights": "none",
        "margin_warmup_epochs": 1.0,
        "optimiser": "sgd",
        "lr": 0.002,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "decay_norms": True,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "clip_grad_norm": 5.0,
        "epochs": 5,
        "deterministic": False,
    }
}
