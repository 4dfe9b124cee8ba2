"""Times of the CUDA ops by CUDA events, beside what the GPU's memory and arithmetic allow.

    python benchmarks/gpu.py --out rows.jsonl [CASE ...]
    python benchmarks/gpu.py --device cpu --quick --out rows.jsonl     # rehearsal, measures nothing

One JSON line a case, written as it is made. Results are compared with the baseline's first. Bounds:
bytes that have to move over the copy bandwidth measured here, operations over the rates of compute
capability 8.0 and 9.0 (16 popcounts and 128 multiply-adds a multiprocessor and cycle). Beside them
stand the floors, the same formulas with an H200's rates, whatever the device is. Kernels that are
chosen by name (ops.cuda_kernels) are compared with the plain ones and timed beside them; a wrong
result fails the run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import machine
import torch
from bench_propagate import Halves
from inputs import Inputs, mask_positives, random_words
from pairwise import in_chunks
from torch import Tensor

from hashgcn import ops
from hashgcn.graph import BipartiteGraph
from hashgcn.models import RecallHash
from hashgcn.nn import SmoothRecallLoss
from hashgcn.ops._cuda_kernels import CUDA_KERNELS
from hashgcn.settings import RecallHashSettings

ROUNDS, WARM_UP = 20, 3
BITS, BATCH, LAYERS, TAU, CUTOFF = 64, 2048, 3, 3.6, 50
BASELINE_CHUNKS = (4, 8, 16, 32, 64)
# A second, on an H200: bytes that a copy reads and writes, and operations of 132 multiprocessors at
# 1.98 GHz.
H200 = {"bytes": 4.3e12, "popcounts": 16 * 132 * 1.98e9, "multiply_adds": 128 * 132 * 1.98e9}


@dataclass
class Case:
    """What is timed.

    Attributes:
        reach: what is asked of it.
        work: bytes, popcounts (of 32 bits) and multiply_adds that it has to move or do at least,
            each a formula of the shape.
        baselines: by name, what a user would run instead; each with its check against run's result.
        family: of ops.cuda_kernels; the other kernels of it are run too.
        kernels: those of the family that suit the shape, all if empty.
    """

    name: str
    run: Callable[[], Any]
    shape: dict[str, int]
    reach: str
    work: dict[str, str] = field(default_factory=dict)
    baselines: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], None] | None]] | None = None
    family: str = ""
    kernels: tuple[str, ...] = ()

    def amounts(self) -> dict[str, float]:
        return {name: eval(formula, {}, self.shape) for name, formula in self.work.items()}

    def floors(self) -> dict[str, dict[str, Any]]:
        """By kind of work: its formula, how much that is, and seconds of it on an H200."""
        return {
            name: {"formula": self.work[name], "amount": amount, "h200": amount / H200[name]}
            for name, amount in self.amounts().items()
        }


class Device:
    """Timing and memory of a device; the CPU's are for rehearsals."""

    def __init__(self, name: str, quick: bool) -> None:
        self.device, self.quick = torch.device(name), quick
        self.cuda = self.device.type == "cuda"

    def seconds(self, run: Callable[[], Any], rounds: int = ROUNDS) -> list[float]:
        """Of each round, sorted."""
        rounds, warm_up = (2, 1) if self.quick else (rounds, WARM_UP)
        for _ in range(warm_up):
            run()
        found = []
        for _ in range(rounds):
            if self.cuda:
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
        return sorted(found)

    def peak(self, run: Callable[[], Any]) -> int | None:
        """Extra bytes that torch's allocator hands out at the most, result included."""
        if not self.cuda:
            return None
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before

    def rates(self) -> dict[str, float]:
        """Bytes, popcounts and multiply-adds a second; none of the latter two on a CPU."""
        size = 2**22 if self.quick else 2**30
        source = torch.zeros(size, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        copy = 2 * size / statistics.median(self.seconds(lambda: target.copy_(source)))
        if not self.cuda:
            return {"bytes": copy}
        clock = 1e6 * float(smi("clocks.max.sm"))
        cycles = clock * torch.cuda.get_device_properties(self.device).multi_processor_count
        return {"bytes": copy, "popcounts": 16 * cycles, "multiply_adds": 128 * cycles}


def smi(query: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "-i", "0"]
    return subprocess.check_output(command, text=True).splitlines()[0].strip()


def same(mine: Any, theirs: Any) -> None:
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b)


def near(mine: Any, theirs: Any, part: float = 1e-4) -> None:
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).abs().max() <= part * b.abs().max()


def elementwise(device: Device, inputs: Inputs) -> Iterator[Case]:
    count = 10**4 if device.quick else 10**8
    x = torch.randn(count // BITS, BITS, device=device.device)
    grad, beta = torch.randn_like(x), torch.tensor(1.3, device=device.device)
    reach, shape = "90% of the copy bandwidth", {"elements": x.numel()}
    yield Case(
        *("sign_swish", lambda: ops.sign_swish(x, beta), shape, reach),
        work={"bytes": "8 * elements"},
        family="elementwise",
        baselines={"torch.where": (lambda: torch.where(x >= 0, 1.0, -1.0), None)},
    )
    yield Case(
        *("sign_swish_pack", lambda: ops.sign_swish_pack(x, beta), shape, reach),
        work={"bytes": "8 * elements + elements / 8"},
        family="elementwise",
    )
    backward = torch.ops.hashgcn.sign_swish_backward

    def plain() -> Tensor:
        z = beta * x
        s = torch.sigmoid(z)
        return grad * beta * s * (1 - s) * (2 + z * (1 - 2 * s)) * 2

    yield Case(
        *("sign_swish backward", lambda: backward(grad, x, beta), shape, reach),
        work={"bytes": "12 * elements"},
        family="elementwise",
        baselines={"plain torch": (plain, None)},
    )


def losses(device: Device, inputs: Inputs) -> Iterator[Case]:
    users = inputs.batch(32 if device.quick else BATCH)
    row, item = (t.to(device.device) for t in inputs.graph.positives(users))
    graph, users = inputs.graph.to(device.device), users.to(device.device)
    signs = [t.to(device.device) for t in inputs.signs("random", BITS)]
    b, d = signs[0][users].requires_grad_(), signs[1].requires_grad_()
    count = len(row)
    objective = SmoothRecallLoss((CUTOFF,), TAU)
    share = 1 / torch.bincount(row, minlength=len(users)).clamp(min=1)[row] / len(users)

    def recall(ranks: Tensor, r: Tensor) -> Tensor:
        log_cutoff = torch.log(ranks.new_tensor(CUTOFF))
        weights = share[torch.searchsorted(row, r[0]) :][: len(r)] if len(r) else share[:0]
        return -(torch.sigmoid(log_cutoff - ranks.log()) * weights).sum()

    def ours() -> tuple[Tensor, ...]:
        loss = objective(*ops.score_tables(b, d, users, graph))
        return loss.detach(), *torch.autograd.grad(loss, (b, d))

    def real_valued() -> tuple[Tensor, ...]:
        loss = recall(ops.smooth_rank(b, d, users, graph, TAU, size=count), row)
        return loss.detach(), *torch.autograd.grad(loss, (b, d))

    plain = {
        f"plain torch, chunks of {chunk}": (
            partial(in_chunks, b.detach(), d.detach(), row, item, TAU, chunk, recall),
            near,
        )
        for chunk in BASELINE_CHUNKS
    }
    shape = {"batch": len(users), "items": len(d), "bits": BITS, "positives": count}
    code_bytes = "3 * 4 * bits * (batch + items)"
    yield Case(
        *("recall loss on score tables, forward and backward", ours, shape),
        "250 us; 100 times plain torch; 1/200 of the memory without chunks",
        work={
            "bytes": code_bytes,
            "popcounts": "2 * batch * items * bits / 32",
            "multiply_adds": "2 * batch * items * bits",
        },
        baselines=plain,
        family="score_tables",
    )
    yield Case(
        *("recall loss on smooth_rank, forward and backward", real_valued, shape),
        "10 times plain torch",
        work={"bytes": code_bytes, "multiply_adds": "4 * batch * items * bits"},
        baselines=plain,
    )


def topk(device: Device, inputs: Inputs) -> Iterator[Case]:
    queries, items = (t.to(device.device) for t in inputs.codes("random", BITS))
    graph, k = inputs.graph.to(device.device), 10 if device.quick else 100
    signs = [t.to(device.device) for t in inputs.signs("random", BITS)]

    def ours() -> tuple[Tensor, Tensor]:
        return ops.hamming_topk(
            *(queries, items, k),
            code_length=BITS,
            exclude_ptr=graph.user_ptr,
            exclude_ids=graph.user_items,
        )

    def plain() -> tuple[Tensor, Tensor]:
        """Distances alone are compared: topk orders equals as it likes."""
        found = []
        for start in range(0, len(queries), 4096):
            scores = signs[0][start : start + 4096] @ signs[1].T
            mask_positives(scores, graph, start)
            found.append(scores.topk(k).values)
        return (torch.cat(found),)

    def distances_agree(mine: Any, theirs: Any) -> None:
        assert torch.equal((BITS - theirs[0]).int() // 2, mine[0])

    shape = {"queries": len(queries), "items": len(items), "bits": BITS, "k": k}
    yield Case(
        *("hamming_topk, train items left out", ours, shape),
        "3 ms; 10 times matmul and topk",
        work={
            "bytes": "bits / 8 * (queries + items) + 12 * k * queries",
            "popcounts": "queries * items * bits / 32",
        },
        baselines={"matmul, mask, topk": (plain, distances_agree)},
        family="hamming_topk",
    )
    count = 10**4 if device.quick else 10**8
    catalogue = random_words(count, BITS, 5).to(device.device)
    yield Case(
        "hamming_topk, one query",
        lambda: ops.hamming_topk(queries[:1], catalogue, k, code_length=BITS),
        {"queries": 1, "items": count, "bits": BITS, "k": k},
        "80% of the copy bandwidth",
        work={"bytes": "bits / 8 * items", "popcounts": "items * bits / 32"},
        family="hamming_topk",
        kernels=("tiled",),
    )


def propagation(device: Device, inputs: Inputs) -> Iterator[Case]:
    cpu = inputs.graph
    graph, halves = cpu.to(device.device), Halves.of(cpu)
    halves = Halves(halves.up.to(device.device), halves.down.to(device.device))
    nodes = cpu.num_users + cpu.num_items
    x = torch.randn(nodes, BITS, device=device.device)
    yield Case(
        "propagation",
        lambda: (ops.propagate(graph, x, LAYERS),),
        {"pairs": len(cpu.user_items), "nodes": nodes, "width": BITS, "layers": LAYERS},
        "1.5 times torch.sparse",
        work={
            "bytes": "layers * 8 * nodes * width",
            "multiply_adds": "layers * 2 * pairs * width",
        },
        baselines={"torch.sparse": (lambda: (halves.propagate(x, LAYERS),), near)},
        family="propagate",
    )


def step(device: Device, inputs: Inputs) -> Iterator[Case]:
    graph: BipartiteGraph = inputs.graph.to(device.device)
    settings = RecallHashSettings(code_length=BITS, batch_users=32 if device.quick else BATCH)
    network = RecallHash.network(graph, settings).to(device.device)
    users = inputs.batch(settings.batch_users).to(device.device)
    rate = torch.tensor(settings.learning_rate, device=device.device)
    adam = torch.optim.Adam(network.parameters(), lr=rate, capturable=device.cuda)

    def run() -> None:
        adam.zero_grad(set_to_none=True)
        network.loss(graph, users, 0.5).backward()
        adam.step()

    shape = {"batch": len(users), "items": graph.num_items, "bits": BITS}
    yield Case("training step", run, shape, "")
    if not device.cuda:
        return

    def captured() -> torch.cuda.CUDAGraph:
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            run()
        return graph

    yield Case("training step, captured as a graph", captured().replay, shape, "1.5 ms")
    with ops.cuda_kernels(elementwise="wide", propagate="wide", score_tables="tiled"):
        replay = captured().replay  # keeps these kernels
    yield Case("training step, captured, kernels wide and tiled", replay, shape, "1.5 ms")


GROUPS = {
    "elementwise": elementwise,
    "losses": losses,
    "topk": topk,
    "propagation": propagation,
    "step": step,
}


def tensors(result: Any) -> tuple[Tensor, ...]:
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def other_kernels(device: Device, case: Case) -> dict[str, dict[str, Any]]:
    """By name, what the case's kernels besides the plain ones take, and whether they are right."""
    if not device.cuda or not case.family:
        return {}
    plain, found = tensors(case.run()), {}
    for name in case.kernels or CUDA_KERNELS[case.family][1:]:
        with ops.cuda_kernels(**{case.family: name}):
            result = tensors(case.run())
            times = device.seconds(case.run)
            extra = device.peak(case.run)
        try:
            near(result, plain, 1e-5)
            right = all(
                a.is_floating_point() or torch.equal(a, b)
                for a, b in zip(result, plain, strict=True)
            )
        except AssertionError:
            right = False
        found[name] = {"median": statistics.median(times), "right": right, "extra_bytes": extra}
    return found


def measure(device: Device, case: Case, rates: dict[str, float]) -> dict[str, Any]:
    times = device.seconds(case.run)
    median = statistics.median(times)
    bounds = {
        name: amount / rates[name]
        for name, amount in case.amounts().items()
        if name in rates and not device.quick  # tiny inputs sit in caches
    }
    baselines = {}
    for name, (run, check) in (case.baselines or {}).items():
        if check is not None:
            check(case.run(), run())
        theirs = device.seconds(run, rounds=3)
        baselines[name] = {
            "median": statistics.median(theirs),
            "ratio": statistics.median(theirs) / median,
            "compared": check is not None,
            "extra_bytes": device.peak(run),
        }
    return {
        "median": median,
        "p20": times[len(times) // 5],
        "p80": times[-1 - len(times) // 5],
        "rounds": len(times),
        "extra_bytes": device.peak(case.run),
        "bounds": bounds,
        "floors": case.floors(),
        "percent_of_bound": 100 * max(bounds.values()) / median if bounds else None,
        "baselines": baselines,
        "kernels": other_kernels(device, case),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="CASE", help=", ".join(GROUPS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a rehearsal")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    unknown = [name for name in options.groups if name not in GROUPS]
    if unknown:
        parser.error(f"CASE: expected some of {', '.join(GROUPS)}, got {unknown[0]!r}")
    device = Device(options.device, options.quick)
    about = {
        "gpu": torch.cuda.get_device_name() if device.cuda else None,
        "driver": smi("driver_version") if device.cuda else None,
        "cuda": torch.version.cuda,
        "versions": machine.versions(),
        "commit": machine.commit(),
        "date": machine.today(),
        "quick": options.quick,
    }
    rates = device.rates()
    inputs = Inputs(options.quick)
    failed = 0
    with open(options.out, "a", encoding="utf-8") as out:
        for name in options.groups or GROUPS:
            try:
                for case in GROUPS[name](device, inputs):
                    row = measure(device, case, rates)
                    row = {"name": case.name, "shape": case.shape, "reach": case.reach, **row}
                    where = about | {"rates": rates, "input": inputs.name}
                    print(json.dumps(row | where), file=out)
                    out.flush()
                    best = min((b["median"] for b in row["baselines"].values()), default=None)
                    print(
                        f"{case.name}: {1e3 * row['median']:.3f} ms",
                        f"({row['percent_of_bound']:.0f}% of the bound)" if row["bounds"] else "",
                        f"best baseline {best / row['median']:.1f} times" if best else "",
                        f"[{case.reach}]" if case.reach else "",
                        flush=True,
                    )
                    for kernels, other in row["kernels"].items():
                        failed += not other["right"]
                        print(
                            f"    {case.family}={kernels}: {1e3 * other['median']:.3f} ms,",
                            f"{row['median'] / other['median']:.2f} times the plain kernels,",
                            "right" if other["right"] else "WRONG",
                            flush=True,
                        )
                    for kind, floor in row["floors"].items():
                        print(
                            f"    {kind}: {floor['formula']} = {floor['amount']:.3g},",
                            f"{1e3 * floor['h200']:.3g} ms on an H200",
                            flush=True,
                        )
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f"{name}: failed", file=sys.stderr, flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
