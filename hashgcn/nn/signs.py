"""Hash layers: codes of real-valued embeddings, one class per gradient of the sign.

All are called alike, so that any of them goes with any encoder:

    user_codes, item_codes = layer(users, items, beta, batch)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from hashgcn.levels import check_levels, largest_weight
from hashgcn.nn.layers import standard_deviation
from hashgcn.ops import sign_fourier, sign_ste, sign_swish

# What the gradient of a user's weight is stretched by.
WIDENED = 2.0


def default_step(levels: int) -> float:
    """The width of a level, in standard deviations: all levels together span 1.5 of them."""
    return 1.5 / levels


class HashLayer(nn.Module):
    """Codes of real-valued rows of users and items; a subclass says how a matrix becomes codes.

    Rows are taken in units of s, the standard deviation over all entries of P and Q, detached:
    propagated embeddings shrink, and only their size relative to a slope, a clip or a period
    counts.

    Items get codes of +1 and -1. Users may be graded: with L levels they get one of the weights ±1,
    ±3, ..., ±(2L - 1),

        q(x) = sign(x) (1 + 2 min(floor(|x / s| / step), L - 1)),

    which is differentiated as 2L - 1 times the sign of x / 2: the gradient reaches as far as the
    weights do.

    Args:
        user_levels: L, one of 1, 2, 4 and 8; 1 gives users codes of +1 and -1 too.
        step: the width of a level, positive, in units of s; None for 1.5 / L, so that the largest
            weight begins below 1.5 standard deviations.

    A gradient of one's own is a subclass with one method:

        class Mine(HashLayer):
            def codes(self, x, unit, beta):
                return my_sign(x / unit)

    Deterministic, for any number of threads. Cost and memory are those of the op that a subclass
    names, and P and Q are read once more for s.
    """

    def __init__(self, user_levels: int = 1, step: float | None = None) -> None:
        super().__init__()
        check_levels(user_levels)
        if step is not None and not 0 < step < math.inf:
            raise ValueError(f"step: expected a finite positive number, got {step}")
        self.user_levels = user_levels
        self.step = default_step(user_levels) if step is None else step

    def forward(
        self, users: Tensor, items: Tensor, beta: float | Tensor, batch: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Codes of users (only the rows `batch`, if given) and of all items.

        Args:
            users: P, float [m, f].
            items: Q, of the same dtype, [n, f].
            beta: the number that a schedule changes, positive or a 0-d tensor; see the subclass.
            batch: int64 [b], rows of users; -1 (padding) gets the code of row 0.

        Returns:
            Codes [b, f] (without batch [m, f]), weights of L levels, and [n, f], +1 and -1,
            differentiable in P and Q.

        Raises:
            ValueError: NaN, a dtype that the op lacks, beta not positive where it is used.
        """
        chosen = users if batch is None else users.index_select(0, batch.clamp(min=0))
        unit = standard_deviation(users.detach(), items.detach())
        return self.graded(chosen, unit, beta), self.codes(items, unit, beta)

    def graded(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        """The weights of x / unit, x [rows, f], unit 0-d: differentiable in x alone."""
        if self.user_levels == 1:
            return self.codes(x, unit, beta)
        # Half the slope: against a sum of 2L - 1 signs of the full slope, one for each threshold,
        # validation NDCG@20 gained 1% on two data sets.
        smooth = largest_weight(self.user_levels) * self.codes(x, WIDENED * unit, beta)
        level = (x.detach().abs() / (self.step * unit)).floor().clamp(max=self.user_levels - 1)
        weights = torch.where(x.detach() >= 0, 1 + 2 * level, -1 - 2 * level)
        return weights + (smooth - smooth.detach())

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        """Codes of x / unit, x [rows, f], unit 0-d: differentiable in x, not in unit or beta."""
        raise NotImplementedError


class SignSwish(HashLayer):
    """The sign, differentiated as SignSwish (`ops.sign_swish`).

    beta is the slope at 0 in units of 1 / s: SS_beta(x / s) = SS_(beta / s)(x), so that nothing but
    beta is divided. It is fixed, or annealed from soft to sharp.
    """

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        return sign_swish(x, beta / unit)


class StraightThrough(HashLayer):
    """The sign, differentiated as x / s where |x / s| <= clip (`ops.sign_ste`); beta is not used.

    Args:
        clip: infinity passes every gradient on.
        user_levels, step: see HashLayer.
    """

    def __init__(
        self, clip: float = math.inf, user_levels: int = 1, step: float | None = None
    ) -> None:
        super().__init__(user_levels, step)
        self.clip = clip

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        return sign_ste(x, clip=self.clip, scale=1 / unit)


class FourierSeries(HashLayer):
    """The sign, differentiated as BGCH's series in x / s (`ops.sign_fourier`); beta is not used.

    Args:
        omega, terms: frequency and number of terms, as in the op.
        user_levels, step: see HashLayer.
    """

    def __init__(
        self,
        omega: float = 1.0,
        terms: int = 8,
        user_levels: int = 1,
        step: float | None = None,
    ) -> None:
        super().__init__(user_levels, step)
        self.omega, self.terms = omega, terms

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        return sign_fourier(x, omega=self.omega, terms=self.terms, scale=1 / unit)


# By the names of settings; each makes a layer, of user_levels and a step if they are given.
ESTIMATORS: dict[str, Callable[..., HashLayer]] = {
    "signswish": SignSwish,
    "ste": StraightThrough,
    "clipped_ste": partial(StraightThrough, clip=1.0),
    "fourier": FourierSeries,
}
