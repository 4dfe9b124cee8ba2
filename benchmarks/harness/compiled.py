"""Contenders that torch.compile has compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo  # loaded before the collector is frozen, see conftest

from benchmarks.harness.race import Contender, Skipped


def compiled(
    name: str,
    function: Callable[..., Any],
    arguments: tuple,
    check: Callable[[Any, Any], str],
    quick: bool,
    then: Callable[[Any], Any] = lambda result: result,
) -> Contender | Skipped:
    """A contender that runs torch.compile(function)(*arguments) and `then` on its result.

    It is compiled again for every case, because code for the CPU depends on the number of threads.
    """
    fast = compile_function(function, quick)
    if isinstance(fast, Skipped):
        return Skipped(name, fast.reason)
    return Contender(name, lambda: then(fast(*arguments)), check=check)


def compile_function(
    function: Callable[..., Any], quick: bool, dynamic: bool = False
) -> Callable[..., Any] | Skipped:
    """torch.compile(function) in one graph.

    Args:
        function: what to compile.
        quick: do not compile; a run that tests the suite would mostly wait for the compiler.
        dynamic: compile for inputs of any size.
    """
    if quick:
        return Skipped("torch.compile", "not compiled in a quick run")
    torch._dynamo.reset()
    fast = torch.compile(function, fullgraph=True, dynamic=dynamic)

    def run(*arguments: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fast(*arguments)

    return run
