"""Options, fixtures and markers of the suite; `hashgcn bench` runs it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from benchmarks.harness import harness, machine, memory
from benchmarks.harness.inputs import CACHE, Inputs, real_data

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hashgcn")
    group.addoption("--quick", action="store_true", help="tiny sizes: tests the suite")
    group.addoption("--threads", default="1,2", help="thread counts, by commas")
    group.addoption("--rows", type=Path, help="file of JSON lines that rows are appended to")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "narrow: also run with HASHGCN_CPU set to narrower sets")
    config.addinivalue_line("markers", "most_threads: with the largest thread count alone")
    config.addinivalue_line("markers", "apart: only when its file is asked for by name")
    memory.settle()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "threads" in metafunc.fixturenames:
        counts = [int(n) for n in metafunc.config.getoption("--threads").split(",")]
        if metafunc.definition.get_closest_marker("most_threads"):
            counts = [max(counts)]
        metafunc.parametrize("threads", counts, indirect=True, ids=lambda n: f"{n}-threads")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = {Path(argument).name for argument in config.args}
    apart = [item for item in items if item.get_closest_marker("apart")]
    left_out = [item for item in apart if item.path.name not in named]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """What is loaded by now leaves the collector's sight: each case collects several times."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    harness.set_threads(request.param)
    yield request.param
    harness.set_threads(before)


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--quick")


@pytest.fixture(scope="session")
def size(quick: bool) -> Callable[[T, T], T]:
    """size(full, tiny): the one that this run uses."""
    return lambda full, tiny: tiny if quick else full


@pytest.fixture(scope="session")
def inputs(quick: bool) -> Inputs:
    return Inputs(quick)


@pytest.fixture(scope="session")
def folder(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real files, or generated interactions written in their format."""
    if inputs.is_real:
        return real_data()
    path = tmp_path_factory.mktemp("generated")
    parts = inputs.dataset.train.split(0.2, seed=0)
    for name, part in zip(("train.txt", "test.txt"), parts, strict=True):
        rows = np.split(part.ids, part.ptr[1:-1])
        lines = (" ".join(map(str, [user, *row])) for user, row in enumerate(rows))
        (path / name).write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def rows_file(request: pytest.FixtureRequest, quick: bool) -> Path:
    path = request.config.getoption("--rows")
    if path is None:
        folder = CACHE if quick else Path(__file__).with_name("results")
        path = folder / f"bench-{machine.slug()}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(params=["reused", "fresh"])
def allocation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Whether results get memory that was used before; its value goes into the row's note."""
    if request.param == "fresh":
        yield "results in fresh memory"
        return
    with memory.reused():
        yield "results in reused memory"


@pytest.fixture
def race(
    request: pytest.FixtureRequest, benchmark: Any, threads: int, rows_file: Path
) -> Callable[..., None]:
    """race(case, ours, baselines): checks, times, and appends the row at once."""

    def run(case: harness.Case, ours: harness.Contender, baselines: list[Any]) -> None:
        row = harness.run_case(
            benchmark,
            case,
            ours,
            baselines,
            threads=threads,
            environment=harness.environment(),
            quick=request.config.getoption("--quick"),
        )
        with rows_file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        _show(request.config, row)

    return run


def _show(config: pytest.Config, row: dict[str, Any]) -> None:
    sizes = " ".join(f"{name}={value}" for name, value in row["shape"].items())
    percent = row["percent_of_bound"]
    bound = "" if percent is None else f"  {percent:5.1f}% of the bound"
    lines = [
        f"{row['op']}: {row['name']}, {row['mode']}, {row['input']}, {sizes}, "
        f"{row['threads']} threads, {row['instruction_set']}",
        f"    {1e3 * row['median']:12.3f} ms{bound}",
        *(
            f"    {1e3 * b['median']:12.3f} ms  {b['ratio']:7.2f}x  {b['name']}"
            for b in row["baselines"]
        ),
        *(f"    {'left out':>12}     {name}: {why}" for name, why in row["skipped"].items()),
    ]
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("", *lines, sep="\n", flush=True)
