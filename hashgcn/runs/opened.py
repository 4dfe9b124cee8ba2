"""A finished run opened again: what was asked, what came out, its codes and its data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hashgcn import data as datasets
from hashgcn.data import Dataset
from hashgcn.evaluate.protocol import HammingRanking, WeightedRanking
from hashgcn.retrieval import Recommender
from hashgcn.runs.folder import Run, read_json


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What `hashgcn evaluate` and `report` read of a run.

    Attributes:
        asked: content of settings.json.
        recommender: the codes.
        data: the data set that they were trained on, users and items in the codes' rows.
    """

    asked: dict[str, Any]
    recommender: Recommender
    data: Dataset

    @classmethod
    def load(
        cls, run: Run, *, data: Path | None = None, test_file: Path | None = None
    ) -> FinishedRun:
        """Read a run and its data.

        Args:
            run: a finished one.
            data: folder or file of its data set, if that has moved.
            test_file: its file of test events, if that has moved.

        Raises:
            FileNotFoundError: no such run, no such data.
            ValueError: damaged files, data with other users, items or train pairs.
        """
        recommender = Recommender.load(run.codes)
        asked = read_json(run.settings)
        name, root = asked["dataset"], data if data is not None else asked["data"]
        if data is not None and data.is_file():
            name, root = data, None
        reading = asked.get("reading", {})
        if test_file is not None:
            reading = {**reading, "test": str(test_file)}
        interactions = datasets.load(name, root, **reading)
        seen, train = recommender.seen, interactions.train
        for kind, mine, theirs in (
            ("users", recommender.user_ids, interactions.user_ids),
            ("items", recommender.index.ids, interactions.item_ids),
            ("train pairs", seen.ptr, train.ptr),
            ("train pairs", seen.ids, train.ids),
        ):
            if not np.array_equal(mine, theirs):
                raise ValueError(f"{asked['dataset']}: expected the {kind} of the run, got others")
        return cls(asked, recommender, interactions)

    @property
    def cutoffs(self) -> list[int]:
        return self.asked["settings"]["cutoffs"]

    @property
    def weighted(self) -> bool:
        """Whether codes are segments with scales, whose scores hardly ever tie."""
        return self.recommender.scales is not None

    @cached_property
    def ranking(self) -> HammingRanking:
        """How its codes rank items."""
        index = self.recommender.index
        users, items = map(torch.from_numpy, (self.recommender.user_codes, index.codes))
        if self.recommender.scales is None:
            return HammingRanking(users, items, index.code_length)
        of_users, of_items = map(torch.from_numpy, self.recommender.scales)
        return WeightedRanking(users, items, index.code_length, (of_users, of_items))
