"""Losses over the whole catalogue in plain torch, with n comparisons per positive."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

Ranks = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


def smooth_ranks(scores: Tensor, own: Tensor, row: Tensor, item: Tensor, tau: float) -> Tensor:
    """Smooth rank of each positive among the items that its user lacks.

    Args:
        scores: [users, n].
        own: bool [users, n], the users' positives.
        row: rows of the positives, [P].
        item: items of the positives, [P].
        tau: temperature.
    """
    others = torch.where(own, -torch.inf, scores)
    return 1 + torch.sigmoid((others[row] - scores[row, item, None]) / tau).sum(1)


def in_chunks(
    user_codes: Tensor,
    item_codes: Tensor,
    row: Tensor,
    item: Tensor,
    tau: float,
    chunk: int,
    loss_of_ranks: Callable[[Tensor, Tensor], Tensor],
    ranks: Ranks = smooth_ranks,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients of both sides, one chunk of users at a time.

    The scores and their gradients, [users, n], are held whole, the [P, n] comparisons in chunks.

    Args:
        user_codes: codes of the users.
        item_codes: codes of all items.
        row: rows of the positives, in ascending order.
        item: items of the positives.
        tau: temperature.
        chunk: number of users per chunk.
        loss_of_ranks: (ranks, row) -> a sum over these positives; the loss is the sum over chunks.
        ranks: gives the ranks of a chunk.
    """
    with torch.no_grad():
        scores = user_codes @ item_codes.T
    gradient = torch.empty_like(scores)
    total = scores.new_zeros(())
    bounds = torch.searchsorted(row, torch.arange(0, len(scores) + chunk, chunk, device=row.device))
    for start, begin, end in zip(
        range(0, len(scores), chunk), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True
    ):
        part = scores[start : start + chunk].requires_grad_()
        r, i = row[begin:end] - start, item[begin:end]
        own = torch.zeros_like(part, dtype=torch.bool)
        own[r, i] = True
        loss = loss_of_ranks(ranks(part, own, r, i, tau), r + start)
        (gradient[start : start + chunk],) = torch.autograd.grad(loss, part)
        total += loss.detach()
    return total, gradient @ item_codes, gradient.T @ user_codes


def recall_surrogate(
    user_codes: Tensor,
    item_codes: Tensor,
    row: Tensor,
    item: Tensor,
    tau: float,
    cutoffs: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients of RS@k (Patel et al., CVPR 2022), as published: a loop over queries.

        rank(p) = 1 + sum over j != p of sigma((s_j - s_p) / tau), other positives included
        RS@k    = min(k, sum over p of sigma((k - rank(p)) / k)) / min(k, |P|)

    The loss is 1 - RS@k, averaged over cutoffs and queries. Exponents are clipped to +-50.
    """
    users, items = user_codes.clone().requires_grad_(), item_codes.clone().requires_grad_()
    scores = users @ items.T
    loss = scores.new_zeros(())
    for query in range(len(scores)):
        own = item[row == query]
        all_scores = scores[query]
        exponent = ((all_scores - all_scores[own, None]) / tau).clamp(-50, 50)
        ranks = 0.5 + torch.sigmoid(exponent).sum(1)  # p itself counts a half of the sum
        for k in cutoffs:
            found = torch.sigmoid((k - ranks) / k).sum().clamp(max=k)
            loss = loss + (1 - found / min(k, len(own))) / len(cutoffs)
    loss = loss / len(scores)
    return loss.detach(), *torch.autograd.grad(loss, (users, items))


def softmax_in_chunks(
    user_codes: Tensor,
    item_codes: Tensor,
    row: Tensor,
    item: Tensor,
    temperature: float,
    chunk: int,
    cross_entropy: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross entropy of each positive against all items, mean over pairs, with gradients.

    Chunks of users follow one another; the logits of a chunk, [chunk, n], are held.
    """
    function = cross_entropy or softmax_cross_entropy
    items = item_codes.clone().requires_grad_()
    total = user_codes.new_zeros(())
    user_gradient = torch.empty_like(user_codes)
    item_gradient = torch.zeros_like(item_codes)
    bounds = torch.searchsorted(
        row, torch.arange(0, len(user_codes) + chunk, chunk, device=row.device)
    )
    for start, begin, end in zip(
        range(0, len(user_codes), chunk), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True
    ):
        users = user_codes[start : start + chunk].clone().requires_grad_()
        logits = users @ items.T / temperature
        loss = function(logits, row[begin:end] - start, item[begin:end]) / len(row)
        by_user, by_item = torch.autograd.grad(loss, (users, items))
        user_gradient[start : start + chunk] = by_user
        item_gradient += by_item
        total += loss.detach()
    return total, user_gradient, item_gradient


def softmax_cross_entropy(logits: Tensor, row: Tensor, item: Tensor) -> Tensor:
    return -log_softmax(logits, 1)[row, item].sum()
