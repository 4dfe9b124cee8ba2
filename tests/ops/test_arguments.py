"""What is no tensor, lies on another device or has another dtype is refused by name; threads."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samples import SAMPLES, as_tuple
from torch import Tensor

from hashgcn import _numpy, ops
from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.nn import LightGCN, real_score_tables
from hashgcn.nn.tables import log_partition

GRAPH = BipartiteGraph.from_csr(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 2]), 3)
X, CODES = torch.randn(5, 4), torch.ones(3, 4)
WORDS = ops.pack_codes(CODES)
USERS = torch.tensor([0, 1])
LISTS = Candidates(torch.tensor([0, 2, 3]), torch.tensor([1, 0, 2]), torch.ones(3))
EXCLUDED = {"exclude_ptr": torch.arange(4), "exclude_ids": torch.arange(3)}

# Public function: every argument by name.
CALLS: dict[Callable[..., Any], dict[str, Any]] = {
    ops.sign_swish: {"x": X, "beta": 1.0},
    ops.sign_ste: {"x": X, "clip": 1.0, "scale": 2.0},
    ops.sign_fourier: {"x": X, "omega": 1.0, "terms": 8, "scale": 1.0},
    ops.sign_guided: {"x": X, "take_sign": torch.ones(5).bool(), "scale": 1.0},
    ops.tanh_continuation: {"x": X, "beta": 1.0},
    ops.pack_codes: {"x": X},
    ops.unpack_codes: {"words": WORDS, "code_length": 4, "dtype": torch.float32},
    ops.pack_levels: {"codes": 3 * CODES, "levels": 2},
    ops.unpack_levels: {"planes": WORDS[:, None], "code_length": 4, "dtype": torch.float32},
    ops.fixed_order_mm: {"x": X, "matrix": torch.ones(4, 2)},
    ops.propagate: {"graph": GRAPH, "x": X, "layers": 2, "first": 1},
    ops.score_tables: {
        **{"user_codes": CODES[:2], "item_codes": CODES, "users": USERS},
        **{"graph": GRAPH, "candidates": LISTS, "levels": 1, "item_weights": torch.ones(3)},
    },
    ops.smooth_rank: {
        **{"user_emb": X[:2], "item_emb": X[2:], "users": USERS, "graph": GRAPH, "tau": 1.0},
        **{"candidates": LISTS, "exclude_positives": True, "size": 3},
        **{"item_weights": torch.ones(3)},
    },
    ops.hamming_topk: {
        **{"queries": WORDS, "items": WORDS, "k": 2, "code_length": 4},
        **{**EXCLUDED, "allow": torch.ones(3).bool()},
    },
    ops.hamming_histogram: {
        **{"queries": WORDS, "items": WORDS, "code_length": 4},
        **{"ptr": torch.arange(4), "ids": torch.arange(3)},
    },
    real_score_tables: {
        **{"user_rows": X[:2], "item_rows": X[2:], "users": USERS, "graph": GRAPH, "bins": 8},
    },
}
ARGUMENTS = [(call, name) for call, given in CALLS.items() for name in given]
TENSORS = [
    (call, name)
    for call, given in CALLS.items()
    for name, value in given.items()
    if isinstance(value, (Tensor, BipartiteGraph, Candidates))
]


def name_of(value: object) -> str:
    return value if isinstance(value, str) else value.__name__


def on_meta(value: Any) -> Any:
    """The same tensor, graph or lists without memory."""
    if isinstance(value, BipartiteGraph):
        return value.to("meta")
    if isinstance(value, Candidates):
        return Candidates(*(x.to("meta") for x in value))
    return value.to("meta")


def test_every_op_and_every_argument_is_tried():
    public = {getattr(ops, name) for name in ops.__all__} - {ops.TopK, ops.check_errors}
    assert public <= set(CALLS)
    for call, given in CALLS.items():
        assert list(inspect.signature(call).parameters) == list(given), call
        call(**given)


@pytest.mark.parametrize(("call", "name"), TENSORS, ids=name_of)
def test_what_is_no_tensor(call, name):
    given = CALLS[call][name]
    array = given.numpy() if isinstance(given, Tensor) else np.ones((2, 3))
    for wrong, kind in ((array.tolist(), "list"), (array, "numpy.ndarray"), ("text", "str")):
        with pytest.raises(ValueError, match=rf"^{name}: expected .*, got {kind}(;|$)"):
            call(**CALLS[call] | {name: wrong})


@pytest.mark.parametrize(("call", "name"), ARGUMENTS, ids=name_of)
def test_other_arguments_of_other_kinds(call, name):
    if (call, name) in TENSORS or name == "exclude_positives":
        return
    for wrong in ([1], "1", np.ones(2), None):
        if wrong is None and name == "size":
            continue
        with pytest.raises(ValueError, match=f"^{name}: expected "):
            call(**CALLS[call] | {name: wrong})


@pytest.mark.parametrize(("call", "name"), TENSORS, ids=name_of)
def test_a_tensor_without_memory_among_others(call, name):
    given = CALLS[call]
    if sum(c is call for c, _ in TENSORS) == 1:
        return
    with pytest.raises(ValueError, match=r"expected on (cpu|meta) like .*, got (cpu|meta)"):
        call(**given | {name: on_meta(given[name])})


@pytest.mark.parametrize("op", sorted(SAMPLES))
def test_raw_ops_take_tensors_of_one_device(op):
    _, args = next(SAMPLES[op]())
    run = getattr(torch.ops.hashgcn, op)
    tensors = [i for i, x in enumerate(args) if isinstance(x, Tensor)]

    def moved(places: list[int]) -> list[Any]:
        return [x.detach().to("meta") if i in places else x for i, x in enumerate(args)]

    for result in as_tuple(run(*moved(tensors))):
        assert result.is_meta
    for place in tensors if len(tensors) > 1 else []:
        for places in ([place], [i for i in tensors if i != place]):
            with pytest.raises(ValueError, match=r"expected on (cpu|meta) like"):
                run(*moved(places))


@pytest.mark.filterwarnings("ignore:.*nested tensors")
@pytest.mark.parametrize(
    "make",
    [
        X.to_sparse,
        lambda: torch.nested.nested_tensor([X, X[:2]]),
        lambda: torch.nested.nested_tensor([X, X[:2]], layout=torch.jagged),
    ],
    ids=["sparse", "nested", "jagged"],
)
def test_tensors_that_are_not_dense(make):
    with pytest.raises(ValueError, match="^x: expected a dense tensor"):
        ops.sign_swish(make(), 1.0)


def test_numbers_of_numpy_are_numbers():
    found = ops.hamming_topk(WORDS, WORDS, np.int64(2), code_length=np.int32(4))
    assert found.ids.shape == (3, 2)
    assert torch.equal(ops.sign_ste(X, clip=np.float32(1)), ops.sign_ste(X, clip=1.0))
    ops.sign_swish(X, np.float32(1.5))
    for wrong in (2**63, -(2**70)):
        with pytest.raises(ValueError, match="^k: expected an int of 64 bits"):
            ops.hamming_topk(WORDS, WORDS, wrong, code_length=4)
    for beta in (1e39, 10**400, 1e-60):
        with pytest.raises(ValueError, match="beta"):
            ops.sign_swish(X, beta)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ops.score_tables(CODES[:2].byte(), CODES.byte(), USERS, GRAPH), "float32 uint8"),
        (lambda: ops.score_tables(CODES[:2].bool(), CODES.bool(), USERS, GRAPH), "bool True"),
        (lambda: ops.score_tables(CODES[:2].to(torch.int8), CODES, USERS, GRAPH), "int8 float()"),
        (lambda: ops.pack_codes(CODES.byte()), "x float32 uint8 unpack_codes"),
        (lambda: ops.pack_codes(CODES.bool()), "x float32 bool 2 * x.float() - 1"),
        (lambda: ops.sign_swish(X.to(torch.complex64), 1.0), "x float32 complex64"),
        (
            lambda: ops.hamming_topk(WORDS.view(torch.uint8), WORDS, 1, code_length=4),
            "queries int64 uint8 x.view(torch.int64)",
        ),
        (lambda: ops.unpack_codes(CODES.byte(), 4), "words int64 uint8"),
        (lambda: ops.propagate(torch.ones(2, 3), X, 2), "graph BipartiteGraph Tensor nonzero"),
        (
            lambda: LightGCN(2, 3, 4, 1)(torch.ones(2, 3)),
            "graph BipartiteGraph Tensor from_pairs",
        ),
        (lambda: log_partition([1.0], X, 1.0), "users torch.Tensor list"),
        (
            lambda: ops.score_tables(CODES[:2], CODES, USERS, GRAPH, (USERS, USERS)),
            "candidates Candidates tuple",
        ),
        (lambda: ops.smooth_rank(X[:2], X[2:], USERS.float(), GRAPH, 1.0), "users int64 float32"),
        (lambda: BipartiteGraph.from_csr(torch.ones(2, 3), USERS, 3), "user_ptr int64 [2, 3]"),
        (lambda: BipartiteGraph.from_csr([0, 1], USERS, 3), "user_ptr torch.Tensor list"),
        (lambda: BipartiteGraph.from_csr(USERS, USERS, 3), "user_ptr rise 2"),
        (
            lambda: BipartiteGraph.from_csr(torch.tensor([0, 2, 1, 2]), USERS, 3),
            "user_ptr falls after user 1",
        ),
        (
            lambda: BipartiteGraph.from_csr(torch.tensor([0, 2]), torch.tensor([1, 3]), 3),
            "user_items [0, 3) 3",
        ),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(ValueError) as error:
        call()
    for word in words.split():
        assert word in str(error.value), (word, str(error.value))


def graph_of(ptr: list[int], ids: list[int]) -> BipartiteGraph:
    rest = torch.zeros(0, dtype=torch.int64)
    tensors = torch.tensor(ptr), torch.tensor(ids)
    return BipartiteGraph(*tensors, rest, rest, torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("users", "ptr", "ids", "message"),
    [
        ([0, 7], [0, 2, 3], [0, 2, 2], r"users in \[0, 2\) or -1, got 7 in row 1"),
        ([-2, 0], [0, 2, 3], [0, 2, 2], r"users in \[0, 2\) or -1, got -2 in row 0"),
        ([0, 1], [0, 2, 1], [0, 2, 2], "ptr .* rise inside of the 3 ids, got 2 and 1 for user 1"),
        ([0, 1], [0, 2, 9], [0, 2, 2], "ptr .* rise inside of the 3 ids, got 2 and 9 for user 1"),
        ([0, 1], [0, 2, 3], [0, 2, 3], r"ids .* in \[0, 3\), got 3 for user 1"),
        ([0, 1], [0, 2, 3], [2, 0, 2], "ids .* strictly increasing .* got 2 before 0 for user 0"),
        ([0, 1], [0, 2, 3], [2, 2, 2], "ids .* strictly increasing .* got 2 before 2 for user 0"),
    ],
)
def test_faults_of_rows_name_what_is_wrong(users, ptr, ids, message):
    graph = graph_of(ptr, ids)
    with pytest.raises(ValueError, match=f"score_tables: expected {message}"):
        ops.score_tables(CODES[:2], CODES, torch.tensor(users), graph)
    with pytest.raises(ValueError, match=f"smooth_rank: expected {message}"):
        ops.smooth_rank(X[:2], X[2:], torch.tensor(users), graph, 1.0, size=3)


def test_faults_of_numbers_name_the_row():
    bad = CODES.clone()
    bad[2, 1] = 0.5
    with pytest.raises(ValueError, match=r"item_codes .* got 0\.5 in row 2"):
        ops.score_tables(CODES[:2], bad, USERS, GRAPH)
    x = X.clone()
    x[3, 1] = float("nan")
    with pytest.raises(ValueError, match="x finite, .* got nan in row 3"):
        ops.propagate(GRAPH, x, 0)
    with pytest.raises(ValueError, match="item_emb finite, .* got nan in row 1"):
        ops.smooth_rank(X[:2], x[2:], USERS, GRAPH, 1.0)


def test_sizes_of_zero():
    empty = BipartiteGraph.from_csr(torch.zeros(1).long(), torch.zeros(0).long(), 0)
    none = torch.zeros(0, dtype=torch.int64)
    assert ops.propagate(empty, X[:0], 3).shape == (0, 4)
    assert ops.propagate(GRAPH, X[:, :0], 3).shape == (5, 0)
    assert ops.score_tables(CODES[:0], CODES, none, GRAPH)[2].shape == (0, 5)
    assert not ops.score_tables(CODES[:0], CODES[:0], none, empty)[2].any()
    assert ops.smooth_rank(X[:0], X[2:], none, GRAPH, 1.0).shape == (0,)
    assert ops.smooth_rank(X[:0], X[:0], none, empty, 1.0).shape == (0,)
    padding = torch.tensor([-1, -1])
    assert ops.smooth_rank(X[:2], X[2:], padding, GRAPH, 1.0).shape == (0,)
    assert ops.hamming_topk(WORDS[:0], WORDS, 2, code_length=4).ids.shape == (0, 2)
    assert (ops.hamming_topk(WORDS, WORDS[:0], 2, code_length=4).ids == -1).all()
    assert not ops.hamming_histogram(WORDS, WORDS[:0], code_length=4).any()
    assert ops.fixed_order_mm(X[:, :0], X[:0]).shape == (5, 4)
    assert not ops.fixed_order_mm(X[:, :0], X[:0]).any()


def test_memory_layouts_change_nothing():
    """Transposed, sliced, expanded, and lazily negated inputs."""
    wide = torch.randn(4, 10)
    inputs = [wide.T, wide.T[::2], wide[:, ::3], wide[:1].expand(6, 10), torch._neg_view(wide)]
    for x in inputs:
        dense = x.clone(memory_format=torch.contiguous_format).resolve_neg()
        assert torch.equal(ops.sign_ste(x), ops.sign_ste(dense))
        assert torch.equal(ops.pack_codes(x), ops.pack_codes(dense))
        assert torch.equal(ops.fixed_order_mm(x, x.T), ops.fixed_order_mm(dense, dense.T))


# Threads


def groups(root: Path, cgroup: str, **files: str) -> str:
    """A root with control groups: lines of /proc/self/cgroup, and files below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


RUNNABLE = len(os.sched_getaffinity(0))
V1 = "3:cpu,cpuacct:/pod\n2:memory:/pod\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "110000 100000\n"}, 2),
        (V1, {"cpu/pod/cpu.cfs_quota_us": "100000", "cpu/pod/cpu.cfs_period_us": "100000"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "1", "cpu,cpuacct/cpu.cfs_period_us": "9"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        (V1, {"memory/pod/cpu.cfs_quota_us": "1", "memory/pod/cpu.cfs_period_us": "9"}, None),
        ("garbage\n:\n\n", {"cpu.max": "garbage"}, None),
    ],
)
def test_processors_of_control_groups(tmp_path, cgroup, files, limit):
    found = _numpy.processors(groups(tmp_path, cgroup, **files))
    assert found == (RUNNABLE if limit is None else min(RUNNABLE, limit))


def test_processors_are_those_that_the_process_may_run_on():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert _numpy.processors() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= _numpy.processors() <= RUNNABLE


THREADS = """
import sys, threading, time
import numpy as np
from hashgcn import _numpy
def threads():
    status = open("/proc/self/status").read()
    return int(status.split("Threads:")[1].split()[0])
words = np.random.default_rng(0).integers(0, 2**62, (200_000, 1))
most, done = 0, False
def watch():
    global most
    while not done:
        most = max(most, threads())
before = threads() + 1
watcher = threading.Thread(target=watch)
watcher.start()
for _ in range(3):
    _numpy.hamming_topk(words[:64], words, 10, 64, num_threads=int(sys.argv[1]))
done = True
watcher.join()
print(most - before)
"""


@pytest.mark.parametrize(
    ("wanted", "omp", "most"),
    [(20_000, None, RUNNABLE - 1), (2**62, "1", RUNNABLE - 1), (0, "1", 0), (0, "1,4", 0)],
)
def test_threads_that_a_call_starts(wanted, omp, most):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment |= {} if omp is None else {"OMP_NUM_THREADS": omp}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    command = [sys.executable, "-c", THREADS, str(wanted)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert 0 <= int(done.stdout) <= most


SCRATCH = """
import resource, torch
from hashgcn import ops
words = torch.randint(0, 2**62, (20_000, 1))
want = ops.hamming_topk(words[:3000], words, 10, code_length=64)
torch.set_num_threads(200)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
got = ops.hamming_topk(words[:3000], words, 10, code_length=64)
assert torch.equal(got.ids, want.ids) and torch.equal(got.distances, want.distances)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_scratch_is_for_as_many_threads_as_processors():
    """Scratch of a thread is 2 MiB; torch's number of threads may be larger."""
    command = [sys.executable, "-c", SCRATCH]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # The stacks of torch's own threads take some of it.
    assert int(done.stdout) < 1024 * (50 + 2 * RUNNABLE)


def parts_of(result: Any) -> list[Tensor]:
    return list(as_tuple(result))


BREAKING = (real_score_tables, ops.pack_levels)  # what reads values, see below


@pytest.mark.parametrize("call", [c for c in CALLS if c not in BREAKING], ids=name_of)
def test_every_op_compiles_without_graph_breaks(call):
    """Through the checks; "eager" traces without compiling what it traced."""
    torch._dynamo.reset()
    tensors = {k: x for k, x in CALLS[call].items() if isinstance(x, Tensor)}
    rest = {k: x for k, x in CALLS[call].items() if k not in tensors}
    compiled = torch.compile(
        lambda given: call(**given, **rest), backend="eager", fullgraph=True, dynamic=True
    )
    got, want = parts_of(compiled(tensors)), parts_of(call(**CALLS[call]))
    assert all(map(torch.equal, got, want))


def test_ranks_of_a_size_that_the_graph_knows_compile():
    """The number of positives is read from a tensor: a size that only a run can tell."""

    def loss(user_emb: Tensor, item_emb: Tensor) -> Tensor:
        return ops.smooth_rank(user_emb, item_emb, USERS, GRAPH, 1.0).log().sum()

    leaves = [x.clone().requires_grad_() for x in (X[:2], X[2:])]
    torch._dynamo.reset()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(*leaves), loss(*leaves))
    got, want = (torch.autograd.grad(f(*leaves), leaves) for f in (compiled, loss))
    assert all(map(torch.equal, got, want))


@pytest.mark.parametrize(
    ("run", "given"),
    [
        (lambda *rows: real_score_tables(*rows, USERS, GRAPH, bins=8)[2], (X[:2], X[2:])),
        (lambda codes: ops.pack_levels(codes, 2), (3 * CODES,)),
    ],
    ids=["real_score_tables", "pack_levels"],
)
def test_what_reads_its_values_breaks_the_graph(run, given):
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(run, backend="eager", fullgraph=True)(*given)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(run, backend="eager")(*given), run(*given))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (2**70, "of 64 bits"),
        (-1, ">= 0, got -1"),
        (1.5, "an int, got float"),
        ("2", "an int, got str"),
        (None, "an int, got NoneType"),
    ],
)
def test_numbers_of_threads_that_are_none(wanted, words):
    with pytest.raises(ValueError, match=f"num_threads.* {words}"):
        _numpy.pack_codes(np.ones((2, 3), np.float32), num_threads=wanted)
