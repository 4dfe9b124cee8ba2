"""Warns of ops without a CUDA half or a benchmark; part of `make lint`, which it never fails.

An op may land without either: a contributor needs neither nvcc nor a GPU.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Timed as part of the losses of score_tables, whose small tables it multiplies.
NOT_ALONE = ("fixed_order_mm",)


def text(pattern: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob(pattern)))


def warnings() -> list[str]:
    """One line for each op and each thing that it lacks."""
    ops = re.findall(r'm\.def\(\s*"(\w+)\(', text("csrc/torch/schemas.cpp"))
    cuda = text("csrc/torch/*_cuda.cpp")
    # Ops that several backends share are registered in a header that both include.
    for header in re.findall(r'#include "(\w+\.h)"', cuda):
        cuda += text(f"csrc/torch/{header}")
    timed = text("benchmarks/ops/bench_*.py")
    found = []
    for op in ops:
        if f'm.impl("{op}"' not in cuda:
            found.append(f"{op}: no CUDA kernel (csrc/torch/*_cuda.cpp)")
        alone = not op.endswith("_backward") and op not in NOT_ALONE
        if alone and not re.search(rf"\bops\.{op}\b", timed):
            found.append(f"{op}: not timed (benchmarks/ops)")
    return found


if __name__ == "__main__":
    for line in warnings():
        print(f"warning: {line}", file=sys.stderr)
