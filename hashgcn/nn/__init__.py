"""Layers and losses: torch modules that depend on no data set and no training loop."""

from hashgcn.nn.layers import LightGCN, PopularityBits
from hashgcn.nn.losses import AllPairsBPRLoss, FullSoftmaxLoss, SmoothNDCGLoss, SmoothRecallLoss
from hashgcn.nn.signs import (
    ESTIMATORS,
    FourierSeries,
    HashLayer,
    SignSwish,
    StraightThrough,
)
from hashgcn.nn.tables import real_score_tables

__all__ = [
    "ESTIMATORS",
    "AllPairsBPRLoss",
    "FourierSeries",
    "FullSoftmaxLoss",
    "HashLayer",
    "LightGCN",
    "PopularityBits",
    "SignSwish",
    "SmoothNDCGLoss",
    "SmoothRecallLoss",
    "StraightThrough",
    "real_score_tables",
]
