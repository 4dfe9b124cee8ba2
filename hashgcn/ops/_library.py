"""Loads the compiled ops, calls them, and registers what torch has to know of them.

Every file of this folder that registers something imports this one, which loads the ops first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from hashgcn.ops._arguments import check_tensors

_FOLDER = Path(__file__).resolve().parent.parent / "lib"


def _load(name: str) -> None:
    path = _FOLDER / f"lib{name}.so"
    if not path.exists():
        raise ImportError(
            f"hashgcn's compiled ops are missing ({path.name}); build them with "
            "`make build`, or `pip install --no-build-isolation -e .`"
        )
    torch.ops.load_library(path)


_load("hashgcn_cpu")
# The CUDA library needs a torch that has CUDA; where it was not built, an op on a CUDA tensor
# raises the dispatcher's own error, that no CUDA kernel is registered.
if torch.version.cuda is not None and (_FOLDER / "libhashgcn_cuda.so").exists():
    _load("hashgcn_cuda")

ops = torch.ops.hashgcn


def check_errors(tensor: Tensor) -> None:
    """Raise what the ops found wrong with values on a CUDA device since the last call.

    On CUDA an op checks shapes at once but values on the device: it never touches memory out of
    bounds, sets a flag and goes on. This function reads the flag. The host waits for the device
    meanwhile, so call it where the host waits anyway. With HASHGCN_CHECK=1 in the environment every
    op raises by itself, and names itself.

    Args:
        tensor: any tensor; its device is checked. On the CPU ops raise by themselves, so that there
            is nothing to do.

    Raises:
        ValueError: what was expected of which argument; `tensor` is none.

    Example:
        >>> check_errors(torch.zeros(1))
    """
    check_tensors(tensor=tensor)
    if tensor.is_cuda:
        ops.check_errors.default(tensor)


# By op: what stands in for it under forward-mode differentiation and torch.func.
_FUNCTIONS: dict[str, type[Function]] = {}


def call(op: str) -> Callable[..., Any]:
    """The op, as it is to be called: under torch.func and in forward mode too.

    torch.library's gradients refuse torch.func, and drop the tangents of forward mode.
    """
    overload = getattr(ops, op).default

    def run(*args: Any) -> Any:
        if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
            return _apply(op, *args)
        return overload(*args)

    return run


# torch.compile leaves torch.func over an op as it is: it knows no Function that has a jvp.
@torch.compiler.disable
def _apply(op: str, *args: Any) -> Any:
    return _FUNCTIONS[op].apply(*args)


def register_fake(op: str) -> Callable[[Callable[..., Any]], None]:
    """Register the decorated function, which makes results without values; devices are checked."""
    names = [argument.name for argument in getattr(ops, op).default._schema.arguments]

    def register(fake: Callable[..., Any]) -> None:
        def checked(*args: Any) -> Any:
            given = zip(names, args, strict=False)
            check_tensors(**{name: x for name, x in given if isinstance(x, Tensor)})
            return fake(*args)

        torch.library.register_fake(f"hashgcn::{op}", checked)

    return register


def register_gradient(
    op: str,
    backward: Callable[..., Any],
    setup_context: Callable[..., None] | None = None,
    jvp: Callable[..., Any] | None = None,
) -> None:
    """Register how the op is differentiated: backwards, and forwards if there is a `jvp`.

    Both take what setup_context saves.
    """
    torch.library.register_autograd(f"hashgcn::{op}", backward, setup_context=setup_context)
    overload = getattr(ops, op).default

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if setup_context is not None:
            setup_context(ctx, inputs, output)
            ctx.save_for_forward(*ctx.to_save)

    def slices(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        return _slice_by_slice(call(op), info, in_dims, args)

    methods: dict[str, Any] = {
        "forward": lambda *args: overload(*args),
        "setup_context": keep,
        "backward": backward,
        "jvp": no_jvp(f"hashgcn::{op}") if jvp is None else jvp,
        "vmap": slices,
    }
    parts: dict[str, Any] = {name: staticmethod(method) for name, method in methods.items()}
    _FUNCTIONS[op] = type(op, (Function,), parts)


def no_jvp(op: str) -> Callable[..., NoReturn]:
    """The jvp of a Function that has none."""

    def refuse(ctx: Any, *tangents: Tensor | None) -> NoReturn:
        raise NotImplementedError(f"{op}: it has no forward-mode gradient")

    return refuse


def _slice_by_slice(
    op: Callable[..., Any], info: Any, in_dims: tuple[int | None, ...], args: tuple[Any, ...]
) -> tuple[Any, Any]:
    """A vmap of the op: its results on each slice, stacked."""
    results = [
        op(*(x if d is None else x.select(d, i) for x, d in zip(args, in_dims, strict=True)))
        for i in range(info.batch_size)
    ]
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])


def no_gradient(op: str) -> None:
    """Let vmap run the op, whose results have no gradient, slice by slice."""

    def slices(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        return _slice_by_slice(getattr(ops, op).default, info, in_dims, args)

    torch.library.register_vmap(f"hashgcn::{op}", slices)


def differentiable_once(op: str) -> None:
    """Make the op's gradient raise where it would be differentiated again.

    torch would take that gradient for a constant and only warn.
    """
    backward = f"{op}_backward"

    def refuse(ctx: Any, *grads: Tensor) -> NoReturn:
        raise NotImplementedError(f"hashgcn::{backward}: its result has no gradient in turn")

    register_gradient(backward, refuse)


class _Once(Function):
    @staticmethod
    def forward(op: str, compute: Callable[..., Any], *tensors: Tensor) -> Any:
        return compute(*(x.detach() for x in tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.op = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> NoReturn:
        raise NotImplementedError(f"{ctx.op}: its gradient has no gradient in turn")

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> NoReturn:
        raise NotImplementedError(f"{ctx.op}: its gradient has no forward-mode gradient")


def once(op: str, compute: Callable[..., Any], *tensors: Tensor) -> Any:
    """compute(*tensors), for the backward pass of a Function that has no second derivative.

    It raises where torch would differentiate it. torch's own once_differentiable raises in some of
    these places, and is left out of the sum in others.
    """
    return _Once.apply(op, compute, *tensors)
