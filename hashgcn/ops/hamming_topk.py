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

    Args:
        queries: int64 [Q, ceil(f / 64)], packed codes (see pack_codes).
        items: int64 [n, ceil(f / 64)].
        k: number of results, any k >= 1.
        code_length: f >= 1, the number of bits of a code.
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

    Deterministic, identical on every device, for any batch and number of threads. Cost: Q n counts
    of f bits. Peak extra memory per thread on the CPU: 2 MiB, or 2k + 64 pairs of 12 bytes if that
    is more, and the results once more where it has fewer than 256 queries; never Q x n. On CUDA:
    two copies of exclude_ids, and for few queries counts of at most 4 MB per 64 bits.
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
