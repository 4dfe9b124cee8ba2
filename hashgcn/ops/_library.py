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

    @torch.library.register_fake("hashgcn::device_errors")
    def _(device_tensor: Tensor) -> Tensor:
        return device_tensor.new_empty(1, dtype=torch.int32)


ops = torch.ops.hashgcn


# By bit of a CUDA device's error flag (csrc/core/errors.h).
ERRORS = (
    "x without NaN",
    "codes to hold only +1 and -1",
    "users that exist or are -1, with rows of ptr and ids that do not decrease, lie inside ids and "
    "hold strictly increasing items that exist",
    "candidate_ptr to rise from 0 to the number of candidate_ids, candidate_ids that exist, finite "
    "candidate_weight and a candidate_order that sorts the ids",
    "embeddings and scale finite",
    "offsets that rise by each row's number of positives, to at most the number of ranks",
    "words with zero bits past code_length",
    "exclude_ptr to rise from 0 to the number of exclude_ids, and exclude_ids that exist",
    "user_ptr and item_ptr that do not decrease and lie inside their ids, and ids that exist",
    "tau, beta and scale finite and positive",
    "query_scale and item_scale finite and at most 2^48 in magnitude",
)


def check_errors(tensor: Tensor) -> None:
    """Raise what the ops found wrong with values on a CUDA device since the last call.

    On CUDA an op checks shapes at once, values on the device: it never touches memory out of
    bounds, sets a flag and goes on. This reads the flag; call it where the host waits anyway.
    HASHGCN_CHECK=1 in the environment raises after every op instead, and names it.

    Args:
        tensor: any tensor; its device is checked. On the CPU ops raise by themselves.

    Returns:
        None.

    Raises:
        ValueError: what was expected of which argument.

    Deterministic. Cost: the host waits for the device. No extra memory.
    """
    if not tensor.is_cuda:
        return
    found = int(ops.device_errors.default(tensor))
    wrong = [text for bit, text in enumerate(ERRORS) if found >> bit & 1]
    if wrong:
        raise ValueError(f"hashgcn: expected {'; '.join(wrong)}; got others on {tensor.device}")


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


def differentiable_once(op: str) -> None:
    """Make the op's gradient raise where it would be differentiated again.

    torch would take the gradient for a constant and only warn.
    """
    backward = f"hashgcn::{op}_backward"

    def refuse(ctx: Any, *grads: Tensor) -> NoReturn:
        raise NotImplementedError(f"{backward}: its result has no gradient in turn")

    torch.library.register_autograd(backward, refuse)
