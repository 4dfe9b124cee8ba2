"""Interactions of users with items: readers, writers, published and generated data sets."""

from __future__ import annotations

from typing import Any

from hashgcn.data.catalogue import PUBLISHED, fetch, load
from hashgcn.data.interactions import Dataset, Interactions
from hashgcn.data.lightgcn import read_lightgcn
from hashgcn.data.sample import generate_sample
from hashgcn.data.statistics import describe

__all__ = [
    "PUBLISHED",
    "Dataset",
    "Interactions",
    "describe",
    "fetch",
    "generate_sample",
    "load",
    "read_interactions",
    "read_lightgcn",
    "write_inter",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: they import polars, which retrieval does without.
    if name == "read_interactions":
        from hashgcn.data.read import read_interactions

        return read_interactions
    if name == "write_inter":
        from hashgcn.data.write import write_inter

        return write_inter
    raise AttributeError(f"module 'hashgcn.data' has no attribute {name!r}")
