"""Graded codes as bit planes: packing and its inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgcn.levels import LEVELS, check_levels, largest_weight, num_planes
from hashgcn.ops._arguments import check_tensors, whole
from hashgcn.ops.pack_codes import pack_codes, unpack_codes


def pack_levels(codes: Tensor, levels: int) -> Tensor:
    """Bit planes of graded codes: q = sum over p of 2^p b_p, with b_p = ±1.

    Args:
        codes: float32, float64, bfloat16 or float16 [N, f], f >= 1, of weights ±1, ±3, ...,
            ±(2L - 1).
        levels: L, one of 1, 2, 4 and 8.

    Returns:
        int64 [N, P, ceil(f / 64)] with P = log2(L) + 1; plane p is pack_codes(b_p). Plane P - 1 is
        the plain code of the weights' signs. No gradient.

    Raises:
        ValueError: another number of levels; codes with other weights, of another dtype, or that
            are not two-dimensional.

    Example:
        >>> planes = pack_levels(torch.tensor([[3.0, 1.0, -1.0, -3.0]]), levels=2)
        >>> planes.tolist()  # 3 = 2 + 1, 1 = 2 - 1, -1 = -2 + 1, -3 = -2 - 1
        [[[5], [3]]]

    Deterministic, the same words on every device. Cost: O(P N f). Extra memory: three times the
    codes, which are read to be checked: torch.compile breaks the graph here.
    """
    whole("levels", levels)
    check_levels(levels)
    check_tensors(codes=codes)
    bound = largest_weight(levels)
    codes = codes.detach()
    # NaN and infinity turn into some integer, which then differs from them.
    index = ((codes + bound) / 2).clamp(0, bound).to(torch.uint8)
    if not torch.equal(2 * index.to(codes.dtype) - bound, codes):
        raise ValueError(f"codes: expected odd weights from -{bound} to {bound}, got others")
    bits = [(index >> p) & 1 for p in range(num_planes(levels))]
    return torch.stack([pack_codes(bit.to(torch.float32) - 0.5) for bit in bits], 1)


def unpack_levels(planes: Tensor, code_length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights of packed graded codes; the inverse of pack_levels.

    Args:
        planes: int64 [N, P, ceil(f / 64)] with 1 <= P <= 4; or [N, ceil(f / 64)], plain codes.
        code_length: f >= 1, the number of dimensions of a code.
        dtype: float32, float64, bfloat16 or float16.

    Returns:
        Tensor [N, f] of `dtype`; no gradient.

    Raises:
        ValueError: planes of another shape or dtype, or bits past the code length.

    Example:
        >>> unpack_levels(torch.tensor([[[5], [3]]]), 4).tolist()
        [[3.0, 1.0, -1.0, -3.0]]

    Deterministic. Cost: O(P N f). Extra memory: as much as the result.
    """
    check_tensors(planes=planes)
    if planes.dim() == 2:
        return unpack_codes(planes, code_length, dtype)
    if planes.dim() != 3 or not 1 <= planes.shape[1] <= len(LEVELS):
        raise ValueError(
            f"planes: expected [N, P, words] with 1 to 4 planes, got {list(planes.shape)}"
        )
    weights = unpack_codes(planes[:, 0].contiguous(), code_length, dtype)
    for p in range(1, planes.shape[1]):
        weights += 2**p * unpack_codes(planes[:, p].contiguous(), code_length, dtype)
    return weights
