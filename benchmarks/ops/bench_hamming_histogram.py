"""How many items lie at each Hamming distance, against plain torch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from benchmarks.harness.race import Case, Contender, Work, best_chunk, equal
from hashgcn import ops

ITEMS, QUERIES = 1_000_000, 128
CHUNKS = (1, 2, 4, 8, 16)  # of queries


def counted(queries: Tensor, items: Tensor, bits: int, chunk: int) -> Tensor:
    """Distances from a product of signs, and a bincount of them, chunk by chunk."""
    found = []
    for part in queries.split(chunk):
        distances = ((bits - part @ items.T) / 2).int()
        distances += (bits + 1) * torch.arange(len(part), dtype=torch.int32)[:, None]
        counts = torch.bincount(distances.flatten(), minlength=len(part) * (bits + 1))
        found.append(counts.view(len(part), bits + 1))
    return torch.cat(found)


@pytest.mark.narrow
@pytest.mark.parametrize("codes", ["random", "trained"])
@pytest.mark.parametrize("bits", [64, 256])
def test_all_items(race, inputs, quick, size, threads, bits, codes):
    n, q, words = size(ITEMS, 2_000), size(QUERIES, 8), bits // 64
    queries, items = inputs.catalogue(codes, bits, n, q)
    signs = [ops.unpack_codes(packed, bits) for packed in (queries, items)]

    def plain(chunk: int) -> Contender:
        return Contender("", partial(counted, *signs, bits, chunk), check=equal)

    race(
        Case(
            "hamming_histogram",
            "distances to all items",
            {"items": n, "queries": q, "bits": bits},
            Work(
                "Q n ceil(f/64) popcounts; the items read per query",
                bytes=8 * q * (n * words + bits + 1),
                popcounts=q * n * words,
                working_set=8 * n * words,
            ),
            dtype="int64 words",
            input=codes,
        ),
        Contender("ours", lambda: ops.hamming_histogram(queries, items, code_length=bits)),
        [best_chunk("torch matmul, bincount", plain, CHUNKS, quick)],
    )
