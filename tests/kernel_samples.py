"""What the CUDA kernels that are chosen by name (hashgcn.ops.cuda_kernels) are tested on.

Besides the samples of their ops: shapes at which these kernels do something of their own, such as
tails of tiles and vectors, items in several slices, memory that does not begin at 16 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from samples import SAMPLES, csr, graph_inputs, lists, normal, table_inputs
from torch import Tensor

from hashgcn.ops._cuda_kernels import CUDA_KERNELS

# The ops of a family.
OPS = {
    "elementwise": tuple(
        op for op in SAMPLES if op.startswith(("sign_", "tanh_")) or op == "pack_codes"
    ),
    "hamming_topk": ("hamming_topk",),
    "propagate": ("propagate",),
    "score_tables": ("score_tables", "score_tables_backward"),
}
CHOICES = [(family, name) for family in OPS for name in CUDA_KERNELS[family][1:]]


def shifted(x: Tensor) -> Tensor:
    """The same values, contiguous, where memory begins one element after 16 bytes."""
    wide = x.new_empty(x.numel() + 1)
    wide[1:] = x.detach().reshape(-1)
    return wide[1:].view(x.shape)


def topk(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    def packed(rows: int, bits: int) -> Tensor:
        return torch.ops.hashgcn.pack_codes(normal(g, rows, bits))

    nothing = (None, None, None)
    for bits in (64, 100, 192, 256):
        yield f"{bits} bits", (packed(37, bits), packed(150, bits), 20, bits, *nothing)
    queries, items = packed(33, 64), packed(150, 64)
    allow = torch.rand(150, generator=g) < 0.5
    yield "rising exclusions", (queries, items, 40, 64, *csr(g, 33, 150, 120), allow)
    yield "unsorted exclusions", (queries, items, 160, 64, *lists(g, 33, 150, 90), None)
    yield "all equal", (queries, items[:1].repeat(150, 1), 70, 64, *nothing)
    many = packed(12_500, 64)
    yield "several chunks", (queries[:2], many, 300, 64, *lists(g, 2, 12_500, 500), None)
    yield "several chunks, shifted", (queries[:1], shifted(many)[:8195], 9, 64, *nothing)
    yield "several chunks, k of all", (queries[:1], packed(4100, 70)[:, :1], 5000, 64, *nothing)
    # Costly to emulate: for the kernels that they are about.
    yield "more queries than a batch", (packed(1030, 3), packed(5, 3), 2, 3, *nothing)
    yield "many queries", (packed(4097, 64), packed(5, 64), 2, 64, *nothing)


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


def fused(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for name, (x,) in matrices(g):
        parameter = torch.tensor(1.3, dtype=torch.promote_types(x.dtype, torch.float32))
        yield name, (x, parameter)


def graphs(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for dtype in (torch.float32, torch.float64):
        for width, first in ((4, 0), (6, 0), (64, 1), (68, 2)):
            *graph, scale = graph_inputs(g, 25, 41)
            x = normal(g, 66, width, dtype=dtype)
            yield f"{width} of {dtype}", (x, *graph, scale.to(dtype), first, 3)


def tables(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for batch, users, items, width in ((40, 50, 300, 64), (3, 9, 40, 128), (33, 40, 129, 100)):
        inputs = table_inputs(g, batch, users, items, width, torch.float32)
        yield f"{batch}x{items}x{width}", (*inputs, None, None, None)


def tables_backward(g: torch.Generator) -> Iterator[tuple[str, tuple]]:
    for name, args in tables(g):
        with torch.no_grad():
            v_neg, _, neg, pos = torch.ops.hashgcn.score_tables(*args)
        grads = [normal(g, *v_neg.shape, dtype=v_neg.dtype) for _ in range(2)]
        yield name, (*grads, neg, pos, *args, None)


EXTRA = {
    "hamming_topk": topk,
    "pack_codes": matrices,
    "propagate": graphs,
    "score_tables": tables,
    "score_tables_backward": tables_backward,
    "sign_swish": vectors,
    "sign_swish_backward": backward,
    "sign_swish_pack": fused,
    "tanh_continuation": vectors,
}


ABOUT = {
    "more queries than a batch": ("split_items",),
    "many queries": ("tiled", "many_queries"),
}


def cases(family: str, kernels: str, own: bool) -> Iterator[tuple[str, str, tuple]]:
    """Op, name and arguments: of the ops' samples, or of these kernels' own.

    Of the former only what the kernels support, and nothing for "tiled" top-N, which takes the
    kernels of one of the other two names.
    """
    generator = torch.Generator().manual_seed(0)
    for op in OPS[family]:
        source = SAMPLES[op]() if not own else EXTRA[op](generator) if op in EXTRA else ()
        for name, args in source:
            args = tuple(x.detach() if isinstance(x, Tensor) else x for x in args)
            if family == "score_tables":  # float32 alone
                floats = [isinstance(x, Tensor) and x.is_floating_point() for x in args]
                args = tuple(x.float() if f else x for x, f in zip(args, floats, strict=True))
            if family == "hamming_topk" and not own and kernels == "tiled":
                continue
            if name in ABOUT and kernels not in ABOUT[name]:
                continue
            yield op, name, args
