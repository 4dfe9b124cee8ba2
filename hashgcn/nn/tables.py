"""Score tables of real-valued scores: the same rows of counts, on a grid, with a bounded error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hashgcn.graph import BipartiteGraph
from hashgcn.ops import fixed_order_mm

# Shares of an item are whole numbers of 1 / UNIT: sums of integers do not depend on their order.
UNIT = 1 << 16
TILE = 512


def real_score_tables(
    user_rows: Tensor, item_rows: Tensor, users: Tensor, graph: BipartiteGraph, bins: int = 1024
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How many items, and how many of a user's own, score about as much as each value of a grid.

    Scores are `<p_u, q_j>`. The grid v_0, ..., v_{bins-1}, of equal steps d, spans all that they
    can be, max |p| max |q| to both sides. A score v_w + a d, 0 <= a < 1, counts 1 - a in column w
    and a in the next,

        neg[u, w] = sum over j not in Omega_u of max(0, 1 - |<p_u, q_j> - v_w| / d),

    and pos[u, w] those in Omega_u, so that every loss in nn.losses, which are written for
    `ops.score_tables`, takes these tables too:

        loss = SmoothRecallLoss((20, 50), tau_score=0.1)(*real_score_tables(p, q, users, graph))

    Counting so is to interpolate the loss's own function of scores, linearly between values of the
    grid. A sum of h(s_uj - s_ui) over items j, such as a smooth rank, interpolated at s_ui, differs
    from the exact one by at most

        d^2 / 4 max |h''|   an item: 0.0241 (d / tau)^2 for a rank's sigmoid((s_uj - s_ui) / tau),

    and its gradient with respect to a score, interpolated as well, by d^2 / 4 max |h'''| an item.
    Rounding of floats and of shares (2^-17) comes on top.

    Args:
        user_rows: float32 or float64 [b, f], finite.
        item_rows: the same dtype, [n, f], finite.
        users: int64 [b], the users' rows in `graph`; -1 is padding, whose counts are 0.
        graph: holds the users' positives and n items.
        bins: values of the grid, >= 2. d is 2 max |p| max |q| / (bins - 1), and v[0, 1] - v[0, 0].

    Returns:
        v_neg, v_pos, neg, pos: each [b, bins] of the rows' dtype. The values are differentiable,
        once, the counts are not.

    Raises:
        ValueError: a shape, dtype, id or number of bins other than the above, NaN or infinity.

    Deterministic, for any number of threads; bit for bit the same for one device. Cost: forward
    b n f multiply-adds and b n additions to the tables; backward three times the products and b n
    look-ups. It is composed of torch calls, no fused kernel. Peak extra memory
    O(b (TILE + bins)) integers of 64 bits, never b x n. The host waits for the device a few times.
    """
    _check(user_rows, item_rows, users, graph, bins)
    limit = user_rows.detach().norm(dim=1).amax() * item_rows.detach().norm(dim=1).amax()
    if not torch.isfinite(2 * limit):  # the grid's whole length
        raise ValueError(
            "expected user_rows and item_rows finite, got NaN, infinity or an overflow"
        )
    # All scores are 0 then, and any grid holds them.
    limit = torch.where(limit > torch.finfo(limit.dtype).tiny * bins, limit, 1.0)
    grid = limit * torch.linspace(-1, 1, bins, dtype=limit.dtype, device=limit.device)
    row, item = graph.positives(users)
    by_item = torch.argsort(item, stable=True)
    return _RealScoreTables.apply(
        user_rows, item_rows, grid, users < 0, row[by_item], item[by_item]
    )


def _check(
    user_rows: Tensor, item_rows: Tensor, users: Tensor, graph: BipartiteGraph, bins: int
) -> None:
    for name, rows, count in (
        ("user_rows", user_rows, len(users)),
        ("item_rows", item_rows, graph.num_items),
    ):
        if rows.dim() != 2 or len(rows) != count or rows.shape[1] != user_rows.shape[-1]:
            width = user_rows.shape[-1] if user_rows.dim() == 2 else "f"
            raise ValueError(f"expected {name} [{count}, {width}], got {list(rows.shape)}")
        if rows.dtype not in (torch.float32, torch.float64) or rows.dtype != user_rows.dtype:
            raise ValueError(
                f"expected user_rows and item_rows both float32 or float64, got {name} {rows.dtype}"
            )
    if users.dim() != 1 or users.dtype != torch.int64 or len(users) == 0:
        raise ValueError(f"expected users int64 [b], b >= 1, got {users.dtype} {list(users.shape)}")
    low, high = users.aminmax()
    if low < -1 or high >= graph.num_users:
        raise ValueError(
            f"expected users from -1 to {graph.num_users - 1}, got {int(low)} to {int(high)}"
        )
    if bins < 2:
        raise ValueError(f"expected bins >= 2, got {bins}")


def _tiles(num_items: int, item: Tensor) -> Iterator[tuple[slice, slice]]:
    """Tiles of items, and where their positives are."""
    bounds = [*range(0, num_items, TILE), num_items]
    cuts = torch.searchsorted(item, item.new_tensor(bounds)).tolist()
    for i in range(len(bounds) - 1):
        yield slice(bounds[i], bounds[i + 1]), slice(cuts[i], cuts[i + 1])


def _places(scores: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Column of the value at or below each score, and the share of the next column in UNITs."""
    last = len(grid) - 1
    at = ((scores - grid[0]) * (last / (grid[-1] - grid[0]))).clamp_(0, last)
    column = at.floor().clamp_(max=last - 1)
    return column.long(), at.sub_(column).mul_(UNIT).round_().long()


def _counts(tables: Tensor, dtype: torch.dtype) -> Tensor:
    """Counts of columns from the items at or above each, and their shares of the next."""
    items, shares = tables
    total = items * UNIT - shares
    total[:, 1:] += shares[:, :-1]
    return total.to(dtype) / UNIT


class _RealScoreTables(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        user_rows: Tensor,
        item_rows: Tensor,
        grid: Tensor,
        padding: Tensor,
        row: Tensor,
        item: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        p, q = user_rows.detach(), item_rows.detach()
        everything = torch.zeros(2, len(p), len(grid), dtype=torch.int64, device=p.device)
        own = torch.zeros_like(everything)
        for tile, positives in _tiles(len(q), item):
            column, share = _places(fixed_order_mm(p, q[tile].T), grid)
            everything[0].scatter_add_(1, column, torch.ones_like(column))
            everything[1].scatter_add_(1, column, share)
            r, i = row[positives], item[positives] - tile.start
            place = r * len(grid) + column[r, i]
            own[0].view(-1).index_add_(0, place, torch.ones_like(place))
            own[1].view(-1).index_add_(0, place, share[r, i])
        everything[:, padding] = 0
        neg, pos = _counts(everything - own, p.dtype), _counts(own, p.dtype)
        ctx.save_for_backward(user_rows, item_rows, grid, row, item, neg, pos)
        ctx.mark_non_differentiable(neg, pos)
        return grid.repeat(len(p), 1), grid.repeat(len(p), 1), neg, pos

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_v_neg: Tensor, grad_v_pos: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor, None, None, None, None]:
        p, q, grid, row, item, neg, pos = (x.detach() for x in ctx.saved_tensors)
        share_neg = torch.where(neg > 0, grad_v_neg / neg, 0)
        share_pos = torch.where(pos > 0, grad_v_pos / pos, 0)
        p_grad, q_grad = torch.zeros_like(p), torch.empty_like(q)
        for tile, positives in _tiles(len(q), item):
            column, share = _places(fixed_order_mm(p, q[tile].T), grid)
            a = share.to(p.dtype) / UNIT
            scores_grad = torch.lerp(
                share_neg.gather(1, column), share_neg.gather(1, column + 1), a
            )
            r, i = row[positives], item[positives] - tile.start
            w = column[r, i]
            scores_grad[r, i] = torch.lerp(share_pos[r, w], share_pos[r, w + 1], a[r, i])
            p_grad += fixed_order_mm(scores_grad, q[tile])
            q_grad[tile] = fixed_order_mm(scores_grad.T, p)
        return p_grad, q_grad, None, None, None, None


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
