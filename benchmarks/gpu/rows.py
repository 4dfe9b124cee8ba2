"""Microseconds of the CUDA ops beside what the GPU's memory and arithmetic allow.

    python -m benchmarks.gpu.rows --out rows.jsonl [GROUP ...]
    python -m benchmarks.gpu.rows --device cpu --quick --out rows.jsonl    # a rehearsal

A JSON line per case of cases.py is appended as it is made. Floors are the case's formulas over the
rates that facts.py wrote into the same file and, beside them, over the published rates of an H200.
Integers and signs have to be equal to what they are compared with. A sum is WRONG, and the exit
status 1, if its largest error against float64, as a fraction of the largest entry, is above RIGHT
and above TIMES_PLAIN times that of plain torch. A second table says how long each kernel of a case
took, where the profiler sees kernels. A rehearsal measures nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.cases import CALLS, GROUPS, REPLAYS, WARM_UP, Case, Problem, pydantic_missing
from benchmarks.gpu.facts import H200, about, measured
from hashgcn.ops import check_errors

RIGHT, TIMES_PLAIN = 1e-5, 4.0
ROUNDS = 20
# Seconds: calls are timed together until they take this long, and no case is timed longer in all.
TOGETHER, LONGEST = 1e-3, 1.0
PROFILED = 3  # calls
SHOWN = ("elements", "batch", "queries", "items", "rows", "bits", "width", "segments")

Run = Callable[[], Any]


def seconds(run: Run, cuda: bool) -> float:
    if not cuda:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def repeated(run: Run, calls: int) -> Run:
    def several() -> None:
        for _ in range(calls):
            run()

    return several


def timed(case: Case, problem: Problem) -> dict[str, Any]:
    """Microseconds of a call. Inputs that fit into a cache are there from the call before."""
    cuda = problem.cuda
    for _ in range(WARM_UP):
        case.run()
    once = seconds(case.run, cuda)
    calls = min(50, max(1, int(TOGETHER / once))) if cuda else 1
    several, method, refused = repeated(case.run, calls), case.method or CALLS, None
    if not cuda:
        method = "a clock"
    elif case.method is None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                several()
        except RuntimeError as error:
            refused = str(error).splitlines()[0]
        else:
            several, method = graph.replay, REPLAYS
            several()
    rounds = 2 if problem.quick else min(ROUNDS, max(3, int(LONGEST / (once * calls))))
    found = sorted(1e6 * seconds(several, cuda) / calls for _ in range(rounds))
    return {
        "median": statistics.median(found),
        "p20": found[rounds // 5],
        "p80": found[-1 - rounds // 5],
        "unit": "microseconds",
        "method": method,
        "capture_refused": refused,
        "calls": calls,
        "rounds": rounds,
    }


def extra_bytes(run: Run, problem: Problem) -> int | None:
    """What torch's allocator hands out at the most, results included."""
    if not problem.cuda:
        return None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


def tensors(results: Any) -> tuple[torch.Tensor, ...]:
    if results is None:
        return ()
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def largest_error(found: tuple[torch.Tensor, ...], exact: tuple[torch.Tensor, ...]) -> float:
    """Over the results, the largest difference as part of the largest entry; inf for NaN."""
    errors = []
    for mine, right in zip(found, exact, strict=True):
        error = ((mine.double() - right).abs().max() / right.abs().max()).item()
        errors.append(error if error == error else float("inf"))
    return max(errors)


def judged(case: Case) -> dict[str, Any]:
    """Whether one call's results are right, and by how much."""
    if case.exact is None:
        return {"error": None, "plain_error": None, "right": True}
    found, exact = case.part(tensors(case.run())), tensors(case.exact())
    if case.plain is None:
        pairs = zip(found, exact, strict=True)
        equal = all(torch.equal(mine, right.to(mine.device)) for mine, right in pairs)
        return {
            "error": "equal" if equal else "different",
            "plain_error": None,
            "right": equal,
        }
    error = largest_error(found, exact)
    plain = largest_error(tensors(case.plain()), exact)
    return {
        "error": error,
        "plain_error": plain,
        "right": error <= max(RIGHT, TIMES_PLAIN * plain),
    }


def floors(case: Case, rates: dict[str, float]) -> dict[str, Any]:
    """Microseconds below which the GPU cannot do it: the longest of what it moves and computes."""
    kinds = {
        name: {
            "formula": case.work[name],
            "amount": amount,
            "measured": 1e6 * amount / rates[name] if name in rates else None,
            "h200": 1e6 * amount / H200[name],
        }
        for name, amount in case.amounts().items()
    }
    # A floor needs all of its rates measured; those that are written are another card's.
    source = "measured" if kinds and all(k["measured"] is not None for k in kinds.values()) else ""
    longest = max(kinds, key=lambda name: kinds[name][source or "h200"], default=None)
    return {
        "floors": kinds,
        "floor": kinds[longest][source] if longest and source else None,
        "floor_kind": longest,
        "h200_floor": max((k["h200"] for k in kinds.values()), default=None),
    }


def measure(case: Case, problem: Problem, rates: dict[str, float]) -> dict[str, Any]:
    row = {"name": case.name, "shape": case.shape, **judged(case), **timed(case, problem)}
    row |= floors(case, rates)
    row["ratio"] = row["median"] / row["floor"] if row["floor"] else None
    row["extra_bytes"] = extra_bytes(case.run, problem)
    row["baselines"] = {}
    if case.baseline is not None:
        name, run = case.baseline
        run()
        median = 1e6 * statistics.median(seconds(run, problem.cuda) for _ in range(3))
        row["baselines"][name] = {
            "median": median,
            "ratio": median / row["median"],
            "extra_bytes": extra_bytes(run, problem),
        }
    check_errors(problem.graph.user_ptr)  # what the ops found wrong with their arguments
    return row


def label(row: dict[str, Any]) -> str:
    shape = (f"{name} {row['shape'][name]:,}" for name in SHOWN if name in row["shape"])
    return ", ".join((row["name"], *shape))


HEADER = (
    f"{'case':<69} {'us':>9} {'p20':>9} {'p80':>9} {'floor':>8} {'ratio':>5} {'H200':>8} "
    f"{'of':<20} {'error':>7} {'plain':>7} {'MiB':>6}  method, baselines"
)


def number(value: float | str | None, form: str) -> str:
    return "-" if value is None else value if isinstance(value, str) else format(value, form)


def line(row: dict[str, Any]) -> str:
    extra = None if row["extra_bytes"] is None else row["extra_bytes"] / 2**20
    method = row["method"] + ("" if row["right"] else ", WRONG")
    if row["capture_refused"] is not None:
        method += f" (no graph: {row['capture_refused']})"
    baselines = (f"{name} {b['median']:,.0f} us" for name, b in row["baselines"].items())
    return (
        f"{label(row):<69} {row['median']:>9,.1f} {row['p20']:>9,.1f} {row['p80']:>9,.1f} "
        f"{number(row['floor'], ',.1f'):>8} {number(row['ratio'], ',.1f'):>5} "
        f"{number(row['h200_floor'], ',.1f'):>8} {row['floor_kind'] or '':<20} "
        f"{number(row['error'], '.1e'):>7} {number(row['plain_error'], '.1e'):>7} "
        f"{number(extra, ',.0f'):>6}  {', '.join((method, *baselines))}"
    )


def kernels(case: Case, problem: Problem) -> dict[str, Any]:
    """By kernel, its launches and microseconds in a call; on the CPU by torch's operator."""
    activity = ProfilerActivity.CUDA if problem.cuda else ProfilerActivity.CPU
    with profile(activities=[activity]) as found:
        repeated(case.run, PROFILED)()
        if problem.cuda:
            torch.cuda.synchronize()
    field = "self_device_time_total" if problem.cuda else "self_cpu_time_total"
    rows = [
        {
            "kernel": short(event.key),
            "microseconds": getattr(event, field) / PROFILED,
            "launches": event.count / PROFILED,
        }
        for event in found.key_averages()
        if getattr(event, field) > 0
    ]
    rows.sort(key=lambda row: -row["microseconds"])
    return {"name": case.name, "shape": case.shape, "kernels": rows}


def short(kernel: str) -> str:
    """A kernel's name without namespaces and arguments, which fill lines."""
    kernel = kernel.replace("(anonymous namespace)::", "").removeprefix("void ")
    return re.sub(r"\b(hashgcn::cuda|at::native|at)::", "", kernel).split("(")[0][:70]


def show_kernels(row: dict[str, Any]) -> None:
    total = sum(kernel["microseconds"] for kernel in row["kernels"])
    print(
        f"{label(row)}: {total:,.1f} us in kernels" if total else f"{label(row)}: no kernels seen"
    )
    for kernel in row["kernels"]:
        if kernel["microseconds"] > total / 100:
            print(
                f"    {kernel['microseconds']:>10,.1f} us {kernel['launches']:>5.1f} times  "
                f"{kernel['kernel']}"
            )


def run_group(
    name: str, problem: Problem, rates: dict[str, float], write: Callable[[str, dict], dict]
) -> int:
    """Rows of a group; returns how many cases failed or were wrong."""
    if name == "steps" and pydantic_missing():
        row = write("not run", {"name": "training step", "reason": pydantic_missing()})
        print(f"training step: not run: {row['reason']}", flush=True)
        return 0
    failed, done = 0, []
    for case in GROUPS[name](problem):
        try:
            row = write("case", measure(case, problem, rates))
            print(line(row), flush=True)
            failed += not row["right"]
            done.append(case)
        except Exception as error:
            failed += 1
            reason = f"{type(error).__name__}: {error}"
            row = write("failed", {"name": case.name, "shape": case.shape, "reason": reason})
            traceback.print_exc()
            print(f"{label(row)}: failed: {reason}", flush=True)
            if "CUDA error" in reason:
                raise  # it stays with the process
    print("\nMicroseconds of kernels in a call:", flush=True)
    try:
        for case in done:
            show_kernels(write("kernels", kernels(case, problem)))
    except Exception as error:  # the times above stand without
        reason = f"{type(error).__name__}: {error}"
        write("not run", {"name": f"kernels of {name}", "reason": reason})
        print(f"torch's profiler: {reason}", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a rehearsal")
    parser.add_argument("--out", type=Path, required=True, help="rows are appended")
    options = parser.parse_args()
    unknown = [name for name in options.groups if name not in GROUPS]
    if unknown:
        parser.error(f"GROUP: expected some of {', '.join(GROUPS)}, got {unknown[0]!r}")
    warnings.filterwarnings("ignore", message="Sparse|.*[Pp]rofiler clears events")
    device = torch.device(options.device)
    problem = Problem(device, options.quick)
    where = about(device) | {"input": problem.inputs.name, "quick": options.quick}
    rates = measured(options.out, where["gpu"])
    failed = 0
    with open(options.out, "a", encoding="utf-8") as out, torch.no_grad():

        def write(kind: str, row: dict[str, Any]) -> dict[str, Any]:
            out.write(json.dumps({"kind": kind, **row, **where}) + "\n")
            out.flush()
            return row

        print(HEADER)
        for name in options.groups or GROUPS:
            try:
                failed += run_group(name, problem, rates, write)
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f"{name}: failed", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
