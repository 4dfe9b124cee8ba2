"""Extra memory of the recall loss on score tables and in its pairwise form, forward and backward.

    .venv/bin/python benchmarks/memory.py

Each form runs in a process of its own; extra memory is the highest resident size during the step
over that before it, gradients of both sides included (Linux).
"""

from __future__ import annotations

import ctypes
import subprocess
import sys

import torch
from shapes import GOWALLA, interactions

from hashgcn import ops, reference
from hashgcn.graph import BipartiteGraph
from hashgcn.nn import SmoothRecallLoss

BITS, TAU = 64, 3.5


def resident(field: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024


def step(form: str, batch: int) -> None:
    graph = BipartiteGraph.from_interactions(interactions(GOWALLA))
    g = torch.Generator().manual_seed(0)

    def run(size: int) -> None:
        users = torch.randperm(GOWALLA.users, generator=g)[:size]
        user_codes = reference.sign(torch.randn(size, BITS, generator=g)).requires_grad_()
        item_codes = reference.sign(torch.randn(GOWALLA.items, BITS, generator=g)).requires_grad_()
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before does not hide what is taken now
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")  # the highest resident size starts anew
        before = resident("VmRSS")
        if form == "score tables":
            loss = SmoothRecallLoss((50,), TAU)(
                *ops.score_tables(user_codes, item_codes, users, graph)
            )
        else:
            ranks = reference.smooth_rank(
                user_codes, item_codes, users, graph.user_ptr, graph.user_items, TAU
            )
            loss = -torch.sigmoid(torch.log(ranks.new_tensor(50.0)) - ranks.log()).mean()
        loss.backward()
        positives = int((graph.user_ptr[users + 1] - graph.user_ptr[users]).sum())
        if size == batch:
            print(
                f"{form:>14}  {size:5d} users  {positives:6d} positives  "
                f"{(resident('VmHWM') - before) / 2**20:8.1f} MiB extra"
            )

    run(8)  # libraries and pools come up
    run(batch)


def main() -> None:
    if len(sys.argv) == 3:
        step(sys.argv[1], int(sys.argv[2]))
        return
    print(f"{GOWALLA.items} items, {BITS} bits, float32, {torch.get_num_threads()} threads")
    for form, batch in (
        ("score tables", 256),
        ("score tables", 1024),
        ("score tables", 4096),
        ("pairwise", 64),
        ("pairwise", 256),
    ):
        subprocess.run([sys.executable, __file__, form, str(batch)], check=True)


if __name__ == "__main__":
    main()
