"""Codes as bits: packing by the sign rule and its inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgcn.ops._arguments import check_tensors, whole
from hashgcn.ops._library import no_gradient, ops, register_fake


def pack_codes(x: Tensor) -> Tensor:
    """Bits of the signs of x: bit j of word w is 1 iff x[:, 64 w + j] >= 0.

    The sign rule is that of sign_swish: 0 and -0 count as +1. Bits past the code length are 0. If
    the code length is a multiple of 64, the rows are byte-identical to faiss's binary vectors on a
    little-endian machine.

    Args:
        x: float32, float64, bfloat16 or float16 [N, f], f >= 1; codes or real values.

    Returns:
        int64 [N, ceil(f / 64)]; no gradient.

    Raises:
        ValueError: x holds NaN, is not two-dimensional, or has another dtype.

    Example:
        >>> pack_codes(torch.tensor([[0.3, -1.2, 0.0, -0.5]])).tolist()
        [[5]]

    Deterministic, the same words on every device. Cost: O(N f), no extra memory.
    """
    check_tensors(x=x)
    return ops.pack_codes.default(x.detach())


def unpack_codes(words: Tensor, code_length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The +1 and -1 of packed codes; the inverse of pack_codes.

    Args:
        words: int64 [N, ceil(f / 64)].
        code_length: f >= 1, the number of bits of a code.
        dtype: float32, float64, bfloat16 or float16.

    Returns:
        Tensor [N, f] of `dtype`; no gradient.

    Raises:
        ValueError: words has another shape or dtype, or bits past the code length.

    Example:
        >>> unpack_codes(torch.tensor([[5]]), 4).tolist()
        [[1.0, -1.0, 1.0, -1.0]]

    Deterministic. Cost: O(N f), no extra memory.
    """
    check_tensors(words=words)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype: expected a torch.dtype, got {dtype!r}")
    return ops.unpack_codes.default(words, whole("code_length", code_length), dtype)


@register_fake("pack_codes")
def _(x: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], (x.shape[1] + 63) // 64), dtype=torch.int64)


@register_fake("unpack_codes")
def _(words: Tensor, code_length: int, dtype: torch.dtype) -> Tensor:
    return words.new_empty((words.shape[0], code_length), dtype=dtype)


no_gradient("pack_codes")
no_gradient("unpack_codes")
