"""Files and frames of events as datasets: formats, filters, splits, and input that is wrong."""

from __future__ import annotations

import gc
import gzip
import json
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet
import pytest
import scipy.sparse

from hashgcn.data import Dataset, filters, load, read_interactions, times
from hashgcn.data.scan import FORMATS, scan

# user, item, time, weight; shuffled in time, with a repeated pair.
EVENTS = [
    ("ann", "tea", 30, 5.0),
    ("ann", "rye", 10, 1.0),
    ("bob", "tea", 20, 4.0),
    ("ann", "tea", 15, 2.0),
    ("bob", "fig", 40, 3.0),
    ("cat", "fig", 50, 0.5),
    ("ann", "fig", 60, 4.5),
]
COLUMNS = {"user": "who", "item": "what", "time": "when"}
FRAME = pl.DataFrame(EVENTS, ["who", "what", "when", "stars"], orient="row")


def raw(data: Dataset, part: str) -> dict[str, list[str]]:
    """Items of every user by raw id, in order of time if that is known."""
    x = getattr(data, part)
    rows = {}
    for user, start, stop in zip(data.user_ids.tolist(), x.ptr[:-1], x.ptr[1:], strict=True):
        ids = x.ids[start:stop]
        if x.order is not None:
            ids = ids[np.argsort(x.order[start:stop])]
        rows[user] = data.item_ids[ids].tolist()
    return rows


def write(path: Path, text: str | bytes) -> Path:
    content = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def lines(header: str, separator: str, rows=EVENTS) -> str:
    return "".join(f"{line}\n" for line in (header, *(separator.join(map(str, r)) for r in rows)))


def written(folder: Path, name: str) -> Path:
    """The events as a file whose format its name tells."""
    path = folder / name
    if name.endswith(".parquet"):
        FRAME.write_parquet(path)
    elif "json" in name:
        rows = (json.dumps(dict(zip(FRAME.columns, row, strict=True))) for row in EVENTS)
        write(path, "".join(f"{row}\n" for row in rows))
    else:
        separator = "," if ".csv" in name else "\t"
        write(path, lines(separator.join(FRAME.columns), separator))
    return path


class TestFormats:
    @pytest.mark.parametrize(
        "name",
        [
            *("e.csv", "e.csv.gz", "e.tsv", "e.tsv.gz", "e.parquet"),
            *("e.jsonl", "e.ndjson", "e.jsonl.gz"),
        ],
    )
    def test_files(self, tmp_path, name):
        data = read_interactions(written(tmp_path, name), **COLUMNS, split="last")
        assert data.name == "e"
        assert raw(data, "train") == {"ann": ["rye", "tea"], "bob": ["tea"], "cat": ["fig"]}
        assert raw(data, "test") == {"ann": ["fig"], "bob": ["fig"], "cat": []}
        assert data.item_ids.tolist() == ["tea", "fig", "rye"]  # by train popularity, then id
        assert data.left_out == {"repeated": 1}

    @pytest.mark.parametrize("of", ["polars", "lazy", "pandas"])
    def test_frames(self, of):
        if of == "pandas":
            pandas = pytest.importorskip("pandas")
            frame = pandas.DataFrame(EVENTS, columns=FRAME.columns)
        else:
            frame = FRAME if of == "polars" else FRAME.lazy()
        data = read_interactions(frame, **COLUMNS, split="last", name="tastes")
        assert data.name == "tastes"
        assert raw(data, "test") == {"ann": ["fig"], "bob": ["fig"], "cat": []}

    def test_pandas_columns_may_have_numbers_as_names(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(EVENTS)
        for names in ({"user": 0, "item": 1, "time": 2}, {"user": "0", "item": "1", "time": "2"}):
            data = read_interactions(frame, **names, split="last")
            assert raw(data, "test") == {"ann": ["fig"], "bob": ["fig"], "cat": []}
        with pytest.raises(ValueError, match="user: expected a column .* has '0', '1', .* got '7'"):
            read_interactions(frame, user=7, item=1)
        frame.columns = [0, "0", 1, 2]
        with pytest.raises(ValueError, match="source: expected unique column names, got 0, 0"):
            read_interactions(frame, user=0, item=1)

    def test_pandas_ids_with_missing_ones(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame({"u": [1, None, 2], "i": [5, 6, 7]})
        with pytest.raises(ValueError, match=r"user: .* got Float64; where .*astype\('Int64'\)"):
            read_interactions(frame, user="u", item="i")
        frame["u"] = frame["u"].astype("Int64")
        with pytest.raises(
            ValueError, match=r"user: .* got 1 missing \(row 2, .*drop_missing=True"
        ):
            read_interactions(frame, user="u", item="i")
        data = read_interactions(frame, user="u", item="i", drop_missing=True, split="none")
        assert raw(data, "train") == {1: [5], 2: [7]} and data.left_out == {"incomplete": 1}
        frame["u"] = pandas.Series(["a", None, "b"], dtype="string")
        data = read_interactions(frame, user="u", item="i", drop_missing=True, split="none")
        assert raw(data, "train") == {"a": [5], "b": [7]}

    def test_recbole_has_names_of_its_own(self, tmp_path):
        header = "user_id:token\titem_id:token\ttimestamp:float\trating:float"
        path = write(tmp_path / "e.inter", lines(header, "\t"))
        data = read_interactions(path, split="last", min_weight=1)
        assert raw(data, "train") == {"ann": ["rye", "tea"], "bob": ["tea"]}
        assert data.left_out == {"below min_weight": 1, "repeated": 1}

    def test_movielens_has_names_of_its_own(self, tmp_path):
        rows = [(1, 22, 5, 30), (1, 661, 3, 10), (2, 22, 1, 20), (2, 661, 4, 5)]
        path = write(tmp_path / "ratings.dat", "".join("::".join(map(str, r)) + "\n" for r in rows))
        data = read_interactions(path, split="last")
        assert raw(data, "train") == {1: [661], 2: [661]} and raw(data, "test") == {
            1: [22],
            2: [22],
        }
        assert read_interactions(path, min_weight=2, split="last").left_out == {
            "below min_weight": 1
        }

    @pytest.mark.parametrize("name", ["e.txt", "e.txt.gz"])
    def test_lightgcn(self, tmp_path, name):
        path = write(tmp_path / name, "3 1 2 5\n9\n4 2 1\n")
        data = read_interactions(path, test=write(tmp_path / "t.txt", "3 7 1\n"))
        assert raw(data, "train") == {3: [1, 2, 5], 4: [1, 2]}  # 9 has no items
        assert raw(data, "test") == {3: [7], 4: []} and data.left_out == {"repeated": 1}

    def test_sparse_matrices(self, tmp_path):
        # Repeated entries are one of their sum, and entries that are 0 are none.
        rows, columns, values = [0, 0, 2, 2, 2], [1, 1, 0, 1, 2], [1.0, 2.0, 1.0, 5.0, 0.0]
        matrix = scipy.sparse.coo_matrix((values, (rows, columns)), (3, 4))
        path = tmp_path / "m.npz"
        scipy.sparse.save_npz(path, matrix)
        for source in (matrix, matrix.tocsr(), scipy.sparse.csr_array(matrix), path):
            data = read_interactions(source, test_fraction=0.5)
            pairs = {
                (u, i) for p in ("train", "test") for u, row in raw(data, p).items() for i in row
            }
            assert pairs == {(0, 1), (2, 0), (2, 1)}
        data = read_interactions(matrix, min_weight=3, test=scipy.sparse.eye(3) * 4)
        assert raw(data, "train") == {0: [1], 1: [], 2: [1]}
        assert raw(data, "test") == {0: [0], 1: [1], 2: [2]} and "repeated" not in data.left_out

    def test_every_format_is_tested_and_has_an_ending(self):
        assert set(FORMATS) == {
            *("csv", "tsv", "jsonl", "parquet", "inter", "movielens", "lightgcn", "scipy")
        }

    def test_format_separator_and_header_can_be_said(self, tmp_path):
        path = write(tmp_path / "e.log", lines("", ";", EVENTS).lstrip())
        names = {"user": "column_1", "item": "column_2", "time": "column_3"}
        data = read_interactions(
            path, **names, format="csv", separator=";", header=False, split="last"
        )
        assert raw(data, "test") == {"ann": ["fig"], "bob": ["fig"], "cat": []}

    def test_quotes_blank_lines_and_windows_line_ends(self, tmp_path):
        text = '\ufeffwho,what\r\n"a, ""b""",1\r\n\r\n"a, ""b""",2\r\nc,1\r\n\r\n'
        data = read_interactions(
            write(tmp_path / "e.csv", text), user="who", item="what", test_fraction=0.5
        )
        assert data.user_ids.tolist() == ['a, "b"', "c"] and data.item_ids.dtype == np.int64

    def test_a_path_with_a_star_is_one_file(self, tmp_path):
        path = written(tmp_path, "e[1]*.csv")
        assert read_interactions(path, **COLUMNS, split="last").train.num_users == 3


class TestIds:
    @pytest.mark.parametrize(
        ("ids", "expected"),
        [
            (["10", "9", "-3"], [-3, 9, 10]),
            (["007", "7", "8"], ["007", "7", "8"]),  # as integers two would be one
            (["1", "2.0", "3"], ["1", "2.0", "3"]),
            (["2147483648", "4294967297", "9223372036854775807"], [2**31, 2**32 + 1, 2**63 - 1]),
            (["1", "2", "9223372036854775808"], ["1", "2", "9223372036854775808"]),
            (["1", "2", "1" * 40], ["1", "1" * 40, "2"]),
            (["é", "日本", "z"], ["z", "é", "日本"]),
        ],
    )
    def test_of_text(self, tmp_path, ids, expected):
        text = "u,i\n" + "".join(f"{u},{i}\n" for u in ids for i in (1, 2))
        data = read_interactions(write(tmp_path / "e.csv", text), user="u", item="i")
        assert data.user_ids.tolist() == expected
        assert sum(len(row) for row in raw(data, "train").values()) >= 3

    def test_of_json_lines_keep_large_integers(self, tmp_path):
        text = "".join(json.dumps({"u": 2**62 + u, "i": i}) + "\n" for u in (1, 2) for i in (1, 2))
        data = read_interactions(
            write(tmp_path / "e.jsonl", text), user="u", item="i", test_fraction=0.5
        )
        assert data.user_ids.tolist() == [2**62 + 1, 2**62 + 2]

    def test_of_frames_keep_their_type(self):
        frame = pl.DataFrame(
            {"u": ["1", "1", "2", "2"], "i": pl.Series([1, 2, 1, 2], dtype=pl.UInt8)}
        )
        for kind in (pl.String, pl.Categorical):
            data = read_interactions(frame.cast({"u": kind}), user="u", item="i", test_fraction=0.5)
            assert data.user_ids.tolist() == ["1", "2"] and data.item_ids.dtype == np.int64

    def test_of_numpy_strings_of_any_length(self):
        users = np.array(["ann", "b" * 5000, "ann"], dtype=np.dtypes.StringDType())
        data = Dataset.from_pairs("toy", (users, ["x", "y", "y"]), ([], []))
        assert data.user_ids.dtype == users.dtype
        assert data.user_ids.tolist() == ["ann", "b" * 5000]
        assert data.user_rows(users).tolist() == [0, 1, 0]
        frame = pl.DataFrame({"u": users.tolist(), "i": [1, 2, 3]})
        assert (
            read_interactions(frame, user="u", item="i", split="none").user_ids.dtype == users.dtype
        )

    def test_of_train_and_test_are_of_one_type(self, tmp_path):
        train = write(tmp_path / "a.csv", "u,i\n1,1\n2,2\n")
        test = write(tmp_path / "b.csv", "u,i\nx,1\n2,1\n")
        data = read_interactions(train, test=test, user="u", item="i")
        assert data.user_ids.tolist() == ["1", "2", "x"] and data.item_ids.tolist() == [1, 2]
        frame = pl.DataFrame({"u": [1, 2], "i": [1, 2]})
        both = read_interactions(frame, test=pl.DataFrame({"u": [2], "i": [1]}), user="u", item="i")
        assert both.user_ids.tolist() == [1, 2]
        both = read_interactions(train, test=frame.reverse() + 1, user="u", item="i")
        assert both.user_ids.tolist() == [1, 2, 3]
        with pytest.raises(ValueError, match="user: expected ids of one type, got integers and st"):
            read_interactions(frame, test=test, user="u", item="i")


class TestTimes:
    @pytest.mark.parametrize(
        "times",
        [
            ["-5", "-300", "7"],
            ["1.5", "-1e3", "2e9"],
            ["2020-01-02", "1931-05-01", "2020-01-03"],
            ["2020-01-02 10:00:00", "2020-01-02T09:00:00", "2021-01-01 00:00:00"],
            ["2020-01-02T10:00:00Z", "2020-01-01T10:00:00Z", "2020-01-02T11:00:00.5Z"],
        ],
    )
    def test_of_text(self, tmp_path, times):
        text = "u,i,t\n" + "".join(f"u,{i},{t}\n" for i, t in enumerate(times))
        path = write(tmp_path / "e.csv", text)
        data = read_interactions(path, user="u", item="i", time="t", split="last")
        assert raw(data, "train") == {"u": [1, 0]} and raw(data, "test") == {"u": [2]}

    ISO = [  # in this order
        "0001-01-01",
        "2023-12",
        "2024-01-01",
        "20240102T091009+0100",
        "2024-01-02T12:10:10+04:00",
        "20240102T101010Z",
        "2024-01-02 10:10:10.25",
        "2024-01-02t10:10:10,250001z",
        "20240102 1011",
        "2024-01-02T11.5",
        "2024-01-02T07:00-05",
        "2024-01-02T24:00:00",
        "2024-01-03T00:00:00.1",
    ]

    def test_of_iso_8601(self, tmp_path):
        rng = np.random.default_rng(0)
        items = rng.permutation(len(self.ISO))
        text = "u,i,t\n" + "".join(f'u,{i},"{self.ISO[i]}"\n' for i in items)
        path = write(tmp_path / "e.csv", text)
        data = read_interactions(path, user="u", item="i", time="t", split="none")
        assert raw(data, "train") == {"u": list(range(len(self.ISO)))}

    def test_of_iso_8601_to_the_nanosecond(self):
        text = pl.Series(["2024-01-02T10:00:00.123456789", "1969-12-31T23:59:59.999999999Z"])
        assert times.parse(text).to_list() == [1704189600123456789, -1]
        assert times.parse(pl.Series(["9999-12-31T23:59:59.5"])).to_list() == [253402300799500000]
        assert times.parse(pl.Series(["2016-12-31T23:59:60Z", "2017-01-01"])).n_unique() == 1

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "03/01/2024",
                "2024-1-2",
                "2024-02-30",
                "2023-02-29",
                "2024-13-01",
                "2024-01-02T25:00",
            ),
            *(
                "2024-01-02T24:00:01",
                "2024-01-02T10:60",
                "2024-01-02T10:00:61",
                "2024-W01-1",
                "2024-",
            ),
            *(
                "2024-01T10:00",
                "2024-01-02T10:00+24:00",
                "2024-01-02 10:00 PM",
                " 2024-01-02",
                "noon",
            ),
            *("2024-01-02T", "2024-01-02T10:00:00.", "2024-01-02T10:00 Z", "20240102T10:1"),
        ],
    )
    @pytest.mark.parametrize("first", ["2024-01-02", "1704189600"])
    def test_of_other_text_are_named(self, tmp_path, text, first):
        path = write(tmp_path / "e.csv", f"u,i,t\n1,1,{first}\n\n,2,x\n1,2,{text}\n1,3,{first}\n")
        if first.isdigit():  # is no date, so it is the first that is wrong
            text, row = first, 1
        else:
            row = 3
        with pytest.raises(ValueError, match=r"time: .*ISO 8601 .*; time_format= \(--ti") as error:
            read_interactions(path, user="u", item="i", time="t", drop_missing=True)
        assert f"got {text!r} (row {row}, not counting" in str(error.value)

    @pytest.mark.parametrize(
        ("format", "text"),
        [
            ("%d/%m/%Y", ["03/01/2024", "01/02/2024", "01/01/2025"]),
            ("%m/%d/%y", ["01/31/24", "02/01/24", "01/01/25"]),
            ("%Y%m%d", ["20240103", "20240201", "20250101"]),
            ("%d.%m.%Y %H:%M:%S.%f", ["01.01.2024 10:00:00.09", "01.01.2024 10:00:00.5"]),
            ("%b %d, %Y %I:%M %p", ["Jan 3, 2024 11:00 AM", "Jan 3, 2024 01:00 PM"]),
            ("%Y-%m-%d %H:%M %z", ["2024-01-01 10:30 +0200", "2024-01-01 10:00 +0000"]),
            ("%s", ["99", "100"]),
        ],
    )
    def test_in_a_format(self, tmp_path, format, text):
        rows = "".join(f'u,{i},"{text[i]}"\n' for i in reversed(range(len(text))))
        path = write(tmp_path / "e.csv", "u,i,t\n" + rows)
        names = {"user": "u", "item": "i", "time": "t", "split": "none"}
        data = read_interactions(path, **names, time_format=format)
        assert raw(data, "train") == {"u": list(range(len(text)))}
        write(path, "u,i,t\n" + rows + "u,9,2024-01-02T\n")
        with pytest.raises(
            ValueError, match="time: expected text in the format .* got '2024-01-02T"
        ):
            read_interactions(path, **names, time_format=format)

    def test_formats_that_are_refused(self):
        names = {"user": "who", "item": "what"}
        text = FRAME.with_columns(pl.col("when").cast(pl.String))
        for frame, asked, words in (
            (text, {"time": "when", "time_format": "%H:%M"}, "time_format: expected a date in the"),
            (text, {"time": "when", "time_format": "%Y %f"}, "time_format: expected a date in the"),
            (text, {"time_format": "%Y"}, "time_format: expected a time column with it, got '%Y'"),
            (
                FRAME,
                {"time": "when", "time_format": "%s"},
                "time_format: expected text .* got Int64",
            ),
        ):
            with pytest.raises(ValueError, match=words):
                read_interactions(frame, **names, **asked)

    @pytest.mark.parametrize("kind", [pl.Int32, pl.Float64, pl.Date, pl.Datetime("ns", "UTC")])
    def test_of_frames(self, kind):
        times = pl.Series([5, -300, 7]).cast(pl.Int32 if kind == pl.Date else pl.Int64).cast(kind)
        frame = pl.DataFrame({"u": [1, 1, 1], "i": [0, 1, 2], "t": times})
        data = read_interactions(frame, user="u", item="i", time="t", split="last")
        assert raw(data, "train") == {1: [1, 0]}

    def test_equal_times_keep_the_order_of_the_source(self):
        frame = pl.DataFrame({"u": [1] * 5, "i": [4, 2, 3, 0, 1], "t": [7, 7, 7, 7, 1]})
        data = read_interactions(frame, user="u", item="i", time="t", split="last")
        assert raw(data, "train") == {1: [1, 4, 2, 3]} and raw(data, "test") == {1: [0]}

    def test_are_not_known_without_a_column(self):
        data = read_interactions(FRAME, user="who", item="what", test_fraction=0.5)
        assert data.train.order is None and data.test.order is None

    def test_serve_a_validation_part_at_the_end(self):
        frame = pl.DataFrame({"u": [1] * 9, "i": range(9), "t": [5, 1, 9, 7, 3, 8, 2, 6, 4]})
        data = read_interactions(frame, user="u", item="i", time="t", split="last")
        _, held = data.train.split(0.5, 0, "last")
        assert sorted(data.item_ids[held.ids].tolist()) == [0, 3, 5, 7]  # 2 is for test


class TestFilters:
    def test_least_weight_comes_before_repeats(self):
        data = read_interactions(
            FRAME, **COLUMNS, weight="stars", min_weight=3, split="last", test_fraction=None
        )
        assert raw(data, "train") == {"ann": ["tea"], "bob": ["tea"]}
        assert data.left_out == {"below min_weight": 3}

    def test_incomplete_events_are_dropped_if_asked(self, tmp_path):
        text = "u,i,t,w\n" + "".join(
            f"{row}\n"
            for row in ("a,1,3,1", ",2,3,1", "a,,3,1", "a,2,,1", 'a,3,1,""', "a,4,2,NaN", "a,5,9,2")
        )
        path = write(tmp_path / "e.csv", text)
        names = {"user": "u", "item": "i", "time": "t", "split": "last", "drop_missing": True}
        data = read_interactions(path, **names)
        assert raw(data, "train") == {"a": [3, 4, 1]} and raw(data, "test") == {"a": [5]}
        assert data.left_out == {"incomplete": 3}
        data = read_interactions(path, **names, weight="w", min_weight=0)
        assert raw(data, "train") == {"a": [1]} and data.left_out == {"incomplete": 5}
        frame = pl.DataFrame(
            {"u": ["", None, "b", "b"], "i": [1, 2, 3, 4], "t": [1.0, 2.0, 3.0, np.nan]}
        )
        data = read_interactions(frame, **{**names, "split": "none"})
        assert data.user_ids.tolist() == ["", "b"] and data.left_out == {"incomplete": 2}

    def test_core_equals_its_definition(self):
        rng = np.random.default_rng(0)
        users, items = rng.zipf(1.4, 4000) % 300, rng.zipf(1.4, 4000) % 200
        pairs = filters.first_of_each(pl.DataFrame({"user": users, "item": items}))
        left = set(pairs.iter_rows())
        while True:
            by_user, by_item = Counter(u for u, _ in left), Counter(i for _, i in left)
            kept = {(u, i) for u, i in left if by_user[u] >= 4 and by_item[i] >= 4}
            if kept == left:
                break
            left = kept
        assert 0 < len(left) < pairs.height
        assert set(filters.k_core(pairs, 4).iter_rows()) == left
        assert filters.k_core(pairs, 0).equals(pairs)

    def test_core_of_a_chain_is_found_at_once(self):
        """One end after another falls off, each in a round of its own."""
        users = np.arange(20_000)
        chain = pl.DataFrame({"user": np.tile(users, 2), "item": np.append(users, users + 1)})
        ring = pl.DataFrame({"user": [20_000, 20_000, 20_001, 20_001], "item": [5, 30_000] * 2})
        started = time.process_time()
        # The ring hangs on the chain, which falls off it from the other end.
        assert filters.k_core(pl.concat([chain, ring]), 2).equals(ring)
        assert not filters.k_core(chain, 2).height
        assert time.process_time() - started < 2

    def test_core_of_files_with_a_split(self):
        train = pl.DataFrame({"u": [1, 1, 2, 2, 3], "i": [1, 2, 1, 2, 9]})
        data = read_interactions(
            train, test=pl.DataFrame({"u": [1, 2, 4], "i": [3, 3, 3]}), user="u", item="i", k_core=2
        )
        assert raw(data, "train") == {1: [1, 2], 2: [1, 2]}
        assert raw(data, "test") == {1: [3], 2: [3]}
        assert data.left_out == {"outside the core": 2}


class TestSplits:
    @pytest.fixture
    def events(self) -> pl.DataFrame:
        rng = np.random.default_rng(1)
        return pl.DataFrame(
            {
                "who": rng.integers(0, 200, 6000),
                "what": rng.integers(0, 300, 6000),
                "when": rng.integers(0, 1000, 6000),
            }
        )

    def test_none_keeps_all_for_train(self, events):
        data = read_interactions(events, **COLUMNS, split="none")
        assert data.test.num_pairs == 0
        assert data.train.num_pairs == events.select("who", "what").unique().height

    def test_random_is_a_share_of_each_user(self, events):
        data = read_interactions(events, **COLUMNS, test_fraction=0.3)
        share = data.test.degrees() / (data.train.degrees() + data.test.degrees())
        assert abs(share.mean() - 0.3) < 0.01 and data.train.degrees().min() >= 1
        again, other = (read_interactions(events, **COLUMNS, seed=s).test.ids for s in (0, 1))
        assert np.array_equal(again, read_interactions(events, **COLUMNS).test.ids)
        assert not np.array_equal(again, other)

    def test_time_cuts_all_users_at_once(self, events):
        data = read_interactions(events, **COLUMNS, split="time", test_fraction=0.25)
        first = (
            events.sort("when", maintain_order=True)
            .unique(["who", "what"], keep="first", maintain_order=True)
            .rows_by_key(["who", "what"], unique=True)
        )
        when = {
            part: [first[u, i][0] for u, row in raw(data, part).items() for i in row]
            for part in ("train", "test")
        }
        assert max(when["train"]) < min(when["test"])
        assert abs(len(when["test"]) / len(first) - 0.25) < 0.01

    def test_time_leaves_out_who_comes_later(self):
        frame = pl.DataFrame({"u": [1, 2, 1, 3, 1], "i": [1, 2, 2, 1, 3], "t": [1, 2, 3, 4, 5]})
        data = read_interactions(
            frame, user="u", item="i", time="t", split="time", test_fraction=0.6
        )
        assert raw(data, "train") == {1: [1], 2: [2]} and raw(data, "test") == {1: [2], 2: []}
        assert data.left_out == {"unknown to train": 2}

    def test_given_files(self, tmp_path):
        train, test = (write(tmp_path / f"{n}.csv", "u,i\n1,1\n1,2\n") for n in ("a", "b"))
        write(test, "u,i\n1,2\n1,3\n2,1\n")
        data = read_interactions(train, test=test, user="u", item="i")
        assert raw(data, "train") == {1: [1, 2], 2: []}
        assert raw(data, "test") == {1: [3], 2: [1]}  # 2 is seen in train
        assert data.left_out == {"repeated": 1}


def test_load_reads_a_file(tmp_path):
    path = written(tmp_path, "e.csv")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv: no such file"):
        load(tmp_path / "nowhere.csv", **COLUMNS)
    assert load(path, **COLUMNS, split="last").test.num_pairs == 2
    with pytest.raises(ValueError, match="user: expected a file of events with it, got 'sample'"):
        load("sample", user="who")


class TestBadInput:
    def test_one_user(self):
        frame = pl.DataFrame({"u": [7] * 10, "i": range(10)})
        data = read_interactions(frame, user="u", item="i")
        assert data.train.num_pairs == 8 and data.test.num_pairs == 2

    def test_one_pair(self):
        with pytest.raises(
            ValueError, match="split=random: expected pairs for train and test, got"
        ):
            read_interactions(pl.DataFrame({"u": [7], "i": [8]}), user="u", item="i")

    def test_a_million_repeated_rows(self, tmp_path):
        path = write(tmp_path / "e.csv", "u,i\n" + "1,2\n" * 10**6 + "1,3\n1,4\n")
        started = time.process_time()
        data = read_interactions(path, user="u", item="i", test_fraction=0.5)
        assert time.process_time() - started < 5
        assert data.train.num_pairs + data.test.num_pairs == 3
        assert data.left_out == {"repeated": 10**6 - 1}

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("e.csv", "", "expected events, got an empty file"),
            ("e.csv", "u,i,t,w\n", "expected events, got none"),
            ("e.csv", "u,i,t,w\n1,,3,4\n", r"item: expected an id .* got 1 missing \(row 1"),
            ("e.csv", 'u,i,t,w\n1,2,3,4\n"",2,3,4\n', r"user: .* got 1 missing \(row 2"),
            (
                "e.csv",
                "u,i,t,w\n1,2\n",
                r"e\.csv, line 2: expected 4 fields, as in the first row, got 2 in '1,2'",
            ),
            ("e.csv", "u,i,t,w\n1,2,3,nan\n", r"weight: expected a number .* got 1 NaN"),
            ("e.csv", "u,i,t,w\n1,2,3,\n", "weight: expected a weight .* got 1 missing"),
            ("e.csv", "u,i,t,w\n1,2,3,heavy\n", "weight: expected a number .* got 'heavy'"),
            ("e.csv", "u,i,t,w\n1,2,NaN,4\n", "time: expected a number .* got 1 NaN"),
            (
                "e.csv",
                "u,i,t,w\n1,2,2020-13-45,4\n",
                r"time: .*ISO 8601 .* got '2020-13-45' \(row 1,",
            ),
            (
                "e.csv",
                "u,i,t,w\n1,2,3,4,5\n",
                r"line 2: expected 4 fields, .* got 5 in '1,2,3,4,5'",
            ),
            (
                "e.csv",
                "u,i,t,w\n1,1,1,1\nJosé,2,3,4\n".encode("latin1"),
                "line 3: expected UTF-8, got 'Jos.,2,3,4'",
            ),
            (
                "e.jsonl",
                b'{"u": "\xff", "i": 1, "t": 1, "w": 1}\n',
                r"e\.jsonl, line 1: expected UTF-8, got",
            ),
            ("e.jsonl", '[{"u": 1, "i": 1}]', "line 1: expected a JSON object, got '"),
            ("e.inter", "u:token\ti:token\n1\t2\n", "time: .* which has 'u', 'i', got 't'"),
            ("e.txt", "0 1 x\n", r"e\.txt, line 1: expected integers"),
            ("e.npz", "u,i\n1,2\n", r"e\.npz: expected SciPy's .* got b'u,i.* at its start"),
            ("e.parquet", "u,i,t,w\n1,2,3,4\n", "expected Parquet .* got b'u,i,' at its start"),
            ("e.json", "[]", r"expected a name that ends in one of \.csv, .* got 'e\.json'"),
            ("e.parquet.gz", "", r"expected \.gz for text only, got \.parquet\.gz"),
        ],
    )
    def test_content(self, tmp_path, name, content, words):
        path = write(tmp_path / name, content)
        with pytest.raises(ValueError, match=words) as error:
            read_interactions(path, user="u", item="i", time="t", weight="w", min_weight=0)
        assert str(path) in str(error.value) and "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("name", "length"), [("e.csv.gz", 60), ("e.csv.gz", -4), ("e.parquet", 300)]
    )
    def test_truncated(self, tmp_path, name, length):
        path = written(tmp_path, name)
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(ValueError, match=rf"{name}: expected .*, got a damaged one: "):
            read_interactions(path, **COLUMNS)

    def test_one_bit_of_a_parquet_file(self, tmp_path):
        """Where polars read Parquet, bytes 49 and 130 of this one ended the process."""
        frame = pl.DataFrame({"u": [1, 1, 2, 3, None], "i": ["a", "b", "a", "c", "b"]})
        path = tmp_path / "e.parquet"
        frame.write_parquet(path, compression="uncompressed", statistics=False)
        content = path.read_bytes()
        refused = 0
        for place in range(4, len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            try:
                read = scan(path, ("u", "i")).frame.collect()
                assert len(read) == 5 or not read.width  # a name of a column is another
            except ValueError as error:
                assert str(error).startswith(f"{path}: expected Parquet, got a damaged one: ")
                refused += 1
        assert refused > 100

    def test_a_parquet_file_with_a_column_twice(self, tmp_path):
        table = pyarrow.table([[1, 2], [3, 4], [5, 6]], names=["u", "u", "i"])
        pyarrow.parquet.write_table(table, tmp_path / "e.parquet")
        with pytest.raises(ValueError, match=r"e\.parquet: expected unique column names, got u, u"):
            read_interactions(tmp_path / "e.parquet", user="u", item="i")

    def test_a_panic_of_the_reader(self, tmp_path, monkeypatch):
        """polars panics where it meets what it did not expect."""

        def panic(*_, **__):
            raise pl.exceptions.PanicException("assertion failed: offset <= length")

        monkeypatch.setattr(pl, "collect_all", panic)
        with pytest.raises(
            ValueError, match=r"e\.parquet: expected Parquet, got a damaged one: ass"
        ):
            read_interactions(written(tmp_path, "e.parquet"), **COLUMNS)

    def test_damaged_gzip(self, tmp_path):
        for name, text in (("e.txt.gz", "0 1 2 3\n" * 50), ("e.csv.gz", "u,i\n" + "1,2\n" * 50)):
            path = write(tmp_path / name, text)
            content = bytearray(path.read_bytes())
            content[-6] ^= 0xFF
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf"{name}: expected .* got a damaged one"):
                read_interactions(
                    path, user="user" if "txt" in name else "u", item=None if "txt" in name else "i"
                )

    def test_another_extension(self, tmp_path):
        path = written(tmp_path, "e.parquet").rename(tmp_path / "e.csv")
        with pytest.raises(ValueError, match=r"e\.csv: expected UTF-8 CSV \(csv\), got a Parquet"):
            read_interactions(path, **COLUMNS)
        assert (
            read_interactions(path, **COLUMNS, format="parquet", split="last").train.num_users == 3
        )

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.csv: no such file"):
            read_interactions(tmp_path / "nowhere.csv", **COLUMNS)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"user": "x"}, "user: expected a column of source, which has 'who', .* got 'x'"),
            ({"item": None}, "item: expected a column .*, one of 'who', 'what', .* got None"),
            ({"time": "x"}, "time: expected a column .* got 'x'"),
            ({"weight": "stars"}, "weight: expected min_weight with it"),
            ({"min_weight": 3}, "weight: expected the column that min_weight applies to"),
            (
                {"min_weight": np.nan, "weight": "stars"},
                "min_weight: expected a finite number, got",
            ),
            ({"min_weight": 9, "weight": "stars"}, "expected some weights of at least 9, got none"),
            ({"weight": "what", "min_weight": 0}, "weight: expected a number .* got 'tea'"),
            ({"user": "stars"}, "user: expected integers or strings in source, got Float64"),
            ({"k_core": -1}, "k_core: expected an integer >= 0, got -1"),
            ({"k_core": 9}, "k_core: expected a core of 9 in 6 pairs, got none"),
            ({"split": "first"}, "split: expected one of random, last, time, none, got 'first'"),
            ({"split": "last", "time": None}, r"time: .*\(--time-column\), which split=last"),
            ({"split": "none", "test_fraction": 0.1}, "test_fraction: expected None with split=no"),
            ({"split": "last", "test_fraction": 0.1}, "test_fraction: expected None with split=la"),
            ({"test_fraction": 1}, r"test_fraction: expected a number in \(0, 1\), got 1"),
            ({"test": FRAME, "split": "last"}, "split, test_fraction: expected None where test is"),
            ({"seed": -1}, "seed: expected an integer in"),
            ({"header": False}, "header: expected True for data in memory, got False"),
        ],
    )
    def test_arguments(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            read_interactions(FRAME, **(COLUMNS | arguments))

    def test_arguments_of_files(self, tmp_path):
        path = written(tmp_path, "e.csv")
        for arguments, words in (
            ({"format": "xml"}, "format: expected one of csv, tsv, .* got 'xml'"),
            ({"separator": "::"}, "separator: expected one ASCII character, got '::'"),
            (
                {"format": "jsonl", "header": False},
                "separator, quote, header: expected none of them for",
            ),
        ):
            with pytest.raises(ValueError, match=words):
                read_interactions(path, **COLUMNS, **arguments)

    @pytest.mark.parametrize("kind", [pl.UInt64, pl.Int128])
    def test_integers_beyond_int64(self, kind):
        frame = pl.DataFrame({"u": [1, 1, 1], "i": pl.Series([1, 2, 2**63 + 5], dtype=kind)})
        with pytest.raises(ValueError, match=r"item: expected an id in \[-2\^63, .* \(row 3"):
            read_interactions(frame, user="u", item="i")

    def test_ids_that_end_in_nul(self, tmp_path):
        path = write(tmp_path / "e.csv", "u,i\na\0b,1\na\0,2\na,3\n")
        data = read_interactions(path, user="u", item="i", split="none")
        assert data.user_ids.tolist() == ["a", "a\0", "a\0b"]
        assert data.user_rows(["a\0", "a"]).tolist() == [1, 0]

    def test_matrix_with_nan(self):
        matrix = scipy.sparse.csr_matrix(np.array([[1.0, np.nan], [1.0, 1.0]]))
        with pytest.raises(ValueError, match="source: expected a matrix without NaN, got NaN"):
            read_interactions(matrix)

    @pytest.mark.parametrize("kind", ["csr", "csc", "bsr"])
    @pytest.mark.parametrize(
        ("array", "value"), [("indices", 2**30), ("indices", -(2**30)), ("indptr", 2**30)]
    )
    def test_matrices_with_indices_outside(self, tmp_path, kind, array, value):
        """SciPy would read and write there."""
        matrix = scipy.sparse.eye_array(4, format=kind)
        getattr(matrix, array)[1] = value
        scipy.sparse.save_npz(tmp_path / "m.npz", matrix)
        for source, label in ((matrix, "source"), (tmp_path / "m.npz", "m.npz")):
            with pytest.raises(ValueError, match=rf"{label}: expected a valid sparse matrix, got "):
                read_interactions(source)

    def test_a_small_matrix_of_many_rows(self):
        matrix = scipy.sparse.coo_array(([1.0] * 3, ([0, 2**40, 0], [2**41, 7, 5])), (2**50, 2**50))
        data = read_interactions(matrix, test_fraction=0.5)
        assert data.user_ids.tolist() == [0, 2**40] and len(data.item_ids) == 3

    def test_matrices_of_other_kinds(self):
        for matrix, words in (
            (scipy.sparse.eye_array(3, dtype=complex), "real numbers, got complex128 in 2 dim"),
            (
                scipy.sparse.coo_array(np.ones(3)),
                r"real numbers, got float64 in 1 .*matrix\[\[row\]\]",
            ),
            (
                scipy.sparse.csr_array(np.eye(3))[0],
                r"real numbers, got float64 in 1 .*matrix\[\[row\]",
            ),
        ):
            with pytest.raises(ValueError, match=f"source: expected a matrix of {words}"):
                read_interactions(matrix)

    def test_a_zip_archive_that_is_cut_is_closed(self, tmp_path):
        path = tmp_path / "m.npz"
        scipy.sparse.save_npz(path, scipy.sparse.eye_array(3))
        path.write_bytes(path.read_bytes()[:200])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(ValueError, match=r"m\.npz: expected SciPy's .*, got a damaged one"):
                read_interactions(path)
            gc.collect()
        assert not caught

    @pytest.mark.parametrize(
        "arrays",
        [
            {"format": "coo", "row": [0], "col": [0], "shape": [1, 1]},
            {"format": "coo", "data": [1.0], "row": ["a"], "col": [0], "shape": [1, 1]},
            {"format": "dok", "data": [1.0]},
            {"format": [1, 2]},
            {"data": [1.0]},
        ],
    )
    def test_arrays_that_are_no_matrix(self, tmp_path, arrays):
        np.savez(tmp_path / "m.npz", **arrays)
        with pytest.raises(
            ValueError, match=r"m\.npz: expected SciPy's sparse matrix, got a damag"
        ):
            read_interactions(tmp_path / "m.npz")

    def test_another_object(self):
        with pytest.raises(ValueError, match="source: expected a path, .* got list"):
            read_interactions([(1, 2)], user="u", item="i")
