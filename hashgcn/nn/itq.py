"""ITQ: a rotation after which signs lose less."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgcn.ops import fixed_order_mm


def itq(x: Tensor, iterations: int = 50, generator: torch.Generator | None = None) -> Tensor:
    """The orthogonal R that brings x R close to its own signs.

        minimise |B - x R|^2 over B = +-1 and orthogonal R, in turn:
        B = sgn(x R);   R = U V^T with x^T B = U S V^T

    Neither step raises the objective. Inner products of rows are those of rotated rows, so one
    rotation serves users and items together. Nothing is centred or projected (no PCA).

    Args:
        x: float32 or float64 [N, f], finite; gets no gradient.
        iterations: of both steps, >= 0.
        generator: of the random rotation to start from, on the CPU; torch's default without.

    Returns:
        R, of x's dtype, [f, f]. Codes are the signs of `fixed_order_mm(x, R)`.

    Deterministic given the generator's state, for any number of threads. Cost: 2 N f^2
    multiply-adds and the singular values of an f x f matrix for each iteration. Memory N f.

    Source: Gong, Lazebnik, "Iterative Quantization" (CVPR 2011).
    """
    x, width = x.detach(), x.shape[1]
    start = torch.empty(width, width, dtype=torch.float64).normal_(generator=generator)
    rotation = _nearest_rotation(start).to(x)
    for _ in range(iterations):
        signs = torch.where(fixed_order_mm(x, rotation) >= 0, 1.0, -1.0).to(x.dtype)
        rotation = _nearest_rotation(fixed_order_mm(x.T, signs)).to(x)
    return rotation


def _nearest_rotation(matrix: Tensor) -> Tensor:
    """U V^T, in float64 on one thread: LAPACK and BLAS may round by the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        u, _, v = torch.linalg.svd(matrix.double().cpu())
        return u @ v
    finally:
        torch.set_num_threads(threads)
