"""Logs of several files, item files, users with too many items, and the sign of life."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest

from hashgcn.data import describe, load, progress, read_interactions
from hashgcn.data.parts import files_of

NAMES = {"user": "u", "item": "i", "time": "t"}
# Most times are equal, so that the order of the files decides.
FRAME = pl.DataFrame(
    {
        "u": [f"u{n % 7}" for n in range(60)],
        "i": [n * n % 11 for n in range(60)],
        "t": [n // 40 for n in range(60)],
        "more": ["x"] * 60,
    }
)


def write(frame, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path)
    return path


def same(one, other):
    assert one.left_out == other.left_out
    assert one.user_ids.tolist() == other.user_ids.tolist()
    assert one.item_ids.tolist() == other.item_ids.tolist()
    for part in ("train", "test"):
        a, b = getattr(one, part), getattr(other, part)
        for name in ("ptr", "ids", "order"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.fixture(params=["csv", "parquet", "jsonl"])
def parts(request, tmp_path):
    """A folder of three parts, two of them in subfolders, beside files that are none."""
    folder, ending = tmp_path / "plays", request.param
    # Written in another order than that of their names, and with columns in another order.
    write(FRAME[40:].select("t", "u", "i"), folder / "day=2" / f"part-0.{ending}")
    write(FRAME[:10], folder / "day=1" / f"part-0.{ending}")
    write(FRAME[10:40], folder / "day=1" / f"part-1.{ending}")
    for name in ("_SUCCESS", ".part-0.crc", "_temporary/0.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("1")
    return folder


class TestSeveralFiles:
    def test_are_read_as_one(self, parts):
        whole = read_interactions(FRAME, **NAMES, split="last")
        for source in (parts, f"{parts}/*/part-*.*", parts / "day=*", f"{parts}/**/part*"):
            found = read_interactions(source, **NAMES, split="last")
            same(found, whole)
            assert found.name == "plays"
            same(load(source, **NAMES, split="last"), whole)

    def test_as_test_events(self, parts):
        ending = next(parts.glob("day=2/*")).suffix
        test = parts / "day=2"
        found = read_interactions(f"{parts}/day=1/*{ending}", test=test, **NAMES)
        same(found, read_interactions(FRAME[:40], test=FRAME[40:], **NAMES))
        origin = load(f"{parts}/day=1/*{ending}", test=test, **NAMES).origin
        assert origin["test"] == str(test.resolve())

    def test_a_fault_names_its_file_and_the_row_there(self, parts):
        path = next(parts.glob("day=1/part-1.*"))
        write(FRAME[10:40].with_columns(i=pl.lit(None, pl.Int64)), path)
        with pytest.raises(
            ValueError, match=rf"item: expected an id in .*{path.name}, got 30 missing \(row 1,"
        ):
            read_interactions(parts, **NAMES)

    def test_other_columns(self, parts):
        path = next(parts.glob("day=2/*"))
        write(FRAME[40:].select("u", "i"), path)
        with pytest.raises(ValueError, match=rf"{path}: expected the columns 'u', 'i', 't' as in "):
            read_interactions(parts, **NAMES)
        found = read_interactions(parts, user="u", item="i", split="none")
        assert found.train.num_pairs == FRAME.unique(["u", "i"]).height

    def test_a_damaged_part(self, parts):
        path = next(parts.glob("day=2/*"))
        path.write_bytes(b"?\n" + path.read_bytes())
        with pytest.raises(ValueError, match=rf"{path}.*: expected"):
            read_interactions(parts, **NAMES)

    def test_rows_are_counted(self, parts, monkeypatch):
        shown = io.StringIO()
        monkeypatch.setattr("sys.stderr", shown)
        monkeypatch.setattr(
            progress.Rows,
            "__init__",
            lambda bar, *_: super(progress.Rows, bar).__init__(miniters=1),
        )
        seen = []
        monkeypatch.setattr(
            progress.Rows, "close", lambda bar: seen.append((bar.n, bar.postfix, bar.disable))
        )
        read_interactions(parts, **NAMES)
        assert seen[0] == (60, "making pairs", False)


class TestFilesOf:
    def test_patterns(self, tmp_path):
        for name in ("b.csv", "a.csv", "a.txt", "[a].csv"):
            (tmp_path / name).write_text("u,i\n1,1\n1,2\n")
        names = [path.name for path in files_of(tmp_path / "[ab].csv")]
        assert names == ["a.csv", "b.csv"]
        assert files_of(tmp_path / "[a].csv") == [tmp_path / "[a].csv"]  # as it exists

    def test_nothing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"\*\.csv: no file fits this pattern"):
            read_interactions(tmp_path / "*.csv", **NAMES)
        with pytest.raises(ValueError, match="expected files of events in the folder, got none"):
            read_interactions(tmp_path, **NAMES)

    def test_several_formats(self, tmp_path):
        write(FRAME, tmp_path / "a.csv"), write(FRAME, tmp_path / "b.parquet")
        with pytest.raises(ValueError, match=r"b\.parquet: expected csv, as .*a\.csv is, got par"):
            read_interactions(tmp_path, **NAMES)

    def test_a_split_is_no_log(self, tmp_path):
        for name in ("train.txt", "test.txt"):
            (tmp_path / "gowalla").mkdir(exist_ok=True)
            (tmp_path / "gowalla" / name).write_text("1 2 3\n")
        for source in (tmp_path, tmp_path / "gowalla", tmp_path / "gowalla" / "*.txt"):
            with pytest.raises(ValueError, match="expected parts of one log, got LightGCN's split"):
                read_interactions(source)
        assert load(tmp_path / "gowalla").name == "gowalla"


class TestTypes:
    def test_widths_may_differ(self, tmp_path):
        for at, kind in enumerate((pl.Int32, pl.Int64, pl.UInt8)):
            write(FRAME[at::3].with_columns(pl.col("i").cast(kind)), tmp_path / f"{at}.parquet")
        found = read_interactions(tmp_path, **NAMES, split="none")
        assert found.train.num_pairs == FRAME.unique(["u", "i"]).height

    @pytest.mark.parametrize("kind", [pl.String, pl.Float64, pl.UInt64])
    def test_others_are_an_error(self, tmp_path, kind):
        write(FRAME, tmp_path / "0.parquet")
        write(FRAME.with_columns(pl.col("i").cast(kind)), tmp_path / "1.parquet")
        words = r"i: expected Int64 in .*1\.parquet, as in .*0\.parquet, got"
        with pytest.raises(ValueError, match=words):
            read_interactions(tmp_path, **NAMES)

    def test_csv_without_header_has_equal_numbers_of_columns(self, tmp_path):
        (tmp_path / "a.csv").write_text("1,2\n1,3\n"), (tmp_path / "b.csv").write_text("5,1,2\n")
        with pytest.raises(
            ValueError, match=r"b\.csv: expected the columns 'column_1', 'column_2'"
        ):
            read_interactions(tmp_path, user="column_1", item="column_2", header=False)


class TestItemFile:
    @pytest.mark.parametrize("name", ["stock.txt", "stock.csv", "stock.parquet", "only.csv"])
    def test_keeps_its_items(self, tmp_path, name):
        frame = pl.DataFrame({"price": [1, 2, 3], "i": [4, 9, 77]})
        path = tmp_path / name
        if name.endswith(".txt"):
            path.write_text("\n4\r\n9\n\n77")
        else:
            write(frame.select("i").rename({"i": "id"}) if name == "only.csv" else frame, path)
        found = read_interactions(FRAME, **NAMES, item_file=path, split="none")
        kept = FRAME.filter(pl.col("i").is_in([4, 9]))
        assert sorted(found.item_ids.tolist()) == [4, 9]
        pairs = kept.unique(["u", "i"]).height
        assert found.left_out == {
            "of items outside item_file": 60 - kept.height,
            "repeated": kept.height - pairs,
        }

    @pytest.mark.parametrize(
        ("name", "content", "column", "words"),
        [
            ("s.txt", "x\n", None, "such as '0', in .*s.txt, got others, such as 'x'"),
            ("s.txt", "4\n", "i", "item_file_column: expected None for .*s.txt"),
            ("s.txt", "\n\n", None, "item_file: expected ids of items in .*s.txt, got none"),
            ("s.csv", "a,b\n4,5\n", None, "item_file_column: .* one of 'a', 'b', got 'i'"),
            ("s.csv", "a,b\n4,5\n", "c", "item_file_column: .* one of 'a', 'b', got 'c'"),
            ("s.csv", "a,b\n4,5\n,5\n", "a", r"in every row of .*s.csv, got 1 missing \(row 2,"),
            ("s.dat", "1::2::3::4\n", None, "item_file: expected text .* got movielens"),
        ],
    )
    def test_errors(self, tmp_path, name, content, column, words):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=words):
            read_interactions(FRAME, **NAMES, item_file=tmp_path / name, item_file_column=column)

    def test_a_column_alone(self):
        with pytest.raises(ValueError, match="item_file_column: expected item_file with it"):
            read_interactions(FRAME, **NAMES, item_file_column="i")


class TestLargeUsers:
    FRAME = pl.DataFrame({"u": [1, 1, 1, 2, 2, 2, 2, 3, 3], "i": [1, 2, 3, 1, 1, 2, 2, 1, 2]})

    def test_are_left_out(self):
        found = read_interactions(
            self.FRAME, user="u", item="i", max_items_per_user=2, split="none"
        )
        assert found.user_ids.tolist() == [2, 3]  # 2 has four events, but two items
        assert found.left_out == {"repeated": 2, "of users above max_items_per_user": 3}

    @pytest.mark.parametrize("most", [0, 1.5, -1])
    def test_a_limit_out_of_range(self, most):
        with pytest.raises(ValueError, match="max_items_per_user: expected an integer >= 1"):
            read_interactions(self.FRAME, user="u", item="i", max_items_per_user=most)

    def test_nobody_is_left(self):
        with pytest.raises(ValueError, match="max_items_per_user: expected users with at most 1"):
            read_interactions(self.FRAME, user="u", item="i", max_items_per_user=1)

    def test_describe_shows_them(self):
        found = describe(read_interactions(self.FRAME, user="u", item="i", split="none"))
        assert found["largest_users"] == [
            {"user": 1, "train_pairs": 3, "share": 3 / 7},
            {"user": 2, "train_pairs": 2, "share": 2 / 7},
            {"user": 3, "train_pairs": 2, "share": 2 / 7},
        ]
        assert found["share_of_largest_users"] == 3 / 7
