"""Tables of real-valued scores stay within the stated bound, on awkward scores too."""

from __future__ import annotations

import math

import pytest
import torch

from hashgcn.data import Interactions
from hashgcn.nn import FullSoftmaxLoss, SmoothRecallLoss, real_score_tables
from hashgcn.nn.losses import smooth_ranks
from hashgcn.ops import reference

USERS, ITEMS, WIDTH = 9, 1100, 6
TAU = 0.15


@pytest.fixture(scope="module")
def graph():
    g = torch.Generator().manual_seed(4)
    liked = (
        torch.rand(USERS, ITEMS, generator=g) < torch.tensor([0.01] * (USERS - 1) + [0.0])[:, None]
    )
    ptr = torch.cat([torch.zeros(1, dtype=torch.int64), liked.sum(1).cumsum(0)])
    return Interactions(ptr.numpy(), liked.nonzero()[:, 1].numpy(), ITEMS).graph()


def rows(kind: str, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of users and items whose scores are as the name says."""
    g = torch.Generator().manual_seed(5)
    p = torch.nn.functional.normalize(torch.randn(USERS, WIDTH, generator=g, dtype=torch.float64))
    q = torch.randn(ITEMS, WIDTH, generator=g, dtype=torch.float64)
    if kind == "clustered":
        q = q[torch.randint(5, (ITEMS,), generator=g)] + 1e-4 * q
    elif kind == "constant":
        q = q[:1].repeat(ITEMS, 1)
    elif kind == "two points":
        q = q[torch.randint(2, (ITEMS,), generator=g)]
    elif kind == "zero":
        q = 0 * q
    elif kind == "one far away":
        q[7] *= 30
    return p.to(dtype).requires_grad_(), q.to(dtype).requires_grad_()


KINDS = ("spread", "clustered", "constant", "two points", "zero", "one far away")


def problem(kind, graph):
    p, q = rows(kind)
    scores = p @ q.T
    liked = reference.positive_mask(
        torch.arange(USERS), graph.user_ptr, graph.user_items, graph.num_items
    )
    return p, q, scores, liked


@pytest.mark.parametrize("bins", [2, 33, 1024])
@pytest.mark.parametrize("kind", KINDS)
def test_ranks_are_within_the_stated_bound(graph, kind, bins):
    p, q, scores, liked = problem(kind, graph)
    tables = real_score_tables(p, q, torch.arange(USERS), graph, bins)
    grid = tables[0][0].detach()
    step = grid[1] - grid[0]
    by_value = smooth_ranks(*tables, TAU)
    row, item = liked.nonzero(as_tuple=True)
    at = ((scores[row, item] - grid[0]) / step).detach()
    below = at.floor().long().clamp(0, bins - 2)
    got = torch.lerp(by_value[row, below], by_value[row, below + 1], at - below)
    above = torch.sigmoid((scores[row] - scores[row, item, None]) / TAU)
    want = 1 + (above * ~liked[row]).sum(1)
    each = step**2 / 4 / (6 * math.sqrt(3)) / TAU**2 + step * 2.0**-17 / 4 / TAU
    assert ((got - want).abs() <= (~liked[row]).sum(1) * each + 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_within_the_stated_bound(graph, kind):
    """Of the sum of all ranks, with respect to scores: rows are unit vectors times scores' own."""
    bins = 257
    _, _, scores, liked = problem(kind, graph)
    # One user whose embedding is [1]: the gradient of an item's row is that of its score.
    user = 2
    one = Interactions(
        torch.tensor([0, int(liked[user].sum())]).numpy(),
        liked[user].nonzero()[:, 0].numpy(),
        ITEMS,
    ).graph()
    items = scores[user].detach()[:, None].requires_grad_()
    tables = real_score_tables(torch.ones(1, 1).double(), items, torch.tensor([0]), one, bins)
    step = (tables[0][0, 1] - tables[0][0, 0]).item()
    got = torch.autograd.grad((tables[3] * smooth_ranks(*tables, TAU)).sum(), items)[0][:, 0]
    s = items[:, 0]
    pairs = torch.sigmoid((s[~liked[user]] - s[liked[user], None]) / TAU)
    want = torch.autograd.grad(pairs.sum(), items)[0][:, 0]
    opposite = torch.where(liked[user], int((~liked[user]).sum()), int(liked[user].sum()))
    each = step**2 / 4 / 8 / TAU**3 + step * 2.0**-17 / (3 * math.sqrt(3)) / TAU**2
    assert want.abs().max() > 0.01
    assert ((got - want).abs() <= opposite * each + 1e-9).all()


def test_counts(graph):
    p, q, scores, liked = problem("spread", graph)
    users = torch.arange(USERS)
    users[3] = -1
    v_neg, v_pos, neg, pos = real_score_tables(p, q, users, graph, 64)
    assert torch.equal(v_neg, v_pos)
    want = liked.sum(1).double()
    want[3] = 0
    assert torch.equal(pos.sum(1), want)
    assert neg[3].sum() == 0 and neg.min() >= 0 and pos.min() >= 0
    assert torch.equal(neg[0].sum(), ITEMS - want[0])
    torch.testing.assert_close(
        (pos * v_pos).sum(1)[0], (scores * liked).sum(1)[0], rtol=0, atol=1e-3
    )
    assert not neg.requires_grad and not pos.requires_grad


def test_losses_approach_the_exact_ones(graph):
    """Error falls with the square of the step: 16 times for 4 times the bins."""
    tau = 0.6
    p, q, scores, liked = problem("spread", graph)
    row, item = liked.nonzero(as_tuple=True)
    log_softmax = (scores / tau).log_softmax(1)[row, item]
    above = torch.sigmoid((scores[row] - scores[row, item, None]) / tau)
    ranks = 1 + (above * ~liked[row]).sum(1)
    for loss, want in (
        (FullSoftmaxLoss(tau, "pairs"), -log_softmax.mean()),
        (
            SmoothRecallLoss((5, 20), tau, mean="pairs"),
            -torch.stack([torch.sigmoid(math.log(n) - ranks.log()) for n in (5, 20)]).mean(),
        ),
    ):
        exact = torch.autograd.grad(want, (p, q), retain_graph=True)
        errors = []
        for bins in (129, 513):
            got = loss(*real_score_tables(p, q, torch.arange(USERS), graph, bins))
            mine = torch.autograd.grad(got, (p, q))
            worst = max((a - b).norm() / b.norm() for a, b in zip(mine, exact, strict=True))
            errors.append((abs((got - want).item()), worst.item()))
        (value, gradient), (fine_value, fine_gradient) = errors
        assert fine_value < value / 10 and fine_gradient < gradient / 10
        assert fine_gradient < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threads_change_nothing(graph, dtype):
    def run():
        p, q = rows("clustered", dtype)
        tables = real_score_tables(p, q, torch.arange(USERS), graph)
        loss = SmoothRecallLoss((20,), TAU)(*tables)
        return [*tables, loss, *torch.autograd.grad(loss, (p, q))]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(3)
        three = run()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_rows": torch.zeros(3, WIDTH)}, r"user_rows: expected shape \[9, 6\], got \[3, 6\]"),
        ({"item_rows": torch.zeros(ITEMS, 4)}, r"item_rows: .* \[1100, 6\], got \[1100, 4\]"),
        (
            {"item_rows": torch.zeros(ITEMS, WIDTH).double()},
            "item_rows: expected float32 or float64, the same for both, got torch.float64",
        ),
        ({"user_rows": torch.full((USERS, WIDTH), math.nan)}, "expected finite values"),
        ({"item_rows": torch.full((ITEMS, WIDTH), math.inf)}, "expected finite values"),
        (  # scores of 2.1e38, both signs apart more than float32 holds
            {
                "user_rows": torch.full((USERS, WIDTH), 7e18),
                "item_rows": torch.full((ITEMS, WIDTH), 5e18),
            },
            "got NaN, infinity or an overflow",
        ),
        ({"users": torch.arange(USERS) + 1}, "from -1 to 8, got 1 to 9"),
        ({"users": torch.arange(USERS) - 2}, "from -1 to 8, got -2 to 6"),
        ({"users": torch.arange(USERS).int()}, "users: expected int64"),
        ({"bins": 1}, "bins: expected a number >= 2, got 1"),
    ],
)
def test_bad_arguments(graph, change, message):
    arguments = {
        "user_rows": torch.ones(USERS, WIDTH),
        "item_rows": torch.ones(ITEMS, WIDTH),
        "users": torch.arange(USERS),
        "graph": graph,
    }
    with pytest.raises(ValueError, match=message):
        real_score_tables(**(arguments | change))


def test_a_second_derivative_is_refused(graph):
    p, q = rows("spread")
    loss = SmoothRecallLoss((5,), TAU)(*real_score_tables(p, q, torch.arange(USERS), graph, 32))
    (grad,) = torch.autograd.grad(loss, p, create_graph=True)
    with pytest.raises(NotImplementedError, match="real_score_tables: .* in turn"):
        grad.sum().backward()
