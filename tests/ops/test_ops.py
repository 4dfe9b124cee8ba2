"""Every op against its plain-torch reference on every sample; opcheck, gradcheck, compilation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo.testing
from judge import assert_close, assert_is_the_references, expected, gradients
from samples import SAMPLES, UNTRACED, all_samples, as_tuple, ids_of, in_float64, traced
from torch import Tensor

from hashgcn import _numpy, ops
from hashgcn.ops import reference

NAMESPACE = torch.ops.hashgcn

ALL = all_samples()
TRACED = traced(ALL)
DIFFERENTIABLE = [
    case
    for case in ALL
    if any(isinstance(x, Tensor) and x.requires_grad for x in case[2]) and case[0] != "pack_codes"
]


def registered_ops() -> list[str]:
    names = torch._C._dispatch_get_all_op_names()
    return sorted(n.split("::")[1] for n in names if n.startswith("hashgcn::"))


@pytest.mark.parametrize("case", ALL, ids=ids_of)
def test_value_is_the_references(case):
    assert_is_the_references(case)


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
    utils = (*UNTRACED, "test_aot_dispatch_dynamic") if ids_of(case) in TRACED else UNTRACED
    torch.library.opcheck(getattr(NAMESPACE, op).default, args, test_utils=utils)


def test_every_op_has_samples_a_reference_a_fake_and_a_cpu_kernel():
    found = registered_ops()
    assert sorted(SAMPLES) == [name for name in found if name != "check_errors"]
    for name in SAMPLES:
        full = f"hashgcn::{name}"
        assert torch._C._dispatch_has_kernel_for_dispatch_key(full, "CPU"), name
        assert torch._library.simple_registry.singleton.find(full).fake_impl.kernel, name
        public = name.removesuffix("_backward")
        assert hasattr(ops, public) or public == name, name


# Signs are steps and score_tables piecewise constant: what signs are differentiated as is checked
# below, the tables through the pairwise losses of test_losses.
SMOOTH = [
    case
    for case in DIFFERENTIABLE
    if case[0] in ("smooth_rank", "propagate", "fixed_order_mm", "tanh_continuation")
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


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def slope_of(function, x: Tensor) -> Tensor:
    """The factor that an elementwise function multiplies gradients with."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.sign_ste(x, clip=2.0),
        ops.sign_fourier,
        lambda x: ops.sign_guided(x, torch.ones(len(x), dtype=torch.bool)),
    ],
    ids=["sign_ste", "sign_fourier", "sign_guided"],
)
def test_signs_at_zeros_and_extremes(function, dtype):
    big, inf = torch.finfo(dtype).max, float("inf")
    x = torch.tensor([[0.0, -0.0, big, -big, inf, -inf, 1e-3, -1e-3]], dtype=dtype)
    assert function(x).tolist() == [[1, 1, 1, -1, 1, -1, 1, -1]]
    assert slope_of(function, x).isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_sign_ste_passes_gradients_up_to_the_clip(dtype):
    clip = torch.tensor(1.5, dtype=dtype)
    outside = clip + torch.finfo(dtype).eps
    x = torch.stack([clip, -clip, outside, -outside, 0 * clip])
    assert slope_of(lambda x: ops.sign_ste(x, clip=1.5), x).tolist() == [1, 1, 0, 0, 1]
    # z = scale x: the interval shrinks, the factor grows.
    scaled = slope_of(lambda x: ops.sign_ste(x, clip=1.5, scale=2.0), x / 2)
    assert scaled.tolist() == [2, 2, 0, 0, 2]
    assert slope_of(lambda x: ops.sign_ste(x, clip=0.0), x).tolist() == [0, 0, 0, 0, 1]
    extremes = torch.tensor([float("inf"), torch.finfo(dtype).max, 0], dtype=dtype)
    assert slope_of(lambda x: ops.sign_ste(x, scale=0.5), extremes).tolist() == [0.5] * 3


@pytest.mark.parametrize("terms", [2, 3, 8, 20, 21, 1000])
def test_sign_fourier_slope_is_the_clamped_sum_of_cosines(terms):
    """Close to multiples of pi too, where the closed form divides by a sine near 0."""
    turns = torch.arange(-6, 7, dtype=torch.float64)[:, None] * torch.pi
    steps = torch.tensor([0, 1e-300, 1e-12, 1e-7, 1e-3, 0.1, 0.7, torch.pi / 2]).double()
    x = torch.cat([turns + steps, turns - steps]).flatten()
    got = slope_of(lambda x: ops.sign_fourier(x, terms=terms), x)
    want = reference.fourier_slope(x, 1.0, terms).clamp(-1, 1)
    # The slope's own slope is about terms^2 / pi at most; angles are rounded to 4e-15.
    torch.testing.assert_close(got, want, rtol=0, atol=4e-15 * terms**2)
    assert slope_of(lambda x: ops.sign_fourier(x, terms=terms), torch.zeros(1)).item() == 1


@pytest.mark.parametrize("terms", [2, 8, 21])
def test_sign_fourier_is_differentiated_as_the_series(terms):
    def series(x: Tensor) -> Tensor:
        return sum(4 / torch.pi / i * torch.sin(0.9 * i * x) for i in range(1, terms, 2))

    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    slope = reference.fourier_slope(x, 0.9, terms)
    torch.testing.assert_close(slope, slope_of(series, x), rtol=1e-12, atol=1e-12)


def test_sign_fourier_resolves_the_phase_of_large_float32_numbers():
    x = torch.tensor([1e4, 1.234e6, -9.87e6, 4e9, -3e38])
    got = slope_of(ops.sign_fourier, x)
    want = reference.fourier_slope(x.double(), 1.0, 8).clamp(-1, 1).float()
    torch.testing.assert_close(got[:3], want[:3], rtol=0, atol=1e-6)
    assert got[3:].tolist() == [0, 0]


@pytest.mark.parametrize("beta", [0.3, 40.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_keeps_its_digits_near_zero_and_where_it_is_flat(beta, dtype):
    ends = torch.tensor([0.0, 1e-30, 1e-4, 0.6249, 0.6251, 3.0, 9.0, 40.0, 1e30], dtype=dtype)
    x = torch.cat([ends, -ends, torch.linspace(-2, 2, 1001, dtype=dtype)]) / beta
    exact = beta * x.double()
    rounding = 8 * torch.finfo(dtype).eps
    got = ops.tanh_continuation(x, beta)
    torch.testing.assert_close(got.double(), torch.tanh(exact), rtol=rounding, atol=0)
    slope = slope_of(lambda x: ops.tanh_continuation(x, beta), x).double()
    # 1 / cosh^2, which 1 - tanh^2 loses; a rounding of beta x counts 2 beta x times.
    rounding *= 2 * 40
    torch.testing.assert_close(slope, beta / torch.cosh(exact) ** 2, rtol=rounding, atol=1e-36)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_continuation_at_extremes(dtype):
    x = torch.tensor([float("inf"), -float("inf"), torch.finfo(dtype).max, 0.0], dtype=dtype)
    assert ops.tanh_continuation(x, 3.0).tolist() == [1, -1, 1, 0]
    assert slope_of(lambda x: ops.tanh_continuation(x, 3.0), x).tolist() == [0, 0, 0, 3]
    steep = slope_of(lambda x: ops.tanh_continuation(x, 2.0**127), torch.tensor([0.0, 1.0]))
    assert steep.tolist() == [2.0**127, 0]


def test_sign_guided_where_threads_share_a_row(threads):
    threads(4)
    x, take_sign = torch.randn(1001, 127), torch.rand(1001) < 0.5
    got = ops.sign_guided(x, take_sign, scale=1.5)
    assert torch.equal(got, reference.sign_guided(x, take_sign, 1.5))


def test_integrals_of_the_slopes():
    """As the table of gradients in docs/method.md has them."""
    x = torch.linspace(-40, 40, 800_001, dtype=torch.float64)

    def integral(function, bound=40.0) -> float:
        inside = x[x.abs() <= bound]
        return torch.trapezoid(slope_of(function, inside), inside).item()

    assert abs(integral(lambda x: ops.tanh_continuation(x, 1.3)) - 2) < 1e-9
    assert abs(integral(lambda x: ops.sign_ste(x, clip=1.3)) - 2.6) < 1e-3
    assert abs(integral(lambda x: ops.sign_ste(x, clip=1.3, scale=2.0)) - 2.6) < 1e-3
    assert abs(integral(ops.sign_fourier, torch.pi / 2) - 0.2219) < 1e-3
    assert abs(integral(ops.sign_fourier, torch.pi)) < 1e-3


@pytest.mark.parametrize(
    "op",
    [
        ops.sign_swish,
        ops.tanh_continuation,
        lambda x, scale: ops.sign_ste(x, scale=scale),
        lambda x, scale: ops.sign_ste(x, clip=1.0, scale=scale),
        lambda x, scale: ops.sign_fourier(x, scale=scale),
        lambda x, scale: ops.sign_guided(x[None], torch.ones(1, dtype=torch.bool), scale=scale),
    ],
    ids=["sign_swish", "tanh_continuation", "sign_ste", "clip", "sign_fourier", "sign_guided"],
)
def test_a_changing_slope_or_scale_does_not_recompile(op):
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(op, backend=counter, fullgraph=True)
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


@pytest.mark.parametrize("op", sorted(op for op in SAMPLES if op.endswith("_backward")))
def test_a_second_differentiation_is_refused(op):
    args = [
        a.detach().requires_grad_(a.is_floating_point()) if isinstance(a, Tensor) else a
        for a in COMPILED[op]
    ]
    for result in as_tuple(getattr(NAMESPACE, op)(*args)):
        with pytest.raises(NotImplementedError, match=f"{op}: .* no gradient"):
            torch.autograd.grad(result.sum(), args[0])


def test_outputs_without_gradient_never_require_one():
    x = torch.randn(6, 64, requires_grad=True)
    words = ops.pack_codes(x)
    assert not words.requires_grad
    assert not ops.unpack_codes(words, 64).requires_grad
    found = ops.hamming_topk(words, words, 3, code_length=64)
    assert not found.ids.requires_grad and not found.distances.requires_grad


def python(code: str, instruction_set: str) -> subprocess.CompletedProcess[str]:
    """A process whose kernels are chosen anew."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"HASHGCN_CPU": instruction_set, "PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("forced", _numpy.instruction_sets()[1:])
def test_every_instruction_set_gives_the_references_values(forced):
    code = """
from judge import assert_is_the_references
from samples import all_samples, ids_of
for case in all_samples():
    try:
        assert_is_the_references(case)
    except Exception as error:
        raise AssertionError(ids_of(case)) from error
"""
    done = python(code, forced)
    assert done.returncode == 0, done.stderr[-3000:]


def test_an_unknown_instruction_set_is_refused():
    done = python("from hashgcn import _numpy; _numpy.instruction_set()", "avx9")
    assert "ValueError: HASHGCN_CPU: expected one of" in done.stderr
