"""EfficientNet-B3 from scratch, ArcFace + focal loss or triplets. The original's collapsed: all embeddings equal.

    python main_arcface.py --preset effnet_b3 --data-root FOLDER
    python main_triplet.py --preset effnet_b3 --data-root FOLDER

FOLDER as for model3. See effnet_b2 for the settings and their reasons. Not trained at full size yet.
"""

from configs.presets.effnet_b2 import deltas

DELTAS = deltas("efficientnet_b3")
