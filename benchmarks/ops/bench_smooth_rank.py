"""Smooth ranks of real-valued scores against plain torch with chunks of users."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import pairwise
from benchmarks.harness.compiled import compile_function
from benchmarks.harness.race import Case, Contender, Skipped, Work, best_chunk, close
from hashgcn import ops
from hashgcn.nn import real_score_tables
from hashgcn.nn.losses import smooth_ranks

WIDTH, TAU = 64, 0.5
# The least operations of a comparison: sigma((s_j - s_i) / tau) is 1 / (1 + a_i b_j) with
# exponentials that are taken once per item; a multiply-add, a division of three, and a sum.
SIGMOID = 5


def work(pairs: int, batch: int, items: int) -> Work:
    return Work(
        f"forward b n f multiply-adds and P n comparisons of {SIGMOID}; backward twice that; "
        "embeddings read twice, gradients written",
        bytes=12 * WIDTH * (batch + items),
        multiply_adds=3 * (batch * items * WIDTH + SIGMOID * pairs * items),
    )


def embeddings(inputs, users: Tensor) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    m, n = inputs.shape[:2]
    p, q = (torch.randn(count, WIDTH, generator=generator) / WIDTH**0.25 for count in (m, n))
    return p[users], q


def loss_of_ranks(ranks: Tensor) -> Tensor:
    return -torch.sigmoid(torch.log(ranks.new_tensor(50.0)) - ranks.log()).sum()


def step(
    user_emb: Tensor, item_emb: Tensor, users: Tensor, graph, weights: Tensor | None = None
) -> tuple[Tensor, ...]:
    both = user_emb.clone().requires_grad_(), item_emb.clone().requires_grad_()
    loss = loss_of_ranks(ops.smooth_rank(*both, users, graph, TAU, item_weights=weights))
    return loss.detach(), *torch.autograd.grad(loss, both)


def step_on_a_grid(user_emb: Tensor, item_emb: Tensor, users: Tensor, graph) -> tuple[Tensor, ...]:
    both = user_emb.clone().requires_grad_(), item_emb.clone().requires_grad_()
    tables = real_score_tables(*both, users, graph)
    loss = (tables[3] * -torch.sigmoid(math.log(50) - smooth_ranks(*tables, TAU).log())).sum()
    return loss.detach(), *torch.autograd.grad(loss, both)


def case(inputs, batch: int, pairs: int, what: str = "whole loss") -> Case:
    n = inputs.shape.items
    return Case(
        "smooth_rank",
        f"log recall of smooth ranks, {what}",
        {"batch": batch, "items": n, "width": WIDTH, "pairs": pairs},
        work(pairs, batch, n),
        mode="both",
        input=f"random, {inputs.name}",
    )


def test_small_batch(race, inputs, quick, size, threads):
    users = inputs.batch(size(128, 8))
    graph, (row, item) = inputs.graph, inputs.graph.positives(users)
    p, q = embeddings(inputs, users)

    def form(ranks: Callable) -> Callable[[int], Contender]:
        def of(chunk: int) -> Contender:
            run = partial(
                pairwise.in_chunks,
                *(p, q, row, item, TAU, chunk),
                lambda ranks, row: loss_of_ranks(ranks),
                ranks,
            )
            return Contender("", run, check=close(1e-3, 1e-4))

        return of

    chunks = size((1, 2, 4, 8, 16), (1, 2, 3, 4, 8))
    baselines = [best_chunk("torch eager", form(pairwise.smooth_ranks), chunks, quick)]
    fast = compile_function(pairwise.smooth_ranks, quick, dynamic=True)
    if isinstance(fast, Skipped):
        baselines.append(Skipped("torch.compile", fast.reason))
    else:
        baselines.append(best_chunk("torch.compile", form(fast), chunks, quick))
    ours = Contender("ours", partial(step, p, q, users, graph))
    race(case(inputs, len(users), len(row)), ours, baselines)


def test_full_batch(race, inputs, size, threads):
    """A whole step, beside the tables of the same scores on a grid."""
    users = inputs.batch(size(1024, 32))
    pairs = len(inputs.graph.positives(users)[0])
    arguments = (*embeddings(inputs, users), users, inputs.graph)
    ours = Contender("ours", partial(step, *arguments))
    grid = Contender(
        "real_score_tables", partial(step_on_a_grid, *arguments), check=close(1e-2, 1e-3)
    )
    race(case(inputs, len(users), pairs), ours, [grid])


def test_weights(race, inputs, size, threads):
    """Weights of 1, which change nothing but the time."""
    users = inputs.batch(size(128, 8))
    pairs = len(inputs.graph.positives(users)[0])
    arguments = (*embeddings(inputs, users), users, inputs.graph)
    ours = Contender("ours", partial(step, *arguments, torch.ones(inputs.shape.items)))
    plain = Contender("ours, no weights", partial(step, *arguments), check=close(1e-3, 1e-4))
    race(case(inputs, len(users), pairs, "weighted items"), ours, [plain])
