"""Baselines against dense loops, under the same rules as every other ranking."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch

from hashgcn.data import Interactions, generate_sample
from hashgcn.evaluate import (
    als,
    baselines,
    ease,
    evaluate,
    evaluate_popularity,
    item_knn,
    popularity,
    rank,
)

NUM_USERS, NUM_ITEMS = 40, 13


def train_pairs() -> Interactions:
    """Small, with a cold user, a cold item, and two equal items."""
    rng = np.random.default_rng(0)
    table = rng.random((NUM_USERS, NUM_ITEMS)) < 0.3
    table[:, 7] = table[:, 2]
    table[5], table[:, 11] = False, False
    return Interactions.from_pairs(*np.nonzero(table), NUM_USERS, NUM_ITEMS)


def dense(train: Interactions) -> np.ndarray:
    table = np.zeros((train.num_users, train.num_items))
    table[train.users(), train.ids] = 1
    return table


@pytest.mark.parametrize("neighbours", [1, 3, 50])
@pytest.mark.parametrize("shrinkage", [0.0, 4.0])
def test_item_knn_against_loops(neighbours, shrinkage, monkeypatch):
    monkeypatch.setattr(baselines, "_ITEMS", 5)
    train = train_pairs()
    table = dense(train)
    expected = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for i in range(NUM_ITEMS):
        similar = {}
        for j in range(NUM_ITEMS):
            common = table[:, i] @ table[:, j]
            if i != j and common:
                root = np.sqrt(table[:, i].sum() * table[:, j].sum())
                similar[j] = np.float32(common / (root + shrinkage))
        for j in sorted(similar, key=lambda j: (-similar[j], j))[:neighbours]:
            expected[j, i] = similar[j]
    found = item_knn(train, neighbours=neighbours, shrinkage=shrinkage)
    np.testing.assert_allclose(found.weights.toarray(), expected, rtol=1e-6)
    assert found.bytes_per_item == round(8 * np.count_nonzero(expected) / NUM_ITEMS)


@pytest.mark.parametrize("ridge", [0.5, 20.0])
def test_ease_against_the_least_squares_of_each_item(ridge):
    """Column j of B minimises |X b - x_j|^2 + ridge |b|^2 among the b with b_j = 0."""
    train = train_pairs()
    table, found = dense(train), ease(train, ridge=ridge)
    for j in range(NUM_ITEMS):
        others = np.delete(np.arange(NUM_ITEMS), j)
        own = table[:, others]
        b = np.linalg.solve(own.T @ own + ridge * np.eye(len(others)), own.T @ table[:, j])
        np.testing.assert_allclose(found.weights[others, j], b, rtol=1e-4, atol=1e-6)
    assert not np.diag(found.weights).any()
    assert found.bytes_per_item == 4 * NUM_ITEMS


@pytest.mark.parametrize("make", [item_knn, ease])
def test_ranked_as_everything_else(make):
    train = train_pairs()
    ranking = make(train)
    weights = ranking.weights
    scores = ranking.history @ (weights if isinstance(weights, np.ndarray) else weights.toarray())
    found = rank(ranking, train, NUM_ITEMS, batch_users=7)
    table = dense(train)
    for user in range(NUM_USERS):
        left = [i for i in range(NUM_ITEMS) if i != 11 and not table[user, i]]
        expected = sorted(left, key=lambda i: (-scores[user, i], i))
        if not table[user].any():  # cold
            expected = sorted(left, key=lambda i: (-table[:, i].sum(), i))
        assert found[user].tolist() == expected + [-1] * (NUM_ITEMS - len(left))


def test_popularity_is_that_of_the_protocol():
    data = generate_sample(num_users=90, num_items=75, mean_degree=14)
    found = evaluate(popularity(data.train), data.train, data.test, (5, 20))
    assert found == evaluate_popularity(data, (5, 20))


def test_ease_names_the_number_of_items_that_fit(monkeypatch):
    monkeypatch.setattr(baselines, "_free_bytes", lambda: 28 * 12**2)
    with pytest.raises(ValueError, match="train: expected at most 12 items, .*, got 13"):
        ease(train_pairs())


@pytest.mark.parametrize(
    "make, wrong, message",
    [
        (item_knn, {"neighbours": 0}, "neighbours: expected at least 1, got 0"),
        (item_knn, {"shrinkage": -1}, "shrinkage: expected a finite number of at least 0, got -1"),
        (ease, {"ridge": 0}, "ridge: expected a finite number above 0, got 0"),
        (ease, {"ridge": float("nan")}, "ridge: expected a finite number above 0, got nan"),
    ],
)
def test_errors(make, wrong, message):
    with pytest.raises(ValueError, match=message):
        make(train_pairs(), **wrong)


def test_als_asks_implicit(monkeypatch):
    class Stub:
        def __init__(self, **given):
            assert given.pop("use_gpu") is False
            assert given == {"factors": 64, "regularization": 0.1, "alpha": 10, "random_state": 3}

        def fit(self, user_items, show_progress=True):
            assert not show_progress
            self.user_factors = user_items.toarray()
            self.item_factors = np.eye(user_items.shape[1], dtype=np.float32)

    module = types.ModuleType("implicit.als")
    module.AlternatingLeastSquares = Stub
    monkeypatch.setitem(sys.modules, "implicit", types.ModuleType("implicit"))
    monkeypatch.setitem(sys.modules, "implicit.als", module)
    train = train_pairs()
    found = als(train, regularization=0.1, alpha=10, seed=3)
    assert torch.equal(found.users, torch.from_numpy(dense(train)).float())
    assert found.items.shape == (NUM_ITEMS, NUM_ITEMS)


def test_als_without_implicit(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(ImportError, match="implicit"):
        als(train_pairs())
