"""Lines of text files: each is a row, blank, or an error that names it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import hashgcn

from hashgcn.data import describe, read_interactions, read_lightgcn
from hashgcn.data import rows as rows_module
from hashgcn.data.rows import read_bytes, read_rows
from hashgcn.data.scan import scan

NAMES = {"user": "user", "item": "item", "split": "none"}


def pairs(path: Path, **options) -> list[tuple]:
    """The pairs of a file, of whose events each is a pair or counted as left out."""
    data = read_interactions(path, **(NAMES | options))
    users, items = data.user_ids[data.train.users()], data.item_ids[data.train.ids]
    return sorted(zip(users.tolist(), items.tolist(), strict=True))


def write(path: Path, content: str | bytes) -> Path:
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def table(rows, separator: str) -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


class TestQuotes:
    INCHES = [
        *((1, 10, '7" single'), (2, 11, "a"), (3, 12, "b")),
        *((4, 13, '12" mix'), (5, 14, "c"), (6, 15, '5"')),
    ]

    @pytest.mark.parametrize("end", ["csv", "tsv", "csv.gz"])
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
    def test_within_text_are_text(self, tmp_path, end, order):
        rows = [("user", "item", "title"), *self.INCHES]
        rows = [[row[at] for at in order] for row in rows]
        path = write(tmp_path / f"e.{end}", table(rows, "\t" if end == "tsv" else ","))
        assert pairs(path) == [(u, i) for u, i, _ in self.INCHES]
        assert pairs(path, quote="") == pairs(path)
        titles = scan(path, ("title",)).frame.collect()["title"].to_list()
        assert titles == [title for *_, title in self.INCHES]

    def test_many_rows_between_two(self, tmp_path):
        rows = [("user", "item", "title"), *((n, n % 50, "x") for n in range(5000))]
        for first, last in (('7" single', '12" mix'), ('7"', '12"'), ('a "b" c', 'd "e"')):
            rows[1], rows[-1] = (*rows[1][:2], first), (*rows[-1][:2], last)
            assert len(pairs(write(tmp_path / "e.csv", table(rows, ",")))) == 5000

    def test_rows_within_a_field_are_refused_unless_quote_is_said(self, tmp_path):
        """Two stray quotes at borders of fields are what a quoted field of many lines is."""
        for rows in (
            [
                ("user", "item", "title"),
                (1, 1, '"7'),
                *((n, n, "x") for n in range(9)),
                (3, 3, '7"'),
            ],
            [
                ("user", "title", "item"),
                (1, '"7', 1),
                *((n, "x", n) for n in range(9)),
                (3, '7"', 3),
            ],
        ):
            path = write(tmp_path / "e.csv", table(rows, ","))
            with pytest.raises(ValueError, match=r"e\.csv, line 2: .* quote= \(--quote\)") as error:
                pairs(path)
            assert "got '1," in str(error.value)
            assert len(pairs(path, quote='"')) == 1
            assert len(pairs(path, quote="")) == 9  # of 11 rows two are repeated
            write(path, path.read_text().replace("5,", "\n5,", 1))  # a blank line changes nothing
            with pytest.raises(ValueError, match=r"e\.csv, line 2: .* quote= \(--quote\)"):
                pairs(path)

    @pytest.mark.parametrize(
        ("content", "line", "words"),
        [
            ('1,10,"7\n2,11,a\n', 2, r"expected an end of the quoted field, .* none in '1,10,\"7'"),
            ('1,10,x\n2,11,"a" b\n', 3, r"expected a separator after the quoted field .*'\"a\" b'"),
            ('1,10,x\n2,11,"a,"b""\n', 3, r"expected a separator after the quoted field"),
            ('1,10,"a\nb"\n\n2,1,"\n', 5, "expected an end of the quoted field"),
            ('1,10,"a\nb",4\n', 2, "expected 3 fields, as in the first row, got 4"),
            ('1,10,a "b\n2,"x\ny"\n', 3, "expected 3 fields, as in the first row, got 2"),
            ('1,10,a "b\n2,3,"x\n', 3, "expected an end of the quoted field"),
            ('1, "a, b",c\n', 2, "expected 3 fields, as in the first row, got 4"),
            ("1,10,a\rb\n", 2, r"expected a line feed after a carriage return, got '1,10,a\\rb'"),
        ],
    )
    @pytest.mark.parametrize("block", [1 << 24, 5])
    def test_errors_name_the_line(self, tmp_path, monkeypatch, block, content, line, words):
        monkeypatch.setattr(rows_module, "_BLOCK", block)
        path = write(tmp_path / "e.csv", "user,item,title\n" + content)
        with pytest.raises(ValueError, match=rf"e\.csv, line {line}: {words}"):
            pairs(path)

    def test_other_characters(self, tmp_path):
        path = write(tmp_path / "e.csv", "user;item\n'a;b';1\n'it''s';2\n")
        assert pairs(path, separator=";", quote="'") == [("a;b", 1), ("it's", 2)]
        for quote, words in (("''", "one ASCII character"), ("\n", "one ASCII"), (";", "another")):
            with pytest.raises(ValueError, match=f"quote: expected {words}"):
                pairs(path, separator=";", quote=quote)

    @pytest.mark.parametrize("block", [1 << 24, 1, 4, 11])
    def test_what_the_standard_library_reads(self, tmp_path, monkeypatch, block):
        """Random text: equal rows, or an error in both."""
        monkeypatch.setattr(rows_module, "_BLOCK", block)
        rng, path = random.Random(block), tmp_path / "e.csv"
        read = refused = 0
        for _ in range(300):
            content = "".join(
                rng.choices(['"', ",", "\n", "\r\n", "a", "é", " "], k=rng.randint(1, 25))
            )
            path.write_bytes(content.encode())
            try:
                wanted = [row for row in _plain(content) if row]
                equal = len({len(row) for row in wanted}) < 2
            except csv.Error:
                equal = False
            try:
                parts = list(read_rows(path, ",", '"', sure=True))
            except ValueError as error:
                assert not equal and ", line " in str(error), content
                refused += 1
                continue
            assert equal, content
            found = b"".join(rows for rows, _ in parts)
            assert _plain(found.decode()) == wanted and sum(n for _, n in parts) == len(wanted)
            if wanted:
                frame = pl.read_csv(found, has_header=False, infer_schema=False)
                assert [[x or "" for x in row] for row in frame.rows()] == wanted
            read += 1
        assert read > 50 and refused > 50


def _plain(content: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content, newline=""), strict=True))


def test_options_of_the_command_line(tmp_path):
    path = write(tmp_path / "e.csv", "user,item,t\n'a,b',1,02/01/2024\nc,1,01/02/2024\nc,2,x\n")
    columns = ("--user-column", "user", "--item-column", "item", "--split", "none")
    asked = ("data", "info", path, *columns, "--quote", "'", "--json")
    found = json.loads(hashgcn(*asked).stdout)
    assert (found["events"], found["users"], found["items"]) == (3, 2, 2)
    done = hashgcn(*asked, "--time-column", "t", "--time-format", "%d/%m/%Y")
    assert done.returncode == 1 and "'%d/%m/%Y'" in done.stderr and "got 'x' (row 3" in done.stderr
    write(path, path.read_bytes().replace(b"x", b"01/01/2024"))
    found = json.loads(hashgcn(*asked, "--time-column", "t", "--time-format", "%d/%m/%Y").stdout)
    assert found["order_in_time_known"]
    done = hashgcn(*asked, "--quote", "")
    assert done.returncode == 1 and "line 2: expected 3 fields" in done.stderr


class TestFields:
    @pytest.mark.parametrize(
        ("name", "separator", "columns"),
        [
            ("e.csv", ",", NAMES),
            ("e.tsv", "\t", NAMES),
            ("e.csv.gz", ",", NAMES),
            ("e.inter", "\t", {"split": "none"}),
            ("e.dat", "::", {"split": "none"}),
        ],
    )
    @pytest.mark.parametrize("row", ["2,11,5", "2,11", "2,11,5,2000,x", "World,2,11,5,2000", ","])
    def test_more_or_fewer_are_errors(self, tmp_path, name, separator, columns, row):
        """Whatever columns are asked for."""
        header = {
            "e.inter": "user_id:token,item_id:token,rating:float,timestamp:float\n",
            "e.dat": "7,8,9,10\n",
        }.get(name, "user,item,rating,time\n")
        content = header + "1,10,5,2000\n" + row + "\n3,12,4,2001\n"
        path = write(tmp_path / name, content.replace(",", separator))
        got = row.count(",") + 1
        words = rf"{name}, line 3: expected 4 fields, as in the first row, got {got} in '"
        with pytest.raises(ValueError, match=words):
            read_interactions(path, **columns)
        with pytest.raises(ValueError, match=words):
            read_interactions(path, **columns, drop_missing=True)

    def test_a_row_of_separators_is_no_blank_line(self, tmp_path):
        path = write(tmp_path / "e.csv", "user,item\n1,2\n,\n\n2,3\n")
        with pytest.raises(ValueError, match=r"user: expected an id .* got 1 missing \(row 2"):
            pairs(path)
        data = read_interactions(path, **NAMES, drop_missing=True)
        assert data.left_out == {"incomplete": 1} and data.train.num_pairs == 2

    def test_rows_of_errors_count_what_drop_missing_leaves_out(self, tmp_path):
        path = write(tmp_path / "e.csv", "user,item,w\n,2,1\n\n1,2,1\n2,,1\n3,4,x\n")
        with pytest.raises(ValueError, match=r"weight: .*got 'x' \(row 4, not counting the header"):
            pairs(path, drop_missing=True, weight="w", min_weight=0)

    @pytest.mark.parametrize("block", [1 << 24, 40])
    def test_what_is_counted_adds_up(self, tmp_path, monkeypatch, block):
        monkeypatch.setattr(rows_module, "_BLOCK", block)
        rng = random.Random(3)
        lines, events = ["user,item,title,w"], 0
        for _ in range(800):
            if rng.random() < 0.1:
                lines.append("")
                continue
            title = rng.choice(["x", '7" x', '"a, b"', '"two\nlines"', '"say ""x"""', ""])
            user = rng.choice(["", *range(20)])
            lines.append(f"{user},{rng.randrange(30)},{title},{rng.randrange(5)}")
            events += 1
        path = write(tmp_path / "e.csv", "\n".join(lines))
        data = read_interactions(
            path, **NAMES, drop_missing=True, weight="w", min_weight=1, k_core=3
        )
        reasons = {"incomplete", "below min_weight", "repeated", "outside the core"}
        assert data.train.num_pairs + sum(data.left_out.values()) == events
        assert describe(data)["events"] == events
        assert set(data.left_out) <= reasons and len(data.left_out) > 2

    def test_movielens_takes_no_byte_that_stands_for_the_separator(self, tmp_path):
        path = write(tmp_path / "e.dat", "1::2::3::4\n1\x012::3::4\n")
        with pytest.raises(ValueError, match=r"e\.dat, line 2: expected text without control"):
            read_interactions(path)

    def test_a_row_without_an_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr(rows_module, "_LONGEST", 1000)
        monkeypatch.setattr(rows_module, "_BLOCK", 100)
        for content in ("user,item\n" + "1" * 2000, 'user,item\n1,"' + "1,2\n" * 1000):
            path = write(tmp_path / "e.csv", content)
            with pytest.raises(ValueError, match=r"e\.csv, line 2: expected a row of at most 1000"):
                pairs(path)

    def test_only_blank_lines(self, tmp_path):
        with pytest.raises(ValueError, match=r"e\.csv: expected events, got blank lines"):
            pairs(write(tmp_path / "e.csv", "\n\r\n\n"))

    def test_a_column_twice(self, tmp_path):
        path = write(tmp_path / "e.csv", "user,user,item\n1,2,3\n")
        with pytest.raises(ValueError, match=r"e\.csv: expected unique column names, got user, us"):
            pairs(path)


class TestEncodings:
    @pytest.mark.parametrize(
        "name", ["e.csv", "e.tsv.gz", "e.jsonl", "e.txt", "e.txt.gz", "e.inter"]
    )
    def test_a_byte_order_mark(self, tmp_path, name):
        content = {
            "csv": "user,item\n1,2\n1,3\n",
            "tsv": "user\titem\n1\t2\n1\t3\n",
            "jsonl": '{"user": 1, "item": 2}\n{"user": 1, "item": 3}\n',
            "txt": "1 2 3\n",
            "inter": "user_id:token\titem_id:token\n1\t2\n1\t3\n",
        }[name.split(".")[1]]
        path = write(tmp_path / name, b"\xef\xbb\xbf" + content.encode())
        names = {} if name.split(".")[1] in ("txt", "inter") else {"user": "user", "item": "item"}
        data = read_interactions(path, **names, split="none")
        assert data.user_ids.tolist() == [1] and sorted(data.item_ids.tolist()) == [2, 3]

    @pytest.mark.parametrize("name", ["e.csv", "e.jsonl", "e.txt", "e.inter", "e.dat"])
    def test_nothing_but_a_byte_order_mark(self, tmp_path, name):
        with pytest.raises(ValueError, match=rf"{name}: expected .*, got (none|blank|an empty)"):
            read_interactions(write(tmp_path / name, b"\xef\xbb\xbf"), user="u", item="i")

    def test_a_byte_order_mark_in_a_folder(self, tmp_path):
        for name in ("train", "test"):
            write(tmp_path / f"{name}.txt", b"\xef\xbb\xbf1 " + (b"2" if name == "train" else b"3"))
        assert read_lightgcn(tmp_path).item_ids.tolist() == [2, 3]

    @pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    @pytest.mark.parametrize("name", ["e.csv", "e.jsonl", "e.txt", "e.csv.gz"])
    def test_utf_16_is_named(self, tmp_path, code, name):
        path = write(tmp_path / name, "user,item\n1,2\n".encode(code))
        with pytest.raises(
            ValueError, match=rf"{name}: expected UTF-8, got UTF-16 or UTF-32 .*iconv"
        ):
            read_interactions(path, user="user", item="item")


class TestGzip:
    def test_that_expands_beyond_measure(self, tmp_path, monkeypatch):
        monkeypatch.setattr(rows_module, "_EXPANDED", 1 << 20)
        for name, row in (("e.csv", "1,2\n"), ("e.txt", "1 2\n"), ("e.jsonl", '{"user":1}\n')):
            path = write(tmp_path / f"{name}.gz", "user,item\n" + row * 400_000)
            words = (
                rf"{name}\.gz: expected gzip of at most 100 times its size, got more than 1048576"
            )
            with pytest.raises(ValueError, match=words):
                read_interactions(path, user="user", item="item")

    def test_of_several_members_is_one_file(self, tmp_path):
        path = tmp_path / "e.csv.gz"
        path.write_bytes(gzip.compress(b"user,item\n1,2\n") + gzip.compress(b"1,3\n"))
        assert pairs(path) == [(1, 2), (1, 3)]
        assert b"".join(read_bytes(path)) == b"user,item\n1,2\n1,3\n"


class TestJsonLines:
    @pytest.mark.parametrize(
        "line",
        [
            '{"user": 1, "item": 2} x',
            '{"user": 1, "item": 2}{"user": 1, "item": 3}',
            "[1, 2]",
            "null",
            '{"user": 1, "item": NaN}',
            '{"user": "\\ud800", "item": 2}',
            '{"user": 1,',
        ],
    )
    @pytest.mark.parametrize("before", [1, 200])
    def test_what_is_no_object_is_named(self, tmp_path, line, before):
        content = '{"user": 5, "item": 6}\n' * before + "\n" + line + '\n{"user": 7, "item": 8}\n'
        path = write(tmp_path / "e.jsonl", content)
        words = rf"e\.jsonl, line {before + 2}: expected a JSON object, got '"
        with pytest.raises(ValueError, match=words):
            pairs(path)

    def test_other_keys_may_hold_anything(self, tmp_path):
        content = (
            '{"user": 1, "item": 2, "x": {"y": [1, "\\ud800"]}}\n{"item": 3, "user": 1, "x": 5}\n'
        )
        assert pairs(write(tmp_path / "e.jsonl", content)) == [(1, 2), (1, 3)]


class TestRowsTakenForLists:
    @pytest.mark.parametrize(
        "rows",
        [
            [(1, 10, 1), (1, 11, 1), (2, 10, 1), (3, 12, 5)],
            [(u, i, u * i % 5 + 1) for u in range(30) for i in range(u, u + 9)],
            [(u, i, 3, 1_700_000_000 + i) for u in range(5) for i in range(9)],
        ],
    )
    def test_are_refused(self, tmp_path, rows):
        path = write(tmp_path / "train.txt", table(rows, " "))
        words = (
            r"train\.txt: expected lines `user item item ...`, .*--format csv --separator ' ' --no"
        )
        with pytest.raises(ValueError, match=words):
            read_interactions(path)
        write(tmp_path / "test.txt", "1 99\n")
        with pytest.raises(ValueError, match=words):
            read_lightgcn(tmp_path)
        names = {"user": "column_1", "item": "column_2"}
        read = pairs(path, **names, format="csv", separator=" ", header=False)
        assert read == sorted({row[:2] for row in rows})

    @pytest.mark.parametrize(
        "content",
        [
            "1 10 11\n2 10 12\n3 11 12\n",  # equal lengths, but one line a user
            "1 10\n1 11\n2 10\n2 12\n",  # pairs, which are read as such either way
            "1 10 11 12\n2 11\n1 13\n2 12 14\n",  # two periods, one after the other
            "1 10 11 12 13 14\n1 15 16 17 18 19\n2 10 11 12 13 14\n2 15 16\n",  # lines broken
        ],
    )
    def test_lists_of_repeated_users_are_merged(self, tmp_path, content):
        expected = sorted(
            (int(line.split()[0]), int(item))
            for line in content.splitlines()
            for item in line.split()[1:]
        )
        path = write(tmp_path / "e.txt", content)
        data = read_interactions(path, split="none")
        users, items = data.user_ids[data.train.users()], data.item_ids[data.train.ids]
        assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == expected


def test_one_long_id_costs_its_own_length(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"u{u},i{i}" for u, i in rng.integers(0, 40_000, (40_000, 2)).tolist()]
    code = (
        "import re, sys; from hashgcn.data import read_interactions;"
        "data = read_interactions(sys.argv[1], user='user', item='item');"
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1],"
        "max(map(len, data.user_ids.tolist())))"
    )
    peaks = []
    for length in (5, 20_000):
        path = write(tmp_path / "e.csv", "\n".join(["user,item", *rows, "x" * length + ",i1"]))
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        peak, longest = map(int, done.stdout.split())
        peaks.append(peak)
        assert longest >= length
    assert peaks[1] - peaks[0] < 30_000  # kB; as fixed width, 80 kB for each of 25,000 users
