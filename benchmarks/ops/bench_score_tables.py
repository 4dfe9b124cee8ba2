"""Score tables, and losses on them, against plain torch over all pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from benchmarks.harness import pairwise
from benchmarks.harness.compiled import compile_function
from benchmarks.harness.race import Case, Contender, Skipped, Work, best_chunk, close, equal
from hashgcn import ops
from hashgcn.levels import LEVELS, largest_weight, num_planes
from hashgcn.nn import FullSoftmaxLoss, SmoothRecallLoss
from hashgcn.nn.losses import smooth_ranks

BATCH, BITS, TAU = 1024, 64, 4.0
CUTOFFS = (1, 2, 4, 8, 16)  # of RS@k as published


def work(mode: str, batch: int, items: int, bits: int, levels: int = 1) -> Work:
    words, planes = (bits + 63) // 64, num_planes(levels)
    columns = largest_weight(levels) * bits + 1
    of_planes = "" if levels == 1 else f" for each of {planes} planes"
    forward = Work(
        f"b n ceil(f/64) popcounts{of_planes}; codes read once, four tables [b, columns] written",
        bytes=4 * bits * (batch + items) + 16 * batch * columns,
        popcounts=batch * items * words * planes,
    )
    # A product with signs takes 16 + f/4 multiply-adds or additions a pair, one with weights f.
    products = 2 * (16 + bits // 4) if levels == 1 else 16 + bits // 4 + bits
    formula = "2 b n (16 + f/4)" if levels == 1 else "b n (16 + f/4 + f)"
    backward = Work(
        f"b n ceil(f/64) popcounts{of_planes} again; two products, where signs share 16 sums among "
        f"four: {formula} multiply-adds or additions; codes read, gradients written",
        bytes=8 * bits * (batch + items) + 16 * batch * columns,
        popcounts=batch * items * words * planes,
        multiply_adds=batch * items * products,
    )
    if mode != "both":
        return {"forward": forward, "backward": backward}[mode]
    return Work(
        f"forward: {forward.formula}; backward: {backward.formula}",
        bytes=forward.bytes + backward.bytes,
        popcounts=forward.popcounts + backward.popcounts,
        multiply_adds=backward.multiply_adds,
    )


@pytest.fixture
def batch(inputs, size, request):
    """Codes of the users of a step and of all items, and those users' rows."""
    users = inputs.batch(size(BATCH, 32))
    user_signs, item_signs = inputs.signs(request.getfixturevalue("codes"), BITS)
    return user_signs[users], item_signs, users


def shape_of(batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, int]:
    user_codes, item_codes, _ = batch
    return {"batch": len(user_codes), "items": len(item_codes), "bits": user_codes.shape[1]}


def plain_tables(
    user_codes: Tensor, item_codes: Tensor, own: Tensor, weights: Tensor, farthest: int
) -> tuple[Tensor, Tensor]:
    """Weights of negatives and counts of positives by score, from the scores of all pairs."""
    column = ((user_codes @ item_codes.T + farthest) / 2).long()
    empty = user_codes.new_zeros(len(user_codes), farthest + 1)
    mine = own.to(user_codes.dtype)
    neg = empty.scatter_add(1, column, (1 - mine) * weights)
    return neg, empty.scatter_add(1, column, mine)


def plain_gradients(
    user_codes: Tensor,
    item_codes: Tensor,
    own: Tensor,
    weights: Tensor,
    farthest: int,
    by_neg: Tensor,
    by_pos: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of both sides from those of one score in each column."""
    column = ((user_codes @ item_codes.T + farthest) / 2).long()
    by_score = torch.where(own, by_pos.gather(1, column), weights * by_neg.gather(1, column))
    return by_score @ item_codes, by_score.T @ user_codes


@pytest.mark.parametrize(
    ("codes", "levels", "weighted"),
    [
        ("random", 1, False),
        *(("trained", levels, False) for levels in LEVELS),
        ("trained", 1, True),
    ],
)
@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_tables(race, inputs, quick, size, threads, batch, mode, codes, levels, weighted):
    user_codes, item_codes, users = batch
    graph, (row, item) = inputs.graph, inputs.graph.positives(users)
    generator = torch.Generator().manual_seed(0)
    # Weights of all sizes alike, with the signs of the codes.
    sizes = 1 + 2 * torch.randint(0, levels, user_codes.shape, generator=generator)
    user_codes = user_codes * sizes
    weights = torch.rand(len(item_codes), generator=generator) if weighted else None
    more = {"levels": levels, "item_weights": weights}
    farthest = largest_weight(levels) * BITS
    plain = (torch.ones(len(item_codes)) if weights is None else weights), farthest
    both = user_codes.clone().requires_grad_(), item_codes.clone().requires_grad_()
    grads = [torch.randn(len(users), farthest + 1, generator=generator) for _ in range(2)]
    _, _, neg, pos = ops.score_tables(user_codes, item_codes, users, graph, **more)
    by_neg, by_pos = (
        torch.where(count > 0, grad / torch.where(count > 0, count, 1), 0)
        for grad, count in zip(grads, (neg, pos), strict=True)
    )

    if mode == "forward":
        ours = Contender(
            "ours", lambda: ops.score_tables(user_codes, item_codes, users, graph, **more)[2:]
        )
    else:
        ours = Contender(
            "ours",
            lambda tables: torch.autograd.grad(tables[:2], both, grads),
            prepare=lambda: ops.score_tables(*both, users, graph, **more),
        )

    def form(tables: Callable, gradients: Callable) -> Callable[[int], Contender]:
        def of(chunk: int) -> Contender:
            def run() -> tuple[Tensor, ...]:
                done = []
                for start in range(0, len(users), chunk):
                    rows = slice(start, start + chunk)
                    part = user_codes[rows]
                    inside = (row >= start) & (row < start + chunk)
                    own = torch.zeros(len(part), len(item_codes), dtype=torch.bool)
                    own[row[inside] - start, item[inside]] = True
                    if mode == "forward":
                        done.append(tables(part, item_codes, own, *plain))
                    else:
                        sent = by_neg[rows], by_pos[rows]
                        done.append(gradients(part, item_codes, own, *plain, *sent))
                first, second = zip(*done, strict=True)
                if mode == "forward":
                    return torch.cat(first), torch.cat(second)
                return torch.cat(first), torch.stack(second).sum(0)

            exact = mode == "forward" and not weighted
            check = equal if exact else close(1e-3, 1e-5)
            return Contender("", run, check=check)

        return of

    chunks = size((16, 32, 64, 128, 256), (8, 12, 16, 24, 32))
    baselines = [
        best_chunk("torch eager", form(plain_tables, plain_gradients), chunks, quick),
    ]
    fast = [compile_function(f, quick, dynamic=True) for f in (plain_tables, plain_gradients)]
    if isinstance(fast[0], Skipped):
        baselines.append(Skipped("torch.compile", fast[0].reason))
    else:
        baselines.append(best_chunk("torch.compile", form(*fast), chunks, quick))

    scores = torch.empty(len(users), len(item_codes))
    if mode == "forward":
        product = Contender(
            "torch.mm(out=) of the scores alone",
            lambda: torch.mm(user_codes, item_codes.T, out=scores),
            note="float32 scores, no counts: what any loss on scores starts with",
        )
    else:
        targets = torch.empty_like(user_codes), torch.empty_like(item_codes)

        def products() -> None:
            torch.mm(scores, item_codes, out=targets[0])
            torch.mm(scores.T, user_codes, out=targets[1])

        scores.normal_(generator=generator)
        product = Contender(
            "torch.mm(out=) of the two gradient products alone",
            products,
            note="given the gradient of every score",
        )
    race(
        Case(
            "score_tables",
            "tables of weighted items" if weighted else "tables",
            shape_of(batch) | ({"levels": levels} if levels > 1 else {}),
            work(mode, len(users), len(item_codes), BITS, levels),
            mode=mode,
            input=f"{codes}, {inputs.name}",
        ),
        ours,
        [*baselines, product],
    )


def step(loss: Callable, user_codes: Tensor, item_codes: Tensor, users: Tensor, graph) -> tuple:
    """Loss on score tables, and the gradients of both sides."""
    both = user_codes.clone().requires_grad_(), item_codes.clone().requires_grad_()
    value = loss(*ops.score_tables(*both, users, graph))
    return value.detach(), *torch.autograd.grad(value, both)


def log_recall(ranks: Tensor) -> Tensor:
    return torch.sigmoid(torch.log(ranks.new_tensor(50.0)) - ranks.log())


@pytest.mark.parametrize("codes", ["trained"])
def test_smooth_recall(race, inputs, quick, size, threads, batch, codes):
    """The whole loss; plain forms are timed on some of the users and scaled."""
    user_codes, item_codes, users = batch
    graph, sample = inputs.graph, size(128, 8)
    part = user_codes[:sample], item_codes, users[:sample]
    row, item = graph.positives(users[:sample])
    count = torch.bincount(row, minlength=sample).clamp(min=1)
    all_pairs = len(graph.positives(users)[0])
    objective = SmoothRecallLoss((50,), TAU)
    n = len(item_codes)
    common = {
        "check": close(1e-3, 1e-4),
        "share": len(row) / all_pairs,
        "ours": partial(step, objective, *part, graph),
        "note": f"timed on {sample} of {len(users)} users, scaled by their pairs",
    }

    def loss_of_ranks(ranks: Tensor, row: Tensor) -> Tensor:
        return -(log_recall(ranks) / count[row]).sum() / sample

    def form(ranks: Callable) -> Callable[[int], Contender]:
        def of(chunk: int) -> Contender:
            run = partial(
                pairwise.in_chunks, *part[:2], row, item, TAU, chunk, loss_of_ranks, ranks
            )
            return Contender("", run, **common)

        return of

    chunks = size((1, 2, 4, 8, 16), (1, 2, 3, 4, 8))
    baselines: list[Contender | Skipped] = [
        best_chunk("torch eager, pairwise", form(pairwise.smooth_ranks), chunks, quick)
    ]
    fast = compile_function(pairwise.smooth_ranks, quick, dynamic=True)
    if isinstance(fast, Skipped):
        baselines.append(Skipped("torch.compile, pairwise", fast.reason))
    else:
        baselines.append(best_chunk("torch.compile, pairwise", form(fast), chunks, quick))
    # Autograd keeps the gathered rows' sigmoids; the difference and one gradient live beside them.
    whole = form(pairwise.smooth_ranks)(sample)
    whole.name = "torch eager, pairwise, not chunked"
    whole.estimated_bytes = 12 * n * len(row)
    whole.memory_full = 12 * n * all_pairs
    race(
        Case(
            "score_tables",
            "smooth recall, whole loss",
            {**shape_of(batch), "pairs": all_pairs},
            work("both", len(users), n, BITS),
            mode="both",
            input=f"{codes}, {inputs.name}",
        ),
        Contender("ours", partial(step, objective, *batch, graph)),
        [*baselines, whole],
    )


def recall_surrogate(v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
    """RS@k on score tables."""
    ranks = smooth_ranks(v_neg, v_pos, neg, pos, TAU, exclude_positives=False)
    count = pos.sum(1)
    loss = ranks.new_zeros(())
    for k in CUTOFFS:
        found = (pos * torch.sigmoid((k - ranks) / k)).sum(1).clamp(max=k)
        loss = loss + (1 - found / count.clamp(max=k)).mean() / len(CUTOFFS)
    return loss


@pytest.mark.parametrize("codes", ["trained"])
def test_recall_surrogate(race, inputs, size, threads, batch, codes):
    user_codes, item_codes, users = batch
    graph, sample = inputs.graph, size(128, 8)
    part = user_codes[:sample], item_codes, users[:sample]
    row, item = graph.positives(users[:sample])
    all_pairs = len(graph.positives(users)[0])
    n = len(item_codes)
    race(
        Case(
            "score_tables",
            "RS@k, whole loss",
            {**shape_of(batch), "pairs": all_pairs},
            work("both", len(users), n, BITS),
            mode="both",
            input=f"{codes}, {inputs.name}",
        ),
        Contender("ours", partial(step, recall_surrogate, *batch, graph)),
        [
            Contender(
                "RS@k as published, a loop over queries",
                partial(pairwise.recall_surrogate, *part[:2], row, item, TAU, CUTOFFS),
                check=close(2e-3, 1e-3),
                share=len(row) / all_pairs,
                ours=partial(step, recall_surrogate, *part, graph),
                note=f"timed on {sample} of {len(users)} users, scaled by their pairs; tau of the "
                "codes' scores, not of cosines",
                estimated_bytes=12 * n * len(row),
                memory_full=12 * n * all_pairs,
            )
        ],
    )


@pytest.mark.parametrize("codes", ["trained"])
def test_softmax(race, inputs, quick, size, threads, batch, codes):
    user_codes, item_codes, users = batch
    graph, (row, item) = inputs.graph, inputs.graph.positives(users)
    objective = FullSoftmaxLoss(TAU, mean="pairs")

    def form(function: Callable) -> Callable[[int], Contender]:
        def of(chunk: int) -> Contender:
            run = partial(
                pairwise.softmax_in_chunks, user_codes, item_codes, row, item, TAU, chunk, function
            )
            return Contender("", run, check=close(1e-3, 1e-4))

        return of

    chunks = size((16, 32, 64, 128, 256), (8, 12, 16, 24, 32))
    baselines = [
        best_chunk("torch eager cross entropy", form(pairwise.softmax_cross_entropy), chunks, quick)
    ]
    fast = compile_function(pairwise.softmax_cross_entropy, quick, dynamic=True)
    if isinstance(fast, Skipped):
        baselines.append(Skipped("torch.compile cross entropy", fast.reason))
    else:
        baselines.append(best_chunk("torch.compile cross entropy", form(fast), chunks, quick))
    race(
        Case(
            "score_tables",
            "softmax over all items, whole loss",
            {**shape_of(batch), "pairs": len(row)},
            work("both", len(users), len(item_codes), BITS),
            mode="both",
            input=f"{codes}, {inputs.name}",
        ),
        Contender("ours", partial(step, objective, *batch, graph)),
        baselines,
    )
