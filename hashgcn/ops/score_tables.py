"""Score tables: all a listwise loss can see of a catalogue of codes, as rows of counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.levels import check_levels, largest_weight
from hashgcn.ops._arguments import check_tensors, in_float32, whole
from hashgcn.ops._library import call, differentiable_once, register_fake, register_gradient


def score_tables(
    user_codes: Tensor,
    item_codes: Tensor,
    users: Tensor,
    graph: BipartiteGraph,
    candidates: Candidates | None = None,
    *,
    levels: int = 1,
    item_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How many items, and how many of a user's own, have each of the W + 1 possible scores.

    A user's code holds f odd weights from -(2L - 1) to 2L - 1, for L levels; an item's holds +1 and
    -1. Their score is one of v_w = -W + 2w, with W = (2L - 1) f. A ranking loss of user u is a
    function of those values and of two rows of counts,

        neg[u, w] = |{j not in Omega_u : <b_u, d_j> = v_w}|,   pos[u, w] = |{i in Omega_u : ... }|,

    so that a loss over the whole catalogue takes a few lines on [b, W + 1] tables:

        v_neg, v_pos, neg, pos = score_tables(user_codes, item_codes, users, graph)
        z = torch.logsumexp(v_neg / t + neg.log(), 1)                       # full softmax
        loss = (pos * (torch.logaddexp(z[:, None], v_pos / t) - v_pos / t)).sum() / pos.sum()

    If items have weights, neg[u, w] is the sum of weight_j over the same items; pos stays a count.

    Gradients reach the codes through the values, exactly: what a loss sends to v_neg[u, w] is
    shared by the scores that sit there, equally or by weight,

        dL/ds_uj = weight_j (dL/dv_neg / neg)[u, w(s_uj)],
        dL/ds_ui = (dL/dv_pos / pos)[u, w(s_ui)]  for i in Omega_u,
        dL/dB = (dL/dS) D,   dL/dD = (dL/dS)^T B,

    with the scores recomputed tile by tile.

    Args:
        user_codes: float32 or float64 [b, f], odd weights from -(2L - 1) to 2L - 1, 1 <= f <= 1024
            (bfloat16 and float16 are computed in float32).
        item_codes: the same dtype, [n, f], +1 and -1.
        users: int64 [b], the users' rows in `graph`; -1 is padding, whose counts are 0.
        graph: holds the users' positives.
        candidates: None for all items, or a list of items for each row of the batch. Positives in a
            list do not count twice: `pos` always counts the user's positives in `graph`, once each.
        levels: L, one of 1, 2, 4 and 8; 1 for codes of +1 and -1.
        item_weights: [n] of the codes' dtype, finite and not negative: how much an item counts
            where it is no positive; None for 1. A candidate's own weight multiplies it. Gets no
            gradient.

    Returns:
        v_neg, v_pos, neg, pos: each [b, W + 1] of the codes' dtype. The values are differentiable,
        the counts are not. Counts are exact up to 2^24 in float32.

    Raises:
        ValueError: codes of other weights, item weights that are negative or not finite, an id out
            of range, a CSR that is not one, another dtype, shape or number of levels. On CUDA
            values are checked on the device (see ops.check_errors).

    Examples:
        >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 1]), torch.tensor([2]), 3)
        >>> user = torch.tensor([[1.0, 1.0]])
        >>> items = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])  # scores 2, 0 and 0
        >>> v_neg, v_pos, neg, pos = score_tables(user, items, torch.tensor([0]), graph)
        >>> v_neg.tolist(), neg.tolist(), pos.tolist()
        ([[-2.0, 0.0, 2.0]], [[0.0, 1.0, 1.0]], [[0.0, 1.0, 0.0]])
        >>> user, weights = torch.tensor([[3.0, 1.0]]), torch.tensor([1.0, 0.5, 1.0])  # 4, 2 and -2
        >>> v_neg, v_pos, neg, pos = score_tables(
        ...     user, items, torch.tensor([0]), graph, levels=2, item_weights=weights
        ... )
        >>> v_neg.tolist(), neg.tolist()
        ([[-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]], [[0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0]])

    Deterministic: sums have a fixed order whatever the number of threads; on CUDA the last bits of
    the gradients depend on the kind of GPU.
    Cost: b n (log2 L + 1) popcounts of f bits forward; the same and two b x n x f products
    backward. Peak extra memory: O(b W + n f / 64) words; in the backward pass also 16 b f floats on
    the CPU, and on CUDA one bit per pair (float32, f <= 128) and sums of parts, a few megabytes.
    """
    check_tensors(
        user_codes=user_codes,
        item_codes=item_codes,
        users=users,
        graph=graph,
        candidates=candidates,
        item_weights=item_weights,
    )
    levels = whole("levels", levels)
    check_levels(levels)
    v_neg, v_pos, neg, pos = _score_tables(
        in_float32(user_codes),
        in_float32(item_codes),
        users,
        graph.user_ptr,
        graph.user_items,
        *lists_of(candidates),
        None if item_weights is None else in_float32(item_weights),
        levels,
    )
    return v_neg, v_pos, neg.detach(), pos.detach()


def lists_of(candidates: Candidates | None) -> tuple[Tensor | None, ...]:
    """The candidates as ops take them."""
    if candidates is None:
        return None, None, None
    ptr, ids, weight = candidates
    return ptr, ids, None if weight is None else in_float32(weight)


_score_tables, _score_tables_backward = call("score_tables"), call("score_tables_backward")


@register_fake("score_tables")
def _(user_codes: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *_, levels = rest
    batch, width = user_codes.shape
    columns = largest_weight(levels) * width + 1
    return tuple(user_codes.new_empty((batch, columns)) for _ in range(4))


@register_fake("score_tables_backward")
def _(
    grad_v_neg: Tensor,
    grad_v_pos: Tensor,
    neg: Tensor,
    pos: Tensor,
    user_codes: Tensor,
    item_codes: Tensor,
    *rest: Tensor | int | None,
) -> tuple[Tensor, Tensor]:
    return user_codes.new_empty(user_codes.shape), item_codes.new_empty(item_codes.shape)


def candidate_order(candidate_ids: Tensor | None) -> Tensor | None:
    """Positions of the candidates by item, stable: the order CUDA sums an item's gradient in."""
    if candidate_ids is None or not candidate_ids.is_cuda:
        return None
    return torch.argsort(candidate_ids, stable=True)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, _, neg, pos = output
    *tensors, ctx.levels = inputs
    ctx.save_for_backward(neg, pos, *tensors)


def _backward(
    ctx: Any, grad_v_neg: Tensor, grad_v_pos: Tensor, grad_neg: Tensor, grad_pos: Tensor
) -> tuple[Tensor | None, ...]:
    neg, pos, *inputs, item_weights = ctx.saved_tensors
    user_grad, item_grad = _score_tables_backward(
        grad_v_neg,
        grad_v_pos,
        neg,
        pos,
        *inputs,
        candidate_order(inputs[6]),
        item_weights,
        ctx.levels,
    )
    return user_grad, item_grad, *[None] * 8


register_gradient("score_tables", _backward, _setup_context)
differentiable_once("score_tables")
