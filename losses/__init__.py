"""Embeddings and labels in, a scalar and its figures out: triplets mined online, and margin softmax."""

from losses.arcface import ArcFaceLoss
from losses.frequency import FREQUENCY_WEIGHTS
from losses.quality import length_rule_for
from losses.sharded_head import ShardedArcFaceLoss
from losses.triplet import MINING_RULES, TripletLoss

__all__ = [
    "FREQUENCY_WEIGHTS",
    "MINING_RULES",
    "ArcFaceLoss",
    "ShardedArcFaceLoss",
    "TripletLoss",
    "length_rule_for",
]
