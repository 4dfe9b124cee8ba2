"""Races of an elementwise op with a gradient against its reference: forward, backward and both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness.compiled import compile_function
from benchmarks.harness.harness import Case, Contender, Skipped, Work, close

MODES = ["forward", "backward", "both"]
Function = Callable[[Tensor], Tensor]
# The plain forms round each of their operations to float32.
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
    """Time ours(x) against plain(x), eager with autograd and compiled.

    Args:
        case: the case of some work, in `mode`.
        backward_numbers: numbers that the backward pass reads and writes for an element.
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
        f"{numbers} numbers of 4 bytes read or written for each element", 4 * numbers * x.numel()
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
