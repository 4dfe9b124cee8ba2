"""Options, fixtures and markers of the suite that `python -m benchmarks.ops` runs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from benchmarks.harness import machine, memory, race, rows
from benchmarks.harness.inputs import CACHE, Inputs, real_data

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hashgcn")
    group.addoption("--quick", action="store_true", help="tiny sizes, which test the suite")
    group.addoption("--threads", default="1,2", help="numbers of threads, separated by commas")
    group.addoption("--rows", type=Path, help="file that rows are appended to")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "narrow: also run on narrower instruction sets")
    config.addinivalue_line("markers", "most_threads: run with the largest number of threads only")
    config.addinivalue_line("markers", "apart: run only if its file is named")
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


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = _rows_file(session.config)
    if path.exists():
        rows.compact(path)


def pytest_collection_finish() -> None:
    """Exempt what is loaded from garbage collection, which each case runs several times."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    race.set_threads(request.param)
    yield request.param
    race.set_threads(before)


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--quick")


@pytest.fixture(scope="session")
def size(quick: bool) -> Callable[[T, T], T]:
    """size(full, tiny) is the size that this run uses."""
    return lambda full, tiny: tiny if quick else full


@pytest.fixture(scope="session")
def inputs(quick: bool) -> Inputs:
    return Inputs(quick)


@pytest.fixture(scope="session")
def folder(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the real files, or of generated interactions in their format."""
    if inputs.is_real:
        return real_data()
    path = tmp_path_factory.mktemp("generated")
    parts = inputs.dataset.train.split(0.2, seed=0)
    for name, part in zip(("train.txt", "test.txt"), parts, strict=True):
        rows = np.split(part.ids, part.ptr[1:-1])
        lines = (" ".join(map(str, [user, *row])) for user, row in enumerate(rows))
        (path / name).write_text("\n".join(lines) + "\n")
    return path


def _rows_file(config: pytest.Config) -> Path:
    path = config.getoption("--rows")
    if path is not None:
        return path
    folder = CACHE if config.getoption("--quick") else machine.RESULTS
    return folder / f"ops-{machine.slug()}.jsonl"


@pytest.fixture(params=["reused", "fresh"])
def allocation(request: pytest.FixtureRequest) -> Iterator[str]:
    """The memory that results get, fresh or used before, in words for the row's note."""
    if request.param == "fresh":
        yield "results in fresh memory"
        return
    with memory.reused():
        yield "results in reused memory"


@pytest.fixture(name="race")
def _race(
    request: pytest.FixtureRequest, benchmark: Any, threads: int, quick: bool
) -> Callable[..., None]:
    """race(case, ours, baselines) compares the results, times them and appends the row."""
    path = _rows_file(request.config)
    path.parent.mkdir(parents=True, exist_ok=True)

    def run(case: race.Case, ours: race.Contender, baselines: list[Any]) -> None:
        row = race.run_case(
            benchmark,
            case,
            ours,
            baselines,
            threads=threads,
            environment=race.environment(),
            quick=quick,
        )
        rows.append(path, row)
        _show(request.config, row)

    return run


def _show(config: pytest.Config, row: dict[str, Any]) -> None:
    sizes = " ".join(f"{name}={value}" for name, value in row["shape"].items())
    percent = row["percent_of_bound"]
    bound = "" if percent is None else f"  {percent:5.1f}% of the bound"
    words = ", ".join(filter(None, [row["name"], row["mode"], row["input"], row["note"]]))
    lines = [
        f"{row['op']}: {words}, {row['dtype']}, {sizes}, "
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
