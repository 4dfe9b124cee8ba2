"""Loads the compiled ops; every file of this folder imports `ops` from here before it registers."""

from __future__ import annotations

import math
from pathlib import Path

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


def scalar_like(value: float | Tensor, name: str, like: Tensor) -> Tensor:
    """A positive number as the 0-d tensor an op takes: float64 for float64 inputs, else float32.

    A tensor keeps its value on the device, so a schedule neither synchronises nor recompiles.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    if isinstance(value, Tensor):
        if value.dim() != 0:
            raise ValueError(
                f"expected {name} as a number or 0-d tensor, got shape {list(value.shape)}"
            )
        return value.detach().to(device=like.device, dtype=dtype, non_blocking=True)
    if not torch.compiler.is_compiling() and not (math.isfinite(value) and value > 0):
        raise ValueError(f"expected {name} finite and positive, got {value}")
    return torch.full((), value, device=like.device, dtype=dtype)
