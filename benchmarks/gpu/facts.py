"""Rates of a GPU, from which floors are computed: what it copies, multiplies, counts per second.

    python -m benchmarks.gpu.facts --out rows.jsonl
    python -m benchmarks.gpu.facts --out rows.jsonl --device cpu    # a rehearsal, by torch alone

A JSON line per fact is appended as it is measured; rows.py reads them from the same file. Copies
and the bfloat16 product are torch's. The other loops are those of facts.cu, which nvcc compiles
into build/gpu_facts.so if that is missing. None of them needs hashgcn's libraries.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import machine

SOURCE = Path(__file__).with_suffix(".cu")
LIBRARY = machine.ROOT / "build" / "gpu_facts.so"
# 8.0 runs on what comes later, compiled as it loads; wgmma is of 9.0a alone.
ARCHITECTURES = ("arch=compute_80,code=[sm_80,compute_80]", "arch=compute_90a,code=sm_90a")
OPTIONS = ("-std=c++17", "-O3", "-shared", "-Xcompiler", "-fPIC,-Wall")

# What the loops of facts.cu count.
LOOPS = {
    "l2_bytes": "bytes read from the second cache",
    "popcounts": "popcounts of 32 bits",
    "multiply_adds": "multiply-adds of float32",
    "special_functions": "exponentials of float32",
    "bit_products_mma": "pairs of bits, mma.sync m16n8k256 and.popc",
    "bit_products_wgmma": "pairs of bits, wgmma m64n256k256 and.popc",
    "shared_atomics": "atomic additions in shared memory, one bank per lane",
    "shared_atomics_on_one_word": "atomic additions in shared memory, all lanes on one word",
}
# The same of an H200 as published: 132 multiprocessors at 1.98 GHz with 16 popcounts, 16 special
# functions and 128 multiply-adds per cycle; a copy of 4.3 TB/s, a bfloat16 product of 790 TFLOP/s
# and a second cache of 5.5 TB/s, as others have measured them.
_H200_CYCLES = 132 * 1.98e9
H200 = {
    "bytes": 4.3e12,
    "l2_bytes": 5.5e12,
    "popcounts": 16 * _H200_CYCLES,
    "special_functions": 16 * _H200_CYCLES,
    "multiply_adds": 128 * _H200_CYCLES,
    "tensor_multiply_adds": 3.95e14,
}


def about(device: torch.device) -> dict[str, Any]:
    """The fields of a row that say where and with what it was made."""
    cuda = device.type == "cuda"
    return {
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        "driver": smi("driver_version") if cuda else None,
        "cuda": torch.version.cuda,
        "versions": machine.versions(),
        # For a copy without git, the caller gives the commit.
        "commit": os.environ.get("HASHGCN_COMMIT") or machine.commit(),
        "date": machine.today(),
    }


def smi(query: str) -> str:
    """An answer of nvidia-smi for the first GPU, or "unknown"."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        return subprocess.check_output(command, text=True).splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def measured(path: Path, gpu: str | None) -> dict[str, float]:
    """The last value of each fact of this GPU in a file of rows."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [row for row in map(json.loads, lines) if row["kind"] == "fact" and row["gpu"] == gpu]
    return {row["name"]: row["value"] for row in rows if row["value"] is not None}


def compiled() -> ctypes.CDLL:
    """The library of loops, which is compiled unless it exists and is newer than its source.

    Raises:
        RuntimeError: there is neither the library nor nvcc, or nvcc fails.
    """
    nvcc = shutil.which("nvcc", path=f"{os.environ['PATH']}:/usr/local/cuda/bin")
    fresh = LIBRARY.exists() and LIBRARY.stat().st_mtime >= SOURCE.stat().st_mtime
    if nvcc is None and not LIBRARY.exists():
        raise RuntimeError(f"expected nvcc on PATH or in /usr/local/cuda/bin, or {LIBRARY}")
    if nvcc is not None and not fresh:
        compile_loops(nvcc, LIBRARY)
    return ctypes.CDLL(str(LIBRARY))


def compile_loops(
    nvcc: str, library: Path, *options: str, targets: Sequence[str] = ARCHITECTURES
) -> str:
    """Compile facts.cu; returns the output of nvcc."""
    library.parent.mkdir(parents=True, exist_ok=True)
    command = [nvcc, *OPTIONS, *options, *(f"-gencode={target}" for target in targets)]
    command += ["-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip()
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {said}")
    return said


def card(device: torch.device) -> dict[str, Any]:
    found = torch.cuda.get_device_properties(device)
    return {
        "multiprocessors": found.multi_processor_count,
        "capability": f"{found.major}.{found.minor}",
        "memory": found.total_memory,
        "l2_cache": found.L2_cache_size,
        "max_sm_mhz": smi("clocks.max.sm"),
        "max_memory_mhz": smi("clocks.max.memory"),
    }


def loop(library: ctypes.CDLL, name: str, multiprocessors: int) -> dict[str, Any]:
    """What a loop of facts.cu does per second, and per multiprocessor and cycle."""
    milliseconds, cycles, operations = (ctypes.c_double() for _ in range(3))
    results = [ctypes.byref(x) for x in (milliseconds, cycles, operations)]
    code = getattr(library, f"measure_{name}")(*results)
    if code != 0:
        library.describe.restype = ctypes.c_char_p
        raise RuntimeError(library.describe(code).decode())
    return {
        "value": operations.value / milliseconds.value * 1e3,
        "per_multiprocessor_and_cycle": operations.value / multiprocessors / cycles.value,
        "milliseconds": milliseconds.value,
        "mhz": cycles.value / milliseconds.value / 1e3,
    }


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Median of ten runs, after three."""
    found = []
    for _ in range(13):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            end.synchronize()
            found.append(start.elapsed_time(end) / 1e3)
        else:
            started = time.perf_counter()
            run()
            found.append(time.perf_counter() - started)
    return statistics.median(found[3:])


def copy_rate(device: torch.device) -> dict[str, Any]:
    size = 2**31 if device.type == "cuda" else 2**22
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return {"value": 2 * size / seconds(lambda: target.copy_(source), device)}


def product_rate(device: torch.device) -> dict[str, Any]:
    """Random numbers: a product of zeros takes less power, and runs faster."""
    size = 8192 if device.type == "cuda" else 128
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return {"value": size**3 / seconds(lambda: a @ b, device)}


def facts(device: torch.device) -> Iterator[dict[str, Any]]:
    """Rows; of a fact that cannot be measured value is None and `reason` says why."""
    if device.type == "cuda":
        found = card(device)
        yield {"name": "card", "value": None, "unit": "", **found}
    for name, unit, measure in (
        ("bytes", "bytes read and written by a copy", copy_rate),
        ("tensor_multiply_adds", "multiply-adds of bfloat16 in a product", product_rate),
    ):
        yield {"name": name, "unit": unit, **measure(device)}
    library, reason = None, "needs a GPU"
    if device.type == "cuda":
        try:
            library = compiled()
        except RuntimeError as error:
            reason = str(error)
    for name, unit in LOOPS.items():
        row: dict[str, Any] = {"name": name, "unit": unit, "value": None}
        if library is None:
            row["reason"] = reason
        else:
            try:
                row |= loop(library, name, found["multiprocessors"])
            except RuntimeError as error:
                row["reason"] = str(error)
        yield row


def line(row: dict[str, Any]) -> str:
    if row["name"] == "card":
        return (
            f"{row['gpu']}, capability {row['capability']}, driver {row['driver']}: "
            f"{row['multiprocessors']} multiprocessors at up to {row['max_sm_mhz']} MHz, "
            f"{row['memory'] / 2**30:.0f} GiB, second cache {row['l2_cache'] / 2**20:.0f} MiB"
        )
    if row["value"] is None:
        return f"{'not measured':>12}    {row['unit']}: {row['reason']}"
    cycle = row.get("per_multiprocessor_and_cycle")
    each = "" if cycle is None else f"; {cycle:.5g} per multiprocessor and cycle"
    return f"{row['value']:>12.4g}/s  {row['unit']}{each}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, required=True, help="rows are appended")
    options = parser.parse_args()
    device = torch.device(options.device)
    where = about(device)
    missing = 0
    with open(options.out, "a", encoding="utf-8") as out:
        for row in facts(device):
            row = {"kind": "fact", **row, **where}
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(line(row), flush=True)
            # Another architecture than wgmma's is no failure; on a CPU nothing else is asked for.
            reason = row.get("reason", "")
            missing += reason != "" and not reason.startswith("needs ")
    return min(missing, 1)


if __name__ == "__main__":
    sys.exit(main())
