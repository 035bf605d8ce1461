"""Model 2 of the original: InceptionResNetV1 from VGGFace2 weights, online triplet mining. 94.xx % on masked LFW.

    python main_triplet.py --preset model2 --data_root FOLDER

FOLDER as for model1. P×K = 20×30 is one step of 600 images: 4 GPUs of 11 GB, 100 epochs.

The original's numbers, with its faults mended. Its margin of 3 can't be reached by unit vectors, whose distance never
passes 2: every triplet stays active for ever and "all embeddings equal" is the way downhill. Here it is 0.5; groups
are never cut apart and the last identity is not dropped.
"""

DELTAS = {
    "TripletSettings": {
        "backbone": "inception_resnet_v1",
        "pretrained": "vggface2",
        "crop": "mtcnn_box",
        "image_size": 128,
        "normalisation": "auto",
        "mask_probability": 0.0,
        "mirror": False,
        "embedding_size": 512,
        "pooling": "average",
        "dropout": 0.3,
        "people_per_batch": 20,
        "images_per_person": 30,
        "epoch_mode": "all",
        "mining": "batch_hard",
        "margin": 0.5,
        "squared": False,
        "optimiser": "adadelta",
        "lr": 0.05,
        "weight_decay": 0.0,
        "schedule": "step",
        "lr_decay": 0.7,
        "warmup_epochs": 0.0,
        "clip_grad_norm": 0.0,
        "epochs": 100,
        "deterministic": False,
    }
}
