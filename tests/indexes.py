"""Indexes of random codes, graded queries, and what searching should give."""

from __future__ import annotations

import numpy as np

from hashgcn.levels import largest_weight
from hashgcn.retrieval import HammingIndex

MAX_DISTANCE = 2**31 - 1
KINDS = ["rows", "int", "str"]


def signs(rows: int, length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1.0, 1.0], (rows, length)).astype(np.float32)


def make_ids(kind: str, count: int) -> np.ndarray:
    """Unique ids in no order."""
    order = np.random.default_rng(3).permutation(count)
    return {
        "rows": np.arange(count),
        "int": order * 1_000_003 - 500,
        "str": np.array([f"item {'ü' * (i % 3)}{i}" for i in order], dtype=np.dtypes.StringDType()),
    }[kind]


def make_index(kind: str = "int", count: int = 60, length: int = 70) -> HammingIndex:
    ids = None if kind == "rows" else make_ids(kind, count)
    return HammingIndex.build(signs(count, length, 1), ids)


def oracle(codes, queries, k, ids, kept=None):
    """Ids and distances by (distance, row), from inner products; kept is bool [Q, n]."""
    distance = ((codes.shape[1] - queries @ codes.T) / 2).astype(np.int32)
    shape = (len(queries), k)
    distances = np.full(shape, MAX_DISTANCE, dtype=np.int32)
    found = np.full(shape, "" if ids.dtype.kind == "T" else -1, dtype=ids.dtype)
    for q in range(len(queries)):
        rows = np.arange(len(codes)) if kept is None else np.flatnonzero(kept[q])
        best = rows[np.lexsort((rows, distance[q, rows]))][:k]
        distances[q, : len(best)], found[q, : len(best)] = distance[q, best], ids[best]
    return found, distances


def assert_same(got, expected) -> None:
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def weights(rows: int, length: int, levels: int, seed: int, bits: int = 0, value: int = 1):
    """Random odd weights, int64 [rows, length]; `value` in the last `bits` dimensions."""
    bound = largest_weight(levels)
    found = 2 * np.random.default_rng(seed).integers(0, bound + 1, (rows, length)) - bound
    found[:, length - bits :] = value
    return found


def thermometers(rows: int, length: int, bits: int, seed: int) -> np.ndarray:
    """Random codes whose last bits are thermometers of random levels."""
    codes = signs(rows, length, seed)
    count = np.random.default_rng(seed).integers(0, bits + 1, (rows, 1))
    codes[:, length - bits :] = np.where(np.arange(bits) < count, 1, -1)
    return codes


def by_score(scores: np.ndarray, kept: np.ndarray) -> list[list[int]]:
    """The kept rows of each query in falling order of score, ties by row."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return [[i for i in row if kept[q, i]] for q, row in enumerate(order.tolist())]
