"""The codes of graded users, as some engines take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashgcn.retrieval.recommender import Recommender


@dataclass(frozen=True, eq=False)
class GradedUsers:
    """Codes of graded users, which the writers for NumPy, Parquet, PostgreSQL and Qdrant take.

    Attributes:
        codes: int64 [m, P, ceil(f / 64)], bit planes (see pack_levels).
        code_length: f.
        ids: int64 or StringDType [m], raw ids.

    Examples:
        >>> import tempfile, numpy as np
        >>> from hashgcn.data import Interactions
        >>> from hashgcn.retrieval import HammingIndex, Recommender, pack_levels
        >>> from hashgcn.retrieval.export import GradedUsers, write_numpy
        >>> users = pack_levels(np.array([[3, 1, -1], [-1, -3, 1]]), levels=2)
        >>> index = HammingIndex.build(np.array([[1, 1, -1], [-1, -1, 1]], np.int8))
        >>> seen = Interactions.from_pairs([0, 1], [0, 1], 2, 2)
        >>> recommender = Recommender(users, np.array([7, 8]), index, seen)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_numpy(GradedUsers.of(recommender), f"{folder}/users.npz")
        ...     np.load(f"{folder}/users.npz")["codes"].tolist()
        [[[5], [3]], [[1], [4]]]
    """

    codes: np.ndarray
    code_length: int
    ids: np.ndarray

    @classmethod
    def of(cls, recommender: Recommender) -> GradedUsers:
        """Those of a recommender; a ValueError if its users are plain."""
        if recommender.levels == 1:
            raise ValueError("recommender: expected graded users, got plain ones")
        length = recommender.index.code_length
        return cls(recommender.user_codes, length, recommender.user_ids)

    def snapshot(self) -> GradedUsers:
        """Itself, as nothing changes it; an index gives its state."""
        return self

    def __len__(self) -> int:
        return len(self.codes)
