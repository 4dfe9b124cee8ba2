"""Hash layers: codes of real-valued embeddings, one class per gradient of the sign.

All are called alike, so that any of them goes with any encoder:

    user_codes, item_codes = layer(users, items, beta, batch)
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from hashgcn.nn.layers import standard_deviation
from hashgcn.ops import sign_fourier, sign_ste, sign_swish


class HashLayer(nn.Module):
    """Codes of real-valued rows of users and items; a subclass says how a matrix becomes codes.

    Rows are taken in units of s, the standard deviation over all entries of P and Q, detached:
    propagated embeddings shrink, and only their size relative to a slope, a clip or a period
    counts.

    A gradient of one's own is a subclass with one method:

        class Mine(HashLayer):
            def codes(self, x, unit, beta):
                return my_sign(x / unit)

    Deterministic, for any number of threads. Cost and memory are those of the op that a subclass
    names, and P and Q are read once more for s.
    """

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
            Codes [b, f] (without batch [m, f]) and [n, f], +1 and -1, differentiable in P and Q.

        Raises:
            ValueError: NaN, a dtype that the op lacks, beta not positive where it is used.
        """
        chosen = users if batch is None else users.index_select(0, batch.clamp(min=0))
        unit = standard_deviation(users.detach(), items.detach())
        return self.codes(chosen, unit, beta), self.codes(items, unit, beta)

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
    """

    def __init__(self, clip: float = math.inf) -> None:
        super().__init__()
        self.clip = clip

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        return sign_ste(x, clip=self.clip, scale=1 / unit)


class FourierSeries(HashLayer):
    """The sign, differentiated as BGCH's series in x / s (`ops.sign_fourier`); beta is not used.

    Args:
        omega, terms: frequency and number of terms, as in the op.
    """

    def __init__(self, omega: float = 1.0, terms: int = 8) -> None:
        super().__init__()
        self.omega, self.terms = omega, terms

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        return sign_fourier(x, omega=self.omega, terms=self.terms, scale=1 / unit)


# By the names of settings; each makes a layer.
ESTIMATORS: dict[str, Callable[[], HashLayer]] = {
    "signswish": SignSwish,
    "ste": StraightThrough,
    "clipped_ste": lambda: StraightThrough(clip=1.0),
    "fourier": FourierSeries,
}
