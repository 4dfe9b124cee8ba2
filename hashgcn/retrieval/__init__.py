"""Retrieval with packed codes over NumPy arrays; works in a process that has no torch."""

from hashgcn.retrieval.codes import (
    hamming_topk,
    pack,
    popularity_query_bits,
    unpack,
    weighted_topk,
)
from hashgcn.retrieval.index import HammingIndex
from hashgcn.retrieval.recommender import Recommender
from hashgcn.retrieval.rerank import search_reranked

__all__ = [
    "HammingIndex",
    "Recommender",
    "hamming_topk",
    "pack",
    "popularity_query_bits",
    "search_reranked",
    "unpack",
    "weighted_topk",
]
