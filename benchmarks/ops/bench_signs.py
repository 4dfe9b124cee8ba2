"""The sign and what takes the place of its gradient: ops that read and write each number once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.harness.compiled import compiled
from benchmarks.harness.elementwise import MODES, race_modes
from benchmarks.harness.race import Case, Contender, Work, close
from hashgcn import ops
from hashgcn.ops import reference

ROWS, BITS = 156_250, 64
BETA, CLIP, OMEGA, TERMS = 1.3, 1.0, 1.0, 8  # the last two as BGCH runs on Gowalla

# By op: what it computes, the op and its reference.
OPS = {
    "sign_swish": (
        "sign with SignSwish's gradient",
        partial(ops.sign_swish, beta=BETA),
        partial(reference.sign_swish, beta=BETA),
    ),
    "sign_ste": (
        "sign with the clipped straight-through gradient",
        partial(ops.sign_ste, clip=CLIP),
        partial(reference.sign_ste, scale=1.0, clip=CLIP),
    ),
    "sign_fourier": (
        "sign with the gradient of a Fourier series",
        partial(ops.sign_fourier, omega=OMEGA, terms=TERMS),
        partial(reference.sign_fourier, scale=1.0, omega=OMEGA, terms=TERMS),
    ),
    "tanh_continuation": (
        "tanh(beta x)",
        partial(ops.tanh_continuation, beta=BETA),
        partial(reference.tanh_continuation, beta=BETA),
    ),
    "sign_guided": (
        "signs of half of the rows",
        partial(ops.sign_guided, scale=BETA),
        partial(reference.sign_guided, scale=BETA),
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("op", OPS)
def test_signs(race, quick, size, threads, allocation, op, mode):
    if mode == "backward" and op in ("sign_swish", "sign_fourier"):
        return  # the first is below; the reference of the second does its work in the forward pass
    name, ours, plain = OPS[op]
    rows = size(ROWS, 1_000)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, BITS, generator=generator)
    guided = op == "sign_guided"
    if guided:
        take_sign = torch.rand(rows, generator=generator) < 0.5
        ours, plain = (partial(function, take_sign=take_sign) for function in (ours, plain))
    shape = {"rows": rows, "bits": BITS} if guided else {"elements": x.numel()}
    race_modes(
        race,
        lambda work: Case(op, name, shape, work, mode=mode, note=allocation),
        mode,
        x,
        ours,
        plain,
        quick,
        backward_numbers=2 if guided else 3,
    )


def swish_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The derivative of SignSwish, written out: autograd of the reference does more."""
    z = (BETA * x).abs().clamp(max=104)
    t = torch.exp(-z)
    return grad * (2 * BETA * t * (2 * (1 + t) + z * (t - 1)) / (1 + t) ** 3)


def test_sign_swish_backward(race, quick, size, threads, allocation):
    count = size(ROWS, 1_000) * BITS
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(count, generator=generator) for _ in range(2))
    wanted = x.clone().requires_grad_()
    near = close(1e-3, 1e-6)

    def contender(name: str, function: Callable[..., Tensor], check: Any = None) -> Contender:
        def backward(result: Tensor) -> Tensor:
            return torch.autograd.grad(result, wanted, grad)[0]

        return Contender(name, backward, prepare=lambda: function(wanted, BETA), check=check)

    race(
        Case(
            "sign_swish",
            "sign with SignSwish's gradient",
            {"elements": count},
            Work("3 numbers of 4 bytes read or written per element", 12 * count),
            mode="backward",
            note=allocation,
        ),
        contender("ours", ops.sign_swish),
        [
            contender("torch eager, autograd", reference.sign_swish, near),
            Contender("torch eager, formula", lambda: swish_backward(grad, x), check=near),
            compiled("torch.compile, formula", swish_backward, (grad, x), near, quick),
            Contender("x.clone()", lambda: x.clone(), note="a copy: reads and writes 2 numbers"),
        ],
    )
