"""Layers and losses: torch modules that depend on no data set and no training loop."""

from hashgcn.nn.layers import LightGCN, PopularityBits
from hashgcn.nn.losses import (
    AllPairsBPRLoss,
    BSLLoss,
    FullSoftmaxLoss,
    Mixture,
    SLAtKLoss,
    SmoothNDCGLoss,
    SmoothRecallLoss,
)
from hashgcn.nn.signs import (
    ESTIMATORS,
    FourierSeries,
    HashLayer,
    SignSwish,
    StraightThrough,
)
from hashgcn.nn.tables import real_score_tables, weighted_positives

__all__ = [
    "ESTIMATORS",
    "AllPairsBPRLoss",
    "BSLLoss",
    "FourierSeries",
    "FullSoftmaxLoss",
    "HashLayer",
    "LightGCN",
    "Mixture",
    "PopularityBits",
    "SLAtKLoss",
    "SignSwish",
    "SmoothNDCGLoss",
    "SmoothRecallLoss",
    "StraightThrough",
    "real_score_tables",
    "weighted_positives",
]
