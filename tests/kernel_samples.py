"""Further arguments of ops, at which their CUDA kernels do something of their own.

Tails of tiles and vectors, memory that does not begin at 16 bytes, sums in several parts, items in
several slices, kernels that other samples are too small, too long or too precise for.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from samples import csr, graph_inputs, item_weights, lists, normal, rank_inputs, table_inputs
from torch import Tensor


def shifted(x: Tensor) -> Tensor:
    """The same values, contiguous, where memory begins one element after 16 bytes."""
    wide = x.new_empty(x.numel() + 1)
    wide[1:] = x.detach().reshape(-1)
    return wide[1:].view(x.shape)


MANY = 80  # queries: as many as the emulated device, which is small, takes one a lane


def topk(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    def packed(rows: int, bits: int) -> Tensor:
        return torch.ops.hashgcn.pack_codes(normal(g, rows, bits))

    nothing = (None, None, None)
    items, allow = packed(150, 64), torch.rand(150, generator=g) < 0.5
    for count in (5, MANY):
        queries = packed(count, 64)
        for bits in (64, 100, 192, 256):
            yield (
                f"{count} of {bits} bits",
                (packed(count, bits), packed(150, bits), 20, bits, *nothing),
            )
        rising, unsorted = csr(g, count, 150, 120), lists(g, count, 150, 90)
        yield f"{count}, rising exclusions", (queries, items, 40, 64, *rising, allow)
        yield f"{count}, unsorted exclusions", (queries, items, 160, 64, *unsorted, None)
        yield f"{count}, allow-list", (queries, items, 40, 64, None, None, allow)
        for planes in (2, 3, 4):
            graded = packed(count * planes, 100).view(count, planes, 2)
            yield f"{count} of {planes} planes", (graded, packed(150, 100), 20, 100, *nothing)
            yield (
                f"{count} of {planes} planes, exclusions, allow-list",
                (graded[:, :, :1] & (1 << 36) - 1, items >> 28 & (1 << 36) - 1, 40, 36)
                + (*unsorted, allow),
            )
        yield f"{count}, all equal", (queries, items[:1].repeat(150, 1), 70, 64, *nothing)
    queries, many = packed(2, 64), packed(12_500, 64)
    yield "several chunks", (queries, many, 300, 64, *lists(g, 2, 12_500, 500), None)
    yield "several chunks, shifted", (queries[:1], shifted(many)[:8195], 9, 64, *nothing)
    yield "several chunks, k of all", (queries[:1], packed(4100, 70)[:, :1], 5000, 64, *nothing)
    graded = packed(6, 64).view(2, 3, 1)
    yield "several chunks, 3 planes", (graded, many, 300, 64, *lists(g, 2, 12_500, 500), None)
    yield "320 bits", (packed(11, 320), packed(150, 320), 20, 320, *lists(g, 11, 150, 90), None)
    ids, pointers = torch.randint(0, 70_000, (200,), generator=g), torch.tensor([0, 200])
    wide = torch.ops.hashgcn.pack_codes(normal(g, 70_000, 3))
    yield "ids of three bytes", (packed(1, 3), wide, 9, 3, pointers, ids, None)


def vectors(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    """x and a parameter: tails of 16 bytes, and memory that does not begin there."""
    for dtype in (torch.float64, torch.float32, torch.float16):
        for count in (2, 4, 8, 16, 17, 1031):
            x = normal(g, count, dtype=dtype)
            parameter = torch.tensor(1.3, dtype=torch.promote_types(dtype, torch.float32))
            yield f"{count} of {dtype}", (x, parameter)
            yield f"{count} of {dtype}, shifted", (shifted(x), parameter)


def backward(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for name, (x, parameter) in vectors(g):
        yield name, (normal(g, *x.shape, dtype=x.dtype), x, parameter)
        yield f"{name}, shifted gradient", (shifted(x), normal(g, len(x), dtype=x.dtype), parameter)


def matrices(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        for rows, bits in ((1, 64), (5, 128), (17, 64), (3, 192)):
            yield f"{rows}x{bits} of {dtype}", (normal(g, rows, bits, dtype=dtype),)
        yield f"shifted {dtype}", (shifted(normal(g, 5, 64, dtype=dtype)),)


def graphs(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for dtype in (torch.float32, torch.float64):
        for width, first in ((4, 0), (6, 0), (7, 1), (50, 0), (64, 1), (68, 2)):
            *graph, scale = graph_inputs(g, 25, 41)
            x = normal(g, 66, width, dtype=dtype)
            yield f"{width} of {dtype}", (x, *graph, scale.to(dtype), first, 3)


def tables(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for batch, users, items, width in (
        (40, 50, 300, 64),
        (3, 9, 40, 128),
        (33, 40, 129, 100),
        (130, 140, 60, 50),
        (5, 9, 1500, 20),
    ):
        inputs = table_inputs(g, batch, users, items, width, torch.float32)
        yield f"{batch}x{items}x{width}", (*inputs, None, None, None, None, 1)


def long_tables(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    """Float64, and codes too long for the tiled kernels: sums in several parts of either side."""
    inputs = table_inputs(g, 300, 320, 700, 20, torch.float32, levels=2)
    weights = item_weights(g, 700, torch.float32)
    yield "2 levels, weights, many tiles", (*inputs, None, None, None, weights, 2)
    inputs = table_inputs(g, 3, 9, 90, 200, torch.float32, levels=8)
    yield "8 levels, 3001 columns", (*inputs, None, None, None, None, 8)
    for batch, items, width, dtype in (
        (70, 40, 5, torch.float64),
        (3, 500, 5, torch.float64),
        (40, 90, 130, torch.float32),
        (2, 70, 1024, torch.float32),
    ):
        inputs = table_inputs(g, batch, 80, items, width, dtype)
        yield f"{batch}x{items}x{width}", (*inputs, None, None, None, None, 1)


def tables_backward(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for name, args in (*tables(g), *long_tables(g)):
        with torch.no_grad():
            v_neg, _, neg, pos = torch.ops.hashgcn.score_tables(*args)
        grads = [normal(g, *v_neg.shape, dtype=v_neg.dtype) for _ in range(2)]
        *inputs, weights, levels = args
        yield name, (*grads, neg, pos, *inputs, None, weights, levels)


def ranks_backward(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for batch, items in ((70, 40), (3, 500)):
        *inputs, size, tau = rank_inputs(g, batch, 80, items, 5, torch.float32)
        grad = normal(g, size, dtype=torch.float32)
        yield f"{batch}x{items}", (grad, *inputs, tau, None, None, None, None, None, True)


def products(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    counts = torch.randint(0, 40_982, (37, 65), generator=g).float()
    yield "counts", (counts, torch.randint(0, 2, (65, 33), generator=g).float())


MORE = {
    "hamming_topk": topk,
    "fixed_order_mm": products,
    "pack_codes": matrices,
    "propagate": graphs,
    "score_tables": lambda g: (*tables(g), *long_tables(g)),
    "score_tables_backward": tables_backward,
    "smooth_rank_backward": ranks_backward,
    "sign_swish": vectors,
    "sign_swish_backward": backward,
    "tanh_continuation": vectors,
}


def more_samples() -> list[tuple[str, str, tuple]]:
    """Op, name and arguments."""
    generator = torch.Generator().manual_seed(0)
    return [
        (op, name, tuple(x.detach() if isinstance(x, Tensor) else x for x in args))
        for op in sorted(MORE)
        for name, args in MORE[op](generator)
    ]
