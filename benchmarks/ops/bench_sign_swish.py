"""The hash layer's sign and its gradient: ops that read and write each number once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.harness.compiled import compiled
from benchmarks.harness.harness import Case, Contender, Work, close, equal
from hashgcn import ops
from hashgcn.ops import reference

BETA = 1.3
SIZE = 10_000_000


def plain_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The derivative of SignSwish, written out: autograd of the reference does more."""
    z = (BETA * x).abs().clamp(max=104)
    t = torch.exp(-z)
    return grad * (2 * BETA * t * (2 * (1 + t) + z * (t - 1)) / (1 + t) ** 3)


def work(mode: str, count: int) -> Work:
    numbers = {"forward": 2, "backward": 3, "both": 5}[mode]
    return Work(
        f"{numbers} numbers of 4 bytes read or written for each element", 4 * numbers * count
    )


@pytest.mark.parametrize("mode", ["forward", "backward", "both"])
def test_sign_swish(race, quick, size, threads, allocation, mode):
    count = size(SIZE, 20_000)
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(count, generator=generator) for _ in range(2))
    wanted = x.clone().requires_grad_()

    def both(function, *arguments) -> Tensor:
        return torch.autograd.grad(function(wanted, *arguments), wanted, grad)[0]

    def backward(result: Tensor) -> Tensor:
        return torch.autograd.grad(result, wanted, grad)[0]

    near = close(1e-3, 1e-6)
    if mode == "forward":
        ours = Contender("ours", lambda: ops.sign_swish(x, BETA))
        baselines = [
            Contender("torch eager", lambda: reference.sign(x), check=equal),
            compiled("torch.compile", reference.sign, (x,), equal, quick),
        ]
    elif mode == "backward":
        ours = Contender("ours", backward, prepare=lambda: ops.sign_swish(wanted, BETA))
        baselines = [
            Contender(
                "torch eager, autograd",
                backward,
                prepare=lambda: reference.sign_swish(wanted, BETA),
                check=near,
            ),
            Contender("torch eager, formula", lambda: plain_backward(grad, x), check=near),
            compiled("torch.compile, formula", plain_backward, (grad, x), near, quick),
        ]
    else:
        ours = Contender("ours", lambda: both(ops.sign_swish, BETA))
        baselines = [
            Contender("torch eager", lambda: both(reference.sign_swish, BETA), check=near),
            compiled(
                "torch.compile",
                lambda x: reference.sign_swish(x, BETA),
                (wanted,),
                near,
                quick,
                then=backward,
            ),
        ]
    copy = Contender("x.clone()", lambda: x.clone(), note="a copy: reads and writes 2 numbers")
    race(
        Case(
            "sign_swish",
            "sign with SignSwish's gradient",
            {"elements": count},
            work(mode, count),
            mode=mode,
            note=allocation,
        ),
        ours,
        [*baselines, copy],
    )


def test_sign_swish_pack(race, quick, size, threads, allocation):
    rows, bits = size(156_250, 1_000), 64
    x = torch.randn(rows, bits, generator=torch.Generator().manual_seed(0))

    def plain(x: Tensor) -> tuple[Tensor, Tensor]:
        return reference.sign(x), reference.pack_codes(x)

    race(
        Case(
            "sign_swish_pack",
            "signs, and signs as bits, in one pass",
            {"rows": rows, "bits": bits},
            Work(
                "4 bytes read, 4 bytes and a bit written for each number",
                8 * x.numel() + 8 * rows,
            ),
            note=allocation,
        ),
        Contender("ours", lambda: ops.sign_swish_pack(x, BETA)),
        [
            Contender(
                "sign_swish, then pack_codes",
                lambda: (ops.sign_swish(x, BETA), ops.pack_codes(x)),
                check=equal,
            ),
            Contender("torch eager", lambda: plain(x), check=equal),
            compiled("torch.compile", plain, (x,), equal, quick),
            Contender("x.clone()", lambda: x.clone(), note="a copy: reads and writes 2 numbers"),
        ],
    )
