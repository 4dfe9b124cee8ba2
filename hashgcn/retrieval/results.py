"""What a search returns: ids first, then distances or scores, best first."""

from __future__ import annotations

from typing import NamedTuple

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
        distances: int32, of the same shape: Hamming distances. A missing result has distance
            2^31 - 1.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import Neighbours
        >>> found = Neighbours(np.array([[7, -1]]), np.array([[3, 2**31 - 1]], np.int32))
        >>> found.counts.tolist()
        [1]
        >>> ids, distances = found
        >>> ids.tolist()
        [[7, -1]]
    """

    ids: np.ndarray
    distances: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """The number of results of each query, int64 [Q]; a scalar for a single query."""
        return (self.distances < MISSING_DISTANCE).sum(axis=-1)


class Recommendations(NamedTuple):
    """The best items of each user or query, in falling order of score.

    Attributes:
        ids: int64 or StringDType [Q, k], or [k] for a single query. A missing result has id -1, or
            "" where ids are strings.
        scores: int32 or float32, of the same shape. A missing result has the lowest score that the
            dtype has: -2^31 or -inf.
    """

    ids: np.ndarray
    scores: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """The number of results of each query, int64 [Q]; a scalar for a single query."""
        return (self.scores > lowest_score(self.scores.dtype)).sum(axis=-1)
