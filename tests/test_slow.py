"""Training on the real Gowalla with default settings: minutes."""

from __future__ import annotations

import pytest
import torch

from hashgcn.data import load
from hashgcn.models import RecallHash

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "reach"),
    [
        ({}, {"recall@50": 0.24, "recall@100": 0.325, "ndcg@50": 0.152}),
        ({"popularity_bits": 0}, {"recall@50": 0.215, "recall@100": 0.30}),
    ],
)
def test_gowalla_reaches_its_figures(real_data, settings, reach):
    metrics = RecallHash(**settings).fit(load("gowalla", real_data)).metrics
    for name, value in reach.items():
        assert metrics["test"][name] >= value
    assert metrics["peak_rss_mb"] <= 1200


def test_real_codes_do_not_depend_on_the_number_of_threads(real_data, threads):
    data = load("gowalla", real_data)
    codes = []
    for n in (1, 2):
        threads(n)
        model = RecallHash(epochs=1, validation_fraction=0).fit(data)
        codes.append(model.recommender)
    assert torch.equal(*(torch.from_numpy(r.user_codes) for r in codes))
    assert torch.equal(*(torch.from_numpy(r.index.codes) for r in codes))
