"""The trainer: protocol, determinism, resuming, interrupting, damaged files."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from hashgcn.data import Dataset, Interactions, generate_sample
from hashgcn.evaluate import protocol as evaluation
from hashgcn.graph import BipartiteGraph
from hashgcn.models import LightGCN, RecallHash, recall_hash
from hashgcn.retrieval import Recommender
from hashgcn.runs.folder import Run
from hashgcn.train import loop as training
from hashgcn.train.settings import RecallHashSettings

SETTINGS = {"code_length": 24, "epochs": 3, "batch_users": 32, "cutoffs": (5, 20)}
SETTINGS["selection_metric"] = "recall@20"


def in_time(x: Interactions) -> Interactions:
    """The same pairs, in some order of time."""
    return replace(x, order=np.random.default_rng(0).permutation(x.num_pairs))


@pytest.fixture(scope="module")
def data() -> Dataset:
    sample = generate_sample(num_users=150, num_items=200, mean_degree=20.0)
    return replace(sample, train=in_time(sample.train))


def codes_of(recommender: Recommender) -> tuple[np.ndarray, np.ndarray]:
    return recommender.user_codes, recommender.index.codes


def assert_same_codes(a: Recommender, b: Recommender) -> None:
    for x, y in zip(codes_of(a), codes_of(b), strict=True):
        np.testing.assert_array_equal(x, y)


def fitted(data: Dataset, **options):
    return RecallHash(**SETTINGS).fit(data, progress=False, **options)


def test_metrics_say_what_they_are(data, tmp_path):
    model = fitted(data, run=tmp_path)
    written = json.loads(Run(tmp_path).metrics.read_text())
    assert written == model.metrics
    assert set(written["test"]) == {f"{m}@{k}" for m in ("recall", "ndcg") for k in (5, 20)}
    scores = [e["validation"]["recall@20"] for e in written["history"] if "validation" in e]
    assert written["epochs"] == scores.index(max(scores)) + 1
    assert written["validation"]["recall@20"] == max(scores)
    assert len(written["history"]) == len(scores) + written["epochs"]
    for key in ("train_seconds", "selection_seconds", "peak_rss_mb"):
        assert written[key] > 0
    ties = written["test_ties"]["recall@20"]
    for order in ("test", "test_original_order"):
        assert ties["lower"] <= written[order]["recall@20"] <= ties["upper"]
    assert ties["lower"] < ties["expected"] < ties["upper"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint.previous.safetensors",
        "checkpoint.safetensors",
        "codes.safetensors",
        "curves.png",
        "metrics.json",
    }
    assert Run(tmp_path).curves.read_bytes().startswith(b"\x89PNG")
    assert_same_codes(Recommender.load(Run(tmp_path).codes), model.recommender)


def test_training_learns(data):
    model = RecallHash(**SETTINGS | {"epochs": 8}).fit(data, progress=False)
    popularity = model.metrics["popularity_ranking"]
    assert model.metrics["test"]["recall@20"] > 1.5 * popularity["recall@20"]


def test_codes_do_not_depend_on_the_number_of_threads(data, threads):
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(fitted(data))
    assert_same_codes(results[0].recommender, results[1].recommender)
    assert_same_codes(results[0].recommender, results[2].recommender)
    assert results[0].metrics["history"] == results[1].metrics["history"]


def test_metrics_do_not_depend_on_the_evaluation_batch(data):
    results = [
        RecallHash(**SETTINGS, eval_users=n).fit(data, progress=False).metrics for n in (7, 4096)
    ]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["history"] == results[1]["history"]


def test_seeds_differ(data):
    a, b = (RecallHash(**SETTINGS, seed=s).fit(data, progress=False) for s in (0, 1))
    assert not np.array_equal(a.recommender.user_codes, b.recommender.user_codes)


def interrupt_after(monkeypatch, steps: int) -> None:
    """Ctrl-C during the given step of the run."""
    done = 0
    step = training.Trainer.step

    def counted(self, batch):
        nonlocal done
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    monkeypatch.setattr(training.Trainer, "step", counted)


@pytest.mark.parametrize("steps", [2, 5, 12, 17])
def test_a_resumed_run_equals_an_uninterrupted_one(data, tmp_path, monkeypatch, steps):
    """Interrupted inside an epoch, at its end, and in both phases (5 steps an epoch)."""
    whole = fitted(data)
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        with pytest.raises(KeyboardInterrupt):
            fitted(data, run=tmp_path)
    assert not Run(tmp_path).metrics.exists()
    resumed = fitted(data, run=tmp_path, resume=True)
    assert_same_codes(whole.recommender, resumed.recommender)
    assert whole.metrics["test"] == resumed.metrics["test"]
    assert whole.metrics["history"] == resumed.metrics["history"]


def test_a_finished_run_can_be_resumed_and_gives_the_same(data, tmp_path):
    first = fitted(data, run=tmp_path)
    again = fitted(data, run=tmp_path, resume=True)
    assert_same_codes(first.recommender, again.recommender)
    assert first.metrics["test"] == again.metrics["test"]


def test_a_run_is_resumed_with_its_own_settings_and_data_alone(data, tmp_path):
    fitted(data, run=tmp_path)
    with pytest.raises(ValueError, match="same method, settings and data"):
        RecallHash(**SETTINGS | {"epochs": 4}).fit(data, run=tmp_path, resume=True)
    other = generate_sample(seed=1, num_users=150, num_items=200, mean_degree=20.0)
    with pytest.raises(ValueError, match="same method, settings and data"):
        fitted(other, run=tmp_path, resume=True)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        fitted(data, run=tmp_path / "new", resume=True)
    with pytest.raises(ValueError, match="run folder"):
        fitted(data, resume=True)


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, 0.99])
def test_a_half_written_checkpoint_is_refused_and_the_previous_one_is_still_there(
    data, tmp_path, keep
):
    whole = fitted(data, run=tmp_path)
    run = Run(tmp_path)
    content = run.checkpoint.read_bytes()
    run.checkpoint.write_bytes(content[: keep if keep > 1 else int(keep * len(content))])
    before = run.previous_checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: cannot resume.*previous"):
        fitted(data, run=tmp_path, resume=True)
    assert run.previous_checkpoint.read_bytes() == before
    run.previous_checkpoint.rename(run.checkpoint)
    assert_same_codes(whole.recommender, fitted(data, run=tmp_path, resume=True).recommender)


def test_a_checkpoint_of_something_else_is_refused(data, tmp_path):
    model = fitted(data, run=tmp_path)
    model.recommender.save(Run(tmp_path).checkpoint)
    with pytest.raises(ValueError, match=r"expected format 'hashgcn\.checkpoint'"):
        fitted(data, run=tmp_path, resume=True)


def test_recent_items_count_where_the_order_in_time_is_known(data):
    unknown = replace(data, train=replace(data.train, order=None))
    none = [
        RecallHash(**SETTINGS, **options).fit(x, progress=False)
        for x, options in ((unknown, {}), (data, {"recent_fraction": 0}))
    ]
    assert_same_codes(none[0].recommender, none[1].recommender)
    assert not np.array_equal(fitted(data).recommender.user_codes, none[0].recommender.user_codes)


def test_a_users_embedding_has_its_recent_items_once_more(data):
    graph = BipartiteGraph.from_interactions(data.train)
    network = recall_hash.RecallHashNetwork(
        graph, RecallHashSettings(**SETTINGS, recent_fraction=0.25, recent_scale=1.5)
    )
    users, items = network.encoder(graph)
    recent = np.zeros((data.train.num_users, data.train.num_items))
    for u in range(data.train.num_users):
        row = slice(*data.train.ptr[u : u + 2])
        by_time = data.train.ids[row][np.argsort(data.train.order[row])]
        recent[u, by_time[math.floor(0.75 * len(by_time)) :]] = 1
    scale = [1 / np.sqrt(np.maximum(recent.sum(axis, keepdims=True), 1)) for axis in (1, 0)]
    weights = torch.tensor(scale[0] * recent * scale[1], dtype=torch.float32)
    mine = network.embeddings(graph)
    torch.testing.assert_close(mine[0], users + 1.5 * weights @ items)
    assert torch.equal(mine[1], items)


def test_no_selection_uses_all_epochs(data):
    model = RecallHash(**SETTINGS, validation_fraction=0).fit(data, progress=False)
    assert model.metrics["epochs"] == 3 and model.metrics["validation"] is None
    assert {entry["phase"] for entry in model.metrics["history"]} == {"refit"}


def test_without_test_pairs_there_are_no_test_metrics(data):
    nothing = data.test.where(np.zeros(data.test.num_pairs, dtype=bool))
    untested = Dataset(data.name, data.train, nothing, data.user_ids, data.item_ids)
    model = RecallHash(**SETTINGS).fit(untested, progress=False)
    tested = RecallHash(**SETTINGS).fit(data, progress=False)
    assert_same_codes(model.recommender, tested.recommender)
    left_out = {"test", "test_is_of", "test_original_order", "test_ties", "popularity_ranking"}
    assert tested.metrics.keys() - model.metrics.keys() == left_out
    assert model.metrics["history"] == tested.metrics["history"]


def test_the_callback_gets_every_epoch_as_history_has_it(data):
    entries = []
    model = RecallHash(**SETTINGS).fit(data, progress=False, callback=entries.append)
    assert entries == model.metrics["history"]


def test_selection_stops_early_and_never_sees_test(data, monkeypatch):
    """A validation metric that falls from the second epoch on stops the run after `patience`."""
    scores = iter([0.5, 0.4, 0.3, 0.2])
    evaluate = evaluation.evaluate
    relevant_parts = []

    def fake(*args, **options):
        relevant_parts.append(args[2])
        result = evaluate(*args, **options)
        return result | {"recall@20": next(scores)} if args[2] is not data.test else result

    monkeypatch.setattr(evaluation, "evaluate", fake)
    model = RecallHash(**SETTINGS | {"epochs": 9}, patience=2).fit(data, progress=False)
    assert model.metrics["epochs"] == 1
    phases = [entry["phase"] for entry in model.metrics["history"]]
    assert phases == ["selection"] * 3 + ["refit"]
    assert [part is data.test for part in relevant_parts[:3]] == [False] * 3


def test_every_loss_trains(data):
    for loss in ("recall", "ndcg", "softmax", "bpr"):
        model = RecallHash(**SETTINGS, loss=loss, validation_fraction=0).fit(data, progress=False)
        losses = [entry["loss"] for entry in model.metrics["history"]]
        assert losses[-1] < losses[0], loss


def test_losses_with_sampled_items(data):
    graph = BipartiteGraph.from_interactions(data.train)
    users = torch.tensor([0, 3, -1, 7])
    draw = recall_hash.sampled(graph, users, 40, torch.Generator().manual_seed(0), torch.float64)
    rows = draw.ids.view(4, 40)
    for user, items in zip(users.clamp(min=0).tolist(), rows, strict=True):
        own = data.train.ids[data.train.ptr[user] : data.train.ptr[user + 1]]
        assert not np.isin(items.numpy(), own).any()
        lacking = data.train.num_items - len(own)
        total = draw.weight.view(4, 40)[users.clamp(min=0) == user][0].sum()
        assert total.item() == pytest.approx(lacking)
    settings = SETTINGS | {"validation_fraction": 0}
    all_items, some, again = (
        RecallHash(**settings, sampled_items=count).fit(data, progress=False).metrics["test"]
        for count in (None, 20, 20)
    )
    assert some == again
    assert some != all_items
    assert some["recall@20"] > 0.5 * all_items["recall@20"]


@pytest.mark.parametrize("estimator", ["ste", "clipped_ste", "fourier"])
def test_every_estimator_of_signs_trains(data, estimator):
    model = RecallHash(**SETTINGS, estimator=estimator, validation_fraction=0)
    losses = [entry["loss"] for entry in model.fit(data, progress=False).metrics["history"]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("estimator", ["tanh", "guided"])
def test_estimators_of_real_numbers_are_refused(estimator):
    with pytest.raises(ValueError, match=f"recall, ndcg, .*got {estimator}, .*real-valued"):
        RecallHash(estimator=estimator)


def test_recommendations_leave_out_seen_items_and_follow_the_dial(data):
    model = RecallHash(**SETTINGS | {"epochs": 6}).fit(data, progress=False)
    users = data.user_ids[:20]
    ids, scores = model.recommend(users, k=30)
    assert ids.shape == scores.shape == (20, 30)
    assert (np.diff(scores, axis=1) <= 0).all()
    degree = data.train.popularity()
    for row, items in enumerate(ids):
        seen = data.item_ids[data.train.ids[data.train.ptr[row] : data.train.ptr[row + 1]]]
        assert not set(items) & set(seen) and len(set(items)) == 30
    with_seen, _ = model.recommend(users, k=30, filter_already_liked_items=False)
    assert (with_seen != ids).any()

    def mean_popularity(p: float) -> float:
        items, _ = model.recommend(users, k=30, popularity=p)
        return degree[data.item_rows(items.ravel())].mean()

    assert mean_popularity(-1) < mean_popularity(0) < mean_popularity(1)
    single, _ = model.recommend(users[3:4], k=30)
    np.testing.assert_array_equal(single[0], ids[3])
    everything, scores = model.recommend(users, k=250)
    assert (everything[:, -1] == "").all() and (scores[:, -1] == -25).all()
    for call, words in (
        (
            lambda: model.recommend(["nobody"]),
            "users: expected ids of users seen in training, got 'nobody'",
        ),
        (lambda: model.recommend([3]), "users: expected ids of .* got 3"),
        (lambda: model.recommend(users, popularity=1.5), "popularity"),
        (lambda: model.recommend(users, k=0), "k"),
        (lambda: RecallHash().recommend(users), "not fitted"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_index_of_a_model(data, tmp_path):
    model = fitted(data)
    index = model.index()
    index.save(tmp_path / "items.hgx")
    loaded = type(index).load(tmp_path / "items.hgx")
    queries = model.recommender.user_codes[:4]
    for mine, theirs in zip(loaded.search(queries, k=5), index.search(queries, k=5), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_changes_of_the_index_leave_the_model(data):
    model, users = fitted(data), data.user_ids[:5]
    before = model.recommend(users, k=20)
    index = model.index()
    index.remove(index.ids[:30])
    for mine, theirs in zip(model.recommend(users, k=20), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_damaged_codes_are_refused(data, tmp_path):
    fitted(data, run=tmp_path)
    path = Run(tmp_path).codes
    content = path.read_bytes()
    for length in (0, 9, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=str(path)):
            Recommender.load(path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"code_length": 1}, "code_length"),
        ({"code_length": 8, "popularity_bits": 8}, "popularity_bits below code_length 8, got 8"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"selection_metric": "recall@7"}, "one of the cutoffs"),
        ({"selection_metric": "recall@050"}, "selection_metric"),
        ({"selection_metric": "recall@５０"}, "selection_metric"),
        ({"cutoffs": (0, 50)}, "cutoffs >= 1"),
        ({"loss": "hinge"}, "loss"),
        ({"estimator": "relu"}, "estimator"),
        ({"ste_clip": -1}, "ste_clip"),
        ({"ste_clip": float("inf")}, "ste_clip"),
        ({"fourier_terms": 1}, "fourier_terms"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        RecallHashSettings(**settings)


def test_one_user():
    pairs = (["ann"] * 8, [f"i{at}" for at in range(8)]), (["ann"] * 2, ["i8", "i9"])
    model = RecallHash(**SETTINGS).fit(Dataset.from_pairs("one", *pairs), progress=False)
    ids, _ = model.recommend(["ann"], k=2)
    assert sorted(ids[0]) == ["i8", "i9"] and model.metrics["test"]["recall@5"] == 1


@pytest.mark.parametrize("loss", ["recall", "softmax", "bpr"])
def test_users_without_train_items(loss):
    """Each is a batch of its own here."""
    train = np.repeat(np.arange(6), 3), np.arange(18) % 7
    data = Dataset.from_pairs("some", train, ([8, 9], [0, 1]))
    model = LightGCN(code_length=8, epochs=2, layers=1, loss=loss, validation_fraction=0)
    metrics = model.fit(data, progress=False).metrics
    assert all(np.isfinite(entry["loss"]) for entry in metrics["history"])


def test_data_without_anything_to_hold_out(data):
    pairs = (np.arange(40), np.arange(40))
    tiny = Dataset.from_pairs("tiny", pairs, pairs)
    with pytest.raises(ValueError, match="validation_fraction"):
        RecallHash(**SETTINGS).fit(tiny, progress=False)


def test_fit_works_outside_the_main_thread(data):
    models = []
    thread = threading.Thread(target=lambda: models.append(fitted(data)))
    thread.start()
    thread.join()
    assert models[0].metrics["test"] == fitted(data).metrics["test"]


def test_fit_leaves_a_signal_handler_that_is_not_pythons(monkeypatch):
    def change(number, handler):
        pytest.fail("it could not be put back: Python has no object for it")

    monkeypatch.setattr(signal, "signal", change)
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    with training.interruptible() as event:
        assert not event.is_set()


def test_ctrl_c_on_the_command_line_leaves_a_checkpoint(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "hashgcn", "train", "sample", "--out", str(out), "--quiet"]
    process = subprocess.Popen(
        [*command, "--set", "epochs=500", "--set", "patience=500"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not Run(out).checkpoint.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "hashgcn: interrupted; continue with --resume\n"
    assert not Run(out).metrics.exists()


def test_real_gowalla_has_the_trials_shape(real_data):
    """A few steps on the real graph: loss falls, memory stays far from users x items."""
    from hashgcn.data import load

    data = load("gowalla", real_data)
    settings = RecallHashSettings(validation_fraction=0, batch_users=256, epochs=1)
    trainer = training.Trainer(
        RecallHash.network, data, settings, torch.device("cpu"), None, progress=False
    )
    batches = trainer.network.batches(trainer.graph, 0)
    losses = []
    for step in range(6):
        losses.append(trainer.step(batches[0]).item())
        trainer.position.step = step + 1
    assert losses[-1] < losses[0] - 0.01
