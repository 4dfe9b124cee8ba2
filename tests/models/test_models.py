"""The methods beside RecallHash: what they compute, and that they learn, repeat and resume."""

from __future__ import annotations

import importlib.util
import inspect
import math
import os
import re
import signal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import leaky_relu, logsigmoid, normalize

from hashgcn.data import Dataset, generate_sample
from hashgcn.graph import BipartiteGraph
from hashgcn.models import BGCH, METHODS, HashGNN, HashRec, LightGCN
from hashgcn.networks.base import Step
from hashgcn.networks.bgch import dispersed
from hashgcn.ops import reference, unpack_codes
from hashgcn.retrieval import Recommender
from hashgcn.runs.folder import Run
from hashgcn.train import loop as loops

START = Step(0, 0, 0.0)
SETTINGS = {"epochs": 2, "cutoffs": (5, 20), "selection_metric": "recall@20"}
# Small runs of every method, and of every form that trains differently.
SMALL = {
    "lightgcn": ("lightgcn", {"code_length": 24, "batch_users": 32}),
    "lightgcn, softmax": (
        "lightgcn",
        {"code_length": 24, "loss": "softmax", "item_bias": False, "batch_users": 32},
    ),
    "lightgcn, popular negatives": (
        "lightgcn",
        {
            **{"code_length": 24, "loss": "softmax", "item_bias": False, "batch_users": 32},
            **{"negative_popularity": 1.0, "ranking_score": "dot"},
        },
    ),
    "lightgcn, bpr": (
        "lightgcn",
        {"code_length": 24, "loss": "bpr", "item_bias": False, "l2": 1e-4},
    ),
    "hashrec": ("hashrec", {"code_length": 24, "popularity_bits": 5, "learning_rate": 0.05}),
    "hashgnn": (
        "hashgnn",
        {"code_length": 20, "id_width": 12, "hidden_width": 9, "popularity_bits": 4},
    ),
    "bgch": ("bgch", {"code_length": 30}),
    "bgch, mean": ("bgch", {"code_length": 24, "form": "mean", "popularity_bits": 5}),
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return generate_sample(num_users=150, num_items=200, mean_degree=20.0)


@pytest.fixture(scope="module")
def graph(data) -> BipartiteGraph:
    return data.train.graph()


def small(name: str, **options):
    method, settings = SMALL[name]
    users = name in ("lightgcn", "lightgcn, softmax", "lightgcn, popular negatives")
    pairs = {} if users else {"batch_pairs": 512}
    return METHODS[method](**{**SETTINGS, **settings, **pairs, **options})


def network_of(model, graph):
    return model.network(graph, model.settings.network, model.settings.train.seed)


def assert_same(a, b) -> None:
    arrays = [(r.user_codes, r.index.codes) for r in (a, b)]
    for x, y in zip(*arrays, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def whole(data):
    """Small runs by name, each trained once; tests only read them."""
    return cache(lambda name: small(name).fit(data, progress=False))


@pytest.mark.parametrize("name", SMALL)
def test_runs_repeat_for_any_number_of_threads(data, whole, threads, name):
    first = whole(name)
    threads(1 if torch.get_num_threads() > 1 else 3)
    other = small(name).fit(data, progress=False)
    assert_same(first.recommender, other.recommender)
    assert first.metrics.history == other.metrics.history
    assert first.metrics.columns() == other.metrics.columns()


@pytest.mark.parametrize("name", SMALL)
def test_a_resumed_run_equals_an_uninterrupted_one(data, whole, tmp_path, monkeypatch, name):
    step, done = loops.Loop.step, 0

    def interrupting(self, batch):
        nonlocal done
        done += 1
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loops.Loop, "step", interrupting)
        with pytest.raises(KeyboardInterrupt):
            small(name).fit(data, run=tmp_path, progress=False)
    resumed = small(name).fit(data, run=tmp_path, resume=True, progress=False)
    assert_same(whole(name).recommender, resumed.recommender)
    assert whole(name).metrics.history == resumed.metrics.history
    assert_same(Recommender.load(Run(tmp_path).codes), whole(name).recommender)


# What trains in a few seconds on the bundled data set, and the recall@20 it has to reach there;
# popularity has 0.077.
LEARN = {
    "lightgcn": ({"epochs": 3}, {"codes": 0.2, "itq": 0.3, "real": 0.35}),
    "lightgcn, softmax": (
        {"epochs": 3, "loss": "softmax", "item_bias": False, "temperature": 0.1, "first_layer": 0}
        | {"learning_rate": 0.01},
        {"codes": 0.2, "itq": 0.3, "real": 0.32},
    ),
    "lightgcn, bpr": (
        {"epochs": 6, "loss": "bpr", "item_bias": False, "score": "dot"},
        {"codes": 0.15, "itq": 0.28, "real": 0.32},
    ),
    "hashrec": ({"epochs": 10, "learning_rate": 0.05, "batch_pairs": 2048}, {"codes": 0.2}),
    "hashgnn": (
        {
            **{"epochs": 6, "learning_rate": 0.02, "batch_pairs": 2048, "negatives": 4},
            **{"id_width": 32, "hidden_width": 32},
        },
        {"codes": 0.11},
    ),
    "bgch": (
        {"epochs": 5, "learning_rate": 0.02, "code_length": 96},
        {"codes": 0.15, "scaled": 0.15},
    ),
    "bgch, mean": (
        {"epochs": 3, "learning_rate": 0.02, "code_length": 64, "form": "mean"},
        {"codes": 0.2},
    ),
}


@pytest.mark.parametrize("name", LEARN)
def test_methods_learn(name):
    settings, reach = LEARN[name]
    model = METHODS[name.split(",")[0]](validation_fraction=0, **settings)
    metrics = model.fit(generate_sample(), progress=False).metrics
    for key, least in reach.items():
        assert metrics.columns()[key]["recall@20"] >= least
    losses = [entry["loss"] for entry in metrics.history]
    assert name == "hashgnn" or losses[-1] < losses[0]


def test_bytes_per_item(whole):
    def of(name):
        return whole(name).metrics.bytes_per_item

    assert of("lightgcn") == {"codes": 3, "itq": 3, "real": 100}  # 24 floats and the bias
    assert of("bgch") == {"codes": 4, "scaled": 4 + 3 * 4}
    assert of("hashgnn") == {"codes": 3}


class TestLightGCN:
    def plain(self, graph, network):
        """Embeddings in float64, and the parameter they come from."""
        weight = network.encoder.weight.detach().double().requires_grad_()
        s = network.settings
        x = reference.propagate(weight, graph.user_ptr, graph.user_items, s.layers, s.first_layer)
        return weight, x

    @pytest.mark.parametrize("first_layer", [0, 1])
    @pytest.mark.parametrize("score", ["cosine", "user", "dot"])
    def test_softmax_is_the_softmax_over_all_items(self, graph, score, first_layer):
        options = {"score": score, "temperature": 0.2, "l2": 0.3, "first_layer": first_layer}
        network = network_of(small("lightgcn, softmax", **options), graph)
        users = torch.tensor([3, 149, 70])
        weight, x = self.plain(graph, network)
        p, q = x.split([graph.num_users, graph.num_items])
        p = p if score == "dot" else normalize(p)
        q = normalize(q) if score == "cosine" else q
        logs = (p[users] @ q.T / 0.2).log_softmax(1)
        mask = reference.positive_mask(users, graph.user_ptr, graph.user_items, graph.num_items)
        want = -logs[mask].mean() + 0.3 / 2 * weight.square().sum(1).mean()
        got = network.loss(graph, users, START)
        assert got.item() == pytest.approx(want.item(), rel=1e-5)
        (mine,) = torch.autograd.grad(got, network.encoder.weight)
        (theirs,) = torch.autograd.grad(want, weight)
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
    def test_softmax_with_popular_negatives(self, graph, power):
        options = {"negative_popularity": power, "temperature": 0.2, "first_layer": 0}
        network = network_of(small("lightgcn, popular negatives", **options), graph)
        users = torch.tensor([3, 149, 70])
        weight, x = self.plain(graph, network)
        p, q = (normalize(part) for part in x.split([graph.num_users, graph.num_items]))
        terms = (p[users] @ q.T / 0.2).exp()
        popularity = graph.item_ptr.diff().double() ** power
        total = (popularity / popularity.mean() * terms).sum(1, keepdim=True)
        mask = reference.positive_mask(users, graph.user_ptr, graph.user_items, graph.num_items)
        want = -(terms / total).log()[mask].mean()
        got = network.loss(graph, users, START)
        assert got.item() == pytest.approx(want.item(), rel=1e-5)
        (mine,) = torch.autograd.grad(got, network.encoder.weight)
        (theirs,) = torch.autograd.grad(want, weight)
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize("item_bias", [False, True])
    def test_ranking_score(self, graph, item_bias):
        """It changes the real-valued ranking alone, to what the other score ranks by."""
        options = {"loss": "softmax", "item_bias": item_bias, "negative_popularity": 0.0}
        networks = {
            (score, ranking): network_of(
                small("lightgcn, popular negatives", score=score, ranking_score=ranking, **options),
                graph,
            )
            for score, ranking in (("cosine", None), ("dot", None), ("cosine", "dot"))
        }
        plain, dot, both = (x.ranking(graph, "real") for x in networks.values())
        assert torch.equal(both.users, dot.users) and torch.equal(both.items, dot.items)
        assert not torch.equal(both.items, plain.items)
        first, _, last = networks.values()
        batch = torch.tensor([3, 149, 70])
        assert torch.equal(first.loss(graph, batch, START), last.loss(graph, batch, START))
        for name in ("codes", "itq"):
            assert torch.equal(first.ranking(graph, name).items, last.ranking(graph, name).items)

    def test_popular_negatives_without_any_pair(self):
        nothing = BipartiteGraph.from_csr(
            torch.zeros(5, dtype=torch.int64), torch.tensor([]).long(), 6
        )
        network = network_of(small("lightgcn, popular negatives"), nothing)
        loss = network.loss(nothing, torch.tensor([0, 3]), START)
        assert loss.item() == 0

    @pytest.mark.parametrize("loss", ["recall", "softmax"])
    def test_loss_with_an_item_bias(self, graph, loss):
        options = {"score": "cosine", "item_bias": True, "temperature": 0.2, "l2": 0.3}
        network = network_of(small("lightgcn", loss=loss, train_cutoffs=(3, 9), **options), graph)
        with torch.no_grad():
            network.bias.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
        users = torch.tensor([3, 149, 70])
        weight, x = self.plain(graph, network)
        bias = network.bias.detach().double().requires_grad_()
        p, q = (normalize(part) for part in x.split([graph.num_users, graph.num_items]))
        scores = p[users] @ q.T + bias
        csr = graph.user_ptr, graph.user_items
        mask = reference.positive_mask(users, *csr, graph.num_items)
        if loss == "softmax":
            want = -(scores / 0.2).log_softmax(1)[mask].mean()
        else:
            each = []
            for row, liked in zip(scores, mask, strict=True):
                gap = (row[~liked] - row[liked, None]) / 0.2
                rank = 1 + torch.sigmoid(gap).sum(1)
                each += [torch.sigmoid(math.log(n) - rank.log()).mean() for n in (3, 9)]
            want = -torch.stack(each).mean()
        want = want + 0.3 / 2 * weight.square().sum(1).mean()
        got = network.loss(graph, users, START)
        assert got.item() == pytest.approx(want.item(), rel=1e-5)
        mine = torch.autograd.grad(got, (network.encoder.weight, network.bias))
        for a, b in zip(mine, torch.autograd.grad(want, (weight, bias)), strict=True):
            assert b.abs().max() > 1e-5
            torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-6)
        users, items = (part.double() for part in network.scored(graph, "cosine"))
        assert torch.equal(users[:, -1], torch.ones(graph.num_users).double())
        torch.testing.assert_close(items[:, -1], bias.detach(), rtol=1e-6, atol=0)

    def test_bpr(self, graph):
        network = network_of(small("lightgcn, bpr", score="dot", l2=0.3), graph)
        batch = network.batches(graph, 0)[0]
        weight, x = self.plain(graph, network)
        u, i, j = batch.T
        i, j = i + graph.num_users, j + graph.num_users
        gap = (x[u] * (x[i] - x[j])).sum(1)
        size = sum(weight[rows].square().sum() for rows in (u, i, j)) / len(u)
        want = -logsigmoid(gap).mean() + 0.3 / 2 * size
        got = network.loss(graph, batch, START)
        assert got.item() == pytest.approx(want.item(), rel=1e-5)
        (mine,) = torch.autograd.grad(got, network.encoder.weight)
        (theirs,) = torch.autograd.grad(want, weight)
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-7)


class TestHashRec:
    @pytest.mark.parametrize("epoch", [0, 1, 7])
    def test_loss_and_beta_of_an_epoch(self, graph, epoch):
        network = network_of(small("hashrec", epochs=9, l2=0.2, batch_pairs=100), graph)
        batch = network.batches(graph, 0)[0]
        with torch.no_grad():
            network.popularity.level.copy_(torch.randn(graph.num_items))
        beta = math.sqrt(1 + 10 * epoch)
        p, q = network.users[batch[:, 0]], network.items[batch[:, 1:]]
        level = network.popularity().sum(1)[batch[:, 1:]]
        scores = 10 / 19 * ((torch.tanh(beta * p)[:, None] * torch.tanh(beta * q)).sum(2) + level)
        size = (p.square().sum() + q.square().sum()) / len(batch)
        want = -logsigmoid(scores[:, 0] - scores[:, 1]).mean() + 0.2 / 2 * size
        for step in (0.0, 0.9):
            got = network.loss(graph, batch, Step(epoch, 0, (epoch + step) / 9))
            assert got.item() == pytest.approx(want.item(), rel=1e-5)


class TestHashGNN:
    def test_embeddings_by_dense_matrices(self, graph):
        network = network_of(small("hashgnn"), graph)
        m, n = graph.num_users, graph.num_items
        adjacency = torch.zeros(m, n, dtype=torch.float64)
        users = torch.repeat_interleave(torch.arange(m), graph.user_ptr.diff())
        adjacency[users, graph.user_items] = 1
        to_users = adjacency / adjacency.sum(1, keepdim=True)
        to_items = adjacency.T / adjacency.sum(0)[:, None]
        weights = {name: p.detach().double() for name, p in network.named_parameters()}

        def dense(name, x):
            return x @ weights[f"{name}.weight"] + weights.get(f"{name}.bias", 0)

        def aggregate(name, own, neighbours):
            return leaky_relu(dense(name, torch.cat([own, neighbours], 1)), 0.2)

        u, i = (
            leaky_relu(dense(f"encode.{side}", x), 0.2)
            for side, x in enumerate(weights["ids"].split([m, n]))
        )
        u_once = aggregate("aggregate.0", u, to_users @ i)
        i_once = aggregate("aggregate.0", i, to_items @ u)
        z_user = torch.tanh(
            dense("hash.0", aggregate("aggregate_again", u_once, to_users @ i_once))
        )
        z_item = torch.tanh(dense("hash.1", aggregate("aggregate.1", i, to_items @ u)))
        for mine, want in zip(network.embeddings(graph), (z_user, z_item), strict=True):
            torch.testing.assert_close(mine.double(), want, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("beta", [0, 1])
    def test_loss_of_real_values_and_of_signs(self, graph, beta, monkeypatch):
        network = network_of(small("hashgnn", batch_pairs=64, negatives=3), graph)
        batch = network.batches(graph, 0)[0]
        p, q = (x.detach() for x in network.embeddings(graph))
        if beta == 1:
            p, q = reference.sign(p), reference.sign(q)
        scores = (p[batch[:, :1]] * q[batch[:, 1:]]).sum(2)
        scores = scores + network.popularity().sum(1)[batch[:, 1:]]
        labels = torch.tensor([1.0, -1, -1, -1])
        want = (
            -0.1 * logsigmoid(labels * scores).mean()
            - logsigmoid(scores[:, :1] - scores[:, 1:]).mean()
        )
        # Every draw of [0, 1) is below 1 and none below 0.
        got = network.loss(graph, batch, Step(0, 0, float(beta)))
        assert got.item() == pytest.approx(want.item(), rel=1e-5)


class TestBGCH:
    def test_scores_by_dense_matrices(self, graph):
        network = network_of(small("bgch", dispersion=0.0), graph)
        ranking = network.ranking(graph, "scaled")
        m = graph.num_users
        x, scores, plain = network.weight.detach().double(), 0, 0
        for _ in range(3):
            hidden = x @ network.hash.weight.detach().double()
            code, scale = reference.sign(hidden), hidden.abs().mean(1, keepdim=True)
            scaled = code * scale
            scores = scores + scaled[:m] @ scaled[m:].T
            plain = plain + code[:m] @ code[m:].T
            x = reference.propagate(x, graph.user_ptr, graph.user_items, 1, 1)
        everything = ranking.topk(
            slice(0, m), 200, *[torch.zeros(m + 1).long(), torch.zeros(0).long()]
        )
        gathered = scores.gather(1, everything[:, : graph.num_items])
        assert (gathered.diff(dim=1) <= 1e-9).all()
        by_hamming = network.ranking(graph, "codes")
        codes = [unpack_codes(w, 30).double() for w in (by_hamming.users, by_hamming.items)]
        torch.testing.assert_close(codes[0] @ codes[1].T, plain)

    def test_the_scaler_is_not_differentiated(self, graph):
        """The gradient of BPR on codes reaches W as that of signs, whatever the scaler."""
        model = small("bgch", reconstruction=0.0, l2=0.0, dispersion=0.0, layers=0, code_length=10)
        network = network_of(model, graph)
        batch = network.batches(graph, 0)[0]
        weight = network.weight.detach().double()
        w = network.hash.weight.detach().double().requires_grad_()
        hidden = [weight[r] @ w for r in (batch[:, 0], *(batch[:, 1:] + graph.num_users).T)]
        slopes = [reference.fourier_slope(h.detach(), 1.0, 8).clamp(-1, 1) for h in hidden]
        scaled = [
            (reference.sign(h) * h.abs().mean(1, keepdim=True)).detach() + s * (h - h.detach())
            for h, s in zip(hidden, slopes, strict=True)
        ]
        u, i, j = scaled
        want = -logsigmoid((u * (i - j)).sum(1)).mean()
        got = network.loss(graph, batch, START)
        assert got.item() == pytest.approx(want.item(), rel=1e-5)
        (mine,) = torch.autograd.grad(got, network.hash.weight)
        (theirs,) = torch.autograd.grad(want, w)
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-6)

    def test_untrained_hash_layer_keeps_its_values(self, graph):
        network = network_of(small("bgch", trained_hash=False), graph)
        assert not network.hash.weight.requires_grad
        network.loss(graph, network.batches(graph, 0)[0], START).backward()
        assert network.hash.weight.grad is None and network.weight.grad.abs().max() > 0

    def test_dispersion_weakens_the_strongest_direction(self):
        g = torch.Generator().manual_seed(0)
        u, v = (torch.linalg.qr(torch.randn(n, 6, generator=g))[0] for n in (300, 6))
        x = u @ torch.diag(torch.tensor([40.0, 3, 2.5, 2, 1.5, 1])) @ v.T
        got = torch.linalg.svdvals(dispersed(x, 0.3, g))
        torch.testing.assert_close(got, torch.tensor([28.0, 3, 2.5, 2, 1.5, 1]), rtol=0.01, atol=0)
        assert dispersed(x, 0.0, g) is x

    def test_dispersion_at_evaluation_is_fixed(self, graph):
        network = network_of(small("bgch", dispersion=0.9), graph)
        a, b = (network.hashed(graph)[0] for _ in range(2))
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["hashrec", "hashgnn", "bgch, mean"])
def test_popularity_bits_carry_the_trained_level(data, graph, name):
    network = network_of(small(name), graph)
    bits = network.settings.num_popularity_bits
    with torch.no_grad():
        network.popularity.level.copy_(torch.linspace(-2 * bits, 2 * bits, graph.num_items))
    users, items = (
        unpack_codes(w, network.settings.code_length)[:, -bits:] for w in network.codes(graph)
    )
    level = network.item_levels(torch.arange(graph.num_items))
    assert level.min() == -bits and level.max() == bits
    torch.testing.assert_close(users @ items.T, level.expand(graph.num_users, -1))
    model = small(name, epochs=4).fit(data, progress=False)
    degree = data.train.popularity()

    def mean_popularity(p: float) -> float:
        found, _ = model.recommend(data.user_ids, k=20, popularity_weight=p)
        return degree[data.item_rows(found.ravel())].mean()

    assert mean_popularity(-1) < mean_popularity(1)


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        (BGCH, {"code_length": 64}, "code_length: expected a multiple of .* 3, .*got 64"),
        (BGCH, {"popularity_bits": 6}, "popularity_bits: expected 0 with form layers"),
        (LightGCN, {"popularity_bits": 6}, "popularity_bits"),
        (LightGCN, {"first_layer": 1, "layers": 0}, "first_layer: expected at most layers 0"),
        (HashRec, {"layers": 2}, "layers"),
        (HashGNN, {"layers": 3}, "layers"),
        (BGCH, {"form": "sum"}, "form"),
        (BGCH, {"selection_ranking": "real"}, "selection_ranking"),
        (HashGNN, {"negatives": 0}, "negatives"),
        (HashRec, {"estimator": "ste"}, "estimator"),
        (LightGCN, {"loss": "ndcg"}, "loss"),
        (LightGCN, {"loss": "softmax", "negative_popularity": -1}, "negative_popularity"),
        (LightGCN, {"ranking_score": "norm"}, "ranking_score"),
        (
            LightGCN,
            {"negative_popularity": 1},
            'negative_popularity: expected 0 without loss="softmax", got 1.0',
        ),
    ],
)
def test_bad_settings(method, settings, words):
    with pytest.raises(ValueError, match=words):
        method(**settings)


def test_settings_given_as_text():
    model = METHODS["recall_hash"](user_levels="4", layers="2", loss="ndcg")
    network = model.settings.network
    assert (network.user_levels, network.layers, network.loss) == (4, 2, "ndcg")
    with pytest.raises(ValueError, match="user_levels: expected 1, 2, 4 or 8, got '3'"):
        METHODS["recall_hash"](user_levels="3")


def test_signatures_are_those_of_the_settings():
    """help reads them, and editors read the stub that is made from them."""
    found = inspect.signature(BGCH).parameters
    assert (
        found["code_length"].default == 192 and found["seed"].kind is inspect.Parameter.KEYWORD_ONLY
    )
    model = BGCH()
    lists = {"cutoffs": [20, 50, 100], "tune": []}
    assert {name: x.default for name, x in found.items()} | lists == model.settings.as_set()
    spec = importlib.util.spec_from_file_location(
        "stubs", Path(__file__).parents[2] / "tools/stubs.py"
    )
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    parameters = re.findall(r"^ +(\w+): .* = (.*),$", stubs.PATH.read_text(), re.M)
    assert parameters == re.findall(r"^ +(\w+): .* = (.*),$", stubs.text(), re.M)
    assert repr(BGCH(code_length=96)) == "BGCH(code_length=96)"
