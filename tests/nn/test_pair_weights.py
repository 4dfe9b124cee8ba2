"""Losses with weights of positives against their pairwise forms, in float64."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from samples import codes, csr

from hashgcn import nn, ops
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.base import Step
from hashgcn.networks.lightgcn import LightGCNNetwork, LightGCNSettings
from hashgcn.networks.recall_hash import RecallHashNetwork, RecallHashSettings

USERS, ITEMS, BITS, TAU = 12, 70, 20, 2.3


@pytest.fixture(params=["integers", "fractions"])
def problem(request):
    """Codes, all users and padding, and a graph with weights, of which some users have none."""
    g = torch.Generator().manual_seed(2)
    ptr, ids = csr(g, USERS, ITEMS, 9)
    if request.param == "integers":
        weights = torch.randint(1, 5, (len(ids),), generator=g).float()
    else:
        weights = torch.rand(len(ids), generator=g) * 0.4 + 0.01  # a user's may add up to < 1
    graph = BipartiteGraph.from_csr(ptr, ids, ITEMS, weights=weights)
    users = torch.cat([torch.arange(USERS), torch.tensor([-1])])
    return codes(g, len(users), BITS, grad=True), codes(g, ITEMS, BITS, grad=True), users, graph


def tables_of(user_codes, item_codes, users, graph):
    tables = ops.score_tables(user_codes, item_codes, users, graph)
    return *tables, *nn.weighted_positives(user_codes, item_codes, users, graph, tables[1])


def ranks_of(s, liked, exclude):
    above = torch.sigmoid((s - s[liked, None]) / TAU)
    return 1 + (above * ~liked).sum(1) if exclude else above.sum(1) + 0.5


def recall_of(s, liked, rank, exclude):
    ranks = ranks_of(s, liked, exclude)
    return -torch.sigmoid(math.log(5) - ranks.log() if rank == "log" else 5 - ranks)


def sl_at_k(s, liked):
    beta = s.detach().sort(descending=True).values[6]
    return torch.sigmoid((s[liked] - beta) / 1.7) * ((s - s[liked, None]) / TAU).exp().sum(1).log()


def bpr_of(s, liked):
    each = torch.nn.functional.softplus((s - s[liked, None]) / TAU)
    return (each * ~liked).sum(1) / (~liked).sum()


# Each loss, and what it is for each positive of a user of scores s.
CASES = {
    f"recall {rank} {exclude} {mean}": (
        nn.SmoothRecallLoss((5,), TAU, 1.0, rank, exclude, mean),
        lambda s, liked, r=rank, e=exclude: recall_of(s, liked, r, e),
    )
    for rank in ("log", "linear")
    for exclude in (True, False)
    for mean in ("users", "pairs")
}
CASES |= {
    f"softmax {mean}": (
        nn.FullSoftmaxLoss(TAU, mean),
        lambda s, liked: -(s / TAU).log_softmax(0)[liked],
    )
    for mean in ("users", "pairs")
}
CASES |= {
    "bpr": (nn.AllPairsBPRLoss(TAU), bpr_of),
    "softmax at 7": (nn.SLAtKLoss(TAU, 1.7, 7), sl_at_k),
    "bsl as released": (
        nn.BSLLoss(TAU, ratio=0.8, pooled=False),
        lambda s, liked: 0.8 * (s[~liked] / TAU).exp().mean().log() - s[liked] / TAU,
    ),
    "ndcg": (  # the ideal of one place, so that it is 1; a sum over positives
        nn.SmoothNDCGLoss(TAU, cutoff=1),
        lambda s, liked: -liked.sum() / torch.log2(1 + ranks_of(s, liked, True)),
    ),
    "mixture": (
        nn.Mixture([(0.7, nn.FullSoftmaxLoss(TAU)), (2.0, nn.AllPairsBPRLoss(TAU))]),
        lambda s, liked: 0.7 * -(s / TAU).log_softmax(0)[liked] + 2 * bpr_of(s, liked),
    ),
}


def weighted_mean(problem, of_user, mean):
    """sum of w_ui x_ui / sum of w_ui, over a user's positives and then users, or over all."""
    user_codes, item_codes, users, graph = problem
    values, weights = [], []
    for code, user in zip(user_codes, users.tolist(), strict=True):
        own = slice(graph.user_ptr[user], graph.user_ptr[user + 1]) if user >= 0 else slice(0)
        if len(graph.user_items[own]):
            liked = torch.zeros(ITEMS, dtype=torch.bool)
            liked[graph.user_items[own]] = True
            values.append(of_user(item_codes @ code, liked))
            weights.append(graph.weights[own].double())
    if mean == "pairs":
        values, weights = [torch.cat(values)], [torch.cat(weights)]
    means = [(w * x).sum() / w.sum() for w, x in zip(weights, values, strict=True)]
    return torch.stack(means).mean()


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_equal_the_pairwise_form(problem, name):
    loss, of_user = CASES[name]
    got = loss(*tables_of(*problem))
    want = weighted_mean(problem, of_user, "pairs" if name.endswith("pairs") else "users")
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    for mine, theirs in zip(
        torch.autograd.grad(got, problem[:2]), torch.autograd.grad(want, problem[:2]), strict=True
    ):
        assert theirs.abs().max() > 1e-6
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", [x for x in CASES if not x.endswith("pairs")])
@pytest.mark.parametrize("problem", ["integers"], indirect=True)
def test_a_weight_of_k_is_a_positive_that_counts_k_times(problem, name):
    """In the mean over positives: neither ranks nor sums over the catalogue repeat it."""
    loss, of_user = CASES[name]
    user_codes, item_codes, users, graph = problem
    means = []
    for code, user in zip(user_codes, users.tolist(), strict=True):
        own = slice(graph.user_ptr[user], graph.user_ptr[user + 1]) if user >= 0 else slice(0)
        if len(graph.user_items[own]):
            liked = torch.zeros(ITEMS, dtype=torch.bool)
            liked[graph.user_items[own]] = True
            x = of_user(item_codes @ code, liked)
            means.append(x.repeat_interleave(graph.weights[own].long()).mean())
    got = loss(*tables_of(*problem))
    torch.testing.assert_close(got, torch.stack(means).mean(), rtol=1e-12, atol=1e-13)


def test_pooled_positives(problem):
    """The mean of BSL's e^(s / t) is the weighted mean."""
    user_codes, item_codes, users, graph = problem
    got = nn.BSLLoss(TAU)(*tables_of(*problem))
    total = []
    for code, user in zip(user_codes, users.tolist(), strict=True):
        own = slice(graph.user_ptr[user], graph.user_ptr[user + 1]) if user >= 0 else slice(0)
        items = graph.user_items[own]
        if len(items):
            s, w = (item_codes @ code) / TAU, graph.weights[own].double()
            others = torch.ones(ITEMS, dtype=torch.bool)
            others[items] = False
            positive = ((w * s[items].exp()).sum() / w.sum()).log()
            total.append(s[others].exp().mean().log() - positive)
    want = torch.stack(total).mean()
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    for mine, theirs in zip(
        torch.autograd.grad(got, problem[:2]), torch.autograd.grad(want, problem[:2]), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_equal_weights_change_nothing(problem, name):
    user_codes, item_codes, users, graph = problem
    equal = dataclasses.replace(graph, weights=torch.full_like(graph.weights, 3.0))
    got, want = (
        CASES[name][0](*tables_of(user_codes, item_codes, users, equal)),
        CASES[name][0](*ops.score_tables(user_codes, item_codes, users, equal)),
    )
    torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-14)
    for mine, theirs in zip(
        torch.autograd.grad(got, problem[:2]), torch.autograd.grad(want, problem[:2]), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-14)


def test_graded_users():
    """Weights of 3 levels of scores of +-1 items: the columns are those of the tables."""
    graph = BipartiteGraph.from_csr(
        torch.tensor([0, 2]), torch.tensor([0, 2]), 3, weights=torch.tensor([0.5, 2.0])
    )
    user = torch.tensor([[3.0, -1.0]])
    items = torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, 1.0]])  # scores 2, 2 and -4
    users = torch.tensor([0])
    _, v_pos, _, pos = ops.score_tables(user, items, users, graph, levels=2)
    v_own, own = nn.weighted_positives(user, items, users, graph, v_pos)
    assert torch.equal(v_own, v_pos)
    assert own[pos > 0].tolist() == [2.0, 0.5] and own.sum() == 2.5


def test_a_graph_without_weights_is_an_error(problem):
    user_codes, item_codes, users, graph = problem
    bare = dataclasses.replace(graph, weights=None)
    with pytest.raises(ValueError, match="graph: expected weights of its pairs, got none"):
        nn.weighted_positives(user_codes, item_codes, users, bare, torch.zeros(13, BITS + 1))


class TestNetworks:
    """Networks on graphs with weights."""

    @staticmethod
    def losses(weights, *, network=RecallHashNetwork, **settings):
        g = torch.Generator().manual_seed(4)
        ptr, ids = csr(g, 40, ITEMS, 9)
        if weights is not None:
            weights = weights(torch.rand(len(ids), generator=g))
        graph = BipartiteGraph.from_csr(ptr, ids, ITEMS, weights=weights)
        kind = RecallHashSettings if network is RecallHashNetwork else LightGCNSettings
        made = network(graph, kind(code_length=16, **settings), 0)
        batch = made.batches(graph, 0)[0]
        loss = made.loss(graph, batch, Step(0, 0, 0.5))
        loss.backward()
        return loss.detach(), next(made.parameters()).grad, made, graph, batch

    @pytest.mark.parametrize("network", [RecallHashNetwork, LightGCNNetwork])
    @pytest.mark.parametrize("loss", ["recall", "softmax"])
    def test_weights_count_unless_switched_off(self, network, loss):
        options = {"network": network, "loss": loss}
        plain = self.losses(None, **options)[:2]
        weighted = self.losses(lambda x: 1 + 9 * x, **options)[:2]
        off = self.losses(lambda x: 1 + 9 * x, pair_weights=False, **options)[:2]
        equal = self.losses(torch.ones_like, **options)[:2]
        assert all(map(torch.equal, off, plain))
        assert not torch.allclose(weighted[0], plain[0], rtol=1e-3)
        for mine, theirs in zip(equal, plain, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=1e-7)

    @pytest.mark.parametrize("loss", ["recall", "softmax"])
    def test_lightgcn_equals_the_pairwise_form(self, loss):
        got, _, made, graph, users = self.losses(
            lambda x: 0.1 + x, network=LightGCNNetwork, loss=loss
        )
        p, q = (x.detach().double() for x in made.scored(graph, made.settings.score))
        t, each, mass = made.settings.temperature, [], []
        for user in users.tolist():
            own = slice(graph.user_ptr[user], graph.user_ptr[user + 1])
            items, w = graph.user_items[own], graph.weights[own].double()
            if not len(items):
                continue
            s = q @ p[user] / t
            others = torch.ones(ITEMS, dtype=torch.bool)
            others[items] = False
            ranks = 1 + (torch.sigmoid(s - s[items, None]) * others).sum(1)
            recall = sum(torch.sigmoid(math.log(n) - ranks.log()) for n in (20, 50, 100)) / 3
            x = -recall if loss == "recall" else -s.log_softmax(0)[items]
            each.append((w * x).sum() / w.sum())
            mass.append(w.sum() if loss == "softmax" else torch.ones((), dtype=torch.float64))
        want = (torch.stack(each) * torch.stack(mass)).sum() / torch.stack(mass).sum()
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6)
