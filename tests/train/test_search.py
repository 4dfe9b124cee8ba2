"""What a run tries: the order of changes, when it ends, and that a fit follows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from hashgcn.data import generate_sample, load, read_interactions
from hashgcn.models import METHODS, RecallHash, fields
from hashgcn.models.base import loop_of
from hashgcn.settings import from_text
from hashgcn.train import loop as loops
from hashgcn.train.checkpoint import Trial
from hashgcn.train.search import LEAST_PAIRS, Search

START = {"recent_fraction": 0.1, "tau_score": 2.0, "popularity_bits": 8, "epochs": 8}
FACTORS = {"recent_fraction": (0.0,), "tau_score": (1.5, 0.5), "popularity_bits": (0.5,)}


def trial(changes, *scores) -> Trial:
    history = [
        {"phase": "selection", "epoch": at + 1, "loss": 0.0, "validation": {"recall@50": score}}
        for at, score in enumerate(scores)
    ]
    return Trial(changes=changes, history=history)


def tried(score_of, most=20, held_out=LEAST_PAIRS, **start):
    """The trials of a search by a function of the settings, and the best of them."""
    search = Search(START | start, FACTORS | {"epochs": ()}, most, "recall@50")
    changes, trials = {}, []
    while changes is not None:
        trials.append(trial(changes, *score_of(**START | start | changes)))
        best, changes = search.after(trials, held_out)
    return [x["changes"] for x in trials], best["changes"]


def flat(epochs, **settings):
    """Scores that are best in the last epoch, for 8 epochs."""
    return [0.1] * (min(epochs, 8) - 1) + [0.2] + [0.1] * max(epochs - 8, 0)


def test_each_setting_has_its_turn_and_no_change_is_tried_twice():
    changes, best = tried(flat)
    assert changes == [
        {},
        {"recent_fraction": 0.0},
        {"tau_score": 3.0},
        {"tau_score": 1.0},
        {"popularity_bits": 4},
        {"epochs": 16},
    ]
    assert best == {}


def test_a_factor_that_helps_is_used_again_and_kept():
    def score(tau_score, recent_fraction, **settings):
        return [0.5 - abs(tau_score - 4.5) / 100 + (recent_fraction == 0) / 10]

    changes, best = tried(score, epochs=1)
    assert best == {"recent_fraction": 0.0, "tau_score": 4.5}
    assert changes[:5] == [
        {},
        {"recent_fraction": 0.0},
        {"recent_fraction": 0.0, "tau_score": 3.0},
        {"recent_fraction": 0.0, "tau_score": 4.5},
        {"recent_fraction": 0.0, "tau_score": 6.75},
    ]
    assert len(changes) == len({tuple(x.items()) for x in changes})


def test_settings_that_do_not_exist_are_not_tried():
    search = Search({"popularity_bits": 10}, {"popularity_bits": (2.0, 0.5)}, 9, "recall@50")
    limited = replace(search, possible=lambda changes: changes.get("popularity_bits", 0) < 16)
    first = [trial({}, 0.5)]
    assert search.after(first, LEAST_PAIRS)[1] == {"popularity_bits": 20}
    assert limited.after(first, LEAST_PAIRS)[1] == {"popularity_bits": 5}
    model = RecallHash(code_length=2, popularity_bits=1, tune=("popularity_bits",), epochs=1)
    model.fit(generate_sample(num_users=200, num_items=90, mean_degree=24.0), progress=False)
    assert all(x["changes"].get("popularity_bits", 0) < 2 for x in model.metrics.trials)


def test_gains_within_the_noise_change_nothing():
    noise = tried(lambda tau_score, **settings: [0.5 + (tau_score == 3.0) * 0.002], epochs=1)
    assert noise[1] == {} and {"tau_score": 3.0} in noise[0]


def test_nothing_is_learned_from_scores_of_0():
    changes, best = tried(lambda **settings: [0.0], epochs=1)
    assert best == {} and len(changes) == 6


def test_epochs_follow_the_best_epoch():
    """Longer where the last quarter is best, to the best epoch where it lies before."""
    changes, best = tried(lambda epochs, **settings: np.linspace(0.1, 0.3 * epochs / 8, epochs))
    assert best["epochs"] >= 32 and {"epochs": 16} in changes
    same = [0.1, 0.2, 0.15, 0.1]
    assert tried(lambda epochs, **settings: same if epochs > 2 else [0.1, 0.2])[1] == {"epochs": 2}
    assert tried(lambda epochs, **settings: same if epochs > 2 else [0.1, 0.19])[1] == {}
    early = [0.1, 0.2, 0.15, 0.1]
    changes, best = tried(lambda epochs, **settings: early if epochs > 2 else [0.1, 0.25])
    assert best == {"epochs": 2} and {"epochs": 16} not in changes


def test_trials_that_fall_behind_are_hopeless():
    search = Search(START, FACTORS | {"epochs": ()}, 9, "recall@50")
    first, longer = trial({}, 0.4, 0.5, 0.3), trial({}, 0.1, 0.4, 0.474, 0.5)["history"]
    assert not search.is_hopeless([], longer)
    assert [search.is_hopeless([first], longer[:n]) for n in range(5)] == [0, 0, 1, 1, 0]
    better = trial({"recent_fraction": 0.0}, 0.2, 0.3, 0.6)
    assert not search.is_hopeless([first, better], longer[:2])


@pytest.mark.parametrize(("most", "held_out", "count"), [(3, 10**6, 3), (1, 10**6, 1), (9, 299, 1)])
def test_a_search_ends_with_its_trials_or_too_few_pairs(most, held_out, count):
    assert len(tried(flat, most, held_out)[0]) == count


@pytest.fixture(scope="module")
def data():
    return generate_sample(num_users=250, num_items=120, mean_degree=24.0)


SETTINGS = {"code_length": 16, "epochs": 2, "trials": 4}


def outcome(model):
    found = model.recommender
    codes = found.user_codes.tobytes(), found.index.codes.tobytes()
    return *codes, model.metrics.history, model.metrics.trials, model.metrics.chosen


@pytest.fixture(scope="module")
def whole(data):
    return outcome(RecallHash(**SETTINGS).fit(data, progress=False))


def test_a_fit_refits_what_was_best(data, whole):
    _, _, history, trials, chosen = whole
    assert len(trials) == 4 and chosen in [x["changes"] for x in trials]
    scores = [x["validation"]["recall@50"] for x in trials]
    best = next(x for x in trials if x["changes"] == chosen)
    assert max(scores) < 1.005 * best["validation"]["recall@50"]
    # Given the settings that were chosen, and nothing to try, a fit gives the same codes.
    again = RecallHash(**SETTINGS | chosen | {"trials": 1}).fit(data, progress=False)
    assert outcome(again)[:3] == whole[:3]
    assert again.metrics.chosen == {} and len(again.metrics.trials) == 1


@pytest.mark.parametrize("steps", [3, 90, 170, 330])
def test_a_search_that_is_resumed_ends_with_the_same_codes(
    data, whole, tmp_path, monkeypatch, steps
):
    """Stopped in the middle of the first trial, of later ones, and of the refit."""
    done, step = 0, loops.Loop.step

    def stopped(self, batch):
        nonlocal done
        done += 1
        if done == steps:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loops.Loop, "step", stopped)
        model = RecallHash(**SETTINGS, checkpoint_minutes=0)
        with pytest.raises(KeyboardInterrupt):
            model.fit(data, run=tmp_path, progress=False)
    model = RecallHash(**SETTINGS, checkpoint_minutes=0)
    assert outcome(model.fit(data, run=tmp_path, resume=True, progress=False)) == whole


def test_settings_that_are_given_are_not_changed():
    known = fields(RecallHash.network)
    assert from_text(["tune="], known) == {"tune": []}
    assert from_text(["tune=epochs,tau_score"], known) == {"tune": ["epochs", "tau_score"]}
    assert RecallHash(tune=[]).settings.selection.tune == ()
    assert RecallHash().settings.selection.tune == tuple(RecallHash.tunes)
    model = RecallHash(tau_score=3.0, epochs=2)
    assert not {"tau_score", "epochs"} & set(model.settings.selection.tune)
    assert repr(model) == "RecallHash(tau_score=3.0, epochs=2)"
    assert RecallHash(tau_score=3.0, tune=["tau_score"]).settings.selection.tune == ("tau_score",)
    with pytest.raises(ValueError, match="tune: expected settings of recent_fraction, tau_score"):
        RecallHash(tune=("layers",))
    with pytest.raises(ValueError, match="tune: expected settings of none, got 'epochs'"):
        METHODS["bgch"](tune=("epochs",))


@pytest.mark.parametrize(
    ("split", "part"), [("random", "random"), ("last", "last"), ("time", "last"), ("none", "last")]
)
def test_what_is_held_out_follows_the_split(split, part):
    rng = np.random.default_rng(0)
    events = {
        "user": rng.integers(0, 40, 900),
        "item": rng.integers(0, 30, 900),
        "time": range(900),
    }
    data = read_interactions(
        pl.DataFrame(events), user="user", item="item", time="time", split=split
    )
    assert data.test_is_later == (part == "last")
    train = loop_of(RecallHash(), data.train, data.test_is_later).parts[0]
    np.testing.assert_array_equal(train.ids, data.train.split(0.1, 0, part)[0].ids)
    given = RecallHash(validation_part="random")
    train = loop_of(given, data.train, data.test_is_later).parts[0]
    np.testing.assert_array_equal(train.ids, data.train.split(0.1, 0)[0].ids)
    without = read_interactions(pl.DataFrame(events), user="user", item="item", split="none")
    assert not without.test_is_later
    train = loop_of(RecallHash(), without.train, True).parts[0]  # no order, so nothing is last
    np.testing.assert_array_equal(train.ids, without.train.split(0.1, 0)[0].ids)


def test_published_sets_are_split_in_time(real_data):
    data = load("gowalla", real_data)
    assert data.test_is_later and data.train.order is not None
