"""The command info: what is installed, and which kernels it runs."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import typer

from hashgcn import __version__
from hashgcn.cli import options


def info(as_json: options.Json = False) -> None:
    """Print versions, kernels, instruction sets and GPUs.

    The CPU path is the instruction set in use; HASHGCN_CPU forces another. Kernels that cannot run
    stand with the reason.

    Example: hashgcn info --json
    """
    found = collect()
    typer.echo(json.dumps(found, indent=2) if as_json else as_text(found))


def collect() -> dict[str, Any]:
    """Versions, live kernels, instruction sets, threads and GPUs, as JSON can hold them.

    Kernels that are not live stand with the reason; nothing is raised for them.
    """
    import numpy
    import torch

    found: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "cpu": cpu(),
        "gpus": [torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())],
    }
    try:
        from hashgcn import _numpy, ops
    except ImportError as error:
        reason = str(error).splitlines()[0]
        return found | {"cpu_kernels": reason, "cuda_kernels": reason}
    # Some functions of ops are compositions, without a kernel of their own.
    names = [name for name in ops.__all__ if torch._C._dispatch_has_kernel(f"hashgcn::{name}")]
    live = {
        key: [
            name
            for name in names
            if torch._C._dispatch_has_kernel_for_dispatch_key(f"hashgcn::{name}", key)
        ]
        for key in ("CPU", "CUDA")
    }
    return found | {
        "cpu_kernels": live["CPU"],
        "cuda_kernels": live["CUDA"] or _why_no_cuda(),
        "instruction_set": _numpy.instruction_set(),
        "instruction_sets": _numpy.instruction_sets(),
    }


def cpu() -> str:
    """The processor's model, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return models[0].strip() if models else platform.processor()


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return "the CUDA library was not built (HASHGCN_CUDA=1 make build needs nvcc)"


def as_text(found: dict[str, Any]) -> str:
    """The same, a line each."""
    lines = [
        ("hashgcn", found["version"]),
        ("CPU kernels", _listed(found["cpu_kernels"])),
        ("CUDA kernels", _listed(found["cuda_kernels"])),
    ]
    if "instruction_set" in found:
        available = ", ".join(found["instruction_sets"])
        lines.append(("CPU path", f"{found['instruction_set']} (available: {available})"))
    lines += [
        ("processor", found["cpu"]),
        ("threads", f"{found['threads']} of {found['processors']} processors"),
        ("GPU", ", ".join(found["gpus"]) or "none (torch sees no CUDA device)"),
        ("torch", found["torch"]),
        ("Python", f"{found['python']}, {found['system']}"),
    ]
    return "\n".join(f"{name + ':':<14}{value}" for name, value in lines)


def _listed(kernels: list[str] | str) -> str:
    return ", ".join(kernels) if isinstance(kernels, list) else f"not loaded: {kernels}"
