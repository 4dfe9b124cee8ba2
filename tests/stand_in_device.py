"""A device that is not there, to see what would pass between it and the host.

Its tensors say that they are on "meta", the one device that every torch has; their data are on the
CPU, where everything is computed. So whatever runs on a device runs here, with the CPU's results,
and each copy between host and device and each read of a value by the host is noted.
"""

from __future__ import annotations

import traceback
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
NAME = "meta"

# What hands a value of the device to the host: itself, or as the size of a result.
READS = (
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
)
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
# Make a tensor of Python's numbers on the host, and copy it to the device.
OF_NUMBERS = (torch.tensor, torch.as_tensor, Tensor.new_tensor)


class _OnDevice(Tensor):
    """Says that it is on the device."""

    @staticmethod
    def __new__(cls, data: Tensor) -> _OnDevice:
        return Tensor._make_wrapper_subclass(
            cls,
            data.shape,
            strides=data.stride(),
            storage_offset=data.storage_offset(),
            dtype=data.dtype,
            device=NAME,
        )

    def __init__(self, data: Tensor) -> None:
        self.data_on_the_cpu = data

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"expected {op} inside the `with` block of the device")


def data(x: Any) -> Any:
    """The data of a tensor on the device; anything else as it is."""
    return x.data_on_the_cpu if isinstance(x, _OnDevice) else x


class _OfNumbers(TorchFunctionMode):
    """Shows the copy of OF_NUMBERS to the other mode; torch leaves it out for "meta"."""

    def __torch_function__(self, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if f not in OF_NUMBERS:
            return f(*args, **kwargs)
        if f is Tensor.new_tensor:
            kwargs = {"dtype": args[0].dtype, "device": args[0].device} | kwargs
        device = kwargs.pop("device", None)
        return torch.tensor(args[-1], **kwargs).to(device or "cpu")


class StandInDevice(TorchDispatchMode):
    """`with StandInDevice() as device:` device.NAME is what code in the block takes for a device.

    Attributes:
        passed: copies and reads so far, as "function: op", the function being the innermost of
            hashgcn's.
    """

    NAME = NAME

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[str] = []
        self._of_numbers = _OfNumbers()

    def __enter__(self) -> StandInDevice:
        self._of_numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._of_numbers.__exit__(*error)

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = [x for x in tensors if isinstance(x, _OnDevice)]
        target = kwargs.get("device")
        result_there = bool(there) if target is None else target.type == NAME
        if op is aten._to_copy.default:
            passes = result_there != bool(there)
        elif op is aten.copy_.default:
            passes = len(there) == 1
        else:
            # A 0-d tensor of the host is an argument of a kernel.
            if there and any(x.dim() > 0 for x in tensors if not isinstance(x, _OnDevice)):
                raise AssertionError(f"expected all tensors of {op} on one device, got two")
            passes = bool(there) and is_read(op, args, kwargs)
        if passes:
            stack = [f.name for f in traceback.extract_stack() if "/hashgcn/" in f.filename]
            self.passed.append(f"{stack[-1] if stack else 'outside'}: {op.overloadpacket.__name__}")
        if result_there and target is not None:
            kwargs["device"] = torch.device("cpu")
        result = op(*tree_map(data, args), **tree_map(data, kwargs))
        if not result_there:
            return result
        # What an op writes in place stays the same tensor.
        known = {id(x.data_on_the_cpu): x for x in there}

        def on_device(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            return known[id(x)] if id(x) in known else _OnDevice(x)

        return tree_map(on_device, result)


def is_read(op: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether the host reads a value of the device, if only for the size of the result."""
    if op in INDEXING:
        return any(x is not None and x.dtype == torch.bool for x in args[1])
    if op is aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    return op in READS
