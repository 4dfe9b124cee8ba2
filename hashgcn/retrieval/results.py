"""What a search returns: ids first, then distances or scores, best first."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

MISSING_DISTANCE = 2**31 - 1


def lowest_score(dtype: np.dtype) -> float:
    """The score of a missing result: the lowest value of the scores' dtype.

    Args:
        dtype: int32, whose lowest value is -2^31, or a float type, whose lowest value is -inf.
    """
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


class Neighbours(NamedTuple):
    """The nearest items of each query, in rising order of distance.

    Attributes:
        ids: int64 or StringDType [Q, k], or [k] for a single query. A missing result has id -1, or
            "" where ids are strings.
        distances: int32, of the same shape: Hamming distances; with queries of L levels and f bits
            the sum of those of all bit planes, plane p times 2^p, at most (2 L - 1) f. A missing
            result has distance 2^31 - 1.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import Neighbours
        >>> found = Neighbours(np.array([[7, -1]]), np.array([[3, 2**31 - 1]], np.int32))
        >>> found.counts.tolist()
        [1]
        >>> ids, distances = found
        >>> ids.tolist()
        [[7, -1]]
        >>> found.to_dicts()
        [{'items': [7], 'distances': [3]}]
    """

    ids: np.ndarray
    distances: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """The number of results of each query, int64 [Q]; a scalar for a single query."""
        return (self.distances < MISSING_DISTANCE).sum(axis=-1)

    def to_dicts(self) -> list[dict[str, list]]:
        """{"items": [...], "distances": [...]} of each query, which JSON can hold.

        Ids and distances are Python's own numbers and text; missing results are left out. A single
        query has one dictionary.
        """
        listed = _listed(self.ids, self.distances, self.counts)
        return [{"items": ids, "distances": distances} for ids, distances in listed]


class Recommendations(tuple[np.ndarray, np.ndarray]):
    """The best items of each user or query, in falling order of score: a pair of ids and scores.

    Args:
        ids: int64 or StringDType [Q, k], or [k] for a single query. A missing result has id -1, or
            "" where ids are strings.
        scores: int32 or float32, of the same shape. A missing result has the lowest score that the
            dtype has: -2^31 or -inf.
        cold: bool [Q], True for cold users, who got the most popular items, and whose scores are
            numbers of users; a scalar for a single query. None if nobody is cold.

    Examples:
        >>> import json, numpy as np
        >>> from hashgcn.retrieval import Recommendations
        >>> ids, scores = np.array([[7, 3], [5, -1]]), np.array([[6, 2], [4, -(2**31)]], np.int32)
        >>> found = Recommendations(ids, scores, np.array([False, True]))
        >>> found.counts.tolist(), found.cold.tolist()
        ([2, 1], [False, True])
        >>> for one in found.to_dicts():
        ...     print(json.dumps(one))
        {"items": [7, 3], "scores": [6, 2], "cold": false}
        {"items": [5], "scores": [4], "cold": true}
        >>> ids, scores = found
    """

    ids: np.ndarray
    scores: np.ndarray
    cold: np.ndarray

    def __new__(
        cls, ids: np.ndarray, scores: np.ndarray, cold: np.ndarray | None = None
    ) -> Recommendations:
        found = super().__new__(cls, (ids, scores))
        found.ids, found.scores = ids, scores
        found.cold = np.zeros(scores.shape[:-1], dtype=bool)[()] if cold is None else cold
        return found

    def __reduce__(self) -> tuple:
        return Recommendations, (self.ids, self.scores, self.cold)

    def __repr__(self) -> str:
        return f"Recommendations(ids={self.ids!r}, scores={self.scores!r}, cold={self.cold!r})"

    @property
    def counts(self) -> np.ndarray:
        """The number of results of each query, int64 [Q]; a scalar for a single query."""
        return (self.scores > lowest_score(self.scores.dtype)).sum(axis=-1)

    def to_dicts(self) -> list[dict[str, Any]]:
        """{"items": [...], "scores": [...], "cold": ...} of each query, which JSON can hold.

        Ids and scores are Python's own numbers and text; missing results are left out. A single
        query has one dictionary.
        """
        listed = _listed(self.ids, self.scores, self.counts)
        cold = np.atleast_1d(self.cold).tolist()
        return [
            {"items": ids, "scores": scores, "cold": is_cold}
            for (ids, scores), is_cold in zip(listed, cold, strict=True)
        ]


def _listed(ids: np.ndarray, values: np.ndarray, counts: np.ndarray) -> list[tuple[list, list]]:
    """The ids and values of each query as lists, without missing results."""
    rows = zip(np.atleast_2d(ids), np.atleast_2d(values), np.atleast_1d(counts), strict=True)
    return [(own[:count].tolist(), found[:count].tolist()) for own, found, count in rows]
