"""Graph hashing for recommendation: binary codes, exact search in Hamming space."""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

_MODULES = (
    *("data", "estimator", "graph", "metrics", "models", "nn"),
    *("ops", "reference", "retrieval", "training"),
)

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> ModuleType:
    # Modules load when they are first used: retrieval works in a process without torch.
    if name in _MODULES:
        return importlib.import_module(f"hashgcn.{name}")
    raise AttributeError(f"module 'hashgcn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
