"""The codes of a seed do not depend on torch's default dtype."""

from __future__ import annotations

from collections.abc import Iterator

import golden
import numpy as np
import pytest
import torch

from hashgcn.graph import BipartiteGraph
from hashgcn.nn import PopularityBits, real_score_tables


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def plain() -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    return {name: fitted(name) for name in golden.TRAINED}


def fitted(name: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Codes of users and items, and the last loss."""
    model = golden.model(name).fit(golden.data(), progress=False)
    recommender = model.recommender
    return recommender.user_codes, recommender.index.codes, model.metrics.history[-1]["loss"]


@pytest.mark.parametrize("name", golden.TRAINED)
def test_codes_are_the_same(plain, float64, name):
    assert all(map(np.array_equal, fitted(name), plain[name]))


def test_parts_keep_their_dtype(float64):
    assert PopularityBits(3, 4)().dtype == torch.float32
    graph = BipartiteGraph.from_csr(torch.tensor([0, 1]), torch.tensor([0]), 2)
    rows = torch.ones(1, 2, dtype=torch.float32), torch.ones(2, 2, dtype=torch.float32)
    tables = real_score_tables(*rows, torch.tensor([0]), graph, bins=3)
    assert {table.dtype for table in tables} == {torch.float32}
