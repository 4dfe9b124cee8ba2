"""ITQ: a rotation that brings embeddings closer to their signs."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgcn.ops import fixed_order_mm


def itq(x: Tensor, iterations: int = 50, generator: torch.Generator | None = None) -> Tensor:
    """Finds an orthogonal R for which x R is close to its own signs.

    It minimises |B - x R|^2 over B = +-1 and over orthogonal R in turn:

        B = sgn(x R);   R = U V^T with x^T B = U S V^T

    Neither step raises the objective. A rotation keeps the inner products of rows, so the same one
    serves users and items together. Nothing is centred or projected (no PCA).

    Args:
        x: float32 or float64 [N, f], finite; gets no gradient.
        iterations: at least 0, how often both steps are taken.
        generator: a CPU generator that draws the initial rotation; None for torch's default.

    Returns:
        R, [f, f] of x's dtype. The codes are the signs of `fixed_order_mm(x, R)`.

    Examples:
        >>> import torch
        >>> from hashgcn.nn.itq import itq
        >>> generator = torch.Generator().manual_seed(0)
        >>> rotation = itq(torch.randn(100, 4, generator=generator), generator=generator)
        >>> torch.allclose(rotation @ rotation.T, torch.eye(4), atol=1e-5)
        True

    Note:
        The result does not depend on the number of threads. Each iteration costs 2 N f^2
        multiply-adds and the singular value decomposition of an f x f matrix. Memory: N f.
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
    """U V^T, in float64 on one thread, as LAPACK and BLAS may round differently on more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        u, _, v = torch.linalg.svd(matrix.double().cpu())
        return u @ v
    finally:
        torch.set_num_threads(threads)
