"""How many items lie at each Hamming distance."""

from __future__ import annotations

from torch import Tensor

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
    """The number of items at each Hamming distance w = 0, ..., f of each query.

        counts[q, w] = |{i : hamming(queries[q], items[i]) = w}|

    Args:
        queries: int64 [Q, ceil(f / 64)], packed codes (see pack_codes).
        items: int64 [n, ceil(f / 64)].
        code_length: f >= 1, the number of bits of a code.
        ptr, ids: int64 [Q + 1] and rows of items. Given both, query q counts the items
            ids[ptr[q]:ptr[q + 1]] alone, such as those of its label; a repeated row counts again.

    Returns:
        Tensor int64 [Q, f + 1]. No gradient.

    Raises:
        ValueError: shapes, dtypes or lists that do not fit, a code packed for another length.

    Example:
        >>> import torch
        >>> from hashgcn.ops import pack_codes
        >>> items = pack_codes(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]))
        >>> hamming_histogram(items[:1], items, code_length=2).tolist()
        [[1, 2, 0]]

    Deterministic, identical on every device. Cost: Q n counts of f bits, no extra memory.
    """
    check_tensors(queries=queries, items=items, ptr=ptr, ids=ids)
    code_length = whole("code_length", code_length)
    return ops.hamming_histogram.default(queries, items, code_length, ptr, ids)


@register_fake("hamming_histogram")
def _(queries: Tensor, items: Tensor, code_length: int, *lists: Tensor | None) -> Tensor:
    return queries.new_empty((queries.shape[0], code_length + 1))


no_gradient("hamming_histogram")
