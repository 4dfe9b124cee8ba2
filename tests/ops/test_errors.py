"""Bad input is an exception that names the argument, what was expected and what came."""

from __future__ import annotations

import contextlib

import pytest
import torch
from samples import codes, csr, normal

from hashgcn import ops
from hashgcn.graph import BipartiteGraph, Candidates

G = torch.Generator().manual_seed(0)
PTR, IDS = csr(G, 6, 20, 5)
GRAPH = BipartiteGraph(
    PTR, IDS, *(torch.zeros(0, dtype=torch.int64),) * 2, torch.zeros(0, dtype=torch.float64)
)
USERS = torch.arange(6)
B, D = codes(G, 6, 8), codes(G, 20, 8)
P, Q = normal(G, 6, 8), normal(G, 20, 8)
WORDS = ops.pack_codes(D)


def graph_with(ptr=PTR, ids=IDS) -> BipartiteGraph:
    return BipartiteGraph(ptr, ids, *(torch.zeros(0, dtype=torch.int64),) * 2, GRAPH.scale)


def changed(x: torch.Tensor, at, value) -> torch.Tensor:
    x = x.clone()
    x[at] = value
    return x


def swapped_ids() -> torch.Tensor:
    row = int((PTR.diff() >= 2).nonzero()[0])
    ids = IDS.clone()
    ids[PTR[row]], ids[PTR[row] + 1] = IDS[PTR[row] + 1], IDS[PTR[row]]
    return ids


NAN, INF = float("nan"), float("inf")

# what is wrong: (call, words the message must hold)
TABLES = {
    "users' codes are not +-1": (
        lambda: (changed(B, (2, 3), 0.5), D, USERS, GRAPH),
        "user_codes +1",
    ),
    "items' codes are not +-1": (lambda: (B, changed(D, (2, 3), 0), USERS, GRAPH), "item_codes +1"),
    "items' codes are NaN": (lambda: (B, changed(D, (0, 0), NAN), USERS, GRAPH), "item_codes +1"),
    "other code length": (lambda: (B, D[:, :7], USERS, GRAPH), "item_codes [*, 8] [20, 7]"),
    "other dtype": (lambda: (B, D.float(), USERS, GRAPH), "item_codes float64 float32"),
    "codes too long": (
        lambda: (torch.ones(1, 1025), torch.ones(2, 1025), USERS[:1], GRAPH),
        "user_codes 1024 [1, 1025]",
    ),
    "user out of range": (lambda: (B, D, changed(USERS, 1, 6), GRAPH), "users 6"),
    "user below -1": (lambda: (B, D, changed(USERS, 1, -2), GRAPH), "users -1"),
    "users of another length": (lambda: (B, D, USERS[:5], GRAPH), "users [6] [5]"),
    "users of another dtype": (lambda: (B, D, USERS.int(), GRAPH), "users int64 int32"),
    "ptr decreases": (lambda: (B, D, USERS, graph_with(changed(PTR, 2, 99))), "ptr"),
    "ptr is negative": (lambda: (B, D, USERS, graph_with(changed(PTR, 2, -1))), "ptr"),
    "item out of range": (lambda: (B, D, USERS, graph_with(ids=changed(IDS, -1, 20))), "ids 20"),
    "item negative": (lambda: (B, D, USERS, graph_with(ids=changed(IDS, PTR[1], -3))), "ids"),
    "ids not increasing": (lambda: (B, D, USERS, graph_with(ids=swapped_ids())), "increasing"),
    "candidate out of range": (
        lambda: (B, D, USERS, GRAPH, Candidates(torch.arange(7), torch.full((6,), 20))),
        "candidate_ids 20",
    ),
    "candidate_ptr does not rise": (
        lambda: (
            B,
            D,
            USERS,
            GRAPH,
            Candidates(torch.tensor([0, 5, 2, 3, 4, 5, 6]), torch.zeros(6, dtype=torch.int64)),
        ),
        "candidate_ptr 6",
    ),
    "candidate_ptr of another length": (
        lambda: (B, D, USERS, GRAPH, Candidates(torch.arange(6), torch.zeros(5).long())),
        "candidate_ptr [7] [6]",
    ),
    "candidate weight is NaN": (
        lambda: (
            B,
            D,
            USERS,
            GRAPH,
            Candidates(torch.arange(7), torch.zeros(6).long(), torch.full((6,), NAN).double()),
        ),
        "candidate_weight NaN",
    ),
}
RANKS = {
    "user embedding is NaN": (
        lambda: (changed(P, (0, 0), NAN), Q, USERS, GRAPH, 1.0),
        "user_emb NaN",
    ),
    "item embedding is infinite": (
        lambda: (P, changed(Q, (0, 0), INF), USERS, GRAPH, 1.0),
        "item_emb infinity",
    ),
    "other width": (lambda: (P, Q[:, :7], USERS, GRAPH, 1.0), "item_emb [*, 8] [20, 7]"),
    "tau is zero": (lambda: (P, Q, USERS, GRAPH, 0.0), "tau positive 0.0"),
    "tau is a negative tensor": (
        lambda: (P, Q, USERS, GRAPH, torch.tensor(-1.0)),
        "tau positive -1",
    ),
    "tau is a vector": (lambda: (P, Q, USERS, GRAPH, torch.ones(2)), "tau 0-d [2]"),
    "user out of range": (lambda: (P, Q, changed(USERS, 1, 6), GRAPH, 1.0), "users 6"),
    "item out of range": (
        lambda: (P, Q, USERS, graph_with(ids=changed(IDS, -1, 20)), 1.0),
        "ids 20",
    ),
}


def topk(queries=WORDS, items=WORDS, k=3, code_length=8, **options):
    return ops.hamming_topk(queries, items, k, code_length=code_length, **options)


def histogram(queries=WORDS, items=WORDS, code_length=8, **lists):
    return ops.hamming_histogram(queries, items, code_length=code_length, **lists)


ONE_EACH = torch.arange(len(WORDS) + 1)

OTHERS = {
    "histogram with ptr alone": (lambda: histogram(ptr=ONE_EACH), "ptr ids together one of them"),
    "histogram of lists for other queries": (
        lambda: histogram(ptr=ONE_EACH[:2], ids=torch.zeros(1).long()),
        f"ptr [{len(ONE_EACH)}] [2]",
    ),
    "histogram whose ptr does not end with ids": (
        lambda: histogram(ptr=ONE_EACH, ids=torch.zeros(len(WORDS) + 2).long()),
        f"ptr rise {len(WORDS) + 2}",
    ),
    "histogram of an item that is not there": (
        lambda: histogram(ptr=ONE_EACH, ids=torch.full((len(WORDS),), len(WORDS))),
        f"ids [0, {len(WORDS)})",
    ),
    "histogram of longer codes": (lambda: histogram(code_length=4), "queries 4 longer"),
    "sign_swish of NaN": (lambda: ops.sign_swish(torch.tensor([NAN]), 1.0), "x NaN"),
    "sign_swish of int": (lambda: ops.sign_swish(torch.tensor([1]), 1.0), "x float32 int64"),
    "beta is zero": (lambda: ops.sign_swish(torch.ones(1), 0.0), "beta positive 0.0"),
    "beta is infinite": (lambda: ops.sign_swish(torch.ones(1), INF), "beta finite inf"),
    "beta is a negative tensor": (
        lambda: ops.sign_swish(torch.ones(1), torch.tensor(-2.0)),
        "beta positive -2",
    ),
    "beta is a vector": (lambda: ops.sign_swish(torch.ones(1), torch.ones(2)), "beta 0-d [2]"),
    "sign_ste of NaN": (lambda: ops.sign_ste(torch.tensor([NAN])), "sign_ste x NaN"),
    "sign_ste of int": (lambda: ops.sign_ste(torch.tensor([1])), "x float32 int64"),
    "clip is negative": (lambda: ops.sign_ste(torch.ones(1), clip=-0.5), "clip 0 -0.5"),
    "clip is NaN": (lambda: ops.sign_ste(torch.ones(1), clip=NAN), "clip 0 nan"),
    "scale is zero": (lambda: ops.sign_ste(torch.ones(1), scale=0.0), "scale positive 0.0"),
    "scale is a negative tensor": (
        lambda: ops.sign_ste(torch.ones(1), scale=torch.tensor(-2.0)),
        "scale positive -2",
    ),
    "gradient of another shape": (
        lambda: torch.ops.hashgcn.sign_ste_backward(
            torch.ones(2, 3), torch.ones(3, 2), torch.tensor(1.0), 1.0
        ),
        "grad [3, 2] [2, 3]",
    ),
    "gradient of another dtype": (
        lambda: torch.ops.hashgcn.sign_ste_backward(
            torch.ones(2).double(), torch.ones(2), torch.tensor(1.0), 1.0
        ),
        "grad float32 float64",
    ),
    "sign_fourier of NaN": (lambda: ops.sign_fourier(torch.tensor([NAN])), "sign_fourier x NaN"),
    "one term": (lambda: ops.sign_fourier(torch.ones(1), terms=1), "terms [2, 1"),
    "too many terms": (lambda: ops.sign_fourier(torch.ones(1), terms=65537), "terms 65537"),
    "omega is zero": (lambda: ops.sign_fourier(torch.ones(1), omega=0.0), "omega positive 0"),
    "omega is infinite": (lambda: ops.sign_fourier(torch.ones(1), omega=INF), "omega finite inf"),
    "tanh of NaN": (
        lambda: ops.tanh_continuation(torch.tensor([NAN]), 1.0),
        "tanh_continuation x NaN",
    ),
    "tanh of int": (lambda: ops.tanh_continuation(torch.tensor([1]), 1.0), "x float32 int64"),
    "tanh with beta zero": (
        lambda: ops.tanh_continuation(torch.ones(1), torch.tensor(0.0)),
        "beta positive 0",
    ),
    "sign_guided of NaN in a row of signs": (
        lambda: ops.sign_guided(changed(torch.ones(3, 2), (2, 1), NAN), torch.ones(3).bool()),
        "sign_guided x NaN",
    ),
    "sign_guided of NaN in a row of numbers": (
        lambda: ops.sign_guided(changed(torch.ones(3, 2), (2, 1), NAN), torch.zeros(3).bool()),
        "sign_guided x NaN",
    ),
    "sign_guided of a vector": (
        lambda: ops.sign_guided(torch.ones(3), torch.ones(3).bool()),
        "x rows [3]",
    ),
    "take_sign of another length": (
        lambda: ops.sign_guided(torch.ones(3, 2), torch.ones(2).bool()),
        "take_sign [3] [2]",
    ),
    "take_sign of another dtype": (
        lambda: ops.sign_guided(torch.ones(3, 2), torch.ones(3)),
        "take_sign bool float32",
    ),
    "late NaN in whole words": (
        lambda: ops.pack_codes(changed(torch.ones(9, 128), (8, 127), NAN)),
        "x NaN",
    ),
    "pack of NaN": (lambda: ops.pack_codes(torch.full((1, 3), NAN)), "x NaN"),
    "pack of a vector": (lambda: ops.pack_codes(torch.ones(3)), "x [3]"),
    "pack of no bits": (lambda: ops.pack_codes(torch.ones(3, 0)), "code_length [3, 0]"),
    "unpack to another length": (lambda: ops.unpack_codes(WORDS, 65), "words [*, 2] [20, 1]"),
    "unpack of a longer code": (lambda: ops.unpack_codes(WORDS, 7), "words code_length 7"),
    "unpack of length 0": (lambda: ops.unpack_codes(WORDS, 0), "code_length 0"),
    "unpack to int": (lambda: ops.unpack_codes(WORDS, 8, torch.int64), "dtype float32 int64"),
    "k is 0": (lambda: topk(k=0), "k 0"),
    "k is too large": (lambda: topk(k=2**40), "k 1099511627776"),
    "queries packed for another length": (
        lambda: topk(queries=ops.pack_codes(torch.ones(3, 65))),
        "queries [*, 1] [3, 2]",
    ),
    "queries with a longer code": (
        lambda: topk(queries=ops.pack_codes(torch.ones(3, 9))),
        "queries code_length 8",
    ),
    "items with a longer code": (
        lambda: topk(items=ops.pack_codes(torch.ones(3, 9))),
        "items code_length 8",
    ),
    "excluded item out of range": (
        lambda: topk(exclude_ptr=torch.arange(21), exclude_ids=torch.full((20,), 20)),
        "exclude_ids 20",
    ),
    "exclude_ptr does not rise": (
        lambda: topk(exclude_ptr=torch.arange(20, -1, -1), exclude_ids=torch.zeros(20).long()),
        "exclude_ptr 20",
    ),
    "planes of longer codes": (
        lambda: topk(queries=WORDS[:, None].repeat(1, 4, 2)),
        "queries [*, 1] [*, 1 to 4 planes, 1] [20, 4, 2]",
    ),
    "five planes": (lambda: topk(queries=WORDS[:, None].repeat(1, 5, 1)), "1 to 4 [20, 5, 1]"),
    "histogram of no planes": (lambda: histogram(queries=WORDS[:, None][:, :0]), "1 to 4 [20, 0"),
    "bits past the code in the second plane": (
        lambda: topk(queries=torch.stack([WORDS, WORDS | 1 << 9], 1)),
        "queries 8 longer",
    ),
    "planes of int32": (lambda: topk(queries=WORDS[:, None].int()), "queries int64 int32"),
    "items with planes": (lambda: topk(items=WORDS[:, None]), "items 2 [20, 1, 1]"),
    "distances past 32 bits": (
        lambda: topk(
            queries=torch.zeros(0, 4, 2_236_963).long(),
            items=torch.zeros(0, 2_236_963).long(),
            code_length=143_165_577,
        ),
        "code_length 143165576 4 planes 143165577",
    ),
    "exclude_ptr alone": (lambda: topk(exclude_ptr=torch.arange(21)), "exclude_ptr exclude_ids"),
    "allow of another length": (lambda: topk(allow=torch.ones(3).bool()), "allow [20] [3]"),
    "allow of another dtype": (lambda: topk(allow=torch.ones(20)), "allow bool float32"),
    "matrix with gradient": (
        lambda: ops.fixed_order_mm(torch.ones(2, 2), torch.ones(2, 2, requires_grad=True)),
        "matrix gradient",
    ),
    "matrix of another height": (
        lambda: ops.fixed_order_mm(torch.ones(2, 2), torch.ones(3, 2)),
        "matrix [2, *] [3, 2]",
    ),
}


def whole_graph() -> BipartiteGraph:
    """One user, two items, one pair."""
    return BipartiteGraph(
        torch.tensor([0, 1]),
        torch.tensor([1]),
        torch.tensor([0, 0, 1]),
        torch.tensor([0]),
        torch.ones(3, dtype=torch.float64),
    )


def propagated(x=None, layers=1, first=0, **change):
    graph = whole_graph()
    parts = {name: getattr(graph, name) for name in BipartiteGraph.__dataclass_fields__}
    return ops.propagate(
        BipartiteGraph(**{**parts, **change}), torch.ones(3, 2) if x is None else x, layers, first
    )


OTHERS |= {
    "x of another height": (lambda: propagated(torch.ones(4, 2)), "x [3, *] [4, 2]"),
    "x is NaN": (lambda: propagated(torch.full((3, 2), NAN)), "x NaN"),
    "negative layers": (lambda: propagated(layers=-1), "layers -1"),
    "first past the last layer": (lambda: propagated(first=2), "first [0, 1] 2"),
    "negative first": (lambda: propagated(first=-1), "first -1"),
    "graph's item out of range": (lambda: propagated(user_items=torch.tensor([2])), "user_items 2"),
    "graph's user out of range": (lambda: propagated(item_users=torch.tensor([1])), "item_users 1"),
    "graph's ptr decreases": (
        lambda: propagated(item_ptr=torch.tensor([0, 2, 1])),
        "item_ptr decrease",
    ),
    "graph's ptr reaches past the ids": (
        lambda: propagated(user_ptr=torch.tensor([0, 5])),
        "user_ptr",
    ),
    "graph's scale of another length": (
        lambda: propagated(scale=torch.ones(2).double()),
        "scale [3] [2]",
    ),
}


def check(call, words):
    with pytest.raises(ValueError) as error:
        call()
    for word in words.split():
        assert word in str(error.value), (word, str(error.value))


@pytest.mark.parametrize("name", TABLES)
def test_score_tables(name):
    arguments, words = TABLES[name]
    check(lambda: ops.score_tables(*arguments()), words)


@pytest.mark.parametrize("name", RANKS)
def test_smooth_rank(name):
    arguments, words = RANKS[name]
    check(lambda: ops.smooth_rank(*arguments()), words)


@pytest.mark.parametrize("name", OTHERS)
def test_other_ops(name):
    check(*OTHERS[name])


def test_smooth_rank_with_a_size_that_is_too_small():
    check(lambda: ops.smooth_rank(P, Q, USERS, GRAPH, 1.0, size=1), "size 1")


def test_the_process_survives_wild_values():
    """Random garbage in every integer argument either works or raises; nothing else."""
    g = torch.Generator().manual_seed(5)
    for _ in range(300):

        def wild(*shape):
            high = int(torch.randint(1, 40, (), generator=g))
            return torch.randint(-3, high, shape, generator=g)

        graph = BipartiteGraph(wild(7), wild(9), wild(21), wild(9), torch.ones(26).double())
        lists = Candidates(wild(7), wild(8))
        for call in (
            lambda: ops.score_tables(B, D, wild(6), graph, lists),  # noqa: B023
            lambda: ops.score_tables(B, D, wild(6), graph),  # noqa: B023
            lambda: ops.smooth_rank(P, Q, wild(6), graph, 1.0, lists),  # noqa: B023
            lambda: ops.propagate(graph, torch.ones(26, 3), 2),  # noqa: B023
            lambda: topk(exclude_ptr=wild(21), exclude_ids=wild(9)),
        ):
            with contextlib.suppress(ValueError, IndexError):
                call()
