"""Weights of pairs: from events to Interactions, through splits, files and runs."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

import hashgcn
from hashgcn.data import Dataset, Interactions, describe, load, read_interactions, write_inter
from hashgcn.train.checkpoint import fingerprint

NAMES = {"user": "u", "item": "i"}
TYPES = {"event": "kind", "event_weights": {"view": 1, "buy": 10, "hover": 0}}
# Of each user, item and kind, in order of time.
EVENTS = pl.DataFrame(
    [
        *((1, 7, "view"), (1, 7, "view"), (1, 7, "buy"), (1, 8, "view"), (2, 7, "buy")),
        *((2, 8, "hover"), (2, 9, "view"), (1, 9, "hover"), (1, 9, "view"), (2, 9, "view")),
        *((1, 8, "buy"), (3, 8, "hover")),
    ],
    ["u", "i", "kind"],
    orient="row",
).with_row_index("t")


def weights_of(data: Dataset, part: str = "train") -> dict[tuple[int, int], float]:
    x = getattr(data, part)
    keys = zip(data.user_ids[x.users()].tolist(), data.item_ids[x.ids].tolist(), strict=True)
    return dict(zip(keys, x.weights.tolist(), strict=True))


def combined(*weights: float) -> float:
    return float(np.float32(max(weights) * (1 + math.log(sum(weights) / max(weights)))))


class TestReading:
    def test_event_types(self):
        data = read_interactions(EVENTS, **NAMES, **TYPES, split="none")
        assert weights_of(data) == {
            (1, 7): pytest.approx(combined(1, 1, 10)),
            (1, 8): pytest.approx(combined(1, 10)),
            (1, 9): 1,
            (2, 7): 10,
            (2, 9): pytest.approx(combined(1, 1)),
        }
        assert data.left_out == {"of weight 0": 3, "repeated": 4}
        assert data.user_ids.tolist() == [1, 2]  # 3 only hovered
        assert describe(data)["weights"]["max"] == pytest.approx(combined(1, 1, 10))

    @pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
    def test_files(self, tmp_path, ending):
        path = tmp_path / f"e.{ending}"
        write = {"csv": "write_csv", "parquet": "write_parquet", "jsonl": "write_ndjson"}[ending]
        getattr(EVENTS.sample(fraction=1, shuffle=True, seed=0), write)(path)
        found = load(path, **NAMES, **TYPES, time="t", split="none")
        want = read_interactions(EVENTS, **NAMES, **TYPES, split="none")
        assert weights_of(found) == pytest.approx(weights_of(want), rel=1e-6)
        assert json.loads(json.dumps(found.origin))["event_weights"] == TYPES["event_weights"]

    def test_a_column_of_weights(self):
        frame = EVENTS.with_columns(w=pl.col("kind").replace_strict(TYPES["event_weights"]))
        for kind in (pl.Int8, pl.Float32, pl.Float64):
            found = read_interactions(
                frame.with_columns(pl.col("w").cast(kind)), **NAMES, weight="w", split="none"
            )
            want = read_interactions(EVENTS, **NAMES, **TYPES, split="none")
            assert weights_of(found) == weights_of(want)
        found = read_interactions(frame, **NAMES, weight="w", min_weight=2, split="none")
        assert weights_of(found) == {(1, 7): 10, (1, 8): 10, (2, 7): 10}

    def test_repeats_alone(self):
        data = read_interactions(EVENTS, **NAMES, count_repeats=True, split="none")
        assert weights_of(data)[1, 7] == combined(1, 1, 1) and weights_of(data)[2, 8] == 1
        assert read_interactions(EVENTS, **NAMES, split="none").train.weights is None
        unique = EVENTS.unique(["u", "i"], maintain_order=True)
        data = read_interactions(unique, **NAMES, count_repeats=True, split="none")
        assert data.train.weights is None

    def test_what_comes_after_the_test_pairs_does_not_count(self):
        frame = pl.DataFrame(
            {"u": [3, 1, 1, 2, 1, 1, 2, 1, 2], "i": [6, 5, 5, 5, 6, 5, 6, 5, 5], "t": range(9)}
        )
        options = {**NAMES, "time": "t", "count_repeats": True}
        last = read_interactions(frame, **options, split="last")  # test: (1, 6) at 4, (2, 6) at 6
        want = {(1, 5): combined(1, 1), (2, 5): 1, (3, 6): 1}
        assert weights_of(last) == want
        assert last.test.weights is None
        at = read_interactions(frame, **options, split="time", test_fraction=0.4)
        assert weights_of(at) == want  # the test begins at 4

    def test_test_events_do_not_count(self):
        test = pl.DataFrame({"u": [1, 1, 2], "i": [7, 7, 8], "kind": ["buy", "buy", "view"]})
        data = read_interactions(EVENTS[:5], test=test, **NAMES, **TYPES)
        assert weights_of(data)[1, 7] == pytest.approx(combined(1, 1, 10))
        assert data.test.num_pairs == 1 and data.test.weights is None

    def test_the_order_of_sums_is_fixed(self):
        rng = np.random.default_rng(0)
        users, items = rng.integers(50, size=5000), rng.integers(9, size=5000)
        frame = pl.DataFrame({"u": users, "i": items, "w": rng.random(5000)})
        found = [read_interactions(frame, **NAMES, weight="w", split="none") for _ in range(3)]
        assert len({fingerprint(x.train) for x in found}) == 1

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                {"event": "kind", "event_weights": {"view": 1, "buy": 2}},
                r"event: expected one of 'view', 'buy' in .* got 'hover' \(row 6.*of 0 leave",
            ),
            ({"event": "kind", "event_weights": {}}, "event_weights: expected one or more finite"),
            ({"event": "kind", "event_weights": {"buy": -1}}, "event_weights: expected one or"),
            ({"weight": "t", **TYPES}, "weight: expected None with event_weights, got 't'"),
            ({"weight": "bad"}, r"weight: expected a finite number >= 0 .* got -1.0 \(row 3"),
            ({"weight": "infinite"}, r"weight: expected a finite number >= 0 .* got inf \(row 1"),
            ({"weight": "nothing"}, "weight: expected some weights above 0, got none"),
        ],
    )
    def test_errors(self, options, words):
        bad = [1.0, 0.5, -1.0] + [1.0] * 9
        frame = EVENTS.with_columns(bad=pl.Series(bad), infinite=pl.lit(math.inf), nothing=0)
        with pytest.raises(ValueError, match=words):
            read_interactions(frame, **NAMES, **options)

    def test_missing_types(self):
        frame = EVENTS.with_columns(kind=pl.when(pl.col("t") != 4).then("kind"))
        words = r"event: expected an event type .* got 1 missing \(row 5"
        with pytest.raises(ValueError, match=words):
            read_interactions(frame, **NAMES, **TYPES)
        data = read_interactions(frame, **NAMES, **TYPES, drop_missing=True, split="none")
        assert (2, 7) not in weights_of(data)


class TestInteractions:
    PAIRS = Interactions.from_pairs(
        [1, 0, 1, 0, 1], [2, 0, 0, 3, 1], 2, 4, in_time=True, weights=[5, 1, 2.5, 3, 4]
    )

    def test_follow_their_pairs(self):
        x = self.PAIRS
        assert x.weights.dtype == np.float32 and x.weights.tolist() == [1, 3, 2.5, 4, 5]
        kept, held = x.split(0.5, 1)
        assert sorted([*kept.weights, *held.weights]) == [1, 2.5, 3, 4, 5]
        for part in (kept, held):
            whole = dict(zip(zip(x.users(), x.ids, strict=True), x.weights, strict=True))
            assert [whole[p] for p in zip(part.users(), part.ids, strict=True)] == [*part.weights]
        assert x.of_users(np.array([1, 0])).weights.tolist() == [2.5, 4, 5, 1, 3]
        assert x.graph().weights.tolist() == [1, 3, 2.5, 4, 5]

    def test_without_order(self):
        x = Interactions.from_pairs([0, 0, 0], [2, 1, 2], 1, 3, weights=[2, 3, 9])
        assert x.order is None and x.weights.tolist() == [3, 2]  # the first of a repeated pair

    def test_weights_of_1_are_none(self):
        x = Interactions([0, 2], [0, 1], 2, weights=np.ones(2))
        assert x.weights is None and fingerprint(x) == fingerprint(Interactions([0, 2], [0, 1], 2))
        assert fingerprint(x) != fingerprint(Interactions([0, 2], [0, 1], 2, weights=[1, 2]))

    @pytest.mark.parametrize(
        "weights", [[1], [1, 0], [1, -1], [1, math.nan], [1, math.inf], [1, 1e60], ["a", "b"]]
    )
    def test_errors(self, weights):
        with pytest.raises(ValueError, match="weights: expected"):
            Interactions([0, 2], [0, 1], 2, weights=weights)

    def test_inter_files(self, tmp_path):
        write_inter(tmp_path / "e.inter", self.PAIRS, ["a", "b"], [3, 4, 5, 6])
        data = read_interactions(tmp_path / "e.inter", weight="weight", split="none")
        assert sorted(data.train.weights.tolist()) == [1, 2.5, 3, 4, 5]


def test_a_run_on_data_in_memory_keeps_them(tmp_path):
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"u": rng.integers(40, size=900), "i": rng.integers(30, size=900)})
    data = read_interactions(frame, **NAMES, count_repeats=True)
    settings = {"code_length": 16, "epochs": 1, "validation_fraction": 0}
    model = hashgcn.RecallHash(**settings).fit(data, run=tmp_path / "run", progress=False)
    opened = hashgcn.open_run(tmp_path / "run")
    np.testing.assert_array_equal(opened.data.train.weights, data.train.weights)
    assert opened.metrics.test == model.metrics.test
    plain = read_interactions(frame, **NAMES)
    off = hashgcn.RecallHash(**settings, pair_weights=False).fit(data, progress=False)
    want = hashgcn.RecallHash(**settings).fit(plain, progress=False)
    np.testing.assert_array_equal(off.index().codes, want.index().codes)
    assert (model.index().codes != want.index().codes).any()
