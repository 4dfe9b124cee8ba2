"""Whole methods, each a short file that composes layers, losses and ops."""

from hashgcn.models.lightgcn import LightGCN
from hashgcn.models.recall_hash import RecallHash

__all__ = ["LightGCN", "RecallHash"]
