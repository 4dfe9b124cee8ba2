"""Hash layers: codes of real-valued embeddings, a class for each gradient of the sign.

All are called alike, so that any of them goes with any encoder:

    user_codes, item_codes = layer(users, items, beta, batch)

Losses on score tables take those whose `signs` is True; losses on real-valued scores take all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hashgcn.devices import copy_to
from hashgcn.nn.layers import standard_deviation
from hashgcn.ops import sign_fourier, sign_guided, sign_ste, sign_swish, tanh_continuation


class HashLayer(nn.Module):
    """Codes of real-valued rows of users and items; a subclass says how a matrix becomes codes.

    Rows are taken in units of s, the standard deviation over all entries of P and Q, detached:
    propagated embeddings shrink, and only their size against a slope, a clip or a period counts.

    An estimator of one's own is a subclass with one method:

        class Mine(HashLayer):
            def codes(self, x, unit, beta):
                return my_sign(x / unit)

    Deterministic, for any number of threads. Cost and memory: those of the op that a subclass
    names, and one more read of P and Q for s.

    Attributes:
        signs: codes are +1 and -1 while training too, as score tables need. In evaluation mode
            every layer gives signs.
    """

    signs: ClassVar[bool] = True

    def forward(
        self, users: Tensor, items: Tensor, beta: float | Tensor, batch: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Codes of users (only the rows `batch`, if given) and of all items.

        Args:
            users: P, float [m, f].
            items: Q, of the same dtype, [n, f].
            beta: what a schedule changes, a positive number or 0-d tensor; see the subclass.
            batch: int64 [b] rows of users; -1 (padding) gets the code of row 0.

        Returns:
            codes [b, f] (without batch [m, f]) and [n, f], differentiable in P and Q.

        Raises:
            ValueError: NaN, a dtype that the op lacks, beta not positive where it is used.
        """
        chosen = users if batch is None else users.index_select(0, batch.clamp(min=0))
        if not (self.training or self.signs):
            return sign_ste(chosen.detach()), sign_ste(items.detach())
        unit = standard_deviation(users.detach(), items.detach())
        return self.codes(chosen, unit, beta), self.codes(items, unit, beta)

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        """Codes of x / unit, x [rows, f], unit 0-d: differentiable in x, not in unit or beta."""
        raise NotImplementedError


class SignSwish(HashLayer):
    """The sign, differentiated as SignSwish (`ops.sign_swish`).

    beta is the slope at 0 in units of 1 / s: SS_beta(x / s) = SS_(beta / s)(x), so nothing is
    divided but beta. It is fixed, or annealed from soft to sharp.
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
        return sign_ste(x, self.clip, scale=1 / unit)


class FourierSeries(HashLayer):
    """The sign, differentiated as BGCH's series in x / s (`ops.sign_fourier`); beta is not used.

    Args:
        omega, terms: frequency and number of terms, as in the op.
    """

    def __init__(self, omega: float = 1.0, terms: int = 8) -> None:
        super().__init__()
        self.omega, self.terms = omega, terms

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        return sign_fourier(x, self.omega, self.terms, scale=1 / unit)


class TanhContinuation(HashLayer):
    """tanh(beta x / s) while training, the sign in evaluation mode (`ops.tanh_continuation`)."""

    signs = False

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        return tanh_continuation(x, beta / unit)


class Guidance(HashLayer):
    """While training each row is its sign with probability beta, else x / s (`ops.sign_guided`).

    In evaluation mode the sign. Deterministic given the generator's state.

    Args:
        generator: what draws the rows, on the CPU, so that devices draw alike; torch's default if
            left out. To resume a run bit for bit, seed it by the step.
    """

    signs = False

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.generator = generator

    def codes(self, x: Tensor, unit: Tensor, beta: float | Tensor) -> Tensor:
        drawn = copy_to(torch.rand(len(x), generator=self.generator), x.device)
        return sign_guided(x, drawn < beta, scale=1 / unit)


# By the names of settings; each takes what holds the settings' numbers.
ESTIMATORS: dict[str, Callable[[Any], HashLayer]] = {
    "signswish": lambda s: SignSwish(),
    "ste": lambda s: StraightThrough(),
    "clipped_ste": lambda s: StraightThrough(s.ste_clip),
    "fourier": lambda s: FourierSeries(s.fourier_omega, s.fourier_terms),
    "tanh": lambda s: TanhContinuation(),
    "guided": lambda s: Guidance(torch.Generator().manual_seed(s.seed)),
}
