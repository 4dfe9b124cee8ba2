"""Training on the real Gowalla: minutes."""

from __future__ import annotations

import pytest
import torch

from hashgcn import models
from hashgcn.data import Dataset, Interactions, load
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


# Test metrics of a short fit by method: means of seeds 0 to 3, which are up to 2.5% off them.
BANDS = {
    "RecallHash": {"recall@50": 0.1500, "recall@100": 0.2092, "ndcg@50": 0.1061},
    "LightGCN": {"recall@50": 0.0883, "recall@100": 0.1436, "ndcg@50": 0.0526},
}


@pytest.fixture
def first_users(real_data):
    """Gowalla's first 3000 users and their items."""
    data = load("gowalla", real_data)

    def pairs(part: Interactions):
        kept = part.users() < 3000
        return data.user_ids[part.users()[kept]], data.item_ids[part.ids[kept]]

    return Dataset.from_pairs("gowalla's first users", pairs(data.train), pairs(data.test))


@pytest.mark.parametrize(
    "name", [name for name in models.__all__ if isinstance(getattr(models, name), type)]
)
def test_a_short_fit_of_every_method_stays_in_its_band(first_users, name):
    assert name in BANDS, "a method needs a band here: means over seeds of this fit"
    method = getattr(models, name)(code_length=32, epochs=3, validation_fraction=0)
    metrics = method.fit(first_users, progress=False).metrics
    for metric, value in BANDS[name].items():
        assert metrics["test"][metric] == pytest.approx(value, rel=0.05)
