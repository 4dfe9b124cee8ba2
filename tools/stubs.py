"""`make stubs`: hashgcn/models/methods.pyi, the signatures of the methods for editors and mypy.

They are made from the settings, which `help` reads as they are; a test compares the two.
"""

from __future__ import annotations

import inspect
import types
import typing
from pathlib import Path
from typing import Any

from hashgcn.models import METHODS

PATH = Path(__file__).resolve().parents[1] / "hashgcn" / "models" / "methods.pyi"


def annotation(kind: Any) -> str:
    """A type as source text."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]".replace("'", '"')
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(annotation, arguments))
    if origin is tuple:  # a setting takes any sequence and keeps a tuple
        return f"Sequence[{annotation(arguments[0])}]"
    return "None" if kind is type(None) else kind.__name__


def text() -> str:
    """The content of the file."""
    lines = [
        "# Made by `make stubs` from the settings.",
        "from collections.abc import Sequence",
        "from typing import Literal",
        "",
        "from hashgcn.models.base import HashModel",
    ]
    for method in METHODS.values():
        lines += ["", f"class {method.__name__}(HashModel):"]
        lines += ["    def __init__(", "        self,", "        *,"]
        for name, parameter in inspect.signature(method).parameters.items():
            kind = annotation(parameter.annotation)
            lines.append(f"        {name}: {kind} = {parameter.default!r},".replace("'", '"'))
        lines += ["    ) -> None: ..."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
