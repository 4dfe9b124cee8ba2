"""Exact top-N in Hamming space."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hashgcn.ops._arguments import check_tensors, whole
from hashgcn.ops._library import no_gradient, ops, register_fake


class TopK(NamedTuple):
    """The nearest items of each query, in rising order of (distance, row).

    Attributes:
        ids: int64 [Q, k], rows of the items; -1 where fewer than k candidates are left.
        distances: int32 [Q, k]; 2^31 - 1 where fewer than k candidates are left.
    """

    ids: Tensor
    distances: Tensor


def hamming_topk(
    queries: Tensor,
    items: Tensor,
    k: int,
    *,
    code_length: int,
    exclude_ptr: Tensor | None = None,
    exclude_ids: Tensor | None = None,
    allow: Tensor | None = None,
) -> TopK:
    """The k nearest items of each query by Hamming distance, smaller row first among equals.

    A graded query holds odd weights q_w = sum over p of 2^p b_pw with b_pw = ±1, as pack_levels
    takes them. Its distance from an item d is

        sum over p of 2^p hamming(b_p, d) = ((2^P - 1) f - sum_w q_w d_w) / 2,

    so that the nearest item is the one of the largest score. P = 1 is a plain query.

    Args:
        queries: int64 [Q, ceil(f / 64)], packed codes (see pack_codes); or int64
            [Q, P, ceil(f / 64)] with 1 <= P <= 4, the bit planes of graded ones (see pack_levels).
        items: int64 [n, ceil(f / 64)].
        k: number of results, any k >= 1.
        code_length: f >= 1, the number of bits of a code; (2^P - 1) f <= 2^31 - 2.
        exclude_ptr: int64 [Q + 1]; with exclude_ids it lists the items that a query must not get:
            query q is not given exclude_ids[exclude_ptr[q]:exclude_ptr[q + 1]].
        exclude_ids: int64, rows of items, in any order, repeats allowed.
        allow: bool [n], False for items that no query may get.

    Returns:
        TopK(ids, distances), int64 and int32 [Q, k]. No gradient.

    Raises:
        ValueError: shapes or dtypes that do not fit, k < 1, a code packed for another length, an
            excluded row out of range. On CUDA values are checked on the device.

    Example:
        >>> from hashgcn.ops import pack_codes
        >>> items = pack_codes(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]))
        >>> ids, distances = hamming_topk(items[:1], items, 2, code_length=2)
        >>> ids.tolist(), distances.tolist()
        ([[0, 1]], [[0, 1]])
        >>> from hashgcn.ops import pack_levels
        >>> graded = pack_levels(torch.tensor([[-1.0, 3.0]]), levels=2)
        >>> ids, distances = hamming_topk(graded, items, 3, code_length=2)
        >>> ids.tolist(), distances.tolist()  # of scores 2, -2 and -4: (6 - score) / 2
        ([[0, 2, 1]], [[2, 4, 5]])

    Deterministic, identical on every device, for any batch and number of threads. Cost: Q P n
    counts of f bits. Peak extra memory per thread on the CPU: 2 MiB, or 2k + 64 pairs of 12 bytes
    if that is more, and the results once more where it has fewer than 256 queries; never Q x n. On
    CUDA: two copies of exclude_ids, and for few or graded queries counts of at most 4 MB per 64
    bits of (2^P - 1) f, which may be at most 8192.
    """
    check_tensors(
        queries=queries,
        items=items,
        exclude_ptr=exclude_ptr,
        exclude_ids=exclude_ids,
        allow=allow,
    )
    found = ops.hamming_topk.default(
        queries,
        items,
        whole("k", k),
        whole("code_length", code_length),
        exclude_ptr,
        exclude_ids,
        allow,
    )
    return TopK(*found)


@register_fake("hamming_topk")
def _(
    queries: Tensor,
    items: Tensor,
    k: int,
    code_length: int,
    exclude_ptr: Tensor | None,
    exclude_ids: Tensor | None,
    allow: Tensor | None,
) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape), queries.new_empty(shape, dtype=torch.int32)


no_gradient("hamming_topk")
