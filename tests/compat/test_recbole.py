"""RecBole trains and evaluates RecallHash, and ranks as our search does."""

# ruff: noqa: E402 - RecBole is imported once NumPy has the names that it uses.

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hashgcn.data import Dataset, generate_sample, write_inter
from hashgcn.evaluate import evaluate_popularity
from hashgcn.ops import pack_codes

pytest.importorskip("recbole", reason="RecBole is not installed")
# RecBole 1.2.1 and the ray that it needs use names that NumPy 2 removed.
for name, kind in (("bool8", bool), ("float_", float), ("complex_", complex), ("unicode_", str)):
    if not hasattr(np, name):
        setattr(np, name, np.dtype(kind).type)

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer

from hashgcn.compat.recbole import RecallHash

pytestmark = [
    pytest.mark.filterwarnings("ignore:::recbole"),
    pytest.mark.filterwarnings("ignore:::tensorboard"),
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),
]
PARTS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> SimpleNamespace:
    """The sample in three parts, written where RecBole looks; it writes its logs there too."""
    data = generate_sample(num_users=300, num_items=200)
    train, valid = data.train.split(0.1, seed=0)
    root = tmp_path_factory.mktemp("recbole")
    for name, part in zip(PARTS, (train, valid, data.test), strict=True):
        for dataset in ("sample", "timed"):
            (root / dataset).mkdir(exist_ok=True)
            path = root / dataset / f"{dataset}.{name}.inter"
            write_inter(path, part, data.user_ids, data.item_ids)
        head, *lines = path.read_text().splitlines()
        # The earlier a line, the later its time.
        timed = [f"{line}\t{-row}" for row, line in enumerate(lines)]
        path.write_text("\n".join([f"{head}\ttimestamp:float", *timed, ""]))
    # The first ten users and ten items have nothing in train.
    warm = train.where((train.users() >= 10) & (train.ids >= 10))
    (root / "cold").mkdir()
    for name, part in zip(PARTS, (warm, valid, data.test), strict=True):
        write_inter(root / "cold" / f"cold.{name}.inter", part, data.user_ids, data.item_ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield SimpleNamespace(data=data, train=train, valid=valid, root=str(root))


@pytest.fixture(scope="module")
def build(parts):
    """A config, its data and a model: settings -> namespace."""

    def build(dataset: str = "sample", columns=("user_id", "item_id"), **settings):
        options = {
            **{"data_path": parts.root, "benchmark_filename": list(PARTS), "show_progress": False},
            **{"load_col": {"inter": list(columns)}, "train_neg_sample_args": None},
            **{"metrics": ["Recall"], "topk": [20], "valid_metric": "Recall@20"},
            **{"code_length": 32, "learning_rate": 0.015, "epochs": 4, "train_batch_size": 512},
        }
        config = Config(model=RecallHash, dataset=dataset, config_dict=options | settings)
        train, valid, test = data_preparation(config, create_dataset(config))
        model = RecallHash(config, train.dataset).to(config["device"])
        return SimpleNamespace(config=config, train=train, valid=valid, test=test, model=model)

    return build


@pytest.fixture(scope="module")
def fitted(build):
    run = build()
    run.trainer = Trainer(run.config, run.model)
    run.trainer.fit(run.train, run.valid, saved=False, verbose=False)
    return run


def users_of(model) -> Interaction:
    return Interaction({"user_id": torch.arange(1, model.n_users)})


def test_recall_is_far_above_popularity(fitted, parts):
    recall = fitted.trainer.evaluate(fitted.test, load_best_model=False)["recall@20"]
    data = parts.data
    seen = Dataset("seen", parts.train, data.test, data.user_ids, data.item_ids)
    assert recall > 2 * evaluate_popularity(seen, (20,))["recall@20"]


def test_codes_are_the_signs_of_the_embeddings(fitted):
    model, found = fitted.model, fitted.model.recommender()
    with torch.no_grad():
        users, items = model.network.embeddings(model.graph)
        ones = users.new_ones(len(users), model.network.settings.num_popularity_bits)
        users = pack_codes(torch.cat([users, ones], 1))
        items = pack_codes(torch.cat([items, model.network.popularity()], 1))
    np.testing.assert_array_equal(found.user_codes, users.numpy())
    np.testing.assert_array_equal(found.index.codes, items.numpy())


def test_ranks_as_the_search_in_hamming_space(fitted, parts):
    model, found = fitted.model, fitted.model.recommender()
    scores = model.full_sort_predict(users_of(model))
    assert scores.shape == (model.n_users - 1, model.n_items)
    assert (scores[:, 0] == -torch.inf).all()
    user_tokens, item_tokens = model.tokens
    for seen in (False, True):
        if seen:
            train = fitted.train.dataset.inter_feat
            scores[train["user_id"] - 1, train["item_id"]] = -torch.inf
        ranked = scores.topk(20).indices.numpy()
        items, inner = found.recommend(user_tokens, 20, exclude_seen=seen)
        np.testing.assert_array_equal(item_tokens[ranked - 1], items)
        values = scores.gather(1, torch.tensor(ranked)).numpy()
        np.testing.assert_array_equal(np.ceil(values), inner)
    assert set(user_tokens) <= set(parts.data.user_ids)


def test_cold_users_and_items_follow_the_rule(build):
    run = build("cold")
    model, found = run.model, run.model.recommender()
    assert model.cold.sum() >= 10 and (model.interactions.popularity() == 0).sum() >= 10
    scores = model.full_sort_predict(users_of(model))
    train = run.train.dataset.inter_feat
    scores[train["user_id"] - 1, train["item_id"]] = -torch.inf
    ranked = scores.topk(20).indices.numpy()
    user_tokens, item_tokens = model.tokens
    items, inner = found.recommend(user_tokens, 20)
    np.testing.assert_array_equal(item_tokens[ranked - 1], items)
    values = scores.gather(1, torch.tensor(ranked)).numpy()
    np.testing.assert_array_equal(np.ceil(values), inner)
    test_pairs_have_the_scores_of_the_full_ranking(run)


def test_pairs_have_the_scores_of_the_full_ranking(fitted):
    model = fitted.model
    items = torch.arange(model.n_users - 1) % model.n_items
    pairs = Interaction({"user_id": torch.arange(1, model.n_users), "item_id": items})
    full = model.full_sort_predict(users_of(model))
    torch.testing.assert_close(model.predict(pairs), full.gather(1, items[:, None])[:, 0])


def test_parameters_travel_and_codes_follow_them(fitted, build):
    other = build().model
    before = other.full_sort_predict(users_of(other))
    other.load_state_dict(fitted.model.state_dict())
    after = other.full_sort_predict(users_of(other))
    assert not before.equal(after)
    assert after.equal(fitted.model.full_sort_predict(users_of(other)))


def test_padding_and_repeated_users_count_nothing(build):
    model = build().model
    once = model.calculate_loss(Interaction({"user_id": torch.tensor([3, 5])}))
    again = model.calculate_loss(Interaction({"user_id": torch.tensor([5, 0, 3, 5])}))
    torch.testing.assert_close(once, again)


def test_popularity_has_its_own_learning_rate(build):
    run = build(learning_rate=0.01, popularity_learning_rate=2.0)
    popularity, optimizer = run.model.network.popularity, Trainer(run.config, run.model).optimizer
    run.model.calculate_loss(users_of(run.model)).backward()
    optimizer.step()
    moved = popularity.level.detach().abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 2.0), rtol=1e-3, atol=0)


def test_recent_items_where_the_time_is_loaded(build, parts):
    model = build("timed", ("user_id", "item_id", "timestamp")).model
    assert build().model.network.recent is None
    # The last in time are the first lines, those with the smallest rows.
    expected = {
        (parts.data.user_ids[user], parts.data.item_ids[item])
        for user in range(parts.train.num_users)
        for item in parts.train.ids[parts.train.ptr[user] :][:1]
    }
    recent = model.network.recent
    users = torch.repeat_interleave(torch.arange(recent.num_users), recent.user_ptr.diff())
    items = model.item_order[recent.user_items]
    found = set(zip(model.tokens[0][users], model.tokens[1][items], strict=True))
    assert expected <= found and len(found) < parts.train.num_pairs / 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 3}, "patience: expected none.*got 3"),
        ({"popularity_bits": 32}, "popularity_bits: expected fewer than code_length 32"),
        ({"estimator": "tanh"}, "estimator: expected 'signswish'"),
    ],
)
def test_settings_are_refused_with_a_reason(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
