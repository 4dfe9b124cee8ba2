"""Graph hashing for recommendation: binary codes, exact search in Hamming space."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = (
    *("compat", "data", "errors", "evaluate", "graph", "metrics", "models"),
    *("networks", "nn", "ops", "retrieval", "runs", "train"),
)
_NAMES = {
    "BGCH": "models",
    "HammingIndex": "retrieval",
    "HashGNN": "models",
    "HashRec": "models",
    "LightGCN": "models",
    "NotFittedError": "errors",
    "RecallHash": "models",
    "Recommender": "retrieval",
    "load": "data",
    "open_run": "runs.opened",
    "read_interactions": "data",
}

__all__ = ["__version__", *_NAMES, *_MODULES]


def __getattr__(name: str) -> Any:
    # What is asked for loads when it is first used: retrieval works in a process without torch.
    if name in _NAMES:
        return getattr(importlib.import_module(f"hashgcn.{_NAMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"hashgcn.{name}")
    raise AttributeError(f"module 'hashgcn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
