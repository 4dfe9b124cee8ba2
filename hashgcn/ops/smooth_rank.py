"""The smooth rank of real-valued scores, tile by tile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.ops._arguments import check_tensors, in_float32, scalar_like, whole
from hashgcn.ops._library import call, differentiable_once, register_fake, register_gradient
from hashgcn.ops.score_tables import candidate_order, lists_of


def smooth_rank(
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    graph: BipartiteGraph,
    tau: float | Tensor,
    candidates: Candidates | None = None,
    *,
    exclude_positives: bool = True,
    size: int | None = None,
    item_weights: Tensor | None = None,
) -> Tensor:
    """Smooth rank of each positive of the batch among the candidates.

        rank_ui = 1 + sum over candidates j != i of weight_j sigma((s_uj - s_ui) / tau),
        s_uj = <p_u, q_j>

    As tau approaches 0 it becomes the rank, with ties counted half.

    Args:
        user_emb: float32 or float64 [b, f], finite; any real values (bfloat16 and float16 are
            computed in float32).
        item_emb: the same dtype, [n, f].
        users: int64 [b], the users' rows in `graph`; -1 is padding.
        graph: holds the users' positives.
        tau: positive number or 0-d tensor, in units of the scores; gets no gradient.
        candidates: None for all items, or a list of items for each row of the batch.
        exclude_positives: whether the user's other positives are left out of the sum, as evaluation
            does, or counted like any item.
        size: length of the result. None takes the number of positives, for which the host reads the
            device once on CUDA; torch.compile takes it, graph capture does not. A bound given
            beforehand avoids that, keeps shapes fixed, and pads the ranks with 1.
        item_weights: [n] of the embeddings' dtype, finite and not negative: weight_j of every item;
            None for 1. A candidate's own weight multiplies it. Gets no gradient.

    Returns:
        Tensor [size] of the embeddings' dtype: the positives of users[0] in the graph's order, then
        of users[1], ...

    Raises:
        ValueError: NaN or infinite embeddings, item weights that are negative or not finite, an id
            out of range, tau not positive, another dtype or shape, size below the number of
            positives. On CUDA values are checked on the device.

    Example:
        >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 2]), torch.tensor([1, 2]), 3)
        >>> users, items = torch.tensor([[1.0]]), torch.tensor([[3.0], [2.0], [5.0]])
        >>> smooth_rank(users, items, torch.tensor([0]), graph, tau=0.01)
        tensor([2., 1.])

    Deterministic: sums have a fixed order whatever the number of threads.
    Cost: b n f multiply-adds and P n sigmoids for P positives of the batch, twice that backward.
    Peak extra memory: O(b f + P), on the CPU 16 times that in the backward pass; never b x n or
    P x n.
    """
    check_tensors(
        user_emb=user_emb,
        item_emb=item_emb,
        users=users,
        graph=graph,
        candidates=candidates,
        item_weights=item_weights,
    )
    user_emb, item_emb = in_float32(user_emb), in_float32(item_emb)
    if users.dtype != torch.int64 or users.dim() != 1:
        raise ValueError(f"users: expected int64 [b], got {users.dtype} {list(users.shape)}")
    rows = users.clamp(0, graph.num_users - 1)
    degrees = (graph.user_ptr[rows + 1] - graph.user_ptr[rows]).masked_fill(users < 0, 0)
    offsets = torch.nn.functional.pad(degrees.cumsum(0), (1, 0))
    return _smooth_rank(
        user_emb,
        item_emb,
        users,
        graph.user_ptr,
        graph.user_items,
        offsets,
        int(offsets[-1]) if size is None else whole("size", size),
        scalar_like(tau, "tau", user_emb),
        *lists_of(candidates),
        None if item_weights is None else in_float32(item_weights),
        exclude_positives,
    )


_smooth_rank, _smooth_rank_backward = call("smooth_rank"), call("smooth_rank_backward")


@register_fake("smooth_rank")
def _(
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    ptr: Tensor,
    ids: Tensor,
    offsets: Tensor,
    size: int,
    *rest: Tensor | bool | None,
) -> Tensor:
    return user_emb.new_empty((size,))


@register_fake("smooth_rank_backward")
def _(
    grad: Tensor, user_emb: Tensor, item_emb: Tensor, *rest: Tensor | bool | None
) -> tuple[Tensor, Tensor]:
    return user_emb.new_empty(user_emb.shape), item_emb.new_empty(item_emb.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.exclude_positives = inputs
    del tensors[6]  # size
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, candidate_ids, candidate_weight, item_weights = ctx.saved_tensors
    user_grad, item_grad = _smooth_rank_backward(
        grad,
        *tensors,
        candidate_ids,
        candidate_weight,
        candidate_order(candidate_ids),
        item_weights,
        ctx.exclude_positives,
    )
    return user_grad, item_grad, *[None] * 11


register_gradient("smooth_rank", _backward, _setup_context)
differentiable_once("smooth_rank")
