"""Time as one size varies: the curves of the report."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import benchmarks.ops.bench_hamming_topk as topk
import benchmarks.ops.bench_propagate as propagation
import benchmarks.ops.bench_score_tables as tables
from benchmarks.harness import memory
from benchmarks.harness.race import Case, Contender, close
from hashgcn import ops

pytestmark = pytest.mark.apart


def top_n(race, inputs, curve: str, items: int, queries: int, bits: int, k: int) -> None:
    needed = 4 * items * ((bits + 63) // 64) * 8  # the codes, faiss's copy, and the same to spare
    if needed > memory.available():
        pytest.skip(f"{items} codes of {bits} bits need {needed / 2**30:.1f} GiB with faiss's copy")
    wanted, stored = inputs.catalogue("random", bits, items, queries)
    race(
        Case(
            "hamming_topk",
            "top N",
            {"items": items, "queries": queries, "bits": bits, "k": k},
            topk.work(queries, items, bits, k),
            dtype="int64 words",
            curve=curve,
        ),
        Contender("ours", lambda: ops.hamming_topk(wanted, stored, k, code_length=bits)),
        topk.faiss_contenders(wanted, stored, bits, k),
    )


@pytest.mark.most_threads
@pytest.mark.parametrize("power", range(4, 9))
def test_top_n_items(race, inputs, size, threads, power):
    top_n(race, inputs, "items", 10 ** size(power, 3), size(32, 4), 64, 100)


@pytest.mark.most_threads
@pytest.mark.parametrize("bits", [16, 32, 64, 128, 256, 512, 1024])
def test_top_n_bits(race, inputs, size, threads, bits):
    top_n(race, inputs, "bits", size(1_000_000, 1_000), size(64, 4), bits, 100)


@pytest.mark.most_threads
@pytest.mark.parametrize("k", [1, 10, 100, 1_000, 10_000])
def test_top_n_k(race, inputs, size, threads, k):
    items = size(1_000_000, 1_000)
    top_n(race, inputs, "k", items, size(32, 4), 64, min(k, items))


@pytest.mark.most_threads
@pytest.mark.parametrize("queries", [1, 4, 16, 64, 256, 1024])
def test_top_n_queries(race, inputs, size, threads, queries):
    top_n(race, inputs, "queries", size(1_000_000, 1_000), size(queries, 4), 64, 100)


def test_top_n_threads(race, inputs, size, threads):
    top_n(race, inputs, "threads", size(1_000_000, 1_000), size(128, 4), 64, 100)


def score_tables(race, inputs, curve: str, batch: int, items: int, bits: int) -> None:
    """Forward and backward, against the three products that any loss on scores needs."""
    graph = inputs.graph
    users = torch.arange(batch) % graph.num_users
    generator = torch.Generator().manual_seed(0)

    def signs(rows: int) -> Tensor:
        return torch.empty(rows, bits).bernoulli_(generator=generator).mul_(2).sub_(1)

    codes = signs(batch).requires_grad_(), signs(max(items, graph.num_items)).requires_grad_()
    n = len(codes[1])
    grads = [torch.ones(batch, bits + 1)] * 2
    plain = [part.detach() for part in codes]
    scores = torch.empty(batch, n)
    targets = [torch.empty_like(part) for part in plain]

    def ours() -> tuple[Tensor, Tensor]:
        return torch.autograd.grad(ops.score_tables(*codes, users, graph)[:2], codes, grads)

    def products() -> None:
        torch.mm(plain[0], plain[1].T, out=scores)
        torch.mm(scores, plain[1], out=targets[0])
        torch.mm(scores.T, plain[0], out=targets[1])

    race(
        Case(
            "score_tables",
            "tables and gradients",
            {"batch": batch, "items": n, "bits": bits},
            tables.work("both", batch, n, bits),
            mode="both",
            curve=curve,
        ),
        Contender("ours", ours),
        [
            Contender(
                "torch.mm(out=): scores and two gradients",
                products,
                note="the products of float32 scores that any loss on them starts and ends with",
            )
        ],
    )


@pytest.mark.most_threads
@pytest.mark.parametrize("items", [50_000, 100_000, 200_000, 500_000, 1_000_000])
def test_tables_items(race, inputs, size, threads, items):
    score_tables(race, inputs, "items", size(128, 8), size(items, 400), 64)


@pytest.mark.most_threads
@pytest.mark.parametrize("bits", [16, 32, 64, 128, 256, 512, 1024])
def test_tables_bits(race, inputs, size, threads, bits):
    score_tables(race, inputs, "bits", size(256, 8), 0, bits)


@pytest.mark.most_threads
@pytest.mark.parametrize("batch", [64, 256, 1024, 4096])
def test_tables_batch(race, inputs, size, threads, batch):
    score_tables(race, inputs, "batch", size(batch, 8), 0, 64)


def test_tables_threads(race, inputs, size, threads):
    score_tables(race, inputs, "threads", size(1024, 8), 0, 64)


def propagate(race, inputs, curve: str, width: int) -> None:
    graph = inputs.graph
    x = torch.randn(graph.num_users + graph.num_items, width)
    halves, layers = propagation.Halves.of(graph), propagation.LAYERS
    race(
        Case(
            "propagate",
            f"mean of {layers} layers",
            {"pairs": len(graph.user_items), "width": width, "layers": layers},
            propagation.work(graph, width),
            input=inputs.name,
            curve=curve,
        ),
        Contender("ours", lambda: ops.propagate(graph, x, layers)),
        [
            Contender(
                "torch.sparse CSR", lambda: halves.propagate(x, layers), check=close(1e-4, 1e-6)
            )
        ],
    )


@pytest.mark.most_threads
@pytest.mark.parametrize("width", [16, 32, 64, 128, 256, 512])
def test_propagate_width(race, inputs, threads, width):
    propagate(race, inputs, "width", width)


def test_propagate_threads(race, inputs, threads):
    propagate(race, inputs, "threads", 64)
