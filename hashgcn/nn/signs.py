"""Hash layers: codes of real-valued embeddings, one class per gradient of the sign.

All are called alike, so that any of them goes with any encoder:

    user_codes, item_codes = layer(users, items, beta, batch)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from hashgcn.levels import check_levels
from hashgcn.nn.layers import standard_deviation
from hashgcn.ops import sign_fourier, sign_ste, sign_swish


class HashLayer(nn.Module):
    """Codes of real-valued rows of users and items; a subclass says how a matrix becomes codes.

    Rows are taken in units of s, the standard deviation over all entries of P and Q, detached:
    propagated embeddings shrink, and only their size relative to a slope, a clip or a period
    counts.

    Items get codes of +1 and -1. Users may be graded: with L levels a weight is the sum of 2L - 1
    signs, one for each threshold, and its gradient is the sum of theirs,

        q(x) = sum over t = 1 - L, ..., L - 1 of sign(x / s - t step).

    Args:
        user_levels: L, one of 1, 2, 4 and 8; 1 gives users codes of +1 and -1 too.
        step: the distance of neighbouring thresholds, positive, in units of s; None for 1.5 / L,
            which puts the last ones near 1.5 standard deviations.

    A gradient of one's own is a subclass with one method:

        class Mine(HashLayer):
            def codes(self, x, unit, beta):
                return my_sign(x / unit)

    Deterministic, for any number of threads. Cost and memory are those of the op that a subclass
    names, 2L - 1 times for users, and P and Q are read once more for s.
    """

    def __init__(self, user_levels: int = 1, step: float | None = None) -> None:
        super().__init__()
        check_levels(user_levels)
        if step is not None and not 0 < step < math.inf:
            raise ValueError(f"step: expected a finite positive number, got {step}")
        self.user_levels = user_levels
        self.step = 1.5 / user_levels if step is None else step

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
        weights = self.codes(x, unit, beta)
        for t in range(1, self.user_levels):
            shift = t * self.step * unit
            weights = weights + self.codes(x - shift, unit, beta)
            weights = weights + self.codes(x + shift, unit, beta)
        return weights

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
