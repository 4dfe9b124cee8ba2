"""Whole methods, each a short file that composes layers, losses and ops."""

from hashgcn.models.base import HashModel
from hashgcn.models.bgch import BGCH
from hashgcn.models.hash_gnn import HashGNN
from hashgcn.models.hash_rec import HashRec
from hashgcn.models.lightgcn import LightGCN
from hashgcn.models.recall_hash import RecallHash

# By the names of the command line.
METHODS: dict[str, type[HashModel]] = {
    "recall_hash": RecallHash,
    "lightgcn": LightGCN,
    "bgch": BGCH,
    "hashgnn": HashGNN,
    "hashrec": HashRec,
}

__all__ = ["BGCH", "METHODS", "HashGNN", "HashRec", "LightGCN", "RecallHash"]
