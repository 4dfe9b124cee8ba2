"""Whole methods, each a short file that composes layers, losses and ops."""

from hashgcn.models.base import HashModel
from hashgcn.networks.bgch import BGCH
from hashgcn.networks.hash_gnn import HashGNN
from hashgcn.networks.hash_rec import HashRec
from hashgcn.networks.lightgcn import LightGCN
from hashgcn.networks.recall_hash import RecallHash

# By the names of the command line.
METHODS: dict[str, type[HashModel]] = {
    "recall_hash": RecallHash,
    "lightgcn": LightGCN,
    "bgch": BGCH,
    "hashgnn": HashGNN,
    "hashrec": HashRec,
}

__all__ = ["BGCH", "METHODS", "HashGNN", "HashRec", "LightGCN", "RecallHash"]
