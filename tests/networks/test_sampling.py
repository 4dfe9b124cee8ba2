"""Batches of an epoch: what they hold, and that negatives are exact and uniform."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hashgcn.data import Dataset, Interactions
from hashgcn.graph import BipartiteGraph
from hashgcn.models import METHODS
from hashgcn.networks.sampling import (
    epoch_generator,
    padded_batches,
    pair_batches,
    uniform_negatives,
    user_order,
)

NUM_ITEMS = 23


@pytest.fixture(scope="module")
def graph() -> BipartiteGraph:
    """30 users: one without items, one who lacks a single item, the others at random."""
    rng = np.random.default_rng(0)
    lists = [rng.choice(NUM_ITEMS, rng.integers(1, 9), replace=False) for _ in range(28)]
    lists.insert(5, np.delete(np.arange(NUM_ITEMS), 17))
    lists.insert(9, np.array([], dtype=int))
    users = np.repeat(np.arange(30), [len(x) for x in lists])
    pairs = Interactions.from_pairs(users, np.concatenate(lists), 30, NUM_ITEMS)
    return pairs.graph()


def items_of(graph: BipartiteGraph, user: int) -> list[int]:
    return graph.user_items[graph.user_ptr[user] : graph.user_ptr[user + 1]].tolist()


def pairs_of(graph: BipartiteGraph) -> list[list[int]]:
    return [[u, i] for u in range(graph.num_users) for i in items_of(graph, u)]


@pytest.mark.parametrize("size", [1, 7, 30, 64])
def test_users_come_once_each_in_another_order_every_epoch(graph, size):
    orders = [user_order(graph, epoch_generator(3, e)) for e in (0, 1, 0)]
    for order in orders:
        batches = padded_batches(order, size)
        assert [len(batch) for batch in batches] == [size] * -(-30 // size)
        rows = torch.cat(batches)
        assert sorted(rows[:30].tolist()) == list(range(30)) and (rows[30:] == -1).all()
    assert torch.equal(orders[0], orders[2]) and not torch.equal(orders[0], orders[1])


@pytest.mark.parametrize("sampling", ["pairs", "users"])
@pytest.mark.parametrize("size", [8, 1000])
def test_pairs_are_the_graphs_and_negatives_are_not(graph, sampling, size):
    count = len(graph.user_items)
    batches = pair_batches(graph, size, 3, epoch_generator(0, 4), sampling)
    rows = torch.cat(batches)
    assert rows.dtype == torch.int64 and rows.shape == (count, 5)
    assert all(len(batch) == size for batch in batches[:-1]) and len(batches) == -(-count // size)
    own = pairs_of(graph)
    for user, positive, *negatives in rows.tolist():
        assert [user, positive] in own
        assert all([user, i] not in own and 0 <= i < NUM_ITEMS for i in negatives)
    if sampling == "pairs":
        assert sorted(rows[:, :2].tolist()) == own
    again = torch.cat(pair_batches(graph, size, 3, epoch_generator(0, 4), sampling))
    other = torch.cat(pair_batches(graph, size, 3, epoch_generator(0, 5), sampling))
    assert torch.equal(rows, again) and not torch.equal(rows, other)


def test_negatives_are_uniform_over_what_a_user_lacks(graph):
    draws = 20_000
    for user in (0, 5, 9):
        lacking = sorted(set(range(NUM_ITEMS)) - set(items_of(graph, user)))
        drawn = uniform_negatives(graph, torch.tensor([user]), draws, epoch_generator(1, user))[0]
        counts = torch.bincount(drawn, minlength=NUM_ITEMS)[lacking]
        assert counts.sum() == draws
        expected = draws / len(lacking)
        assert ((counts - expected).abs() <= 5 * expected**0.5).all()


def test_sampled_users_are_uniform_and_so_are_their_items(graph):
    parts = [pair_batches(graph, 64, 1, epoch_generator(0, e), "users") for e in range(400)]
    rows = torch.cat([batch for part in parts for batch in part])
    counts = torch.bincount(rows[:, 0], minlength=30).double()
    assert counts[9] == 0
    expected = len(rows) / 29
    assert ((torch.cat([counts[:9], counts[10:]]) - expected).abs() <= 5 * expected**0.5).all()
    own = items_of(graph, 5)
    counts = torch.bincount(rows[rows[:, 0] == 5, 1], minlength=NUM_ITEMS)[own].double()
    expected = counts.sum() / len(own)
    assert ((counts - expected).abs() <= 5 * expected**0.5).all()


@pytest.mark.parametrize("sampling", ["pairs", "users"])
def test_a_user_with_every_item_is_left_out(sampling):
    full = Interactions([0, 1, 4, 4, 6], [0, 0, 1, 2, 0, 2], 3).graph()
    rows = torch.cat(pair_batches(full, 2, 1, epoch_generator(0, 0), sampling))
    assert len(rows) == 3 and set(rows[:, 0].tolist()) <= {0, 3}
    for user, positive, negative in rows.tolist():
        assert positive in items_of(full, user) and negative not in items_of(full, user)
    assert uniform_negatives(full, torch.tensor([1]), 3, epoch_generator(0, 0)).tolist() == [
        [2] * 3
    ]
    nobody = Interactions([0, 2, 2], [0, 1], 2).graph()
    with pytest.raises(ValueError, match="train: expected a user who has some items and lacks oth"):
        pair_batches(nobody, 4, 1, epoch_generator(0, 0), sampling)


@pytest.mark.parametrize("method", [*METHODS, "recall_hash, sampled", "lightgcn, bpr"])
def test_every_method_trains_beside_a_user_who_has_everything(method):
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, 30, 200), rng.integers(0, 20, 200)
    users, items = np.append(users, np.zeros(20, int)), np.append(items, np.arange(20))
    data = Dataset.from_pairs("full", (users, items), ([1], [19]))
    name, _, form = method.partition(", ")
    extra = {"sampled": {"sampled_items": 5}, "bpr": {"loss": "bpr"}}.get(form, {})
    model = METHODS[name](code_length=24, epochs=2, validation_fraction=0, **extra)
    found = model.fit(data, progress=False).recommend([0, 1], k=20)
    assert np.isfinite([entry["loss"] for entry in model.metrics.history]).all()
    assert found.counts[0] == 0 and found.counts[1] > 0
