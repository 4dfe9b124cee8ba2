"""What rows.py times: raw ops at Gowalla's shapes, with their floors and the right results.

The arguments of a case are on the device when it is made; run() launches the op and nothing else.
Cases come in groups, each of which can run in a process of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness.inputs import Inputs, mask_positives, random_words
from benchmarks.harness.pairwise import in_chunks, smooth_ranks
from benchmarks.harness.sparse_chain import Halves
from hashgcn.graph import BipartiteGraph
from hashgcn.nn import SmoothRecallLoss
from hashgcn.ops import score_tables

OPS = torch.ops.hashgcn
LAYERS, TAU, CUTOFF, BITS = 3, 3.6, 50, 64
CHUNK = 32  # users at a time of the plain recall loss
CALLS, REPLAYS = "calls between two events", "replays of a graph"
WARM_UP = 3  # calls before anything is timed or captured

Tensors = tuple[Tensor, ...]


@dataclass
class Case:
    """What is timed.

    Attributes:
        run: launches it, and returns its results.
        work: bytes of memory, l2_bytes, popcounts (of 32 bits), multiply_adds,
            tensor_multiply_adds (of bfloat16) and special_functions that it has to move or do at
            least, each a formula of the shape.
        exact: what part(results) has to be: float64 where plain is given, else the same numbers.
        plain: the same in plain torch at run's precision; its error is the yardstick of run's.
        part: of the results, what exact and plain compute; all by default.
        baseline: a name, and what a user would run instead.
        method: how it is timed, where that is decided; else by replays of a CUDA graph that several
            calls are captured in, if they can be.
    """

    name: str
    shape: dict[str, int]
    run: Callable[[], Any]
    work: dict[str, str] = field(default_factory=dict)
    exact: Callable[[], Tensors] | None = None
    plain: Callable[[], Tensors] | None = None
    part: Callable[[Tensors], Tensors] = lambda results: results
    baseline: tuple[str, Callable[[], Any]] | None = None
    method: str | None = None

    def amounts(self) -> dict[str, float]:
        return {name: eval(formula, {}, self.shape) for name, formula in self.work.items()}


class Problem:
    """Inputs on a device; tiny ones for a rehearsal."""

    def __init__(self, device: torch.device, quick: bool) -> None:
        self.device, self.quick, self.inputs = device, quick, Inputs(quick)
        self.cuda = device.type == "cuda"
        self.cpu_graph = self.inputs.graph
        self.graph = self.cpu_graph.to(device)

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def batches(self) -> tuple[int, ...]:
        return (8, 16) if self.quick else (256, 2048)

    def random(self, *shape: int, seed: int = 0) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(seed)
        return torch.randn(shape, device=self.device, generator=generator)

    def codes(self, bits: int) -> tuple[Tensor, Tensor]:
        return tuple(words.to(self.device) for words in self.inputs.codes("random", bits))

    def signs(self, bits: int) -> tuple[Tensor, Tensor]:
        return tuple(x.to(self.device) for x in self.inputs.signs("random", bits))

    def positives(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Row in the batch and item of each, on the host: in_chunks cuts them there."""
        return self.cpu_graph.positives(users.cpu())


def elementwise(p: Problem) -> Iterator[Case]:
    rows = p.size(10**8, 10**4) // BITS
    x, grad, beta = p.random(rows, BITS), p.random(rows, BITS, seed=1), torch.tensor(1.3)
    beta = beta.to(p.device)
    shape, some = {"elements": x.numel()}, slice(10**4)

    def signs() -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0)

    def words() -> Tensor:
        bits = (x[some] >= 0).long() << torch.arange(BITS, device=p.device)
        return bits.sum(1, keepdim=True)

    yield Case(
        *("sign_swish", shape, lambda: OPS.sign_swish.default(x, beta)),
        work={"bytes": "8 * elements"},
        exact=lambda: (signs(),),
    )

    def gradient(dtype: torch.dtype) -> Tensors:
        g, b, z = grad[some].to(dtype), beta.to(dtype), x[some].to(dtype) * beta.to(dtype)
        s = torch.sigmoid(z)
        return (g * 2 * b * s * (1 - s) * (2 + z * (1 - 2 * s)),)

    yield Case(
        *("sign_swish_backward", shape, lambda: OPS.sign_swish_backward.default(grad, x, beta)),
        work={"bytes": "12 * elements"},
        exact=lambda: gradient(torch.float64),
        plain=lambda: gradient(torch.float32),
        part=lambda results: (results[0][some],),
    )
    yield Case(
        *("pack_codes", shape, lambda: OPS.pack_codes.default(x)),
        work={"bytes": "4 * elements + elements / 8"},
        exact=lambda: (words(),),
        part=lambda results: (results[0][some],),
    )


def tables(p: Problem) -> Iterator[Case]:
    """Score tables and their gradients, each alone."""
    for bits in (64, 128, 256, 1024):
        all_users, items = p.signs(bits)
        for batch in p.batches():
            users = p.inputs.batch(batch).to(p.device)
            yield from tables_of(p, all_users[users], items, users)


def tables_of(p: Problem, codes: Tensor, items: Tensor, users: Tensor) -> Iterator[Case]:
    batch, bits = codes.shape
    shape = {"batch": batch, "items": len(items), "bits": bits}
    row, item = (x.to(p.device) for x in p.positives(users))
    arguments = (codes, items, users, p.graph.user_ptr, p.graph.user_items, None, None, None)
    plain = (None, 1)  # items without weights, users of one level
    few = min(64, batch)

    def levels(rows: int) -> Tensor:
        """Which of the bits + 1 scores each pair has."""
        return ((codes[:rows] @ items.T + bits) / 2).long()

    def counts() -> Tensors:
        level, own = levels(few), row < few
        neg, pos = (torch.zeros(few, bits + 1, device=p.device) for _ in range(2))
        neg.scatter_add_(1, level, torch.ones_like(level, dtype=neg.dtype))
        at = row[own], level[row[own], item[own]]
        pos.index_put_(at, pos.new_ones(len(at[0])), accumulate=True)
        value = torch.arange(-bits, bits + 1, 2, device=p.device, dtype=neg.dtype)
        return value.expand_as(neg), value.expand_as(neg), neg - pos, pos

    yield Case(
        *("score_tables", shape, lambda: OPS.score_tables.default(*arguments, *plain)),
        work={
            "bytes": "4 * bits * (batch + items) + 16 * batch * (bits + 1)",
            "popcounts": "batch * items * bits / 32",
        },
        exact=counts,
        part=lambda results: tuple(x[:few] for x in results),
    )
    neg, pos = OPS.score_tables.default(*arguments, *plain)[2:]
    grads = [p.random(*neg.shape, seed=seed) for seed in range(2)]

    def gradients(dtype: torch.dtype) -> Tensors:
        """Through [batch, items] gradients of the scores."""
        by_neg, by_pos = (
            g.to(dtype) / c.to(dtype).clamp(min=1) for g, c in zip(grads, (neg, pos), strict=True)
        )
        level = levels(batch)
        of_scores = by_neg.gather(1, level)
        of_scores[row, item] = by_pos[row, level[row, item]]
        return of_scores @ items.to(dtype), of_scores.T @ codes.to(dtype)

    yield Case(
        "score_tables_backward",
        shape,
        lambda: OPS.score_tables_backward.default(*grads, neg, pos, *arguments, None, *plain),
        work={
            "bytes": "8 * bits * (batch + items) + 16 * batch * (bits + 1)",
            "popcounts": "batch * items * bits / 32",
            # A gradient of float32 is three numbers of bfloat16; a product for either side.
            "tensor_multiply_adds": "3 * 2 * batch * items * bits",
        },
        exact=partial(gradients, torch.float64),
        plain=partial(gradients, torch.float32),
    )


def propagation(p: Problem) -> Iterator[Case]:
    cpu, g = p.cpu_graph, p.graph
    halves = Halves.of(cpu)
    halves = Halves(halves.up.to(p.device), halves.down.to(p.device))
    nodes = cpu.num_users + cpu.num_items
    scale = g.scale.float()
    of_user = torch.repeat_interleave(
        torch.arange(cpu.num_users, device=p.device), g.user_ptr.diff()
    )

    def exact(x: Tensor) -> Tensors:
        """Pair by pair, by adding rows to rows."""
        weight = (g.scale[of_user] * g.scale[g.num_users + g.user_items])[:, None]
        users, items = x.double().split([g.num_users, g.num_items])
        total = x.double()
        for _ in range(LAYERS):
            users, items = (
                torch.zeros_like(users).index_add_(0, of_user, weight * items[g.user_items]),
                torch.zeros_like(items).index_add_(0, g.user_items, weight * users[of_user]),
            )
            total = total + torch.cat([users, items])
        return (total / (LAYERS + 1),)

    for width in (50, 52, 64):
        x = p.random(nodes, width)
        yield Case(
            "propagate",
            {"pairs": len(cpu.user_items), "nodes": nodes, "width": width, "layers": LAYERS},
            partial(
                OPS.propagate.default,
                *(x, g.user_ptr, g.user_items, g.item_ptr, g.item_users, scale, 0, LAYERS),
            ),
            work={
                "bytes": "8 * nodes * width",
                # A row is read once for each of its neighbours.
                "l2_bytes": "layers * 2 * pairs * 4 * width",
                "multiply_adds": "layers * 2 * pairs * width",
            },
            exact=partial(exact, x),
            plain=partial(lambda x: (halves.propagate(x, LAYERS),), x),
            baseline=("torch.sparse", partial(halves.propagate, x, LAYERS)),
        )


def ranks(p: Problem) -> Iterator[Case]:
    """The smooth rank of real-valued scores, and the small product of a loss's tables."""
    batch, width, tau = p.batches()[0], 64, 0.5
    users = p.inputs.batch(batch)
    row, item = p.positives(users)
    emb, items = 0.3 * p.random(batch, width), 0.3 * p.random(p.cpu_graph.num_items, width, seed=1)
    offsets = torch.searchsorted(row, torch.arange(batch + 1)).to(p.device)
    shape = {"batch": batch, "items": len(items), "width": width, "positives": len(row)}
    place = (users.to(p.device), p.graph.user_ptr, p.graph.user_items, offsets)
    at_tau, nothing = torch.tensor(tau, device=p.device), (None, None, None)
    grad = p.random(len(row), seed=2)
    few = 16  # users whose ranks are compared
    some = int((row < few).sum())

    def forward(dtype: torch.dtype) -> Tensors:
        scores = emb[:few].to(dtype) @ items.to(dtype).T
        own = torch.zeros_like(scores, dtype=torch.bool)
        own[row[:some], item[:some]] = True
        return (smooth_ranks(scores, own, row[:some], item[:some], tau),)

    def backward(dtype: torch.dtype) -> Tensors:
        def of_ranks(found: Tensor, rows: Tensor) -> Tensor:
            return (found * of_chunk(grad, row, rows).to(dtype)).sum()

        with torch.enable_grad():
            return in_chunks(emb.to(dtype), items.to(dtype), row, item, tau, few, of_ranks)[1:]

    arguments = (emb, items, *place)
    yield Case(
        "smooth_rank",
        shape,
        lambda: OPS.smooth_rank.default(*arguments, len(row), at_tau, *nothing, None, True),
        work={
            "bytes": "4 * width * (batch + items) + 4 * positives",
            "multiply_adds": "batch * items * width",
            "special_functions": "positives * items",  # a reciprocal each
        },
        exact=partial(forward, torch.float64),
        plain=partial(forward, torch.float32),
        part=lambda results: (results[0][:some],),
    )
    yield Case(
        "smooth_rank_backward",
        shape,
        lambda: OPS.smooth_rank_backward.default(
            grad, *arguments, at_tau, *nothing, None, None, True
        ),
        work={
            "bytes": "8 * width * (batch + items) + 4 * positives",
            "multiply_adds": "3 * batch * items * width",
            "special_functions": "positives * items",
        },
        exact=partial(backward, torch.float64),
        plain=partial(backward, torch.float32),
    )
    x, matrix = p.random(p.size(2048, 16), 65), p.random(65, 65, seed=1)
    yield Case(
        "fixed_order_mm",
        {"rows": len(x), "inner": 65, "columns": 65},
        lambda: OPS.fixed_order_mm.default(x, matrix),
        work={
            "bytes": "4 * (rows * inner + inner * columns + rows * columns)",
            "multiply_adds": "rows * inner * columns",
        },
        exact=lambda: (x.double() @ matrix.double(),),
        plain=lambda: (x @ matrix,),
    )


def topk(p: Problem) -> Iterator[Case]:
    g, cpu, k = p.graph, p.cpu_graph, p.size(100, 10)
    few = 64  # queries whose lists are compared with the CPU's
    excluded = (cpu.user_ptr[: few + 1], cpu.user_items[: cpu.user_ptr[few]], None)
    for bits in (64, 128, 256, 1024):
        queries, items = p.codes(bits)
        arguments = (queries, items, k, bits, g.user_ptr, g.user_items, None)
        on_cpu = (queries[:few].cpu(), items.cpu(), k, bits, *excluded)
        yield Case(
            "hamming_topk, train items left out",
            {"queries": len(queries), "items": len(items), "bits": bits, "k": k},
            partial(OPS.hamming_topk.default, *arguments),
            work={
                "bytes": "bits / 8 * (queries + items) + 12 * k * queries",
                "popcounts": "queries * items * bits / 32",
            },
            exact=partial(OPS.hamming_topk.default, *on_cpu),
            part=lambda results: tuple(x[:few] for x in results),
            baseline=(
                ("matmul, mask, topk", partial(scored, *p.signs(bits), g, k))
                if bits == BITS
                else None
            ),
        )
    count = p.size(10**8, 10**4)
    query, catalogue = random_words(1, BITS, 6), random_words(count, BITS, 5)
    arguments = (query.to(p.device), catalogue.to(p.device), k, BITS, None, None, None)
    yield Case(
        "hamming_topk, one query",
        {"queries": 1, "items": count, "bits": BITS, "k": k},
        partial(OPS.hamming_topk.default, *arguments),
        work={"bytes": "bits / 8 * items", "popcounts": "items * bits / 32"},
        exact=partial(OPS.hamming_topk.default, query, catalogue, k, BITS, None, None, None),
    )


def scored(users: Tensor, items: Tensor, graph: BipartiteGraph, k: int) -> list[Tensor]:
    """The best items of all users by products of codes, train items masked."""
    found = []
    for start in range(0, len(users), 4096):
        scores = users[start : start + 4096] @ items.T
        mask_positives(scores, graph, start)
        found.append(scores.topk(k).indices)
    return found


def loss(p: Problem) -> Iterator[Case]:
    """The recall loss with its gradients, through autograd."""
    for batch in p.batches():
        users = p.inputs.batch(batch)
        row, item = p.positives(users)
        users = users.to(p.device)
        all_users, items = p.signs(BITS)
        b, d = all_users[users].requires_grad_(), items.requires_grad_()
        degrees = torch.bincount(row, minlength=batch).clamp(min=1)
        share = (1 / degrees[row].double() / batch).to(p.device)
        plain = partial(plain_recall_loss, b.detach(), d.detach(), row, item, share)
        yield Case(
            "recall loss, forward and backward",
            {"batch": batch, "items": len(d), "bits": BITS, "positives": len(row)},
            partial(recall_loss, b, d, users, p.graph),
            work={
                "bytes": "12 * bits * (batch + items)",
                "popcounts": "2 * batch * items * bits / 32",
                "tensor_multiply_adds": "3 * 2 * batch * items * bits",
            },
            exact=partial(plain, torch.float64),
            plain=partial(plain, torch.float32),
            baseline=(f"plain torch, {CHUNK} users at a time", partial(plain, torch.float32)),
        )


def recall_loss(b: Tensor, d: Tensor, users: Tensor, graph: BipartiteGraph) -> Tensors:
    with torch.enable_grad():
        value = SmoothRecallLoss((CUTOFF,), TAU)(*score_tables(b, d, users, graph))
        return value.detach(), *torch.autograd.grad(value, (b, d))


def plain_recall_loss(
    b: Tensor, d: Tensor, row: Tensor, item: Tensor, share: Tensor, dtype: torch.dtype
) -> Tensors:
    def of_ranks(found: Tensor, rows: Tensor) -> Tensor:
        weight = of_chunk(share, row, rows).to(dtype)
        return -(torch.sigmoid(math.log(CUTOFF) - found.log()) * weight).sum()

    with torch.enable_grad():
        return in_chunks(b.to(dtype), d.to(dtype), row, item, TAU, CHUNK, of_ranks)


def of_chunk(values: Tensor, row: Tensor, rows: Tensor) -> Tensor:
    """Of values for each positive, those of a chunk, whose rows in the batch are `rows`."""
    first = int(torch.searchsorted(row, rows[0])) if len(rows) else 0
    return values[first : first + len(rows)]


class Training:
    """A network whose steps can be captured: learning rate and users stay where they are."""

    def __init__(self, p: Problem, batch: int) -> None:
        from hashgcn.models import RecallHash
        from hashgcn.networks.base import Step

        settings = RecallHash(code_length=BITS, batch_users=batch).settings
        self.graph, self.users = p.graph, p.inputs.batch(batch).to(p.device)
        self.width, self.at = settings.network.taste_bits, Step(0, 0, 0.5)
        network = RecallHash.network(p.graph, settings.network, settings.train.seed)
        self.network = network.to(p.device)
        rate = torch.tensor(settings.train.learning_rate, device=p.device)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=rate, capturable=p.cuda)

    def step(self) -> None:
        with torch.enable_grad():
            self.adam.zero_grad(set_to_none=True)
            self.network.loss(self.graph, self.users, self.at).backward()
            self.adam.step()

    def parameters(self) -> Tensors:
        return tuple(x.detach() for x in self.network.parameters())


def steps(p: Problem) -> Iterator[Case]:
    """A whole step of RecallHash, called from Python and as a graph that was captured before.

    After as many steps both networks have the same parameters, bit for bit.
    """
    for batch in p.batches():
        eager = Training(p, batch)
        shape = {
            "batch": batch,
            "items": p.graph.num_items,
            "bits": BITS,
            "pairs": len(p.graph.user_items),
            "nodes": p.graph.num_users + p.graph.num_items,
            "width": eager.width,
            "layers": LAYERS,
        }
        work = {
            "bytes": "28 * nodes * width",  # Adam: read four, write three
            "l2_bytes": "2 * layers * 2 * pairs * 4 * width",
            "popcounts": "2 * batch * items * bits / 32",
            "tensor_multiply_adds": "3 * 2 * batch * items * bits",
        }
        yield Case("training step", shape, eager.step, work, method=CALLS)
        if p.cuda:
            yield captured_step(p, batch, shape, work)


def captured_step(p: Problem, batch: int, shape: dict[str, int], work: dict[str, str]) -> Case:
    by_graph, by_call = Training(p, batch), Training(p, batch)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            by_graph.step()
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        by_graph.step()
    graph.replay()
    after = tuple(x.clone() for x in by_graph.parameters())

    def called() -> Tensors:
        for _ in range(WARM_UP + 1):
            by_call.step()
        return by_call.parameters()

    return Case(
        *("training step, captured", shape, graph.replay, work),
        exact=called,
        part=lambda _: after,
        method=REPLAYS,
    )


def pydantic_missing() -> str:
    """Why a training step, whose settings need pydantic, cannot be made; empty if it can."""
    try:
        import hashgcn.settings  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


GROUPS: dict[str, Callable[[Problem], Iterator[Case]]] = {
    "elementwise": elementwise,
    "tables": tables,
    "propagation": propagation,
    "ranks": ranks,
    "topk": topk,
    "loss": loss,
    "steps": steps,
}
