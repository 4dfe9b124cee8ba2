"""Loads the compiled ops; every file of this folder imports `ops` from here before it registers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

_FOLDER = Path(__file__).resolve().parent.parent / "lib"


def _load(name: str) -> None:
    path = _FOLDER / f"lib{name}.so"
    if not path.exists():
        raise ImportError(
            f"hashgcn's compiled ops are missing ({path.name}); build them with "
            "`make build`, or `pip install --no-build-isolation -e .`"
        )
    torch.ops.load_library(path)


_load("hashgcn_cpu")
# The CUDA library needs a torch that has CUDA; where it was not built, an op on a CUDA tensor
# raises the dispatcher's own error, that no CUDA kernel is registered.
if torch.version.cuda is not None and (_FOLDER / "libhashgcn_cuda.so").exists():
    _load("hashgcn_cuda")

ops = torch.ops.hashgcn


def check_errors(tensor: Tensor) -> None:
    """Raise what the ops found wrong with values on a CUDA device since the last call.

    On CUDA an op checks shapes at once but values on the device: it never touches memory out of
    bounds, sets a flag and goes on. This function reads the flag. The host waits for the device
    meanwhile, so call it where the host waits anyway. With HASHGCN_CHECK=1 in the environment every
    op raises by itself, and names itself.

    Args:
        tensor: any tensor; its device is checked. On the CPU ops raise by themselves, so that there
            is nothing to do.

    Raises:
        ValueError: what was expected of which argument.

    Example:
        >>> check_errors(torch.zeros(1))
    """
    if tensor.is_cuda:
        ops.check_errors.default(tensor)


def scalar_like(value: float | Tensor, name: str, like: Tensor) -> Tensor:
    """A positive number as the 0-d tensor that an op takes.

    Its dtype is float64 for float64 inputs, else float32. A tensor keeps its value on the device,
    so that a schedule neither synchronises nor recompiles.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    if isinstance(value, Tensor):
        if value.dim() != 0:
            raise ValueError(
                f"{name}: expected a number or 0-d tensor, got shape {list(value.shape)}"
            )
        return value.detach().to(device=like.device, dtype=dtype, non_blocking=True)
    if not torch.compiler.is_compiling() and not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a finite positive number, got {value}")
    return torch.full((), value, device=like.device, dtype=dtype)


def differentiable_once(op: str) -> None:
    """Make the op's gradient raise where it would be differentiated again.

    torch would take that gradient for a constant and only warn.
    """
    backward = f"hashgcn::{op}_backward"

    def refuse(ctx: Any, *grads: Tensor) -> NoReturn:
        raise NotImplementedError(f"{backward}: its result has no gradient in turn")

    torch.library.register_autograd(backward, refuse)
