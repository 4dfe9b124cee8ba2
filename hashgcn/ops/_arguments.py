"""Arguments of ops: what is no tensor, lies elsewhere or is no number is refused by name."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hashgcn.graph import BipartiteGraph, Candidates


def check_tensors(**arguments: Any) -> None:
    """Raise unless all, those of a graph and of candidates too, are dense tensors on one device.

    The name of an argument says what it has to be; those of _OPTIONAL may be None.
    """
    home: tuple[str, torch.device] | None = None
    for name, given in arguments.items():
        if given is None and name in _OPTIONAL:
            continue
        if name == "graph":
            tensors = graph_tensors(given)
        elif name == "candidates":
            if not isinstance(given, Candidates):
                raise ValueError(f"candidates: expected Candidates or None, got {kind(given)}")
            tensors = {f"candidates.{k}": x for k, x in given._asdict().items() if x is not None}
        else:
            tensors = {name: given}
        for part, x in tensors.items():
            if not isinstance(x, Tensor):
                raise ValueError(f"{part}: expected a torch.Tensor, got {kind(x)}")
            if x.layout != torch.strided or x.is_nested:
                layout = "a nested one" if x.is_nested else x.layout
                raise ValueError(f"{part}: expected a dense tensor, got {layout}")
            if home is None:
                home = part, x.device
            elif x.device != home[1]:
                raise ValueError(f"{part}: expected on {home[1]} like {home[0]}, got {x.device}")


_OPTIONAL = ("candidates", "item_weights", "exclude_ptr", "exclude_ids", "allow", "ptr", "ids")


def graph_tensors(graph: Any) -> dict[str, Tensor]:
    """The tensors of a graph that ops take."""
    if not isinstance(graph, BipartiteGraph):
        raise ValueError(
            f"graph: expected a BipartiteGraph, got {kind(graph)}; "
            "data.Interactions.from_pairs(users, items, num_users, num_items).graph() makes one; "
            "users, items = matrix.nonzero().T are the pairs of a dense matrix"
        )
    names = ("user_ptr", "user_items", "item_ptr", "item_users", "scale")
    return {f"graph.{name}": getattr(graph, name) for name in names}


def kind(given: Any) -> str:
    """What was given, for an error."""
    found = type(given)
    prefix = "" if found.__module__ == "builtins" else f"{found.__module__}."
    return f"{prefix}{found.__qualname__}"


def whole(name: str, given: Any) -> int:
    """An argument that is a whole number, as the int that an op takes."""
    if torch.compiler.is_compiling():
        return given
    try:
        number = operator.index(given)
    except TypeError:
        raise ValueError(f"{name}: expected an int, got {given!r}") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name}: expected an int of 64 bits, got {given}")
    return number


def real(name: str, given: Any) -> float:
    """An argument that is a number, as the float that an op takes."""
    if torch.compiler.is_compiling():
        return given
    try:
        if not isinstance(given, str):
            return float(given)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name}: expected a number, got {given!r}")


def in_float32(x: Tensor) -> Tensor:
    """float16 and bfloat16, as autocast makes them, in float32: for ops that sum or compare."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def scalar_like(value: float | Tensor, name: str, like: Tensor) -> Tensor:
    """A positive number as the 0-d tensor that an op takes.

    Its dtype is float64 for float64 inputs, else float32. A tensor keeps its value on the device,
    so that a schedule neither synchronises nor recompiles.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    if isinstance(value, Tensor):
        if value.dim() != 0 or value.is_complex():
            raise ValueError(
                f"{name}: expected a number or 0-d tensor, got {value.dtype} {list(value.shape)}"
            )
        if value.is_meta and not like.is_meta:
            raise ValueError(f"{name}: expected on {like.device} like x, got meta")
        without_tangent(name, value)
        return value.detach().to(device=like.device, dtype=dtype, non_blocking=True)
    if not torch.compiler.is_compiling():
        value = real(name, value)
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: expected a finite positive number, got {value}")
        if dtype == torch.float32 and value > torch.finfo(dtype).max:
            raise ValueError(f"{name}: expected a finite float32 number, got {value}")
    return torch.full((), value, device=like.device, dtype=dtype)


def without_tangent(name: str, x: Tensor) -> None:
    """Raise where forward mode differentiates an argument that gets no gradient."""
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None:
        raise NotImplementedError(f"{name}: expected no forward-mode tangent, got one")
