"""Softmax of real-valued scores over the whole catalogue, tile by tile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hashgcn.ops import fixed_order_mm


def log_partition(users: Tensor, items: Tensor, temperature: float, tile: int = 512) -> Tensor:
    """log sum over all items j of `e^(<p_u, q_j> / t)`, differentiable in both arguments.

    Scores live a tile of items at a time and are computed again in the backward pass.

    Args:
        users: float32 or float64 [b, f].
        items: the same dtype, [n, f], n >= 1.
        temperature: t > 0, in units of the scores.
        tile: items at a time.

    Returns:
        [b].

    Raises:
        ValueError: t is not positive.

    Deterministic, for any number of threads. Cost: 4 b n f multiply-adds and 2 b n exponentials,
    forward and backward. Memory O(b (f + tile) + n f), never b x n.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    return _LogPartition.apply(users / temperature, items, tile)


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, tile: int) -> Tensor:
        top = users.new_full((len(users), 1), -torch.inf)
        total = torch.zeros_like(top)
        for part in items.detach().split(tile):
            scores = fixed_order_mm(users, part.T)
            above = torch.maximum(top, scores.amax(1, keepdim=True))
            total = total * (top - above).exp_() + scores.sub_(above).exp_().sum(1, keepdim=True)
            top = above
        result = top + total.log()
        ctx.save_for_backward(users, items, result)
        ctx.tile = tile
        return result[:, 0].clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        users, items, result = (x.detach() for x in ctx.saved_tensors)
        users_grad, items_grad = torch.zeros_like(users), torch.empty_like(items)
        weighted = users * grad[:, None]
        for part, part_grad in zip(items.split(ctx.tile), items_grad.split(ctx.tile), strict=True):
            shares = fixed_order_mm(users, part.T).sub_(result).exp_()
            part_grad.copy_(fixed_order_mm(shares.T, weighted))
            users_grad += fixed_order_mm(shares, part)
        return users_grad.mul_(grad[:, None]), items_grad, None
