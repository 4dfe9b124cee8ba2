"""How many items lie at each Hamming distance."""

from __future__ import annotations

from torch import Tensor

from hashgcn.levels import largest_weight, levels_of
from hashgcn.ops._arguments import check_tensors, whole
from hashgcn.ops._library import no_gradient, ops, register_fake


def hamming_histogram(
    queries: Tensor,
    items: Tensor,
    *,
    code_length: int,
    ptr: Tensor | None = None,
    ids: Tensor | None = None,
) -> Tensor:
    """The number of items at each distance w of each query.

        counts[q, w] = |{i : distance(queries[q], items[i]) = w}|

    The distance is that of hamming_topk: w = 0, ..., f of plain queries, and w = 0, ...,
    (2^P - 1) f of graded ones of P planes.

    Args:
        queries: int64 [Q, ceil(f / 64)], packed codes (see pack_codes); or int64
            [Q, P, ceil(f / 64)] with 1 <= P <= 4, the bit planes of graded ones (see pack_levels).
        items: int64 [n, ceil(f / 64)].
        code_length: f >= 1, the number of bits of a code; (2^P - 1) f <= 2^31 - 2.
        ptr, ids: int64 [Q + 1] and rows of items. Given both, query q counts the items
            ids[ptr[q]:ptr[q + 1]] alone, such as those of its label; a repeated row counts again.

    Returns:
        Tensor int64 [Q, (2^P - 1) f + 1], with P = 1 for plain queries. No gradient.

    Raises:
        ValueError: shapes, dtypes or lists that do not fit, a code packed for another length.

    Example:
        >>> import torch
        >>> from hashgcn.ops import pack_codes
        >>> items = pack_codes(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]))
        >>> hamming_histogram(items[:1], items, code_length=2).tolist()
        [[1, 2, 0]]

    Deterministic, identical on every device. Cost: Q P n counts of f bits, no extra memory.
    On CUDA (2^P - 1) f may be at most 8192.
    """
    check_tensors(queries=queries, items=items, ptr=ptr, ids=ids)
    code_length = whole("code_length", code_length)
    return ops.hamming_histogram.default(queries, items, code_length, ptr, ids)


@register_fake("hamming_histogram")
def _(queries: Tensor, items: Tensor, code_length: int, *lists: Tensor | None) -> Tensor:
    planes = int(queries.shape[1]) if queries.dim() == 3 else 1
    bins = largest_weight(levels_of(planes)) * code_length + 1
    return queries.new_empty((queries.shape[0], bins))


no_gradient("hamming_histogram")
