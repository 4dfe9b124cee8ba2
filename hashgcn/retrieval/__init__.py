"""Retrieval with packed codes over NumPy arrays; it works in a process without torch."""

from hashgcn.retrieval.codes import (
    codes_from_bytes,
    hamming_topk,
    pack_codes,
    pack_levels,
    popularity_query_bits,
    unpack_codes,
    unpack_levels,
)
from hashgcn.retrieval.index import HammingIndex
from hashgcn.retrieval.recommender import Recommender
from hashgcn.retrieval.rerank import search_reranked
from hashgcn.retrieval.results import Neighbours, Recommendations

__all__ = [
    "HammingIndex",
    "Neighbours",
    "Recommendations",
    "Recommender",
    "codes_from_bytes",
    "hamming_topk",
    "pack_codes",
    "pack_levels",
    "popularity_query_bits",
    "search_reranked",
    "unpack_codes",
    "unpack_levels",
]
