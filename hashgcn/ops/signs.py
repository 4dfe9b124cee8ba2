"""The sign of real-valued embeddings, with what takes the place of its gradient.

The sign is +1 where x >= 0 (0 and -0 included), else -1. Its own gradient is 0 almost everywhere,
so each op differentiates it as something else; csrc/core/slopes.h has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from hashgcn.ops._arguments import check_tensors, real, scalar_like, whole
from hashgcn.ops._library import call, differentiable_once, register_fake, register_gradient


def sign_swish(x: Tensor, beta: float | Tensor) -> Tensor:
    """Sign of x, differentiated as SignSwish.

    Backward: grad * SS'_beta(x) with

        SS'_beta(x) = beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x)),

    the derivative of 2 sigma(beta x)(1 + beta x (1 - sigma(beta x))) - 1. It is beta at 0, even in
    x, slightly negative beyond |beta x| of about 2.4, integrates to 2, and is finite for every x,
    also where beta x is infinite.

    Args:
        x: float32, float64, bfloat16 or float16, any shape; need not be contiguous.
        beta: positive finite number or 0-d tensor, the slope at 0: the larger, the sharper. It gets
            no gradient. A tensor that changes never recompiles or synchronises; a number that
            changes makes torch.compile turn it into a variable once.

    Returns:
        Tensor of x's shape and dtype that holds +1 and -1.

    Raises:
        ValueError: x holds NaN, has another dtype, or beta is not a positive number.

    Example:
        >>> import torch
        >>> x = torch.tensor([-2.0, 0.0, 0.5], requires_grad=True)
        >>> codes = sign_swish(x, 1.5)
        >>> codes.tolist()
        [-1.0, 1.0, 1.0]
        >>> codes.sum().backward()
        >>> x.grad
        tensor([-0.0970,  1.5000,  1.1317])

    Deterministic. Forward and backward read and write each element once and need no extra memory.
    Source: SignSwish is from BNN+ (arXiv 1812.11800); the paper calls its use for hashing AAGE.
    """
    check_tensors(x=x)
    return _sign_swish(x, scalar_like(beta, "beta", x))


def sign_ste(x: Tensor, *, clip: float = math.inf, scale: float | Tensor = 1.0) -> Tensor:
    """Sign of x, differentiated straight through: as the identity, perhaps with a clip.

    Backward, with z = scale x:

        grad * scale where |z| <= clip, else 0,

    the derivative of z held in [-clip, clip]. It integrates over z to 2 clip. Outside the interval
    it is dead: an entry that has left it gets no gradient any more. An infinite clip gives the
    identity.

    Args:
        x: float32, float64, bfloat16 or float16, any shape; need not be contiguous.
        clip: at least 0, infinity included, in units of z.
        scale: positive finite number or 0-d tensor that x is multiplied by. It gets no gradient; a
            tensor that changes never recompiles or synchronises.

    Returns:
        Tensor of x's shape and dtype that holds +1 and -1.

    Raises:
        ValueError: x holds NaN or has another dtype, clip is negative or NaN, or scale is not a
            positive number.

    Example:
        >>> import torch
        >>> x = torch.tensor([-2.0, 0.0, 0.5], requires_grad=True)
        >>> sign_ste(x, clip=1.0).sum().backward()
        >>> x.grad.tolist()
        [0.0, 1.0, 1.0]

    Deterministic. Forward and backward read and write each element once and need no extra memory;
    with an infinite clip not even x is kept for the backward pass.
    Source: Bengio et al. (arXiv 1308.3432); with clip 1, Courbariaux et al. (arXiv 1602.02830).
    """
    check_tensors(x=x)
    return _sign_ste(x, scalar_like(scale, "scale", x), real("clip", clip))


def sign_fourier(
    x: Tensor, *, omega: float = 1.0, terms: int = 8, scale: float | Tensor = 1.0
) -> Tensor:
    """Sign of x, differentiated as a Fourier series of the sign, as BGCH does.

    Backward, with z = scale x:

        grad * scale * clamp((4 omega / pi) sum over odd i < terms of cos(i omega z), -1, 1)

    The sum is the derivative of the series of sgn(sin(omega z)); the clamp is on the factor, not on
    the gradient. Its period is 2 pi / omega: it is 1 at 0, changes its sign in between, and is -1
    around |omega z| = pi, where entries are pushed the wrong way. It is finite for every x, and 0
    where |omega z| is 2^30 pi or more, infinity included.

    Args:
        x: float32, float64, bfloat16 or float16, any shape; need not be contiguous.
        omega: positive finite number, in units of 1 / z.
        terms: in [2, 65536]; the odd numbers below it are summed, terms // 2 of them. BGCH runs
            with 8 and omega 1 on Gowalla and Yelp2018; its code's default is 20.
        scale: positive finite number or 0-d tensor that x is multiplied by. It gets no gradient; a
            tensor that changes never recompiles or synchronises.

    Returns:
        Tensor of x's shape and dtype that holds +1 and -1.

    Raises:
        ValueError: x holds NaN or has another dtype, omega or scale is not a positive number, or
            terms is out of range.

    Example:
        >>> import torch
        >>> x = torch.tensor([-2.0, 0.0, 0.5], requires_grad=True)
        >>> sign_fourier(x).sum().backward()
        >>> x.grad
        tensor([-0.2016,  1.0000, -1.0000])

    Deterministic. Forward and backward read and write each element once and need no extra memory.
    The backward pass takes two sines per element, however many terms, since the sum is
    sin(n omega z) / (2 sin(omega z)) with n the even one of terms and terms - 1.
    Source: BGCH (WWW 2023, arXiv 2304.00241).
    """
    check_tensors(x=x)
    factor = scalar_like(scale, "scale", x)
    return _sign_fourier(x, factor, real("omega", omega), whole("terms", terms))


def tanh_continuation(x: Tensor, beta: float | Tensor) -> Tensor:
    """tanh(beta x), which approaches the sign of x as beta rises.

    Backward: grad * beta (1 - tanh(beta x)^2), computed from x, so that it keeps its digits where
    tanh is 1 to rounding. It is beta at 0, integrates to 2 and falls as e^(-2 |beta x|), so that
    entries far from 0 are dead. The values are real numbers in (-1, 1), not codes, for losses on
    real-valued scores; the codes of the trained embeddings are their signs (pack_codes).

    Args:
        x: float32, float64, bfloat16 or float16, any shape; need not be contiguous.
        beta: positive finite number or 0-d tensor, the slope at 0. It gets no gradient; a tensor
            that changes never recompiles or synchronises. CIGAR raises it as
            sqrt(1 + 10 (epoch - 1)).

    Returns:
        Tensor of x's shape and dtype.

    Raises:
        ValueError: x holds NaN, has another dtype, or beta is not a positive number.

    Example:
        >>> import torch
        >>> x = torch.tensor([-2.0, 0.0, 0.5])
        >>> tanh_continuation(x, 1.0), tanh_continuation(x, 10.0)
        (tensor([-0.9640,  0.0000,  0.4621]), tensor([-1.0000,  0.0000,  0.9999]))

    Deterministic. Forward and backward read and write each element once and need no extra memory.
    Source: HashNet (arXiv 1702.00758); CIGAR's hash stage, HashRec (arXiv 1909.05475).
    """
    check_tensors(x=x)
    return _tanh_continuation(x, scalar_like(beta, "beta", x))


def sign_guided(x: Tensor, take_sign: Tensor, *, scale: float | Tensor = 1.0) -> Tensor:
    """Signs of some rows and scale x elsewhere, differentiated as scale x.

        out[r] = sgn(x[r]) if take_sign[r] else scale x[r];   backward: grad * scale

    HashGNN draws take_sign for each row with a probability that rises from 0 to 1: the real-valued
    rows guide a training that ends with codes. The gradient is nowhere dead. The values are real
    numbers, for losses on real-valued scores; the codes of the trained embeddings are their signs
    (pack_codes).

    Args:
        x: float32, float64, bfloat16 or float16 [rows, f]; need not be contiguous.
        take_sign: bool [rows], drawn by the caller.
        scale: positive finite number or 0-d tensor that x is multiplied by. It gets no gradient; a
            tensor that changes never recompiles or synchronises.

    Returns:
        Tensor [rows, f] of x's dtype.

    Raises:
        ValueError: x holds NaN, is not two-dimensional or has another dtype, take_sign has another
            shape or dtype, or scale is not a positive number.

    Example:
        >>> import torch
        >>> x = torch.tensor([[-2.0, 0.5], [-2.0, 0.5]])
        >>> sign_guided(x, torch.tensor([True, False])).tolist()
        [[-1.0, 1.0], [-2.0, 0.5]]

    Deterministic. Forward and backward read and write each element once and need no extra memory;
    not even x is kept for the backward pass.
    Source: HashGNN (WWW 2020, arXiv 2003.01917).
    """
    check_tensors(x=x, take_sign=take_sign)
    return _sign_guided(x, take_sign, scalar_like(scale, "scale", x))


_sign_swish, _sign_ste, _sign_fourier = map(call, ("sign_swish", "sign_ste", "sign_fourier"))
_tanh_continuation, _sign_guided = map(call, ("tanh_continuation", "sign_guided"))


def _keep(ctx: Any, x: Tensor | None, *rest: Any) -> None:
    """What the op's own backward takes after the gradient, tensors first."""
    tensors = [a for a in rest if isinstance(a, Tensor)]
    ctx.numbers = rest[len(tensors) :]
    ctx.save_for_backward(x, *tensors)


def _keep_ste(ctx: Any, x: Tensor, scale: Tensor, clip: float) -> None:
    # Within an infinite clip any x lies: the gradient itself stands in for it.
    _keep(ctx, None if clip == math.inf else x, scale, clip)


def _keep_guided(ctx: Any, x: Tensor, take_sign: Tensor, scale: Tensor) -> None:
    _keep(ctx, None, scale, math.inf)


def _differentiate(op: str, slope: str, arguments: int, keep: Callable[..., None]) -> None:
    """Register the op's gradient: `slope`_backward of what `keep` keeps of the arguments."""
    scale_gradient = call(f"{slope}_backward")

    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        x, *tensors = ctx.saved_tensors
        return scale_gradient(tangent, tangent if x is None else x, *tensors, *ctx.numbers)

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return jvp(ctx, grad), *[None] * (arguments - 1)

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        keep(ctx, *inputs)

    register_gradient(op, backward, setup_context, jvp)


_differentiate("sign_swish", "sign_swish", 2, _keep)
_differentiate("sign_ste", "sign_ste", 3, _keep_ste)
_differentiate("sign_fourier", "sign_fourier", 4, _keep)
_differentiate("tanh_continuation", "tanh_continuation", 2, _keep)
_differentiate("sign_guided", "sign_ste", 3, _keep_guided)

for _op in ("sign_swish", "sign_ste", "sign_fourier", "tanh_continuation", "sign_guided"):

    @register_fake(_op)
    def _(x: Tensor, *rest: Any) -> Tensor:
        return x.new_empty(x.shape)


for _op in ("sign_swish", "sign_ste", "sign_fourier", "tanh_continuation"):
    differentiable_once(_op)

    @register_fake(f"{_op}_backward")
    def _(grad: Tensor, x: Tensor, *rest: Any) -> Tensor:
        return x.new_empty(x.shape)
