"""Layers and losses: modules that know no data set and no training loop."""

from hashgcn.nn.layers import LightGCN, PopularityBits
from hashgcn.nn.losses import AllPairsBPRLoss, FullSoftmaxLoss, SmoothNDCGLoss, SmoothRecallLoss
from hashgcn.nn.signs import (
    ESTIMATORS,
    FourierSeries,
    Guidance,
    HashLayer,
    SignSwish,
    StraightThrough,
    TanhContinuation,
)
from hashgcn.nn.tables import real_score_tables

__all__ = [
    "ESTIMATORS",
    "AllPairsBPRLoss",
    "FourierSeries",
    "FullSoftmaxLoss",
    "Guidance",
    "HashLayer",
    "LightGCN",
    "PopularityBits",
    "SignSwish",
    "SmoothNDCGLoss",
    "SmoothRecallLoss",
    "StraightThrough",
    "TanhContinuation",
    "real_score_tables",
]
