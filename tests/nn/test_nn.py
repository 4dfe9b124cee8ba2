"""Layers: what the hash layer divides by, popularity bits, and the encoder's protocol."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch

from hashgcn import ops
from hashgcn.data import Interactions
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.recall_hash import RecallHashSettings
from hashgcn.nn import (
    ESTIMATORS,
    FourierSeries,
    LightGCN,
    PopularityBits,
    SignSwish,
    StraightThrough,
)
from hashgcn.nn.itq import itq
from hashgcn.nn.layers import Dense, neighbour_mean, next_layer, standard_deviation
from hashgcn.nn.tables import log_partition
from hashgcn.ops import reference


def test_sign_swish_layer_divides_by_the_standard_deviation():
    g = torch.Generator().manual_seed(0)
    users = (3 * torch.randn(7, 5, generator=g)).requires_grad_()
    items = (3 * torch.randn(11, 5, generator=g)).requires_grad_()
    b, d = SignSwish()(users, items, 1.4)
    got = torch.autograd.grad(b.sum() + (2 * d).sum(), (users, items))
    s = torch.cat([users, items]).std(correction=0).item()
    for x, weight, mine in ((users, 1, got[0]), (items, 2, got[1])):
        x = x.detach().double().requires_grad_()
        (want,) = torch.autograd.grad((weight * reference.smooth_sign_swish(x / s, 1.4)).sum(), x)
        torch.testing.assert_close(mine.double(), want, rtol=1e-4, atol=1e-6)


def test_sign_swish_layer_hashes_a_batch():
    users, items = torch.randn(7, 5), torch.randn(11, 5)
    b, d = SignSwish()(users, items, 1.0, torch.tensor([3, 0, -1]))
    assert torch.equal(b, reference.sign(users)[[3, 0, 0]])
    assert torch.equal(d, reference.sign(items))


# Layers with what they are in float64, as a function of x / s; beta is 1.4 in the test.
LAYERS = {
    "signswish": (SignSwish(), lambda z: reference.sign_swish(z, 1.4)),
    "ste": (StraightThrough(), lambda z: reference.sign_ste(z, 1.0, float("inf"))),
    "clipped_ste": (StraightThrough(clip=0.8), lambda z: reference.sign_ste(z, 1.0, 0.8)),
    "fourier": (FourierSeries(1.1, 8), lambda z: reference.sign_fourier(z, 1.0, 1.1, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_estimator_is_called_alike_and_works_in_standard_deviations(name):
    layer, formula = LAYERS[name]
    g = torch.Generator().manual_seed(0)
    inputs = [(3 * torch.randn(n, 5, generator=g)).requires_grad_() for n in (7, 11)]
    batch = torch.tensor([3, 0, -1])
    weights = [torch.randn(n, 5, generator=g) for n in (3, 11)]

    def gradients(codes, inputs):
        total = sum((w * c).sum() for w, c in zip(weights, codes, strict=True))
        return torch.autograd.grad(total, inputs)

    s = torch.cat(inputs).std(correction=0).double().item()
    exact = [x.detach().double().requires_grad_() for x in inputs]
    got = layer(*inputs, 1.4, batch)
    want = [formula(exact[0][[3, 0, 0]] / s), formula(exact[1] / s)]
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5, check_dtype=False)
    torch.testing.assert_close(
        gradients(got, inputs), gradients(want, exact), rtol=1e-4, atol=1e-5, check_dtype=False
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_codes_are_signs(name):
    users, items = torch.randn(7, 5), torch.randn(11, 5)
    for codes, x in zip(ESTIMATORS[name]()(users, items, 0.5), (users, items), strict=True):
        assert torch.equal(codes, reference.sign(x))


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("levels", [2, 4, 8])
def test_graded_users_have_weights_and_the_gradient_of_a_wider_sign(name, levels):
    g = torch.Generator().manual_seed(0)
    inputs = [(3 * torch.randn(n, 5, generator=g)).requires_grad_() for n in (70, 11)]
    layer, plain = ESTIMATORS[name](user_levels=levels), ESTIMATORS[name]()
    s = standard_deviation(*inputs).detach()
    step, bound = 1.5 / levels, 2 * levels - 1
    weights, codes = layer(*inputs, 1.4, torch.arange(50))
    assert torch.equal(codes, reference.sign(inputs[1]))
    assert set(weights.unique().tolist()) == set(range(-bound, bound + 1, 2))
    z = inputs[0][:50].detach() / s
    size = 2 * (z.abs() / step).floor().clamp(max=levels - 1) + 1
    assert torch.equal(weights, size * reference.sign(z))
    wider = bound * plain.codes(inputs[0][:50], 2 * s, 1.4)
    upstream = torch.randn(50, 5, generator=g)
    got = torch.autograd.grad((weights * upstream).sum(), inputs[0])
    want = torch.autograd.grad((wider * upstream).sum(), inputs[0])
    torch.testing.assert_close(got, want)


def test_a_step_sets_the_thresholds():
    rows = torch.tensor([[0.9, -0.2, 1.9, -1.1]])
    layer = SignSwish(user_levels=2, step=1.0)
    assert layer.graded(rows, torch.tensor(1.0), 1.0).tolist() == [[1, -1, 3, -3]]
    for step in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"step: expected a finite positive number, got"):
            SignSwish(user_levels=2, step=step)
    with pytest.raises(ValueError, match="levels: expected one of 1, 2, 4 and 8, got 3"):
        SignSwish(user_levels=3)


def test_estimators_are_those_of_the_settings():
    assert tuple(ESTIMATORS) == get_args(RecallHashSettings.model_fields["estimator"].annotation)
    assert set(LAYERS) == set(ESTIMATORS)


@pytest.mark.parametrize("bits", [1, 2, 9, 16])
def test_popularity_bits_add_their_level_to_every_score(bits):
    layer = PopularityBits(40, bits)
    with torch.no_grad():
        layer.level.copy_(torch.linspace(-2 * bits, 2 * bits, 40))
    item_bits = layer()
    assert set(item_bits.unique().tolist()) <= {-1.0, 1.0}
    added = torch.ones(bits) @ item_bits.T
    assert (added.diff() >= 0).all() and added[0] == -bits and added[-1] == bits
    inside = layer.level.abs() < bits
    assert ((added - layer.level)[inside].abs() <= 1).all()


def test_popularity_scalar_gets_the_sum_of_score_gradients():
    layer = PopularityBits(6, 4)
    users = torch.ones(3, 4)
    grads = torch.randn(3, 6)
    (users @ layer().T * grads).sum().backward()
    torch.testing.assert_close(layer.level.grad, grads.sum(0))


def test_no_popularity_bits_is_an_empty_table():
    assert PopularityBits(5, 0)().shape == (5, 0)


def test_lightgcn_starts_alike_on_every_run_and_keeps_gradients_of_both_sides():
    first, second = (
        LightGCN(4, 6, 3, 2, generator=torch.Generator().manual_seed(1)).weight for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("shape", [(3, 2), (70, 3), (5000, 7)])
def test_standard_deviation(shape):
    x = torch.randn(*shape) * 3 + 1
    want = x.double().std(correction=0)
    torch.testing.assert_close(standard_deviation(x).double(), want, rtol=1e-5, atol=1e-14)


def test_training_arithmetic_does_not_depend_on_the_number_of_threads(threads):
    """What the trainer computes between our ops: same bits with 1 to 4 threads."""
    g = torch.Generator().manual_seed(0)
    x, matrix = torch.randn(4096, 65, generator=g), torch.randn(65, 65, generator=g)
    wide = torch.randn(60_000, 50, generator=g)
    results = []
    for n in (1, 2, 3, 4):
        threads(n)
        results.append((ops.fixed_order_mm(x, matrix), standard_deviation(wide, x)))
    for mm, std in results[1:]:
        assert torch.equal(mm, results[0][0]) and torch.equal(std, results[0][1])


class TestDense:
    @pytest.mark.parametrize("bias", [True, False])
    def test_is_linear_with_its_gradients(self, bias):
        g = torch.Generator().manual_seed(0)
        dense = Dense(5, 3, bias=bias, generator=g).double()
        if bias:
            torch.nn.init.normal_(dense.bias, generator=g)
        x = torch.randn(11, 5, generator=g, dtype=torch.float64, requires_grad=True)
        want = x @ dense.weight + (dense.bias if bias else 0)
        torch.testing.assert_close(dense(x), want)
        assert torch.autograd.gradcheck(lambda x, *_: dense(x), (x, *dense.parameters()))

    def test_initial_values(self):
        dense = Dense(300, 200, generator=torch.Generator().manual_seed(0))
        bound = (6 / 500) ** 0.5
        assert 0.99 * bound < dense.weight.abs().max() <= bound
        assert dense.weight.mean().abs() < 0.01 * bound and not dense.bias.any()
        assert Dense(300, 200, 0.3).weight.abs().max() > 0.29


def small_graph() -> BipartiteGraph:
    """User 1 and item 2 have no neighbours."""
    return Interactions([0, 2, 2, 4, 5], [0, 1, 1, 3, 3], 5).graph()


def test_neighbour_mean_and_next_layer_by_dense_matrices():
    graph = small_graph()
    x = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    adjacency = torch.zeros(9, 9, dtype=torch.float64)
    for user, items in ((0, (0, 1)), (2, (1, 3)), (3, (3,))):
        for item in items:
            adjacency[user, 4 + item] = adjacency[4 + item, user] = 1
    degree = adjacency.sum(1, keepdim=True).clamp(min=1)
    for layer, matrix in (
        (neighbour_mean, adjacency / degree),
        (next_layer, adjacency / (degree * degree.T).sqrt()),
    ):
        got = layer(graph, x)
        torch.testing.assert_close(got, matrix @ x)
        assert torch.autograd.gradcheck(lambda x, f=layer: f(graph, x), x)


class TestLogPartition:
    def test_is_logsumexp_with_its_gradients_for_any_tile(self):
        g = torch.Generator().manual_seed(0)
        p, q = (
            torch.randn(n, 4, generator=g, dtype=torch.float64, requires_grad=True) for n in (6, 11)
        )
        want = (p @ q.T / 0.3).logsumexp(1)
        for tile in (1, 4, 11, 512):
            torch.testing.assert_close(log_partition(p, q, 0.3, tile), want)
            assert torch.autograd.gradcheck(
                lambda p, q, t=tile: log_partition(p, q, 0.3, t), (p, q)
            )

    def test_large_scores_neither_overflow_nor_vanish(self):
        p, q = torch.tensor([[1.0], [-1.0]]), torch.tensor([[900.0], [1000.0], [-2000.0]])
        torch.testing.assert_close(log_partition(p, q, 1.0, 1), torch.tensor([1000.0, 2000.0]))

    @pytest.mark.parametrize("weight", [torch.float64, torch.float32])
    def test_weights_multiply_the_terms(self, weight):
        g = torch.Generator().manual_seed(3)
        p, q = (
            torch.randn(n, 7, dtype=torch.float64, generator=g, requires_grad=True) for n in (5, 11)
        )
        w = torch.rand(11, generator=g).to(weight)
        w[:4], w[9], w[10] = 0, 1e-30, 1e30  # the first tiles of 4 and of 1 hold no item
        w.requires_grad_()
        want = (w.detach().double() * (p @ q.T / 0.3).exp()).sum(1).log()
        for tile in (1, 4, 512):
            got = log_partition(p, q, 0.3, tile, w)
            torch.testing.assert_close(got, want)
            grads = torch.autograd.grad(got.square().sum(), (p, q, w), allow_unused=True)
            assert grads[2] is None and not grads[1][:4].any()
        w = w.detach().clone()
        w[9:] = torch.tensor([0.5, 2.0])
        for tile in (1, 4, 512):
            assert torch.autograd.gradcheck(
                lambda p, q, t=tile, w=w: log_partition(p, q, 0.3, t, w), (p, q)
            )

    def test_weights_of_one_change_no_bit(self):
        g = torch.Generator().manual_seed(0)
        p, q = (torch.randn(n, 9, generator=g, requires_grad=True) for n in (6, 700))
        results = []
        for weights in (None, torch.ones(700)):
            value = log_partition(p, q, 0.5, weights=weights)
            results.append((value, *torch.autograd.grad(value.square().sum(), (p, q))))
        assert all(map(torch.equal, *results))

    def test_the_best_item_may_have_weight_0(self):
        p, q = torch.tensor([[1.0]]), torch.tensor([[9000.0], [3.0]])
        value = log_partition(p, q, 1.0, weights=torch.tensor([0.0, 1.0]))
        torch.testing.assert_close(value, torch.tensor([3.0]))

    @pytest.mark.parametrize("weighted", [False, True])
    def test_threads_change_nothing(self, threads, weighted):
        results = []
        for count in (1, 2, 3):
            threads(count)
            g = torch.Generator().manual_seed(0)
            p, q = (torch.randn(n, 25, generator=g, requires_grad=True) for n in (70, 1300))
            w = torch.rand(1300, generator=g) if weighted else None
            value = log_partition(p, q, 0.5, weights=w)
            results.append((value, *torch.autograd.grad(value.square().sum(), (p, q))))
        for other in results[1:]:
            assert all(map(torch.equal, results[0], other))

    def test_rejects(self):
        with pytest.raises(ValueError, match="temperature: expected a positive number, got 0"):
            log_partition(torch.zeros(1, 1), torch.zeros(1, 1), 0)

    @pytest.mark.parametrize(
        ("weights", "words"),
        [
            (torch.ones(3), r"floats \[2\], got torch.float32 \[3\]"),
            (torch.ones(2, 1), r"floats \[2\], got torch.float32 \[2, 1\]"),
            (torch.ones(2).long(), r"floats \[2\], got torch.int64 \[2\]"),
            ([1.0, 1.0], "a torch.Tensor, got"),
            (torch.tensor([1.0, -0.1]), "finite numbers >= 0, one or more > 0, got -0.1 to 1"),
            (torch.tensor([1.0, torch.inf]), "finite numbers .*, got 1 to inf"),
            (torch.tensor([torch.nan, 1.0]), "finite numbers .*, got nan to nan"),
            (torch.zeros(2), "finite numbers >= 0, one or more > 0, got 0 to 0"),
        ],
    )
    def test_rejects_weights(self, weights, words):
        with pytest.raises(ValueError, match=f"^weights: expected {words}"):
            log_partition(torch.zeros(1, 1), torch.zeros(2, 1), 1.0, weights=weights)


class TestITQ:
    def quantisation_error(self, x, rotation):
        y = x @ rotation
        return (reference.sign(y) - y).square().sum().item()

    def test_is_orthogonal_and_the_objective_does_not_rise(self):
        g = torch.Generator().manual_seed(0)
        codes = reference.sign(torch.randn(400, 12, generator=g, dtype=torch.float64))
        turned = codes @ torch.linalg.qr(torch.randn(12, 12, generator=g, dtype=torch.float64))[0]
        x = turned + 0.2 * torch.randn(400, 12, generator=g, dtype=torch.float64)
        errors = []
        for iterations in range(12):
            rotation = itq(x, iterations, torch.Generator().manual_seed(1))
            torch.testing.assert_close(rotation.T @ rotation, torch.eye(12, dtype=torch.float64))
            errors.append(self.quantisation_error(x, rotation))
        assert all(b <= a for a, b in itertools.pairwise(errors)) and errors[-1] < 0.9 * errors[0]

    def test_finds_codes_that_were_rotated(self):
        g = torch.Generator().manual_seed(0)
        codes = reference.sign(torch.randn(500, 8, generator=g))
        planted = torch.linalg.qr(torch.randn(8, 8, generator=g))[0]
        x = codes @ planted + 0.1 * torch.randn(500, 8, generator=g)
        found = min(
            self.quantisation_error(x, itq(x, 50, torch.Generator().manual_seed(s)))
            for s in range(5)
        )
        assert found < 1.1 * self.quantisation_error(x, planted.T)

    def test_threads_change_nothing(self, threads):
        x = torch.randn(900, 25, generator=torch.Generator().manual_seed(0))
        rotations = []
        for count in (1, 2, 3):
            threads(count)
            rotations.append(itq(x, 5, torch.Generator().manual_seed(0)))
            assert torch.get_num_threads() == count
        assert torch.equal(rotations[0], rotations[1]) and torch.equal(rotations[0], rotations[2])
