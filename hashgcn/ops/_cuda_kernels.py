"""Choosing among the CUDA kernels of an op."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from hashgcn.ops._library import cuda_library

# By family of ops, in the order of csrc/cuda/kernels.h; the first name is the default.
CUDA_KERNELS = {
    "elementwise": ("plain", "wide"),
    "hamming_topk": ("plain", "tiled", "many_queries", "split_items"),
    "propagate": ("plain", "wide"),
    "score_tables": ("plain", "tiled"),
}


def choose(library: ctypes.CDLL, family: str, kernels: str) -> str:
    """Choose kernels of a family by name; the name of those chosen before."""
    names = CUDA_KERNELS[family]
    at = list(CUDA_KERNELS).index(family)
    return names[library.hashgcn_choose_cuda_kernels(at, names.index(kernels))]


@contextmanager
def cuda_kernels(**kernels: str) -> Iterator[None]:
    """Use other CUDA kernels in a `with` block. Unverified: not yet run on a GPU.

    "plain" is the default of all. The others are meant to be faster; emulated on the host they pass
    the tests of the plain ones. docs/design.md says how each works.

    Args:
        elementwise: "wide", 16 bytes at a time: the gradients of the sign and packing. Memory that
            does not begin at 16 bytes, and packing of codes that are not whole words, stay plain.
        hamming_topk: "many_queries", a thread a query, codes of up to 256 bits; "split_items", a
            query's items over many blocks; "tiled", one of the two by the shape.
        propagate: "wide", 16 bytes at a time, where a row is a multiple of that; else plain.
        score_tables: "tiled", popcounts and tensor cores, float32 and codes of up to 128 bits.
            Candidate lists stay plain.

    Returns:
        A context manager; on leaving, the former choice holds again.

    Raises:
        ValueError: a family or a name that does not exist. An op raises it for a dtype or a code
            length that the chosen kernels do not have.
        RuntimeError: hashgcn's CUDA library is not loaded.

    The choice is of the process, all threads included: a backward pass runs on one of autograd's. A
    captured graph keeps the kernels that it was captured with. Deterministic: the same kernels give
    the same bits. Integers are the same with any kernels, floats may differ in their last bits.
    Cost: none of its own. Peak extra memory of an op, besides the plain kernels': "wide" none.
    hamming_topk a copy of exclude_ids; split_items also 4 (f + 1) bytes for each of at most 2047
    slices of items, and 4 bytes for each 4096 items of at most 1024 queries. score_tables forward
    4 b (f + 1) bytes; backward b n / 8 bytes, and 4 b f bytes for each of at most
    4 + 67,584 / b parts of the items.
    """
    for family, name in kernels.items():
        if family not in CUDA_KERNELS:
            raise ValueError(
                f"cuda_kernels: expected some of {', '.join(CUDA_KERNELS)}, got {family}"
            )
        if name not in CUDA_KERNELS[family]:
            names = ", ".join(CUDA_KERNELS[family])
            raise ValueError(f"cuda_kernels: expected {family} to be one of {names}, got {name!r}")
    library = cuda_library()
    before = {family: choose(library, family, name) for family, name in kernels.items()}
    try:
        yield
    finally:
        for family, name in before.items():
            choose(library, family, name)
