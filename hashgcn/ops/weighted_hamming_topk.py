"""Exact top-N by a weighted sum of Hamming similarities."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgcn.ops._library import ops


def weighted_hamming_topk(
    queries: Tensor,
    items: Tensor,
    query_scale: Tensor,
    item_scale: Tensor,
    k: int,
    *,
    code_length: int,
    exclude_ptr: Tensor | None = None,
    exclude_ids: Tensor | None = None,
    allow: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The k items of highest score for each query, where a row is several codes with a scale each.

    A row has S segments, codes of f bits; the score is the weighted sum of their inner products,

        score(q, i) = sum over l < S of a[q, l] c[i, l] <b_ql, d_il>,

    with `<b, d> = f - 2 hamming(b, d)`. It is summed in float32 in the order of l, each product and
    each sum rounded by itself: `s = s + (a c) <b, d>`. Equal scores: smaller row first.

    Args:
        queries: int64 [Q, S, ceil(f / 64)], packed codes: pack_codes of [Q S, f], reshaped.
        items: int64 [n, S, ceil(f / 64)].
        query_scale: a, float32 [Q, S], of either sign, at most 2^48 in magnitude.
        item_scale: c, float32 [n, S], likewise.
        k: number of results, any k >= 1.
        code_length: f >= 1, the number of bits of a segment.
        exclude_ptr: int64 [Q + 1] and exclude_ids: int64: item rows that query q must not get are
            exclude_ids[exclude_ptr[q]:exclude_ptr[q + 1]], in any order, repeats allowed.
        allow: bool [n], False for items that no query may get.

    Returns:
        scores float32 [Q, k] and ids int64 [Q, k], in falling order of score, then rising of row.
        Where fewer than k candidates are left: id -1, score -inf. No gradient.

    Raises:
        ValueError: shapes or dtypes that do not fit, k < 1, a code packed for another length, a
            scale that is NaN, infinite or too large, an excluded row out of range. On CUDA values
            are checked on the device.

    Deterministic, the same bits on every device, for any batch and number of threads. Cost: Q n S
    counts of f bits, and a product of scales for each. Peak extra memory for each thread on the
    CPU: 16 KiB, or 64 items if that is more, and 512 KiB, or 2k + 64 pairs of 12 bytes if that is
    more; the results once more where it has fewer than 64 queries; never Q x n.

    Source: the scores of Chen et al., "Bipartite Graph Convolutional Hashing for Effective and
    Efficient Top-N Search in Hamming Space" (WWW 2023), with a code for each layer.
    """
    return ops.weighted_hamming_topk.default(
        queries,
        items,
        query_scale.detach(),
        item_scale.detach(),
        k,
        code_length,
        exclude_ptr,
        exclude_ids,
        allow,
    )


@torch.library.register_fake("hashgcn::weighted_hamming_topk")
def _(
    queries: Tensor,
    items: Tensor,
    query_scale: Tensor,
    item_scale: Tensor,
    k: int,
    code_length: int,
    exclude_ptr: Tensor | None,
    exclude_ids: Tensor | None,
    allow: Tensor | None,
) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return query_scale.new_empty(shape), queries.new_empty(shape)
