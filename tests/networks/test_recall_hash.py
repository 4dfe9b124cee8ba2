"""RecallHash's network with graded users and weighted negatives."""

from __future__ import annotations

import pytest
import torch

from hashgcn.data import generate_sample
from hashgcn.models import RecallHash
from hashgcn.networks.base import Step
from hashgcn.networks.recall_hash import RecallHashNetwork
from hashgcn.networks.sampling import negative_weights
from hashgcn.ops import reference, unpack_codes, unpack_levels

START = Step(epoch=0, step=0, progress=0.0)


@pytest.fixture(scope="module")
def graph():
    return generate_sample(num_users=120, num_items=90, mean_degree=12.0).train.graph()


def network_of(graph, **settings) -> RecallHashNetwork:
    model = RecallHash(code_length=20, **settings).settings
    return RecallHashNetwork(graph, model.network, seed=0)


def tables_of(network: RecallHashNetwork, graph) -> list[torch.Tensor]:
    """The score tables that the loss of all users is made of."""

    class Kept(torch.nn.Module):
        def forward(self, *tables):
            self.tables = [x.detach() for x in tables]
            return tables[0].sum()

    network.objective = Kept()
    network.loss(graph, torch.arange(graph.num_users), START)
    return network.objective.tables


@pytest.mark.parametrize("levels", [1, 2, 4, 8])
def test_users_have_weights_of_their_levels_and_one_weight_in_popularity_bits(graph, levels):
    network = network_of(graph, user_levels=levels, popularity_bits=4)
    users, items = network.codes(graph)
    q, d = unpack_levels(users, 20), unpack_codes(items, 20)
    bound = 2 * levels - 1
    assert set(q[:, :16].unique().tolist()) == set(range(-bound, bound + 1, 2))
    assert (q[:, 16:] == bound).all()
    rows = network.embeddings(graph)
    assert torch.equal(q[:, :16].sign(), reference.sign(rows[0]))
    assert torch.equal(d[:, :16], reference.sign(rows[1]))


def test_the_loss_ranks_by_the_scores_of_the_codes(graph):
    """The tables that the loss gets hold the scores of the packed codes."""
    network = network_of(graph, user_levels=4, popularity_bits=4, popularity_bit_weight=3)
    users, items = network.codes(graph)
    scores = unpack_levels(users, 20) @ unpack_codes(items, 20).T
    v_neg, _, neg, pos = tables_of(network, graph)
    totals = ((neg + pos) * v_neg).sum(1)
    torch.testing.assert_close(totals, scores.sum(1))


def test_plain_users_are_the_signs_of_graded_ones(graph):
    network = network_of(graph, user_levels=4)
    assert network.rankings(network.settings) == ("codes", "plain_users")
    graded, plain = (network.ranking(graph, name) for name in ("codes", "plain_users"))
    assert (graded.levels, plain.levels) == (4, 1)
    signs = unpack_levels(graded.users, 20).sign()
    assert torch.equal(unpack_codes(plain.users, 20), signs)
    assert torch.equal(plain.items, graded.items)
    assert RecallHashNetwork.rankings(RecallHash(user_levels=1).settings.network) == ("codes",)


def test_negatives_are_weighed_by_a_power_of_their_popularity(graph):
    degrees = graph.item_ptr.diff().double()
    assert negative_weights(graph, 0.0) is None
    for exponent in (0.5, 1.0):
        want = degrees**exponent
        got = negative_weights(graph, exponent)
        torch.testing.assert_close(got.double(), want / want.mean())
    network = network_of(graph, negative_popularity=1.0)
    neg = tables_of(network, graph)[2]
    mask = reference.positive_mask(torch.arange(120), graph.user_ptr, graph.user_items, 90)
    want = (~mask).double() @ negative_weights(graph, 1.0).double()
    torch.testing.assert_close(neg.sum(1).double(), want, rtol=1e-5, atol=0)


def test_levels_follow_their_settings():
    plain, graded = (RecallHash(user_levels=x).settings.network for x in (1, 4))
    assert plain.resolved()["popularity_bit_weight"] == 1
    assert graded.resolved()["popularity_bit_weight"] == 7
    per_bit = [s.score_temperature / s.taste_bits for s in (plain, graded)]
    assert per_bit == pytest.approx([0.056, 4 * 0.056])
    assert graded.resolved()["level_step"] == 0.375
    assert (plain.num_popularity_bits, graded.num_popularity_bits) == (14, 10)
    assert RecallHash(user_levels=2, code_length=2).settings.network.num_popularity_bits == 1
    assert RecallHash(user_levels="4").settings.network == graded


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"user_levels": 3}, "user_levels: expected 1, 2, 4 or 8, got 3"),
        ({"user_levels": "three"}, "user_levels"),
        ({"user_levels": 2, "popularity_bit_weight": 2}, "popularity_bit_weight: .* got 2"),
        ({"user_levels": 2, "popularity_bit_weight": 5}, "at most 3 with user_levels 2, got 5"),
        ({"user_levels": 1, "popularity_bit_weight": 3}, "at most 1 with user_levels 1, got 3"),
        ({"level_step": 0.0}, "level_step: expected a number greater than 0"),
        ({"level_step": float("inf")}, "level_step"),
        ({"negative_popularity": -0.5}, "negative_popularity"),
    ],
)
def test_levels_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        RecallHash(**settings)
