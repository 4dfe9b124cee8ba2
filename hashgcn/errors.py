"""Errors of the package that are not plain ValueErrors."""

from __future__ import annotations


class NotFittedError(ValueError, AttributeError):
    """A model was asked for results before `fit`.

    Both of its bases are what scikit-learn's error of the same name has, so that code written for
    either catches it.
    """

    def __init__(self, model: object) -> None:
        super().__init__(f"{type(model).__name__} is not fitted yet: call fit first")
