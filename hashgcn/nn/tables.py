"""Score tables of real-valued scores, on a grid, with a bounded error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hashgcn.graph import BipartiteGraph
from hashgcn.nn.layers import take
from hashgcn.ops import fixed_order_mm
from hashgcn.ops._arguments import check_tensors, in_float32, whole
from hashgcn.ops._library import no_jvp, once

# An item is shared in multiples of 1 / UNIT: sums of integers do not depend on their order.
UNIT = 1 << 16
TILE = 512


def real_score_tables(
    user_rows: Tensor, item_rows: Tensor, users: Tensor, graph: BipartiteGraph, bins: int = 1024
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Counts items by score on a grid, a user's own items and all others apart.

    Scores are `<p_u, q_j>`. The grid v_0, ..., v_{bins-1} has equal steps d and spans all possible
    scores, from -max |p| max |q| to max |p| max |q|. A score v_w + a d with 0 <= a < 1 counts 1 - a
    in column w and a in column w + 1:

        neg[u, w] = sum over j not in Omega_u of max(0, 1 - |<p_u, q_j> - v_w| / d),

    and pos[u, w] is the same sum over j in Omega_u. The tables have the form of `ops.score_tables`,
    so every loss in nn.losses takes them:

        loss = SmoothRecallLoss((20, 50), tau_score=0.1)(*real_score_tables(p, q, users, graph))

    Such counts interpolate the loss linearly between the scores of the grid. For a sum of
    h(s_uj - s_ui) over items j that is interpolated at s_ui too, the error is at most

        d^2 / 4 max |h''| per item,

    which is 0.0241 (d / tau)^2 for the sigma((s_uj - s_ui) / tau) of a smooth rank. The error of
    the gradient with respect to a score, which is interpolated as well, is at most
    d^2 / 4 max |h'''| per item. Rounding of floats and of shares (2^-17) comes on top.

    Args:
        user_rows: float32 or float64 [b, f], finite (bfloat16 and float16 are computed in float32).
        item_rows: [n, f] of the same dtype, finite.
        users: int64 [b], the users' rows in `graph`; -1 is padding, whose counts are 0.
        graph: holds n items and the users' positives.
        bins: number of scores on the grid, at least 2: d = 2 max |p| max |q| / (bins - 1).

    Returns:
        v_neg, v_pos, neg, pos: each [b, bins] of the rows' dtype. v_neg and v_pos, which hold the
        grid, are differentiable once; the counts are not differentiable.

    Raises:
        ValueError: another shape or dtype, a user or number of bins out of range, NaN or infinity.

    Examples:
        >>> import torch
        >>> from hashgcn.graph import BipartiteGraph
        >>> from hashgcn.nn import real_score_tables
        >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 1]), torch.tensor([0]), 3)
        >>> p, q = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5], [-1.0, 0.0]])
        >>> v_neg, v_pos, neg, pos = real_score_tables(p, q, torch.tensor([0]), graph, bins=3)
        >>> v_neg.tolist(), neg.tolist(), pos.tolist()  # the score 0.5 is halfway from 0 to 1
        ([[-1.0, 0.0, 1.0]], [[1.0, 0.5, 0.5]], [[0.0, 0.0, 1.0]])

    Note:
        On each device, results are the same bit for bit, for any number of threads. Cost: b n f
        multiply-adds and b n additions forward, three times the multiply-adds and b n look-ups
        backward, in torch calls without a fused kernel. Under torch.compile it runs as it is, and
        breaks the graph, since it looks at values. Peak extra memory: O(b (TILE + bins))
        64-bit integers, never b x n. The host waits for the device a few times.
    """
    check_tensors(user_rows=user_rows, item_rows=item_rows, users=users, graph=graph)
    bins = whole("bins", bins)
    user_rows, item_rows = in_float32(user_rows), in_float32(item_rows)
    _check(user_rows, item_rows, users, graph, bins)
    limit = user_rows.detach().norm(dim=1).amax() * item_rows.detach().norm(dim=1).amax()
    if not torch.isfinite(2 * limit):  # the length of the grid
        raise ValueError(
            "user_rows, item_rows: expected finite values, got NaN, infinity or an overflow"
        )
    # If the limit is 0 all scores are 0, for which any grid will do.
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
            raise ValueError(f"{name}: expected shape [{count}, {width}], got {list(rows.shape)}")
        if rows.dtype not in (torch.float32, torch.float64) or rows.dtype != user_rows.dtype:
            raise ValueError(
                f"{name}: expected float32 or float64, the same for both, got {rows.dtype}"
            )
    if users.dim() != 1 or users.dtype != torch.int64 or len(users) == 0:
        raise ValueError(f"users: expected int64 [b >= 1], got {users.dtype} {list(users.shape)}")
    low, high = users.aminmax()
    if low < -1 or high >= graph.num_users:
        raise ValueError(
            f"users: expected rows from -1 to {graph.num_users - 1}, got {int(low)} to {int(high)}"
        )
    if bins < 2:
        raise ValueError(f"bins: expected a number >= 2, got {bins}")


def _tiles(num_items: int, item: Tensor) -> Iterator[tuple[slice, slice]]:
    """Tiles of items, each with the part of `item`, which is sorted, that lies in it."""
    bounds = [*range(0, num_items, TILE), num_items]
    cuts = torch.searchsorted(item, item.new_tensor(bounds)).tolist()
    for i in range(len(bounds) - 1):
        yield slice(bounds[i], bounds[i + 1]), slice(cuts[i], cuts[i + 1])


def _places(scores: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The column of the value at or below each score, and the next column's share in UNITs."""
    last = len(grid) - 1
    at = ((scores - grid[0]) * (last / (grid[-1] - grid[0]))).clamp_(0, last)
    column = at.floor().clamp_(max=last - 1)
    return column.long(), at.sub_(column).mul_(UNIT).round_().long()


def _counts(tables: Tensor, dtype: torch.dtype) -> Tensor:
    """The counts of all columns, from the items in each and from their shares of the next one."""
    items, shares = tables
    total = items * UNIT - shares
    total[:, 1:] += shares[:, :-1]
    return total.to(dtype) / UNIT


class _RealScoreTables(Function):
    jvp = staticmethod(no_jvp("real_score_tables"))

    @staticmethod
    def forward(
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
        return grid.repeat(len(p), 1), grid.repeat(len(p), 1), neg, pos

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        user_rows, item_rows, grid, _, row, item = inputs
        _, _, neg, pos = output
        ctx.save_for_backward(user_rows, item_rows, grid, row, item, neg, pos)
        ctx.mark_non_differentiable(neg, pos)

    @staticmethod
    def backward(
        ctx: Any, grad_v_neg: Tensor, grad_v_pos: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, ...]:
        gradients = once(
            "real_score_tables",
            _RealScoreTables.gradients,
            grad_v_neg,
            grad_v_pos,
            *ctx.saved_tensors,
        )
        return *gradients, None, None, None, None

    @staticmethod
    def gradients(grad_v_neg: Tensor, grad_v_pos: Tensor, *saved: Tensor) -> tuple[Tensor, Tensor]:
        p, q, grid, row, item, neg, pos = saved
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
        return p_grad, q_grad


def weighted_positives(
    user_codes: Tensor, item_codes: Tensor, users: Tensor, graph: BipartiteGraph, v_pos: Tensor
) -> tuple[Tensor, Tensor]:
    """The weights of a user's own items by score, where pairs have weights.

        own[u, w] = sum over i in Omega_u with <b_u, d_i> = v_w of weight_ui

    Losses of nn.losses take both tables after those of `ops.score_tables`, whose counts stay what
    they are:

        tables = score_tables(user_codes, item_codes, users, graph)
        own = weighted_positives(user_codes, item_codes, users, graph, tables[1])
        loss = SmoothRecallLoss((20, 50))(*tables, *own)

    v_own holds the scores of v_pos. What a loss sends to v_own[u, w] is shared by weight,

        dL/ds_ui = weight_ui (dL/dv_own / own)[u, w(s_ui)],

    so that a weighted mean over positives has its exact gradient.

    Args:
        user_codes, item_codes, users, graph: as score_tables takes them; `graph` has weights.
        v_pos: [b, W + 1], as score_tables returns it.

    Returns:
        v_own, own: each [b, W + 1] of v_pos's dtype. v_own is differentiable, own is not.

    Raises:
        ValueError: a graph without weights.

    Examples:
        >>> import torch
        >>> from hashgcn.graph import BipartiteGraph
        >>> from hashgcn.nn import weighted_positives
        >>> from hashgcn.ops import score_tables
        >>> graph = BipartiteGraph.from_csr(
        ...     torch.tensor([0, 2]), torch.tensor([0, 1]), 3, weights=torch.tensor([1.0, 2.5])
        ... )
        >>> b, d = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
        >>> users = torch.tensor([0])
        >>> _, v_pos, _, pos = score_tables(b, d, users, graph)
        >>> pos.tolist(), weighted_positives(b, d, users, graph, v_pos)[1].tolist()
        ([[0.0, 2.0, 0.0]], [[0.0, 3.5, 0.0]])

    Note:
        Sums have a fixed order. Cost and memory: O(pairs of the users f). The host waits for the
        device once.
    """
    if graph.weights is None:
        raise ValueError("graph: expected weights of its pairs, got none")
    user_codes, item_codes = in_float32(user_codes), in_float32(item_codes)
    row, pair = graph.pairs_of(users)
    scores = (take(user_codes, row) * take(item_codes, graph.user_items[pair])).sum(1)
    bins = v_pos.shape[1]
    place = row * bins + ((scores.detach() + (bins - 1)) / 2).round().long()
    weights = graph.weights[pair].double()
    own = torch.zeros(v_pos.numel(), dtype=torch.float64, device=v_pos.device)
    if own.is_cuda:  # where index_add_ would add with atomics, while this sorts
        own.index_put_((place,), weights, accumulate=True)
    else:
        own.index_add_(0, place, weights)
    share = (weights / own[place]).to(scores.dtype)
    # Its value is 0, its gradient is shared.
    v_own = v_pos.detach().flatten().index_add(0, place, share * (scores - scores.detach()))
    return v_own.view_as(v_pos), own.to(v_pos.dtype).view_as(v_pos)


def log_partition(
    users: Tensor,
    items: Tensor,
    temperature: float,
    tile: int = 512,
    weights: Tensor | None = None,
) -> Tensor:
    """log sum over all items j of `w_j e^(<p_u, q_j> / t)`, differentiable in users and items.

    The scores of one tile of items at a time are stored; the backward pass recomputes them.

    Args:
        users: float32 or float64 [b, f], the rows p_u (bfloat16 and float16 are computed in
            float32).
        items: [n, f] of the same dtype, the rows q_j; n >= 1.
        temperature: t > 0, in units of the scores.
        tile: the number of items per tile.
        weights: floats [n], finite, w_j >= 0, one or more > 0; they get no gradient. None for 1.

    Returns:
        Tensor [b] of the same dtype.

    Raises:
        ValueError: temperature is not positive; weights of another shape or dtype, negative, not
            finite or all 0. On CUDA, where the host would have to wait for the device to tell, such
            values of weights make the result NaN instead.

    Examples:
        >>> import torch
        >>> from hashgcn.nn.tables import log_partition
        >>> p, q = torch.eye(2), torch.ones(8, 2)
        >>> log_partition(p, q, temperature=1.0)  # 1 + log 8
        tensor([3.0794, 3.0794])
        >>> log_partition(p, q, temperature=1.0, weights=torch.full((8,), 0.125))  # 1 + log 1
        tensor([1., 1.])

    Note:
        Results do not depend on the number of threads. Cost: 4 b n f multiply-adds and 2 b n
        exponentials, forward and backward together. Memory: O(b (f + tile) + n f), never b x n.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    check_tensors(users=users, items=items)
    users, items = in_float32(users), in_float32(items)
    logs = None if weights is None else _log_weights(weights, items)
    return _LogPartition.apply(users / temperature, items, logs, tile)


def _log_weights(weights: Tensor, items: Tensor) -> Tensor:
    """The logarithms of the items' weights, in the items' dtype; -infinity for 0."""
    check_tensors(items=items, weights=weights)
    if not weights.is_floating_point() or weights.shape != items.shape[:1]:
        raise ValueError(
            f"weights: expected floats [{len(items)}], got {weights.dtype} {list(weights.shape)}"
        )
    weights = weights.detach()
    low, high = weights.aminmax()
    valid = (low >= 0) & (high > 0) & (high < torch.inf)  # false for NaN, which aminmax passes on
    if weights.device.type == "cpu" and not valid:
        raise ValueError(
            "weights: expected finite numbers >= 0, one or more > 0, "
            f"got {low.item():g} to {high.item():g}"
        )
    return torch.where(valid, weights.double().log(), torch.nan).to(items.dtype)


def _scores(users: Tensor, items: Tensor, logs: Tensor | None, tile: slice) -> Tensor:
    """Scores plus log w_j, `<p_u, q_j> + log w_j`, for the items of a tile."""
    scores = fixed_order_mm(users, items[tile].T)
    return scores if logs is None else scores.add_(logs[tile])


class _LogPartition(Function):
    jvp = staticmethod(no_jvp("log_partition"))

    @staticmethod
    def forward(users: Tensor, items: Tensor, logs: Tensor | None, tile: int) -> Tensor:
        items = items.detach()
        # Finite, so that a tile whose weights are all 0 adds exp(-inf) = 0, not NaN.
        top = users.new_full((len(users), 1), torch.finfo(users.dtype).min)
        total = torch.zeros_like(top)
        for start in range(0, len(items), tile):
            scores = _scores(users, items, logs, slice(start, start + tile))
            above = torch.maximum(top, scores.amax(1, keepdim=True))
            total = total * (top - above).exp_() + scores.sub_(above).exp_().sum(1, keepdim=True)
            top = above
        return (top + total.log())[:, 0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        users, items, logs, ctx.tile = inputs
        ctx.save_for_backward(users, items, output, logs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, logs = ctx.saved_tensors

        def gradients(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            return _LogPartition.gradients(ctx.tile, logs, *tensors)

        return *once("log_partition", gradients, grad, *tensors), None, None

    @staticmethod
    def gradients(
        tile: int, logs: Tensor | None, grad: Tensor, users: Tensor, items: Tensor, result: Tensor
    ) -> tuple[Tensor, Tensor]:
        result = result[:, None]
        users_grad, items_grad = torch.zeros_like(users), torch.empty_like(items)
        weighted = users * grad[:, None]
        for start in range(0, len(items), tile):
            part = slice(start, start + tile)
            shares = _scores(users, items, logs, part).sub_(result).exp_()
            items_grad[part] = fixed_order_mm(shares.T, weighted)
            users_grad += fixed_order_mm(shares, items[part])
        return users_grad.mul_(grad[:, None]), items_grad
