"""Popularity: the same ranking for everybody, the least that a method has to beat."""

from __future__ import annotations

import resource
import time
from typing import Any

from hashgcn.data import Dataset
from hashgcn.evaluate import protocol as evaluation
from hashgcn.train.settings import FrozenSettings


class PopularitySettings(FrozenSettings):
    cutoffs: tuple[int, ...] = (20, 50, 100)
    seed: int = 0  # changes nothing


class Popularity:
    """Items by their number of train pairs; called as the methods of hashgcn.models are."""

    def __init__(self, **settings: Any) -> None:
        self.settings = PopularitySettings(**settings)
        self.metrics: dict[str, Any] | None = None

    def fit(self, data: Dataset, **options: Any) -> Popularity:
        """Count and evaluate; options of other methods' fit change nothing."""
        started = time.perf_counter()
        test = evaluation.popularity_ranking(data, self.settings.cutoffs)
        self.metrics = {
            "test": test,
            "validation": None,
            "epochs": 0,
            "train_seconds": round(time.perf_counter() - started, 3),
            "selection_seconds": 0.0,
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "test_is_of": "a ranking that is counted, not trained",
        }
        return self
