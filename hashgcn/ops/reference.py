"""Plain-torch oracle of every op: unfused, differentiated by autograd, for any float dtype.

Each function materialises what the op avoids (scores of all pairs), so it is for small inputs:
tests, gradcheck and benchmarks. Positives and candidate lists are CSR tensors, as in the ops'
schemas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def sign(x: Tensor) -> Tensor:
    """+1 where x >= 0, else -1."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def smooth_sign_swish(x: Tensor, beta: float) -> Tensor:
    """SS_beta(x) = 2 sigma(beta x)(1 + beta x (1 - sigma(beta x))) - 1, to be differentiated."""
    s = torch.sigmoid(beta * x)
    return 2 * s * (1 + beta * x * (1 - s)) - 1


def sign_swish(x: Tensor, beta: float) -> Tensor:
    """The sign in the forward pass, SS_beta in the backward pass."""
    smooth = smooth_sign_swish(x, beta)
    return sign(x) + (smooth - smooth.detach())


def sign_ste(x: Tensor, scale: float, clip: float) -> Tensor:
    """The sign in the forward pass, scale x held in [-clip, clip] in the backward pass."""
    passed = (scale * x).clamp(-clip, clip)
    return sign(x) + (passed - passed.detach())


def fourier_slope(z: Tensor, omega: float, terms: int) -> Tensor:
    """Derivative of (4 / pi) sum of sin(i omega z) / i over odd i < terms."""
    cosines = (torch.cos(i * omega * z) for i in range(1, terms, 2))
    return 4 * omega / math.pi * sum(cosines, start=torch.zeros_like(z))


def sign_fourier(x: Tensor, scale: float, omega: float, terms: int) -> Tensor:
    """The sign in the forward pass, the clamped slope of the series in the backward pass."""
    z = scale * x
    passed = fourier_slope(z.detach(), omega, terms).clamp(-1, 1) * z
    return sign(x) + (passed - passed.detach())


def tanh_continuation(x: Tensor, beta: float) -> Tensor:
    return torch.tanh(beta * x)


def sign_guided(x: Tensor, take_sign: Tensor, scale: float) -> Tensor:
    """scale x, with the sign put in its place in the forward pass of some rows."""
    z = scale * x
    return torch.where(take_sign[:, None], sign(x) + (z - z.detach()), z)


def pack_codes(x: Tensor) -> Tensor:
    """Bits of x >= 0, least significant first, in int64 words."""
    rows, code_length = x.shape
    words = (code_length + 63) // 64
    bits = torch.zeros(rows, words * 64, dtype=torch.int64)
    bits[:, :code_length] = x >= 0
    return (bits.view(rows, words, 64) << torch.arange(64)).sum(2)


def unpack_codes(words: Tensor, code_length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    bits = (words[:, :, None] >> torch.arange(64)) & 1
    return (2 * bits.flatten(1)[:, :code_length] - 1).to(dtype)


def positive_mask(users: Tensor, ptr: Tensor, ids: Tensor, num_items: int) -> Tensor:
    """bool [b, n]: item j is a positive of users[r]; none for the padding -1."""
    mask = torch.zeros(len(users), num_items, dtype=torch.bool)
    for row, user in enumerate(users.tolist()):
        if user >= 0:
            mask[row, ids[ptr[user] : ptr[user + 1]]] = True
    return mask


def candidate_weights(
    users: Tensor,
    num_items: int,
    dtype: torch.dtype,
    ptr: Tensor | None = None,
    ids: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """[b, n]: how much item j counts for row r; 1 everywhere without candidate lists."""
    if ptr is None or ids is None:
        counts = torch.ones(len(users), num_items, dtype=dtype)
    else:
        counts = torch.zeros(len(users), num_items, dtype=dtype)
        rows = torch.repeat_interleave(torch.arange(len(users)), ptr.diff())
        values = torch.ones(len(ids), dtype=dtype) if weight is None else weight
        counts.index_put_((rows, ids), values, accumulate=True)
    return counts * (users >= 0)[:, None]


def score_tables(
    user_codes: Tensor,
    item_codes: Tensor,
    users: Tensor,
    ptr: Tensor,
    ids: Tensor,
    candidate_ptr: Tensor | None,
    candidate_ids: Tensor | None,
    candidate_weight: Tensor | None,
    item_weights: Tensor | None,
    levels: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The tables from the scores of all pairs.

    A column's value is the weighted mean of the scores that sit there: v_w, with a share of the
    gradient for each of them by weight.
    """
    batch, width = user_codes.shape
    largest = (2 * levels - 1) * width
    scores = user_codes @ item_codes.T
    columns = ((scores.detach() + largest) / 2).round().long()
    mask = positive_mask(users, ptr, ids, len(item_codes))
    weights = candidate_weights(
        users, len(item_codes), scores.dtype, candidate_ptr, candidate_ids, candidate_weight
    )
    if item_weights is not None:
        weights = weights * item_weights
    tables = []
    for counts in (weights * ~mask, mask.to(scores.dtype)):
        empty = scores.new_zeros(batch, largest + 1)
        total = empty.scatter_add(1, columns, counts)
        values = torch.arange(-largest, largest + 1, 2, dtype=scores.dtype).repeat(batch, 1)
        mean = empty.scatter_add(1, columns, counts * scores) / total.clamp(min=1e-300)
        tables.append((torch.where(total > 0, mean, values), total))
    (v_neg, neg), (v_pos, pos) = tables
    return v_neg, v_pos, neg, pos


def smooth_rank(
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    ptr: Tensor,
    ids: Tensor,
    tau: float,
    candidates: Sequence[Tensor | None] = (),
    exclude_positives: bool = True,
    item_weights: Tensor | None = None,
) -> Tensor:
    """Ranks from the scores of all pairs, one row of n sigmoids for each positive."""
    scores = user_emb @ item_emb.T
    mask = positive_mask(users, ptr, ids, len(item_emb))
    weights = candidate_weights(users, len(item_emb), scores.dtype, *candidates)
    if item_weights is not None:
        weights = weights * item_weights
    if exclude_positives:
        weights = weights * ~mask
    row, item = mask.nonzero(as_tuple=True)
    above = torch.sigmoid((scores[row] - scores[row, item, None]) / tau) * weights[row]
    itself = torch.zeros_like(above, dtype=torch.bool).scatter(1, item[:, None], True)
    return 1 + above.masked_fill(itself, 0).sum(1)


def graded_distances(queries: Tensor, items: Tensor, code_length: int) -> Tensor:
    """Of plain queries [Q, words] or bit planes [Q, P, words], from the scores of their weights."""
    planes = queries.unsqueeze(1) if queries.dim() == 2 else queries
    weights = sum(2**p * unpack_codes(planes[:, p], code_length) for p in range(planes.shape[1]))
    longest = (2 ** planes.shape[1] - 1) * code_length
    return ((longest - weights @ unpack_codes(items, code_length).T) / 2).round()


def hamming_topk(
    queries: Tensor,
    items: Tensor,
    k: int,
    code_length: int,
    exclude_ptr: Tensor | None = None,
    exclude_ids: Tensor | None = None,
    allow: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Ids and distances from all distances, sorted stably."""
    nothing = 2**31 - 1
    distances = graded_distances(queries, items, code_length).int()
    if allow is not None:
        distances[:, ~allow] = nothing
    if exclude_ptr is not None:
        rows = torch.repeat_interleave(torch.arange(len(queries)), exclude_ptr.diff())
        distances[rows, exclude_ids] = nothing
    missing = max(k - len(items), 0)
    distances = torch.nn.functional.pad(distances, (0, missing), value=nothing)
    distances, ids = distances.sort(dim=1, stable=True)
    return ids.masked_fill(distances == nothing, -1)[:, :k], distances[:, :k]


def hamming_histogram(
    queries: Tensor,
    items: Tensor,
    code_length: int,
    ptr: Tensor | None = None,
    ids: Tensor | None = None,
) -> Tensor:
    """Counts from all distances."""
    distances = graded_distances(queries, items, code_length).long()
    planes = queries.shape[1] if queries.dim() == 3 else 1
    rows = torch.arange(len(queries))
    times = candidate_weights(rows, len(items), torch.float64, ptr, ids).long()
    bins = (2**planes - 1) * code_length + 1
    counts = torch.zeros(len(queries), bins, dtype=torch.int64)
    return counts.scatter_add(1, distances, times)


def propagate(
    x: Tensor, user_ptr: Tensor, user_items: Tensor, layers: int, first: int = 0
) -> Tensor:
    """Mean of layers first to L by products with the dense normalised adjacency."""
    num_users = len(user_ptr) - 1
    users = torch.repeat_interleave(torch.arange(num_users), user_ptr.diff())
    adjacency = x.new_zeros(len(x), len(x))
    adjacency[users, num_users + user_items] = 1
    adjacency = adjacency + adjacency.T
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    adjacency = scale[:, None] * adjacency * scale
    total, layer = torch.zeros_like(x), x
    for number in range(layers + 1):
        if number > 0:
            layer = adjacency @ layer
        if number >= first:
            total = total + layer
    return total / (layers - first + 1)
