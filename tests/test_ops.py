"""Every op against its plain-torch reference on every sample; opcheck, gradcheck, compilation."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch._dynamo.testing
from samples import SAMPLES, all_samples
from tolerances import tolerance
from torch import Tensor

from hashgcn import _numpy, ops, reference

NAMESPACE = torch.ops.hashgcn


def ids_of(case) -> str:
    return f"{case[0]}: {case[1]}"


ALL = all_samples()
DIFFERENTIABLE = [
    case
    for case in ALL
    if any(isinstance(x, Tensor) and x.requires_grad for x in case[2]) and case[0] != "pack_codes"
]


def registered_ops() -> list[str]:
    names = torch._C._dispatch_get_all_op_names()
    return sorted(n.split("::")[1] for n in names if n.startswith("hashgcn::"))


def expected(op: str, args: tuple):
    """The reference's result for the arguments of an op's schema."""
    if op in ("sign_swish", "sign_swish_pack"):
        return getattr(reference, op)(args[0], float(args[1]))
    if op == "sign_swish_backward":
        grad, x, beta = args
        x = x.detach().requires_grad_()
        return torch.autograd.grad(reference.smooth_sign_swish(x, float(beta)), x, grad)[0]
    if op == "smooth_rank":
        u, i, users, ptr, ids, _, size, tau, *candidates, exclude = args
        chosen = candidates if candidates[0] is not None else ()
        ranks = reference.smooth_rank(u, i, users, ptr, ids, float(tau), chosen, exclude)
        return torch.nn.functional.pad(ranks, (0, size - len(ranks)), value=1)
    if op == "propagate":
        x, user_ptr, user_items, *_, first, layers = args
        return reference.propagate(x, user_ptr, user_items, layers, first)
    if op == "fixed_order_mm":
        return args[0] @ args[1]
    if op == "score_tables_backward":
        grads, inputs = args[:2], [x.clone().requires_grad_() for x in args[4:6]]
        outputs = expected("score_tables", (*inputs, *args[6:12]))[:2]
        return gradients(outputs, inputs, grads)
    if op == "smooth_rank_backward":
        grad, u, i, users, ptr, ids, offsets, *rest = args
        tau, *candidates, _, exclude = rest
        inputs = [x.clone().requires_grad_() for x in (u, i)]
        forward = (*inputs, users, ptr, ids, offsets, len(grad), tau, *candidates, exclude)
        return gradients([expected("smooth_rank", forward)], inputs, [grad])
    return getattr(reference, op)(*args)


def gradients(outputs, inputs, grads):
    """Gradients of inputs, 0 for those that an empty output does not depend on."""
    found = torch.autograd.grad(outputs, inputs, grads, allow_unused=True)
    return tuple(
        torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)
    )


def as_tuple(x) -> tuple:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def in_float64(args: tuple) -> tuple:
    def convert(x):
        if isinstance(x, Tensor) and x.is_floating_point():
            return x.detach().double().requires_grad_(x.requires_grad)
        return x

    return tuple(map(convert, args))


def assert_close(op: str, got, want) -> None:
    for mine, theirs in zip(as_tuple(got), as_tuple(want), strict=True):
        assert mine.shape == theirs.shape
        bound = tolerance(op, mine.dtype)
        if bound is None or mine.numel() == 0:
            assert torch.equal(mine, theirs)
        else:
            scale = max(1.0, theirs.abs().max().item())
            assert (mine.double() - theirs).abs().max().item() <= bound * scale


@pytest.mark.parametrize("case", ALL, ids=ids_of)
def test_value_is_the_references(case):
    op, _, args = case
    want = expected(op, args if tolerance(op, torch.float64) is None else in_float64(args))
    assert_close(op, getattr(NAMESPACE, op)(*args), want)


def loss_of(outputs) -> Tensor:
    """A scalar that weighs every entry of every output differently."""
    total = torch.zeros((), requires_grad=True)
    for output in outputs:
        # Multiples of 1/4, which every dtype holds exactly.
        weights = ((torch.arange(output.numel()) % 13 - 5) / 4).to(output.dtype)
        weights = weights.view(output.shape)
        total = total + (output * weights).sum()
    return total


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=ids_of)
def test_gradient_is_the_references(case):
    op, _, args = case

    def run(function, arguments):
        inputs = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
        values = as_tuple(function(*arguments))[:2]  # the tables' counts are not differentiable
        return gradients([loss_of(values)], inputs, [None])

    got = run(getattr(NAMESPACE, op), args)
    want = run(lambda *a: expected(op, a), in_float64(args))
    assert_close(op, got, want)


@pytest.mark.parametrize("case", ALL, ids=ids_of)
def test_opcheck(case):
    op, _, args = case
    torch.library.opcheck(getattr(NAMESPACE, op).default, args)


def test_every_op_has_samples_a_reference_a_fake_and_a_cpu_kernel():
    found = registered_ops()
    assert sorted(SAMPLES) == [name for name in found if name != "device_errors"]
    for name in SAMPLES:
        full = f"hashgcn::{name}"
        assert torch._C._dispatch_has_kernel_for_dispatch_key(full, "CPU"), name
        assert torch._library.simple_registry.singleton.find(full).fake_impl.kernel, name
        public = name.removesuffix("_backward")
        assert hasattr(ops, public) or public == name, name
    for name in ops.__all__:
        for part in ("Args:", "Returns:", "Raises:", "eterministic", "ost", "memory"):
            assert part in getattr(ops, name).__doc__, (name, part)


# sign_swish is a step and score_tables piecewise constant: the smooth function is checked below,
# the tables through the pairwise losses of test_losses.
SMOOTH = [
    case
    for case in DIFFERENTIABLE
    if case[0] in ("smooth_rank", "propagate", "fixed_order_mm")
    and case[2][0].dtype == torch.float64
    and case[2][0].numel() <= 100
]


@pytest.mark.parametrize("case", SMOOTH, ids=ids_of)
def test_gradcheck(case):
    op, _, args = case
    torch.autograd.gradcheck(getattr(NAMESPACE, op), args)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_sign_swish_gradient_is_the_derivative_of_the_smooth_function(beta):
    x = torch.linspace(-6, 6, 41, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x: reference.smooth_sign_swish(x, beta), x)
    got = torch.autograd.grad(ops.sign_swish(x, beta).sum(), x)[0]
    want = torch.autograd.grad(reference.smooth_sign_swish(x, beta).sum(), x)[0]
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_sign_swish_at_zeros_and_extremes(dtype):
    big = torch.finfo(dtype).max
    x = torch.tensor(
        [0.0, -0.0, big, -big, float("inf"), -float("inf"), 1e-3, -1e-3], dtype=dtype
    ).requires_grad_()
    y = ops.sign_swish(x, 30.0)
    assert y.tolist() == [1, 1, 1, -1, 1, -1, 1, -1]
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert grad.isfinite().all()
    assert grad[:2].tolist() == [30, 30] and grad[2:6].tolist() == [0, 0, 0, 0]


def test_sign_swish_slope_is_negative_beyond_its_root_and_integrates_to_two():
    x = torch.linspace(-40, 40, 200_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(ops.sign_swish(x, 1.3).sum(), x)
    assert (slope[(1.3 * x).abs() > 2.5] <= 0).all() and (slope[(1.3 * x).abs() < 2.3] > 0).all()
    assert abs(torch.trapezoid(slope, x.detach()).item() - 2) < 1e-9


def test_a_changing_beta_does_not_recompile():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(ops.sign_swish, backend=counter, fullgraph=True)
    x = torch.randn(5)
    for beta in (1.0, 1.25, 1.5, 2.0):
        compiled(x, torch.tensor(beta))
    assert counter.frame_count == 1
    for beta in (1.0, 1.25, 1.5, 2.0):
        compiled(x, beta)
    assert counter.frame_count == 2


COMPILED = {
    op: next(args for o, _, args in ALL if o == op and args[0].numel() > 1) for op in SAMPLES
}


@pytest.mark.parametrize("op", sorted(SAMPLES))
def test_compiled_equals_eager(op):
    torch._dynamo.reset()
    function = getattr(NAMESPACE, op)

    def run(*args):
        return [2 * x for x in as_tuple(function(*args))]

    args = COMPILED[op]
    eager, compiled = run(*args), torch.compile(run, fullgraph=True)(*args)
    for mine, theirs in zip(compiled, eager, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_outputs_without_gradient_never_require_one():
    x = torch.randn(6, 64, requires_grad=True)
    words = ops.pack_codes(x)
    assert not words.requires_grad and not ops.sign_swish_pack(x, 1.0)[1].requires_grad
    assert not ops.unpack_codes(words, 64).requires_grad
    distances, ids = ops.hamming_topk(words, words, 3, code_length=64)
    assert not distances.requires_grad and not ids.requires_grad
    scale = torch.ones(6, 1, requires_grad=True)
    found = ops.weighted_hamming_topk(
        words[:, None], words[:, None], scale, scale, 3, code_length=64
    )
    assert not any(part.requires_grad for part in found)


def weighted_rows(rows: int, segments: int, length: int) -> tuple[Tensor, Tensor]:
    words = ops.pack_codes(torch.randn(rows * segments, length)).view(rows, segments, -1)
    return words, torch.rand(rows, segments) + 0.5


def test_one_segment_of_unit_scale_ranks_by_hamming_distance():
    queries, items = (weighted_rows(rows, 1, 70)[0] for rows in (20, 500))
    ones = [torch.ones(len(words), 1) for words in (queries, items)]
    scores, ids = ops.weighted_hamming_topk(queries, items, *ones, 50, code_length=70)
    distances, nearest = ops.hamming_topk(queries[:, 0], items[:, 0], 50, code_length=70)
    assert torch.equal(ids, nearest)
    assert torch.equal(scores, (70 - 2 * distances).float())


@pytest.mark.parametrize(("queries", "items"), [(1, 600_000), (3, 600_000), (200, 3_000)])
def test_weighted_topk_is_the_same_for_any_threads_and_batches(threads, queries, items):
    (q, a), (d, c) = weighted_rows(queries, 4, 12), weighted_rows(items, 4, 12)
    excluded = torch.randint(items, (queries, 1000)).flatten()
    ptr = torch.arange(0, len(excluded) + 1, 1000)
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append(
            ops.weighted_hamming_topk(
                q, d, a, c, 9, code_length=12, exclude_ptr=ptr, exclude_ids=excluded
            )
        )
    parts = [
        ops.weighted_hamming_topk(
            q[row : row + 1],
            d,
            a[row : row + 1],
            c,
            9,
            code_length=12,
            exclude_ptr=ptr[:2],
            exclude_ids=excluded[ptr[row] : ptr[row + 1]],
        )
        for row in range(queries)
    ]
    results.append([torch.cat(part) for part in zip(*parts, strict=True)])
    for scores, ids in results[1:]:
        assert torch.equal(scores, results[0][0]) and torch.equal(ids, results[0][1])


@pytest.mark.parametrize("forced", _numpy.instruction_sets()[1:])
def test_every_instruction_set_gives_the_references_values(forced):
    """The same comparison in a process where the better kernels are switched off."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-k",
        "references and not instruction_set",
        __file__,
    ]
    environment = os.environ | {"HASHGCN_CPU": forced}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_an_unknown_instruction_set_is_refused():
    code = "import torch; from hashgcn import ops; ops.pack_codes(torch.ones(2, 3))"
    environment = os.environ | {"HASHGCN_CPU": "avx9"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "ValueError: HASHGCN_CPU: expected one of" in done.stderr
