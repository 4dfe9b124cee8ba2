"""Ops under torch.func, in forward mode, differentiated twice, and under autocast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from training_steps import LOSSES

from hashgcn import ops
from hashgcn.data import generate_sample
from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.nn import ESTIMATORS, LightGCN, real_score_tables
from hashgcn.nn.layers import Dense
from hashgcn.nn.tables import log_partition

GRAPH = BipartiteGraph.from_csr(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 2]), 3)
USERS = torch.tensor([0, 1])
MATRIX = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).double()
ROWS = torch.tensor([True, False, True, True, False])
LISTS = Candidates(torch.tensor([0, 2, 3]), torch.tensor([1, 0, 2]))


def counted(x: Tensor, **lists) -> Tensor:
    codes = ops.sign_ste(x)
    v_neg, v_pos, neg, pos = ops.score_tables(codes[:2], codes[2:], USERS, GRAPH, **lists)
    return torch.cat([v_neg * neg, v_pos * pos])


def ranked(x: Tensor, **options) -> Tensor:
    return ops.smooth_rank(x[:2], x[2:], USERS, GRAPH, 1.0, size=3, **options)


# Of x [5, 4]: users' rows, then items'.
OPS: dict[str, Callable[[Tensor], Tensor]] = {
    "sign_swish": lambda x: ops.sign_swish(x, 1.2),
    "sign_ste": lambda x: ops.sign_ste(x, scale=2.0),
    "sign_ste, clipped": lambda x: ops.sign_ste(x, clip=1.0, scale=2.0),
    "sign_fourier": ops.sign_fourier,
    "sign_guided": lambda x: ops.sign_guided(x, ROWS, scale=2.0),
    "tanh_continuation": lambda x: ops.tanh_continuation(x, 1.3),
    "propagate": lambda x: ops.propagate(GRAPH, x, 2),
    "fixed_order_mm": lambda x: ops.fixed_order_mm(x, MATRIX.to(x.dtype)),
    "score_tables": counted,
    "score_tables, lists": lambda x: counted(x, candidates=LISTS),
    "smooth_rank": ranked,
    "smooth_rank, lists": lambda x: ranked(x, candidates=LISTS),
}
# Those whose derivative in the direction of a tangent is known, and those that are linear.
FORWARD = [op for op in OPS if op.split(",")[0] not in ("score_tables", "smooth_rank")]
LINEAR = ["propagate", "fixed_order_mm"]


def x_and_tangent() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return tuple(torch.randn(5, 4, generator=g, dtype=torch.float64) for _ in range(2))


def weighted(op: str) -> Callable[[Tensor], Tensor]:
    """The op as a scalar function that weighs every entry of its result differently."""

    def scalar(x: Tensor) -> Tensor:
        y = OPS[op](x)
        return (y.flatten() * torch.linspace(-1, 2, y.numel(), dtype=y.dtype)).sum()

    return scalar


def gradient(op: str, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(weighted(op)(x), x)[0]


def by_rows(op: str, x: Tensor, tangent: Tensor) -> Tensor:
    """The derivative in the direction of a tangent, from the backward pass of each entry."""
    x = x.detach().requires_grad_()
    y = OPS[op](x)
    rows = [torch.autograd.grad(entry, x, retain_graph=True)[0] for entry in y.flatten()]
    return torch.stack([(row * tangent).sum() for row in rows]).view(y.shape)


def test_all_ops_with_a_gradient_are_here():
    with_gradient = {op for op in ops.__all__ if f"{op}" in {name.split(",")[0] for name in OPS}}
    others = {"TopK", "check_errors", "hamming_histogram", "hamming_topk"}
    others |= {"pack_codes", "unpack_codes", "pack_levels", "unpack_levels"}
    assert set(ops.__all__) == with_gradient | others


@pytest.mark.parametrize("op", OPS)
def test_grad_vjp_and_jacrev(op):
    x, _ = x_and_tangent()
    want = gradient(op, x)
    assert torch.equal(torch.func.grad(weighted(op))(x), want)
    value, pull = torch.func.vjp(weighted(op), x)
    assert torch.equal(pull(torch.ones_like(value))[0], want)
    assert torch.equal(torch.func.jacrev(weighted(op))(x), want)


@pytest.mark.parametrize("op", OPS)
def test_vmap_of_grad_and_grad_of_vmap(op):
    x, tangent = x_and_tangent()
    batch = torch.stack([x, tangent, 2 * x])
    want = torch.stack([gradient(op, one) for one in batch])
    assert torch.equal(torch.func.vmap(torch.func.grad(weighted(op)))(batch), want)
    together = torch.func.grad(lambda all_: torch.func.vmap(weighted(op))(all_).sum())(batch)
    assert torch.equal(together, want)
    last = torch.func.vmap(torch.func.grad(weighted(op)), in_dims=2, out_dims=2)
    assert torch.equal(last(batch.movedim(0, 2)), want.movedim(0, 2))


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("op", OPS)
def test_forward_mode_is_right_or_refused(op, requires_grad):
    x, tangent = x_and_tangent()
    x.requires_grad_(requires_grad)

    def dual() -> Tensor:
        with forward_ad.dual_level():
            result = OPS[op](forward_ad.make_dual(x, tangent))
            return forward_ad.unpack_dual(result).tangent

    ways = [
        dual,
        lambda: torch.func.jvp(OPS[op], (x,), (tangent,))[1],
        lambda: torch.func.jacfwd(lambda t: OPS[op](x + t * tangent))(torch.zeros(()).double()),
    ]
    for way in ways:
        if op in FORWARD:
            torch.testing.assert_close(way(), by_rows(op, x, tangent))
        else:
            with pytest.raises(NotImplementedError, match=rf"{op.split(',')[0]}: .*forward-mode"):
                way()


@pytest.mark.parametrize("op", OPS)
def test_second_derivatives_are_right_or_refused(op):
    x, _ = x_and_tangent()

    def squares(x: Tensor) -> Tensor:
        return OPS[op](x).square().sum()

    ways = [
        lambda: torch.func.hessian(squares)(x),
        lambda: torch.func.jacrev(torch.func.jacrev(squares))(x),
        lambda: torch.autograd.functional.hessian(squares, x),
    ]
    if op in LINEAR:
        jacobian = torch.func.jacrev(OPS[op])(x).flatten(0, 1).flatten(1)
        for way in ways:
            want = 2 * jacobian.T @ jacobian
            torch.testing.assert_close(way().view(20, 20), want)
        torch.autograd.gradgradcheck(lambda x: OPS[op](x).sin(), x.requires_grad_())
    else:
        for way in ways:
            with pytest.raises(NotImplementedError, match=r"hashgcn::\w+: .* gradient"):
                way()


@pytest.mark.parametrize(
    ("argument", "function"),
    [
        ("beta", lambda t: ops.sign_swish(MATRIX, t)),
        ("beta", lambda t: ops.tanh_continuation(MATRIX, t)),
        ("scale", lambda t: ops.sign_guided(MATRIX, ROWS[:4], scale=t)),
        ("matrix", lambda t: ops.fixed_order_mm(MATRIX.T, t * MATRIX)),
        ("tau", lambda t: ops.smooth_rank(MATRIX[:2], MATRIX[:3], USERS, GRAPH, t)),
    ],
)
def test_forward_mode_refuses_arguments_without_gradient(argument, function):
    one = torch.tensor(1.0, dtype=torch.float64)
    with pytest.raises(NotImplementedError, match=f"{argument}: .*tangent"):
        torch.func.jvp(function, (one,), (one,))
    with (
        forward_ad.dual_level(),
        pytest.raises(NotImplementedError, match=f"{argument}: .*tangent"),
    ):
        function(forward_ad.make_dual(one, one))


def test_ops_without_gradient_under_transforms():
    x, tangent = x_and_tangent()
    batch = torch.stack([x, tangent])

    def found(x: Tensor) -> tuple[Tensor, ...]:
        words = ops.pack_codes(x)
        ids, distances = ops.hamming_topk(words, words, 2, code_length=4)
        counts = ops.hamming_histogram(words, words, code_length=4)
        return ids, distances, counts, ops.unpack_codes(words, 4, x.dtype)

    want = [torch.stack(parts) for parts in zip(*map(found, batch), strict=True)]
    for got, exact in zip(torch.func.vmap(found)(batch), want, strict=True):
        assert torch.equal(got, exact)
    # The signs are piecewise constant: 0 is what they are differentiated as.
    _, slope = torch.func.jvp(lambda x: found(x)[3], (x,), (tangent,))
    assert not slope.any()
    got = torch.func.grad(lambda x: (found(x)[3] * x).sum())(x)
    assert torch.equal(got, found(x)[3])


def test_functional_call_of_a_module():
    encoder = LightGCN(2, 3, 4, layers=2)
    weight = {"weight": encoder.weight.detach()}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        users, items = torch.func.functional_call(encoder, parameters, (GRAPH,))
        return (users.square().sum() + items.sum()).square()

    got = torch.func.grad(loss)(weight)["weight"]
    want = torch.autograd.grad(loss(dict(encoder.named_parameters())), encoder.weight)[0]
    assert torch.equal(got, want)


COMPOSED = {
    "real_score_tables": lambda x: real_score_tables(x[:2], x[2:], USERS, GRAPH, bins=9)[0],
    "log_partition": lambda x: log_partition(x[:2], x[2:], 1.0),
    "Dense": Dense(4, 3).double(),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_functions_of_ops_under_grad_and_twice(name):
    x, tangent = x_and_tangent()

    def squares(x: Tensor) -> Tensor:
        return COMPOSED[name](x).square().sum() + x.square().sum()

    leaf = x.clone().requires_grad_()
    want = torch.autograd.grad(squares(leaf), leaf, create_graph=True)[0]
    assert torch.equal(torch.func.grad(squares)(x), want)
    with pytest.raises(NotImplementedError, match=f"{name}: .* no gradient in turn"):
        torch.autograd.grad(want.square().sum(), leaf)
    with pytest.raises(NotImplementedError, match=f"{name}: .*forward-mode"):
        torch.func.jvp(torch.func.grad(squares), (x,), (tangent,))
    with pytest.raises(NotImplementedError, match=f"{name}: .*forward-mode"):
        torch.func.jvp(COMPOSED[name], (x,), (tangent,))


@pytest.mark.parametrize("transform", ["grad", "jvp", "vmap"])
def test_transforms_under_compile(transform):
    x, tangent = x_and_tangent()
    function = {
        "grad": torch.func.grad(weighted("sign_swish")),
        "jvp": lambda x: torch.func.jvp(OPS["sign_swish"], (x,), (tangent,))[1],
        "vmap": torch.func.vmap(OPS["sign_swish"]),
    }[transform]
    torch._dynamo.reset()
    compiled = torch.compile(function, backend="aot_eager")
    assert torch.equal(compiled(x), function(x))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_training_step_under_autocast(loss, estimator, dtype):
    graph = generate_sample(num_users=60, num_items=45).train.graph()
    encoder, users = LightGCN(60, 45, 16, layers=2), torch.arange(20)
    first, second = torch.nn.Linear(16, 16), Dense(16, 16)
    with torch.autocast("cpu", dtype):
        rows = [first(second(first(x))) for x in encoder(graph)]
        assert rows[0].dtype == dtype
        codes = ESTIMATORS[estimator]()(*rows, 1.0, users)
        losses = [
            LOSSES[loss](*ops.score_tables(*codes, users, graph)),
            LOSSES[loss](*real_score_tables(rows[0][users], rows[1], users, graph, bins=64)),
        ]
    assert [x.dtype for x in losses] == [torch.float32] * 2
    sum(losses).backward()
    for x in (encoder.weight, first.weight, second.weight):
        assert x.grad.isfinite().all() and x.grad.any()


# Ops of real values or codes, in the dtypes that autocast makes.
HALVES: dict[str, Callable[[Tensor], Tensor | tuple[Tensor, ...]]] = {
    **OPS,
    "pack_codes": ops.pack_codes,
    "real_score_tables": lambda x: real_score_tables(x[:2], x[2:], USERS, GRAPH, bins=9),
    "log_partition": lambda x: log_partition(x[:2], x[2:], 1.0),
    "fixed_order_mm": lambda x: ops.fixed_order_mm(x, MATRIX.float()),
    "fixed_order_mm, both": lambda x: ops.fixed_order_mm(x, x.detach().T),
    "smooth_rank, mixed": lambda x: ops.smooth_rank(x[:2].float(), x[2:], USERS, GRAPH, 1.0),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("op", HALVES)
def test_half_precision_is_computed_in_float32(op, dtype):
    linear = torch.nn.Linear(4, 4)
    x, _ = x_and_tangent()
    with torch.autocast("cpu", dtype):
        rows = linear(x.float())
        assert rows.dtype == dtype
        got = HALVES[op](rows)
        want = HALVES[op](rows.detach().float())
    elementwise = op.startswith(("sign", "tanh"))
    pairs = zip(*(y if isinstance(y, tuple) else (y,) for y in (got, want)), strict=True)
    for mine, exact in pairs:
        assert mine.dtype == (dtype if elementwise else exact.dtype)
        assert torch.equal(mine, exact.to(mine.dtype)), op
    if op != "pack_codes":
        (got[0] if isinstance(got, tuple) else got).float().sum().backward()
        assert linear.weight.grad.isfinite().all() and linear.weight.grad.any()
