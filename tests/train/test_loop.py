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
from hashgcn.evaluate import evaluate_popularity
from hashgcn.models import LightGCN, RecallHash
from hashgcn.models.base import loop_of
from hashgcn.networks import recall_hash
from hashgcn.retrieval import Recommender
from hashgcn.runs.folder import Run
from hashgcn.settings import differences
from hashgcn.train import loop as loops
from hashgcn.train.checkpoint import Position
from hashgcn.train.interrupt import interruptible

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


@pytest.fixture(scope="module")
def whole(data):
    """A model that was trained without an interruption; tests only read it."""
    return fitted(data)


def test_metrics_say_what_they_are(data, tmp_path):
    model = fitted(data, run=tmp_path)
    found = model.metrics
    assert Run(tmp_path).metrics() == json.loads(json.dumps(found.to_json()))
    assert set(found.test) == {f"{m}@{k}" for m in ("recall", "ndcg") for k in (5, 20)}
    scores = [e["validation"]["recall@20"] for e in found.history if "validation" in e]
    assert found.epochs == scores.index(max(scores)) + 1
    assert found.validation["recall@20"] == max(scores)
    assert len(found.history) == len(scores) + found.epochs
    assert min(found.train_seconds, found.selection_seconds, found.peak_memory_mb) > 0
    assert repr(found).startswith("Metrics(recall@5 0.")
    assert "<td>ndcg@20</td>" in found._repr_html_()


def test_evaluation_beside_popularity_and_ties(data, whole):
    model = whole
    found = model.evaluate(data)
    assert found.test == model.metrics.test
    ties = found.ties["recall@20"]
    for order in (found.test, found.original_order):
        assert ties["lower"] <= order["recall@20"] <= ties["upper"]
    assert ties["lower"] < ties["expected"] < ties["upper"]
    assert set(model.evaluate(data, cutoffs=[7]).test) == {"recall@7", "ndcg@7"}
    nothing = data.test.where(np.zeros(data.test.num_pairs, dtype=bool))
    with pytest.raises(ValueError, match="data: expected test pairs to evaluate, got none"):
        model.evaluate(replace(data, test=nothing))
    with pytest.raises(ValueError, match="data: expected the train pairs of the fit"):
        model.evaluate(replace(data, train=data.train.split(0.5, 0)[0]))


def test_training_learns(data):
    model = RecallHash(**SETTINGS | {"epochs": 8}).fit(data, progress=False)
    popularity = evaluate_popularity(data, [20])
    assert model.metrics.test["recall@20"] > 1.5 * popularity["recall@20"]


@pytest.mark.parametrize("count", [1, 3])
def test_codes_do_not_depend_on_the_number_of_threads(data, whole, threads, count):
    threads(count)
    other = fitted(data)
    assert_same_codes(whole.recommender, other.recommender)
    assert whole.metrics.history == other.metrics.history


def test_metrics_do_not_depend_on_the_evaluation_batch(data, whole):
    other = RecallHash(**SETTINGS, eval_users=7).fit(data, progress=False).metrics
    assert other.test == whole.metrics.test and other.history == whole.metrics.history


def test_seeds_differ(data, whole):
    other = RecallHash(**SETTINGS, seed=1).fit(data, progress=False)
    assert not np.array_equal(other.recommender.user_codes, whole.recommender.user_codes)


def interrupt_after(monkeypatch, steps: int) -> None:
    """Ctrl-C during the given step of the run."""
    done = 0
    step = loops.Loop.step

    def counted(self, batch):
        nonlocal done
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    monkeypatch.setattr(loops.Loop, "step", counted)


@pytest.mark.parametrize("steps", [2, 5, 17])
def test_a_resumed_run_equals_an_uninterrupted_one(data, whole, tmp_path, monkeypatch, steps):
    """Interrupted inside an epoch, at its end, and in the refit (5 steps per epoch)."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        with pytest.raises(KeyboardInterrupt):
            fitted(data, run=tmp_path)
    with pytest.raises(FileNotFoundError, match="is .* the folder of a run"):
        Run(tmp_path).metrics()
    resumed = fitted(data, run=tmp_path, resume=True)
    assert_same_codes(whole.recommender, resumed.recommender)
    assert whole.metrics.test == resumed.metrics.test
    assert whole.metrics.history == resumed.metrics.history


def test_one_call_begins_goes_on_and_takes_what_is_finished(data, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            fitted(data, run=tmp_path, resume=True)
    first = fitted(data, run=tmp_path, resume=True)
    assert_same_codes(whole.recommender, first.recommender)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr(loops.Loop, "run", lambda *_: pytest.fail("it was trained again"))
    again = fitted(data, run=tmp_path, resume=True)
    assert_same_codes(whole.recommender, again.recommender)
    assert again.metrics == first.metrics and again.metrics.history == whole.metrics.history
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written


def test_a_run_is_resumed_with_its_own_settings_and_data_alone(data, tmp_path):
    fitted(data, run=tmp_path)
    asked = Run(tmp_path).asked()
    other = RecallHash(**SETTINGS | {"epochs": 4}, learning_rate=0.1)
    refusal = "got one with epochs 3 instead of 4, learning_rate 0.015 instead of 0.1, tune "
    with pytest.raises(ValueError, match=refusal):
        other.fit(data, run=tmp_path, resume=True)
    with pytest.raises(ValueError, match="got one with method recall_hash"):
        LightGCN(code_length=24).fit(data, run=tmp_path, resume=True)
    sample = generate_sample(seed=1, num_users=150, num_items=200, mean_degree=20.0)
    with pytest.raises(ValueError, match="got one with other train or test pairs"):
        fitted(sample, run=tmp_path, resume=True)
    assert Run(tmp_path).asked() == asked
    with pytest.raises(ValueError, match="run: expected a folder"):
        fitted(data, resume=True)


@pytest.mark.parametrize("finished", [True, False])
def test_a_setting_that_changes_no_result_does_not_refuse_a_resume(data, whole, tmp_path, finished):
    fitted(data, run=tmp_path)
    if not finished:
        (tmp_path / "metrics.json").unlink()
    free = {"eval_users": 7, "checkpoint_minutes": 0}
    again = RecallHash(**SETTINGS, **free).fit(data, run=tmp_path, resume=True, progress=False)
    assert_same_codes(whole.recommender, again.recommender)


def test_a_setting_that_a_checkpoint_does_not_know_counts_as_its_default():
    wanted = {"epochs": 3, "new": 1}
    assert differences({"epochs": 3}, wanted, {"epochs": 8, "new": 1}) == []
    assert differences({"epochs": 3}, wanted, {"epochs": 8, "new": 2}) == ["new 2 instead of 1"]
    assert differences({"epochs": 3, "old": 4}, wanted, wanted) == ["old 4, which is no setting"]


def test_a_folder_that_holds_a_run_is_not_written_to(data, tmp_path):
    fitted(data, run=tmp_path)
    with pytest.raises(ValueError, match="run: expected a new folder, .* holds a finished run"):
        fitted(data, run=tmp_path)
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(ValueError, match="holds an unfinished run; resume it"):
        fitted(data, run=tmp_path)


@pytest.mark.parametrize("keep", [0, 0.99])
def test_a_half_written_checkpoint_is_refused_and_the_previous_one_is_still_there(
    data, tmp_path, keep
):
    whole = fitted(data, run=tmp_path)
    run = Run(tmp_path)
    (tmp_path / "metrics.json").unlink()
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
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"expected format 'hashgcn\.checkpoint'"):
        fitted(data, run=tmp_path, resume=True)


def test_recent_items_count_where_the_order_in_time_is_known(data, whole):
    unknown = replace(data, train=replace(data.train, order=None))
    none = [
        RecallHash(**SETTINGS, **options).fit(x, progress=False)
        for x, options in ((unknown, {}), (data, {"recent_fraction": 0}))
    ]
    assert_same_codes(none[0].recommender, none[1].recommender)
    assert not np.array_equal(whole.recommender.user_codes, none[0].recommender.user_codes)


def test_a_users_embedding_has_its_recent_items_once_more(data):
    graph = data.train.graph()
    settings = RecallHash(**SETTINGS, recent_fraction=0.25, recent_scale=1.5).settings.network
    network = recall_hash.RecallHashNetwork(graph, settings, 0)
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
    assert model.metrics.epochs == 3 and model.metrics.validation is None
    assert {entry["phase"] for entry in model.metrics.history} == {"refit"}


def test_without_test_pairs_there_are_no_test_metrics(data, whole):
    nothing = data.test.where(np.zeros(data.test.num_pairs, dtype=bool))
    untested = Dataset(data.name, data.train, nothing, data.user_ids, data.item_ids)
    model = RecallHash(**SETTINGS).fit(untested, progress=False)
    assert_same_codes(model.recommender, whole.recommender)
    assert whole.metrics.test and not model.metrics.test and not model.metrics.rankings
    assert model.metrics.history == whole.metrics.history


def test_the_callback_gets_every_epoch_as_history_has_it(data):
    entries = []
    model = RecallHash(**SETTINGS).fit(data, progress=False, callback=entries.append)
    assert entries == model.metrics.history


def test_selection_stops_early_and_never_sees_test(data, monkeypatch):
    """A validation metric that falls from the second epoch on stops the run after `patience`."""
    scores = iter([0.5, 0.4, 0.3, 0.2])
    evaluate, relevant_parts = loops.evaluate, []

    def fake(*args, **options):
        relevant_parts.append(args[2])
        return evaluate(*args, **options) | {"recall@20": next(scores)}

    monkeypatch.setattr(loops, "evaluate", fake)
    model = RecallHash(**SETTINGS | {"epochs": 9}, patience=2).fit(data, progress=False)
    assert model.metrics.epochs == 1
    phases = [entry["phase"] for entry in model.metrics.history]
    assert phases == ["selection"] * 3 + ["refit"]
    assert len(relevant_parts) == 3 and all(part is not data.test for part in relevant_parts)


def test_every_loss_trains(data):
    for loss in ("recall", "ndcg", "softmax", "bpr"):
        settings = SETTINGS | {"epochs": 6, "loss": loss, "validation_fraction": 0}
        model = RecallHash(**settings).fit(data, progress=False)
        losses = [entry["loss"] for entry in model.metrics.history]
        assert losses[-1] < losses[0], loss


def test_losses_with_sampled_items(data):
    graph = data.train.graph()
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
        RecallHash(**settings, sampled_items=count).fit(data, progress=False).metrics.test
        for count in (None, 20, 20)
    )
    assert some == again
    assert some != all_items
    assert some["recall@20"] > 0.5 * all_items["recall@20"]


@pytest.mark.parametrize("estimator", ["ste", "clipped_ste", "fourier"])
def test_every_estimator_of_signs_trains(data, estimator):
    model = RecallHash(**SETTINGS, estimator=estimator, validation_fraction=0)
    losses = [entry["loss"] for entry in model.fit(data, progress=False).metrics.history]
    assert losses[-1] < losses[0]


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
    with_seen, _ = model.recommend(users, k=30, exclude_seen=False)
    assert (with_seen != ids).any()

    def mean_popularity(p: float) -> float:
        items, _ = model.recommend(users, k=30, popularity_weight=p)
        return degree[data.item_rows(items.ravel())].mean()

    assert mean_popularity(-1) < mean_popularity(0) < mean_popularity(1)
    single, _ = model.recommend(users[3:4], k=30)
    np.testing.assert_array_equal(single[0], ids[3])
    everything, scores = model.recommend(users, k=250)
    assert (everything[:, -1] == "").all() and (scores[:, -1] == -(2**31)).all()
    for call, words in (
        (
            lambda: model.recommend(["nobody"], cold_users="error"),
            "users: expected ids of users with items in train, got 'nobody'",
        ),
        (
            lambda: model.recommend([3], cold_users="error"),
            r"users: expected ids of users seen in training \(str\), got 3",
        ),
        (lambda: model.recommend(users, popularity_weight=1.5), "popularity"),
        (lambda: model.recommend(users, k=0), "k"),
        (lambda: RecallHash().recommend(users), "RecallHash is not fitted yet: call fit first"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_index_of_a_model(whole, tmp_path):
    model = whole
    index = model.index()
    index.save(tmp_path / "items.hgx")
    loaded = type(index).load(tmp_path / "items.hgx")
    queries = model.recommender.user_codes[:4]
    for mine, theirs in zip(loaded.search(queries, k=5), index.search(queries, k=5), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_changes_of_the_index_leave_the_model(data, whole):
    model, users = whole, data.user_ids[:5]
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
        ({"code_length": 8, "popularity_bits": 8}, "fewer than code_length 8, got 8"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"selection_metric": "recall@7"}, "one of the cutoffs"),
        ({"selection_metric": "recall@050"}, "selection_metric"),
        ({"selection_metric": "recall@５０"}, "selection_metric"),
        ({"cutoffs": (0, 50)}, "cutoffs: expected numbers of at least 1, got"),
        ({"train_cutoffs": (0,)}, "train_cutoffs: expected numbers of at least 1, got"),
        ({"first_layer": 1, "layers": 0}, "first_layer: expected at most layers 0, got 1"),
        (
            {"selection_ranking": "real"},
            "selection_ranking: expected codes or plain_users, got 'real'",
        ),
        ({"epochs": "x"}, "epochs: expected a valid integer, .* got 'x'"),
        ({"epoch": 3}, "epoch: expected a setting of the method, got none; did you mean epochs"),
        ({"loss": "hinge"}, "loss"),
        ({"estimator": "relu"}, "estimator"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        RecallHash(**settings)


def test_one_user():
    pairs = (["ann"] * 8, [f"i{at}" for at in range(8)]), (["ann"] * 2, ["i8", "i9"])
    model = RecallHash(**SETTINGS).fit(Dataset.from_pairs("one", *pairs), progress=False)
    ids, _ = model.recommend(["ann"], k=2, untrained_items=True)
    assert sorted(ids[0]) == ["i8", "i9"]
    # Nobody has them in train, so that rankings leave them out.
    assert model.metrics.test["recall@5"] == 0 and model.metrics.cold_test_items == 2


@pytest.mark.parametrize("loss", ["recall", "softmax", "bpr"])
def test_users_without_train_items(loss):
    """Each is a batch of its own here."""
    train = np.repeat(np.arange(6), 3), np.arange(18) % 7
    data = Dataset.from_pairs("some", train, ([8, 9], [0, 1]))
    model = LightGCN(code_length=8, epochs=2, layers=1, loss=loss, validation_fraction=0)
    metrics = model.fit(data, progress=False).metrics
    assert all(np.isfinite(entry["loss"]) for entry in metrics.history)


def test_data_without_anything_to_hold_out_trains_all_epochs():
    pairs = (np.arange(40), np.arange(40))
    tiny = Dataset.from_pairs("tiny", pairs, pairs)
    found = RecallHash(**SETTINGS).fit(tiny, progress=False).metrics
    assert found.validation is None and found.trials == []
    assert [x["phase"] for x in found.history] == ["refit"] * SETTINGS["epochs"]


def test_fit_works_outside_the_main_thread(data, whole):
    models = []
    thread = threading.Thread(target=lambda: models.append(fitted(data)))
    thread.start()
    thread.join()
    assert models[0].metrics.test == whole.metrics.test


def test_fit_leaves_a_signal_handler_that_is_not_pythons(monkeypatch):
    def change(number, handler):
        pytest.fail("it could not be put back: Python has no object for it")

    monkeypatch.setattr(signal, "signal", change)
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    with interruptible() as caught:
        assert not caught


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
    assert not (out / "metrics.json").exists()


def test_real_gowalla_has_the_trials_shape(real_data):
    """A few steps on the real graph: loss falls, memory stays far from users x items."""
    from hashgcn.data import load

    data = load("gowalla", real_data)
    model = RecallHash(validation_fraction=0, batch_users=256, epochs=1)
    loop = loop_of(model, data.train)
    loop.start(Position("refit"))
    batches = loop.network.batches(loop.graph, 0)
    losses = []
    for step in range(6):
        losses.append(loop.step(batches[0]).item())
        loop.position.step = step + 1
    assert losses[-1] < losses[0] - 0.01
