"""Exact top-N by a weighted sum of Hamming similarities against plain torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.harness.harness import Case, Contender, Work, best_chunk
from benchmarks.harness.inputs import mask_positives
from hashgcn import ops

K = 100
SEGMENTS, BITS = 4, 64
ITEMS, QUERIES = 1_000_000, 128
Pair = tuple[Tensor, Tensor]


def work(queries: int, items: int, k: int) -> Work:
    words = (BITS + 63) // 64
    pairs = queries * items * SEGMENTS
    return Work(
        "Q n S ceil(f/64) popcounts, Q n S products of scales and as many multiply-adds; rows read "
        "once, 12 bytes a result written",
        bytes=SEGMENTS * (8 * words + 4) * (queries + items) + 12 * queries * k,
        popcounts=pairs * words,
        multiply_adds=2 * pairs,
    )


def scales(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, SEGMENTS, generator=generator) + 0.5


def segments(words: Tensor) -> Tensor:
    """Codes of S f bits as S codes of f bits."""
    return words.view(len(words), SEGMENTS, -1)


def scaled(words: Tensor, scale: Tensor) -> Tensor:
    """[rows, S f], whose products are the scores."""
    return ops.unpack_codes(words, SEGMENTS * BITS) * scale.repeat_interleave(BITS, 1)


def agree(mine: Pair, theirs: Pair) -> str:
    """Scores to rounding; ids where scores are further than that from those beside them."""
    scores, ids = mine
    largest = scores.abs().max().item()
    difference = (scores - theirs[0]).abs().max().item()
    assert difference <= 1e-5 * largest
    apart = torch.nn.functional.pad(scores.diff().abs() > 2e-5 * largest, (1, 0), value=True)
    clear = apart[:, :-1] & apart[:, 1:]
    assert torch.equal(ids[:, :-1][clear], theirs[1][:, :-1][clear])
    part = clear.double().mean().item()
    return f"scores to {difference / largest:.0e} of the largest, ids equal ({part:.0%} apart)"


def chunked(
    queries: Tensor, items: Tensor, finish: Callable[[Tensor, int], None], **options
) -> Callable[[int], Contender]:
    """The form in plain torch with chunks of a size; `finish(scores, start)` masks them."""

    def of(chunk: int) -> Contender:
        def run() -> Pair:
            parts = []
            for start in range(0, len(queries), chunk):
                scores = queries[start : start + chunk] @ items.T
                finish(scores, start)
                parts.append(scores.topk(K))
            return tuple(map(torch.cat, zip(*parts, strict=True)))

        return Contender("", run, check=agree, **options)

    return of


@pytest.mark.narrow
@pytest.mark.parametrize("codes", ["random", "trained"])
def test_top_100(race, inputs, size, threads, codes):
    n, q = size(ITEMS, 2_000), size(QUERIES, 40)
    words = inputs.catalogue(codes, SEGMENTS * BITS, n, q)
    scale = scales(q, 1), scales(n, 2)
    rows = *map(segments, words), *scale
    queries, items = (scaled(*pair) for pair in zip(words, scale, strict=True))
    form = chunked(queries, items, lambda scores, start: None)
    race(
        Case(
            "weighted_hamming_topk",
            "weighted top 100",
            {"items": n, "queries": q, "segments": SEGMENTS, "bits": BITS, "k": K},
            work(q, n, K),
            dtype="int64 words",
            input=codes,
        ),
        Contender("ours", lambda: ops.weighted_hamming_topk(*rows, K, code_length=BITS)),
        [best_chunk("torch matmul, topk", form, (8, 16, 32, 64, 128), inputs.quick)],
    )


def test_all_users(race, inputs, size, threads):
    """The evaluation of a recommender: every user, train items left out."""
    sample, graph = size(1024, 64), inputs.graph
    words = inputs.codes("trained", SEGMENTS * BITS)
    m, n = map(len, words)
    users, items = map(segments, words)
    scale = scales(m, 1), scales(n, 2)

    def ours(count: int = m) -> Pair:
        ptr = graph.user_ptr[: count + 1]
        return ops.weighted_hamming_topk(
            users[:count],
            items,
            scale[0][:count],
            scale[1],
            K,
            code_length=BITS,
            exclude_ptr=ptr,
            exclude_ids=graph.user_items[: int(ptr[-1])],
        )

    form = chunked(
        scaled(words[0][:sample], scale[0][:sample]),
        scaled(words[1], scale[1]),
        lambda scores, start: mask_positives(scores, graph, start),
        share=sample / m,
        ours=lambda: ours(sample),
        note=f"timed on {sample} of {m} users and scaled",
    )
    chunks = size((16, 32, 64, 128, 256, 512), (8, 16, 24, 32, 64))
    race(
        Case(
            "weighted_hamming_topk",
            "weighted top 100 of all users, train items left out",
            {
                "items": n,
                "queries": m,
                "segments": SEGMENTS,
                "bits": BITS,
                "k": K,
                "seen": len(graph.user_items),
            },
            work(m, n, K),
            dtype="int64 words",
            input=f"trained, {inputs.name}",
        ),
        Contender("ours", ours),
        [best_chunk("torch matmul, mask, topk", form, chunks, inputs.quick)],
    )
