"""Losses on score tables against their pairwise forms over all items, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from samples import codes, csr
from torch import Tensor

from hashgcn import nn, ops
from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.nn.losses import smooth_ranks
from hashgcn.ops import reference

USERS, ITEMS, BITS, TAU = 12, 70, 20, 2.3


@pytest.fixture
def problem():
    """Codes, a batch without empty users, and the graph that holds the positives."""
    g = torch.Generator().manual_seed(1)
    ptr, ids = csr(g, USERS, ITEMS, 9)
    nothing = torch.zeros(0, dtype=torch.int64)
    graph = BipartiteGraph(ptr, ids, nothing, nothing, nothing)
    users = torch.arange(USERS)[ptr.diff() > 0]
    return codes(g, len(users), BITS, grad=True), codes(g, ITEMS, BITS, grad=True), users, graph


def pairwise(problem):
    """Scores of all pairs, and which are positives."""
    user_codes, item_codes, users, graph = problem
    mask = reference.positive_mask(users, graph.user_ptr, graph.user_items, ITEMS)
    return user_codes @ item_codes.T, mask


def mean_over(x: Tensor, mask: Tensor, mean: str) -> Tensor:
    """Mean of x [positives] over pairs, or over each user's and then over users."""
    if mean == "pairs":
        return x.mean()
    rows = mask.nonzero()[:, 0]
    return (x / mask.sum(1)[rows]).sum() / len(mask)


def pairwise_ranks(problem, exclude: bool) -> tuple[Tensor, Tensor]:
    user_codes, item_codes, users, graph = problem
    ranks = reference.smooth_rank(
        user_codes, item_codes, users, graph.user_ptr, graph.user_items, TAU, (), exclude
    )
    return ranks, pairwise(problem)[1]


def pairwise_recall(problem, cutoffs, rank, exclude, mean):
    ranks, mask = pairwise_ranks(problem, exclude)
    loss = 0
    for n in cutoffs:
        x = math.log(n) - ranks.log() if rank == "log" else n - ranks
        loss = loss - mean_over(torch.sigmoid(x / 1.5), mask, mean)
    return loss / len(cutoffs)


def pairwise_ndcg(problem, cutoff):
    ranks, mask = pairwise_ranks(problem, True)
    ideal = torch.tensor(
        [sum(1 / math.log2(r + 1) for r in range(1, min(int(n), cutoff) + 1)) for n in mask.sum(1)],
        dtype=torch.float64,
    )
    return -((1 / torch.log2(1 + ranks)) / ideal[mask.nonzero()[:, 0]]).sum() / len(mask)


def pairwise_softmax(problem, mean):
    scores, mask = pairwise(problem)
    return mean_over(-(scores / TAU).log_softmax(1)[mask], mask, mean)


def pairwise_bpr(problem):
    scores, mask = pairwise(problem)
    row, item = mask.nonzero(as_tuple=True)
    each = torch.nn.functional.softplus((scores[row] - scores[row, item, None]) / TAU)
    each = (each * ~mask[row]).sum(1) / (~mask).sum(1)[row]
    return mean_over(each, mask, "users")


def pairwise_bsl(problem, t1, t2, ratio, pooled, mean):
    scores, mask = pairwise(problem)
    total = scores.new_zeros(())
    for row, liked in zip(scores, mask, strict=True):
        negative = ratio * (row[~liked] / t2).exp().mean().log()
        positive = (row[liked] / t1).exp().mean().log() if pooled else row[liked].mean() / t1
        total = total + (negative - positive) * (liked.sum() if mean == "pairs" else 1)
    return total / (mask.sum() if mean == "pairs" else len(mask))


def pairwise_sl_at_k(problem, cutoff, mean):
    scores, mask = pairwise(problem)
    each = []
    for row, liked in zip(scores, mask, strict=True):
        beta = row.detach().sort(descending=True).values[min(cutoff, ITEMS) - 1]
        sums = ((row - row[liked, None]) / TAU).exp().sum(1)
        each.append(torch.sigmoid((row[liked] - beta) / 1.7) * sums.log())
    return mean_over(torch.cat(each), mask, mean)


CASES = {
    f"recall {rank} {exclude} {mean} {cutoffs}": (
        nn.SmoothRecallLoss(cutoffs, TAU, 1.5, rank, exclude, mean),
        lambda p, c=cutoffs, r=rank, e=exclude, m=mean: pairwise_recall(p, c, r, e, m),
    )
    for rank in ("log", "linear")
    for exclude in (True, False)
    for mean, cutoffs in (("users", (5,)), ("pairs", (3, 10)))
}
CASES |= {
    "ndcg": (nn.SmoothNDCGLoss(TAU, cutoff=4), lambda p: pairwise_ndcg(p, 4)),
    "softmax users": (nn.FullSoftmaxLoss(TAU), lambda p: pairwise_softmax(p, "users")),
    "softmax pairs": (nn.FullSoftmaxLoss(TAU, "pairs"), lambda p: pairwise_softmax(p, "pairs")),
    "bpr": (nn.AllPairsBPRLoss(TAU), pairwise_bpr),
    "bsl": (nn.BSLLoss(TAU), lambda p: pairwise_bsl(p, TAU, TAU, 1, True, "users")),
    "bsl two temperatures": (
        nn.BSLLoss(TAU, 3.1, mean="pairs"),
        lambda p: pairwise_bsl(p, TAU, 3.1, 3.1 / TAU, True, "pairs"),
    ),
    "bsl as released": (
        nn.BSLLoss(TAU, ratio=0.8, pooled=False),
        lambda p: pairwise_bsl(p, TAU, TAU, 0.8, False, "users"),
    ),
    "mixture": (
        nn.Mixture([(0.7, nn.FullSoftmaxLoss(TAU)), (2.0, nn.AllPairsBPRLoss(TAU))]),
        lambda p: 0.7 * pairwise_softmax(p, "users") + 2 * pairwise_bpr(p),
    ),
}
CASES |= {
    f"softmax at {cutoff} {mean}": (
        nn.SLAtKLoss(TAU, 1.7, cutoff, mean),
        lambda p, c=cutoff, m=mean: pairwise_sl_at_k(p, c, m),
    )
    for cutoff, mean in ((1, "users"), (7, "users"), (7, "pairs"), (ITEMS, "pairs"), (500, "users"))
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_equal_the_pairwise_form(problem, name):
    loss, pairwise_form = CASES[name]
    codes_of = problem[:2]
    got = loss(*ops.score_tables(*problem))
    want = pairwise_form(problem)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    for mine, theirs in zip(
        torch.autograd.grad(got, codes_of), torch.autograd.grad(want, codes_of), strict=True
    ):
        assert theirs.abs().max() > 1e-6
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-14)


def weighted_ranks(s, w, liked):
    return 1 + (w * ~liked * torch.sigmoid((s - s[liked, None]) / TAU)).sum(1)


def weighted_bound(s, w, liked, cutoff):
    """The highest score at or above which the items' weights add up to the cutoff."""
    counts = torch.where(liked, 1, w)
    return max(x for x in s.detach() if counts[s >= x].sum() >= cutoff)


# What a loss is for one user of scores s and weights w of items: w counts in negatives only.
WEIGHTED = {
    "recall": (
        nn.SmoothRecallLoss((5,), TAU),
        lambda s, w, liked: -torch.sigmoid(math.log(5) - weighted_ranks(s, w, liked).log()).mean(),
    ),
    "ndcg": (
        nn.SmoothNDCGLoss(TAU, cutoff=1),
        lambda s, w, liked: -(1 / torch.log2(1 + weighted_ranks(s, w, liked))).sum(),
    ),
    "softmax": (
        nn.FullSoftmaxLoss(TAU),
        lambda s, w, liked: (
            (torch.where(liked, 1, w) * (s / TAU).exp()).sum().log() - s[liked].mean() / TAU
        ),
    ),
    "bpr": (
        nn.AllPairsBPRLoss(TAU),
        lambda s, w, liked: (
            (w * ~liked * torch.nn.functional.softplus((s - s[liked, None]) / TAU)).sum(1)
            / w[~liked].sum()
        ).mean(),
    ),
    "bsl": (
        nn.BSLLoss(TAU, 3.1, 0.7),
        lambda s, w, liked: (
            0.7 * ((w * (s / 3.1).exp())[~liked].sum() / w[~liked].sum()).log()
            - (s[liked] / TAU).exp().mean().log()
        ),
    ),
    "softmax at k": (
        nn.SLAtKLoss(TAU, 1.7, 3),
        lambda s, w, liked: (
            torch.sigmoid((s[liked] - weighted_bound(s, w, liked, 3)) / 1.7)
            * ((torch.where(liked, 1, w) * (s / TAU).exp()).sum().log() - s[liked] / TAU)
        ).mean(),
    ),
}


@pytest.mark.parametrize("scale", [1e-3, 0.4, 30.0])
@pytest.mark.parametrize("levels", [2, 3, 38])
@pytest.mark.parametrize("name", WEIGHTED)
def test_weighted_negatives_on_any_number_of_levels(name, levels, scale):
    """Uneven levels, weights of any size, some of them 0, and a user of each special kind."""
    loss, of_user = WEIGHTED[name]
    g = torch.Generator().manual_seed(7)
    values = torch.rand(levels, generator=g).double().cumsum(0)
    at = torch.randint(levels, (5, ITEMS), generator=g)
    liked = torch.rand(5, ITEMS, generator=g) < 0.2
    weights = scale * torch.rand(ITEMS, generator=g).double() * (torch.arange(ITEMS) % 4 > 0)
    liked[1] = False  # padding
    s = values[at].requires_grad_()
    users = [u for u in range(5) if liked[u].any()]
    want = sum(of_user(s[u], weights, liked[u]) for u in users) / len(users)

    v_neg, v_pos = (values.repeat(5, 1).requires_grad_() for _ in range(2))
    neg, pos = (
        torch.zeros(5, levels).double().scatter_add_(1, at, own * count)
        for own, count in ((~liked, weights), (liked, torch.ones(ITEMS).double()))
    )
    neg[1] = pos[1] = 0
    got = loss(v_neg, v_pos, neg, pos)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    (theirs,) = torch.autograd.grad(want, s)
    mine = torch.autograd.grad(got, (v_neg, v_pos), materialize_grads=True)
    for grad, own in zip(mine, (~liked, liked), strict=True):
        by_level = torch.zeros(5, levels).double().scatter_add_(1, at, own * theirs)
        assert by_level.abs().max() > 1e-7
        torch.testing.assert_close(grad, by_level, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_user_without_negatives_gives_a_finite_loss_and_gradient(name):
    """One who likes all items, or whose negatives all have weight 0."""
    loss, _ = WEIGHTED[name]
    values = torch.arange(3.0).repeat(2, 1).requires_grad_()
    pos = torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    got = loss(values, values, torch.zeros(2, 3), pos)
    (grad,) = torch.autograd.grad(got, values)
    assert got.isfinite() and grad.isfinite().all()


def test_ndcg_of_counts_whose_float32_sum_is_just_below_a_whole_number():
    """As those of nn.real_score_tables: multiples of 2^-16, here 700 in all."""
    unit, some = 2**16, torch.rand(50, 63, generator=torch.Generator().manual_seed(0)).double()
    shares = (20 * some * unit).floor()
    pos = torch.cat([shares, 700 * unit - shares.sum(1, keepdim=True)], 1).float() / unit
    assert (pos.double().sum(1) == 700).all() and (pos.sum(1) < 700).any()
    values = torch.linspace(-1, 1, 64).expand(50, -1)
    tables = values, values, torch.ones(50, 64), pos
    loss = nn.SmoothNDCGLoss(TAU, cutoff=1000)
    got, want = loss(*tables), loss(*(table.double() for table in tables))
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=0)


def test_a_users_own_loss_in_five_lines(problem):
    v_neg, v_pos, neg, pos = ops.score_tables(*problem)
    z = torch.logsumexp(torch.cat([v_neg / TAU + neg.log(), v_pos / TAU + pos.log()], 1), 1)
    loss = (pos * (z[:, None] - v_pos / TAU)).sum() / pos.sum()
    want = pairwise_softmax(problem, "pairs")
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=0)
    for mine, theirs in zip(
        torch.autograd.grad(loss, problem[:2]), torch.autograd.grad(want, problem[:2]), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-14)


def test_padding_rows_change_nothing(problem):
    user_codes, item_codes, users, graph = problem
    loss = nn.SmoothRecallLoss((5,), TAU)
    padded = torch.cat([user_codes, user_codes[:3]])
    rows = torch.cat([users, torch.full((3,), -1)])
    with_padding = loss(*ops.score_tables(padded, item_codes, rows, graph))
    plain = loss(*ops.score_tables(*problem))
    torch.testing.assert_close(with_padding, plain, rtol=1e-14, atol=0)
    for mine, theirs in zip(
        torch.autograd.grad(with_padding, (user_codes, item_codes)),
        torch.autograd.grad(plain, (user_codes, item_codes)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("loss", [loss for loss, _ in CASES.values()])
def test_an_empty_batch_has_no_loss(problem, loss):
    _, item_codes, users, graph = problem
    assert loss(*ops.score_tables(item_codes[:0], item_codes, users[:0], graph)) == 0


def test_counts_and_values_of_the_tables(problem):
    v_neg, v_pos, neg, pos = ops.score_tables(*problem)
    scores, mask = pairwise(problem)
    assert v_neg[0].tolist() == v_pos[0].tolist() == list(range(-BITS, BITS + 1, 2))
    assert torch.equal(pos.sum(1), mask.sum(1).double())
    assert torch.equal(neg.sum(1) + pos.sum(1), torch.full((len(mask),), ITEMS).double())
    assert torch.equal((neg * v_neg).sum(1), (scores * ~mask).sum(1))
    assert not neg.requires_grad and not pos.requires_grad


def test_uniformly_weighted_candidates_estimate_the_whole_catalogue(problem):
    user_codes, item_codes, users, graph = problem
    ptr = torch.arange(len(users) + 1) * 2 * ITEMS
    ids = torch.arange(ITEMS).repeat(2 * len(users))
    twice = Candidates(ptr, ids, torch.full((len(ids),), 0.5, dtype=torch.float64))
    for mine, theirs in zip(
        ops.score_tables(*problem, twice), ops.score_tables(*problem), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_smooth_ranks_of_all_items_sum_to_a_constant():
    """sigma(x) + sigma(-x) = 1, so n items that are all positives share n(n + 1) / 2 ranks."""
    g = torch.Generator().manual_seed(2)
    ptr, ids = torch.tensor([0, 30]), torch.arange(30)
    graph = BipartiteGraph(ptr, ids, ptr[:0], ptr[:0], ptr[:0])
    ranks = ops.smooth_rank(
        torch.randn(1, 4, generator=g).double(),
        torch.randn(30, 4, generator=g).double(),
        torch.tensor([0]),
        graph,
        0.5,
        exclude_positives=False,
    )
    assert abs(ranks.sum().item() - 30 * 31 / 2) < 1e-10


def test_a_small_temperature_gives_the_rank():
    g = torch.Generator().manual_seed(3)
    ptr, ids = csr(g, 6, 40, 8)
    graph = BipartiteGraph(ptr, ids, ptr[:0], ptr[:0], ptr[:0])
    users, items = torch.randn(6, 5, generator=g).double(), torch.randn(40, 5, generator=g).double()
    scores = users @ items.T
    mask = reference.positive_mask(torch.arange(6), ptr, ids, 40)
    for exclude in (True, False):
        ranks = ops.smooth_rank(
            users, items, torch.arange(6), graph, 1e-9, exclude_positives=exclude
        )
        row, item = mask.nonzero(as_tuple=True)
        above = scores[row] > scores[row, item, None]
        want = 1 + (above & ~mask[row] if exclude else above).sum(1)
        assert torch.equal(ranks, want.double())


def test_smooth_rank_of_codes_equals_the_tables(problem):
    """Two ways to one number: pairwise sums over real scores, and levels of the tables."""
    user_codes, item_codes, users, graph = problem
    ranks = ops.smooth_rank(*problem, TAU)
    by_level = smooth_ranks(*ops.score_tables(*problem), TAU)
    scores, mask = pairwise(problem)
    levels = ((scores + BITS) / 2).round().long()
    row, item = mask.nonzero(as_tuple=True)
    torch.testing.assert_close(ranks, by_level[row, levels[row, item]], rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("loss", "arguments", "words"),
    [
        (nn.SmoothRecallLoss, {"cutoffs": ()}, "cutoffs: expected one or more numbers >= 1, got"),
        (nn.SmoothRecallLoss, {"cutoffs": (20, 0)}, "cutoffs: expected one or more numbers >="),
        (nn.SmoothRecallLoss, {"rank": "Log"}, "rank: expected log or linear, got 'Log'"),
        (nn.SmoothRecallLoss, {"mean": "items"}, "mean: expected users or pairs, got 'items'"),
        (nn.SmoothRecallLoss, {"tau_rank": 0}, "tau_rank: expected a positive number, got 0"),
        (nn.SmoothNDCGLoss, {"tau_score": float("nan")}, "tau_score: expected a positive number"),
        (nn.SmoothNDCGLoss, {"cutoff": 0}, "cutoff: expected a number >= 1, got 0"),
        (nn.FullSoftmaxLoss, {"temperature": -1}, "temperature: expected a positive number"),
        (nn.FullSoftmaxLoss, {"temperature": 1, "mean": "all"}, "mean: expected users"),
        (nn.AllPairsBPRLoss, {"temperature": 0}, "temperature: expected a positive number"),
        (nn.BSLLoss, {"temperature": 0}, "temperature: expected a positive number, got 0"),
        (
            nn.BSLLoss,
            {"temperature": 1, "temperature_negative": -1},
            "temperature_negative: expected a positive number, got -1",
        ),
        (nn.BSLLoss, {"temperature": 1, "ratio": 0}, "ratio: expected a positive number, got 0"),
        (nn.BSLLoss, {"temperature": 1, "mean": "all"}, "mean: expected users or pairs"),
        (
            nn.SLAtKLoss,
            {"temperature": 1, "tau_weight": 0},
            "tau_weight: expected a positive number, got 0",
        ),
        (
            nn.SLAtKLoss,
            {"temperature": 1, "tau_weight": 1, "cutoff": 0},
            "cutoff: expected a number >= 1, got 0",
        ),
        (nn.Mixture, {"parts": []}, r"parts: expected one or more .* got weights \[\]"),
        (
            nn.Mixture,
            {"parts": [(-1.0, nn.FullSoftmaxLoss(1.0))]},
            r"parts: expected one or more with finite weights >= 0, got weights \[-1.0\]",
        ),
    ],
)
def test_arguments_that_losses_refuse(loss, arguments, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        loss(**arguments)
