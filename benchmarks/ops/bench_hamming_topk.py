"""Exact top-N in Hamming space against faiss, usearch and plain torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.harness.inputs import mask_positives, random_words
from benchmarks.harness.race import Case, Contender, Skipped, Work, best_chunk
from hashgcn import _numpy, ops

K = 100
CHUNKS = (1, 2, 4, 8, 16)  # of queries, in plain torch
ITEMS, QUERIES = 1_000_000, 128


# Full adders for 64 dimensions, by the planes of a query of random weights.
FULL_ADDERS = {1: 42, 2: 64, 3: 84, 4: 103}


def work(queries: int, items: int, bits: int, k: int, planes: int = 1) -> Work:
    words, adders = (bits + 63) // 64, FULL_ADDERS[planes]
    return Work(
        f"{adders} full adders for each of Q n/64 ceil(f/64) words; codes read once, 12 bytes "
        "written per result",
        bytes=8 * words * (planes * queries + items) + 12 * queries * k,
        full_adders=queries * items * words * adders // 64,
    )


def agree(mine: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> str:
    """Distances are equal, and so are ids inside every group of ties that k does not cut off.

    Others leave the order inside a group open, and which of a cut group's items they return.

    Args:
        mine, theirs: ids and distances.
    """
    ids, distances = mine
    assert torch.equal(distances, theirs[1])
    whole = distances < distances[:, -1:]
    for row in range(len(ids)):
        groups = [
            sorted(zip(distances[row].tolist(), i[row].tolist(), strict=True))
            for i in (ids, theirs[0])
        ]
        kept = int(whole[row].sum())
        assert groups[0][:kept] == groups[1][:kept]
    return "distances equal, ids equal inside uncut groups of ties"


def as_bytes(words: Tensor, bits: int) -> np.ndarray:
    """Codes as faiss and usearch take them: the first f / 8 bytes of a row."""
    return np.ascontiguousarray(words.numpy().view(np.uint8)[:, : bits // 8])


def faiss_contenders(
    queries: Tensor, items: Tensor, bits: int, k: int, *, one_by_one: bool = False
) -> list[Contender | Skipped]:
    names = {True: "faiss IndexBinaryFlat, heap", False: "faiss IndexBinaryFlat, counting"}
    try:
        import faiss
    except ImportError as error:
        return [Skipped(name, str(error)) for name in names.values()]
    wanted = as_bytes(queries, bits)
    index = faiss.IndexBinaryFlat(bits)
    index.add(as_bytes(items, bits))

    def search(heap: bool) -> tuple[Tensor, Tensor]:
        index.use_heap = heap
        step = 1 if one_by_one else len(wanted)
        found = [index.search(wanted[i : i + step], k) for i in range(0, len(wanted), step)]
        distances, ids = (np.concatenate(part) for part in zip(*found, strict=True))
        return torch.from_numpy(ids), torch.from_numpy(distances)

    level = faiss.SIMDConfig.get_level_name() if hasattr(faiss, "SIMDConfig") else ""
    return [
        Contender(name, partial(search, heap), check=agree, note=f"faiss's kernels: {level}")
        for heap, name in names.items()
    ]


def usearch_contender(
    queries: Tensor, items: Tensor, bits: int, k: int, threads: int, *, one_by_one: bool = False
) -> Contender | Skipped:
    name = "usearch, exact"
    if _numpy.instruction_set() != _numpy.instruction_sets()[0]:
        return Skipped(name, "timed beside the best instruction set: its kernels do not change")
    try:
        from usearch.index import MetricKind, search
    except ImportError as error:
        return Skipped(name, str(error))
    wanted, stored = as_bytes(queries, bits), as_bytes(items, bits)

    def run() -> tuple[Tensor, Tensor]:
        step = 1 if one_by_one else len(wanted)
        parts = [
            search(stored, wanted[i : i + step], k, MetricKind.Hamming, exact=True, threads=threads)
            for i in range(0, len(wanted), step)
        ]
        distances = np.concatenate([np.atleast_2d(part.distances) for part in parts])
        ids = np.concatenate([np.atleast_2d(part.keys) for part in parts])
        return torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(distances).int()

    return Contender(name, run, check=agree)


@pytest.mark.narrow
@pytest.mark.parametrize("codes", ["random", "trained"])
@pytest.mark.parametrize("bits", [64, 128, 256])
def test_top_100(race, inputs, size, threads, bits, codes):
    n, q = size(ITEMS, 2_000), size(QUERIES, 8)
    queries, items = inputs.catalogue(codes, bits, n, q)
    race(
        Case(
            "hamming_topk",
            "top 100",
            {"items": n, "queries": q, "bits": bits, "k": K},
            work(q, n, bits, K),
            dtype="int64 words",
            input=codes,
        ),
        Contender("ours", lambda: ops.hamming_topk(queries, items, K, code_length=bits)),
        [
            *faiss_contenders(queries, items, bits, K),
            usearch_contender(queries, items, bits, K, threads),
        ],
    )


@pytest.mark.narrow
@pytest.mark.parametrize("codes", ["random", "trained"])
@pytest.mark.parametrize("bits", [64, 128, 256])
def test_one_query_at_a_time(race, inputs, size, threads, bits, codes):
    n, q, words = size(ITEMS, 2_000), size(32, 4), bits // 64
    queries, items = inputs.catalogue(codes, bits, n, q)

    def ours() -> tuple[Tensor, Tensor]:
        found = [ops.hamming_topk(queries[i : i + 1], items, K, code_length=bits) for i in range(q)]
        return tuple(map(torch.cat, zip(*found, strict=True)))

    race(
        Case(
            "hamming_topk",
            "top 100, one query at a time",
            {"items": n, "queries": q, "bits": bits, "k": K},
            Work(
                "Q n ceil(f/64) popcounts; the items read for each query",
                bytes=q * work(1, n, bits, K).bytes,
                popcounts=q * n * words,
                working_set=8 * n * words,
            ),
            mode="one query per call",
            dtype="int64 words",
            input=codes,
        ),
        Contender("ours", ours),
        [
            *faiss_contenders(queries, items, bits, K, one_by_one=True),
            usearch_contender(queries, items, bits, K, threads, one_by_one=True),
        ],
    )


@pytest.mark.parametrize("codes", ["random", "trained"])
def test_seen_items_left_out(race, inputs, size, threads, codes):
    n, q, bits, seen = size(ITEMS, 2_000), size(QUERIES, 8), 64, 50
    queries, items = inputs.catalogue(codes, bits, n, q)
    generator = torch.Generator().manual_seed(4)
    # Half of them are among a query's best, as seen items are.
    best = ops.hamming_topk(queries, items, 2 * seen, code_length=bits)
    near = best.ids[:, torch.randperm(2 * seen, generator=generator)[: seen // 2]]
    far = torch.randint(n, (q, seen - seen // 2), generator=generator)
    ids = torch.cat([near, far], 1).flatten()
    ptr = torch.arange(0, seen * q + 1, seen)

    def top(**exclude: Tensor) -> tuple[Tensor, Tensor]:
        return ops.hamming_topk(queries, items, K, code_length=bits, **exclude)

    def without_seen(mine: tuple[Tensor, Tensor], all_items: tuple[Tensor, Tensor]) -> str:
        everything = ops.hamming_topk(queries, items, K + seen, code_length=bits)
        for row in range(q):
            left_out = set(ids[seen * row : seen * (row + 1)].tolist())
            kept = [i for i in everything.ids[row].tolist() if i not in left_out]
            assert mine[0][row].tolist() == kept[:K]
        return "equal to a longer list without the seen items"

    race(
        Case(
            "hamming_topk",
            "top 100, 50 seen items of each query left out",
            {"items": n, "queries": q, "bits": bits, "k": K, "seen": seen},
            work(q, n, bits, K),
            dtype="int64 words",
            input=codes,
        ),
        Contender("ours", lambda: top(exclude_ptr=ptr, exclude_ids=ids)),
        [
            Contender("ours, nothing left out", top, check=without_seen),
            *faiss_unfiltered(queries, items, bits),
        ],
    )


def faiss_unfiltered(queries: Tensor, items: Tensor, bits: int) -> list[Contender | Skipped]:
    """faiss has one selector for all queries, none for each: it is timed with nothing left out."""
    contenders = faiss_contenders(queries, items, bits, K)
    for contender in contenders:
        if isinstance(contender, Contender):
            contender.name += ", nothing left out"
            contender.check, contender.note = None, "faiss has no list of seen items for each query"
    return contenders


@pytest.mark.narrow
@pytest.mark.parametrize("codes", ["random", "trained"])
@pytest.mark.parametrize("bits", [64, 256])
@pytest.mark.parametrize("planes", [2, 3, 4])
def test_graded_queries(race, inputs, size, threads, planes, bits, codes):
    """Weights of random size, whose signs are the plain queries."""
    n, q = size(ITEMS, 2_000), size(QUERIES, 8)
    plain, items = inputs.catalogue(codes, bits, n, q)
    sizes = random_words(q * (planes - 1), bits, 5).view(q, planes - 1, -1)
    queries = torch.cat([sizes, plain[:, None]], 1)
    weights, signs = ops.unpack_levels(queries, bits), ops.unpack_codes(items, bits)
    longest = (2**planes - 1) * bits

    def form(chunk: int) -> Contender:
        def run() -> tuple[Tensor, Tensor]:
            parts = [(part @ signs.T).topk(K) for part in weights.split(chunk)]
            values, ids = map(torch.cat, zip(*parts, strict=True))
            return ids, ((longest - values) / 2).int()

        return Contender("", run, check=agree)

    race(
        Case(
            "hamming_topk",
            f"top 100, weights of {planes} planes",
            {"items": n, "queries": q, "bits": bits, "k": K, "planes": planes},
            work(q, n, bits, K, planes),
            dtype="int64 words",
            input=codes,
        ),
        Contender("ours", lambda: ops.hamming_topk(queries, items, K, code_length=bits)),
        [
            Contender(
                "ours, signs alone", lambda: ops.hamming_topk(plain, items, K, code_length=bits)
            ),
            best_chunk("torch matmul, topk", form, CHUNKS, inputs.quick),
        ],
    )


def test_all_users(race, inputs, size, threads):
    """The evaluation of a recommender: every user, train items left out."""
    bits, sample = 64, size(1024, 64)
    users, items, graph = *inputs.codes("trained", bits), inputs.graph
    user_signs, item_signs = inputs.signs("trained", bits)
    m, n = inputs.shape[:2]

    def ours(count: int = m) -> tuple[Tensor, Tensor]:
        ptr = graph.user_ptr[: count + 1]
        return ops.hamming_topk(
            users[:count],
            items,
            K,
            code_length=bits,
            exclude_ptr=ptr,
            exclude_ids=graph.user_items[: int(ptr[-1])],
        )

    def top(scores: Tensor) -> tuple[Tensor, Tensor]:
        values, ids = scores.topk(K)
        return ids, ((bits - values) / 2).int()

    def form(top: Callable) -> Callable[[int], Contender]:
        def of(chunk: int) -> Contender:
            def run() -> tuple[Tensor, Tensor]:
                parts = []
                for start in range(0, sample, chunk):
                    scores = user_signs[start : min(start + chunk, sample)] @ item_signs.T
                    mask_positives(scores, graph, start)
                    parts.append(top(scores))
                return tuple(map(torch.cat, zip(*parts, strict=True)))

            return Contender(
                "",
                run,
                check=agree,
                share=sample / m,
                ours=partial(ours, sample),
                note=f"timed on {sample} of {m} users and scaled",
            )

        return of

    chunks = size((16, 32, 64, 128, 256, 512), (8, 16, 24, 32, 64))
    race(
        Case(
            "hamming_topk",
            "top 100 of all users, train items left out",
            {"items": n, "queries": m, "bits": bits, "k": K, "seen": len(graph.user_items)},
            work(m, n, bits, K),
            dtype="int64 words",
            input=f"trained, {inputs.name}",
        ),
        Contender("ours", ours),
        [best_chunk("torch matmul, mask, topk", form(top), chunks, inputs.quick)],
    )
