"""An elementwise op with a gradient against its reference: forward, backward and both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness.compiled import compile_function
from benchmarks.harness.race import Case, Contender, Skipped, Work, close

MODES = ["forward", "backward", "both"]
Function = Callable[[Tensor], Tensor]
# The plain forms round the result of each operation to float32.
NEAR = close(1e-3, 1e-5)


def race_modes(
    race: Callable[..., None],
    case: Callable[[Work], Case],
    mode: str,
    x: Tensor,
    ours: Function,
    plain: Function,
    quick: bool,
    backward_numbers: int = 3,
) -> None:
    """Time ours(x) against plain(x), both eager with autograd and compiled.

    Args:
        race: the fixture.
        case: gives the case for some work, in `mode`.
        mode: one of MODES.
        x: the input.
        ours: our op.
        plain: its reference.
        quick: compile nothing.
        backward_numbers: numbers per element that the backward pass reads or writes.
    """
    wanted = x.clone().requires_grad_()
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    def backward(result: Tensor) -> Tensor:
        return torch.autograd.grad(result, wanted, grad)[0]

    def contender(name: str, function: Function, check: Any = None) -> Contender:
        if mode == "forward":
            return Contender(name, lambda: function(x), check=check)
        if mode == "backward":
            return Contender(name, backward, prepare=lambda: function(wanted), check=check)
        return Contender(name, lambda: backward(function(wanted)), check=check)

    fast = compile_function(plain, quick)
    numbers = {"forward": 2, "backward": backward_numbers, "both": 2 + backward_numbers}[mode]
    work = Work(
        f"{numbers} numbers of 4 bytes read or written per element", 4 * numbers * x.numel()
    )
    race(
        case(work),
        contender("ours", ours),
        [
            contender("torch eager", plain, NEAR),
            Skipped("torch.compile", fast.reason)
            if isinstance(fast, Skipped)
            else contender("torch.compile", fast, NEAR),
            Contender("x.clone()", lambda: x.clone(), note="a copy: reads and writes 2 numbers"),
        ],
    )
