"""Layers and losses: modules that know no data set and no training loop."""

from hashgcn.nn.layers import LightGCN, PopularityBits, SignSwish
from hashgcn.nn.losses import AllPairsBPRLoss, FullSoftmaxLoss, SmoothNDCGLoss, SmoothRecallLoss

__all__ = [
    "AllPairsBPRLoss",
    "FullSoftmaxLoss",
    "LightGCN",
    "PopularityBits",
    "SignSwish",
    "SmoothNDCGLoss",
    "SmoothRecallLoss",
]
