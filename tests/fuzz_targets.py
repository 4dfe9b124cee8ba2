"""The readers of files on bytes that a fuzzer makes: a documented error or a right result.

A target takes bytes and a folder, and raises if a reader breaks its promise. Its `seeds` are inputs
that reach far into the reader. tools/fuzz.py mutates them for a given time, and
tests/project/test_fuzz.py a few times.
"""

from __future__ import annotations

import gzip
import io
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse

from hashgcn.compat.implicit import HashRecommender
from hashgcn.data import Dataset, Interactions, read_interactions, write_inter
from hashgcn.files import load_arrays, save_arrays
from hashgcn.retrieval import HammingIndex, Recommender
from hashgcn.retrieval.codes import pack_codes


@dataclass(frozen=True)
class Target:
    """A reader, and inputs for it.

    Attributes:
        check: reads the bytes as a file in the folder; an AssertionError says what was promised.
        seeds: inputs to begin with.
        rounds: number of mutations that a test has time for.
    """

    check: Callable[[Path, bytes], None]
    seeds: list[bytes]
    rounds: int


def documented(error: ValueError, path: Path | None = None) -> None:
    """Checks that the project itself made the error: one line with the expectation and the file."""
    text = str(error)
    assert type(error) is ValueError, f"expected a plain ValueError, got {error!r}"
    assert "expected" in text or "not a safetensors file" in text, text
    assert "\n" not in text, text
    assert path is None or str(path) in text, text


# Events. The first byte chooses the options of the reader, the rest is the file.

_ROWS = [(1, 7, 30, 5.0), (1, 8, 10, 1.5), (2, 7, -20, 4.0), (2, 9, 2**40, 3.0), (3, 8, 50, 0.5)]
_NAMED = [(f"ann {u}" if u == 1 else f"ü{u}", f'"{i}"', t, w) for u, i, t, w in _ROWS]
_NAMES = ("u", "i", "t", "w")
_ASKED: list[dict[str, Any]] = [
    {},
    {"split": "last"},
    {"split": "time", "test_fraction": 0.4},
    {"min_weight": 1, "test_fraction": 0.5},
    {"k_core": 2, "test_fraction": 0.5},
]
_OWN_NAMES = ("inter", "movielens", "lightgcn", "scipy")


def _events(format: str) -> Callable[[Path, bytes], None]:
    def check(folder: Path, content: bytes) -> None:
        if not content:
            return
        path = folder / "events"
        path.write_bytes(content[1:])
        asked = _ASKED[content[0] % len(_ASKED)]
        columns: dict[str, str] = {}
        if format not in _OWN_NAMES:
            columns = {"user": "u", "item": "i"}
            columns |= {"time": "t"} if asked.get("split") else {}
            columns |= {"weight": "w"} if "min_weight" in asked else {}
        try:
            data = read_interactions(path, format=format, **columns, **asked)
        except ValueError as error:
            documented(error)
            return
        _whole(data)
        if format == "lightgcn":
            _as_python_reads(content[1:], data)
        _read_back(folder, data)

    return check


def _whole(data: Dataset) -> None:
    pairs = [set(zip(x.users().tolist(), x.ids.tolist(), strict=True)) for x in _parts(data)]
    assert pairs[0] and pairs[1] and not pairs[0] & pairs[1]
    for part, found in zip(_parts(data), pairs, strict=True):
        assert len(found) == part.num_pairs
        assert found <= {(u, i) for u in range(part.num_users) for i in range(part.num_items)}
    popularity = data.train.popularity()
    assert (popularity[1:] <= popularity[:-1]).all()
    assert (popularity + data.test.popularity() > 0).all()
    assert (data.train.degrees() + data.test.degrees() > 0).all()
    assert all(count > 0 for count in data.left_out.values())


def _parts(data: Dataset) -> tuple[Interactions, Interactions]:
    return data.train, data.test


def _raw_pairs(data: Dataset) -> list[set[tuple[str, str]]]:
    return [
        {
            (str(u), str(i))
            for u, i in zip(data.user_ids[x.users()], data.item_ids[x.ids], strict=True)
        }
        for x in _parts(data)
    ]


def _as_python_reads(content: bytes, data: Dataset) -> None:
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    lines = [line.split() for line in content.decode("ascii").split("\n")]
    pairs = {(int(line[0]), int(item)) for line in lines if line for item in line[1:]}
    assert {(int(u), int(i)) for part in _raw_pairs(data) for u, i in part} <= pairs
    if not set(data.left_out) & {"outside the core", "below min_weight"}:
        assert sum(map(len, _raw_pairs(data))) == len(pairs)


def _read_back(folder: Path, data: Dataset) -> None:
    paths = [folder / f"{name}.inter" for name in ("train", "test")]
    try:
        for path, part in zip(paths, _parts(data), strict=True):
            write_inter(path, part, data.user_ids, data.item_ids)
    except ValueError as error:
        documented(error)
        assert "without tabs and line breaks" in str(error)
        return
    again = read_interactions(paths[0], test=paths[1])
    assert _raw_pairs(again) == _raw_pairs(data)


def _text(separator: str, header: str, rows: list[tuple]) -> bytes:
    lines = [header, *(separator.join(map(str, row)) for row in rows)]
    return "".join(f"{line}\n" for line in lines if line).encode()


def _jsonl(rows: list[tuple]) -> bytes:
    return pl.DataFrame(rows, _NAMES, orient="row").write_ndjson().encode()


def _parquet(frame: pl.DataFrame, **options: Any) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file, **options)
    return file.getvalue()


def _npz(matrix: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    scipy.sparse.save_npz(file, matrix, **options)
    return file.getvalue()


def _event_seeds() -> dict[str, list[bytes]]:
    frame = pl.DataFrame(_ROWS, _NAMES, orient="row")
    dates = pl.DataFrame(_NAMED, _NAMES, orient="row").with_columns(
        pl.from_epoch("t", "s"), pl.col("u").cast(pl.Categorical)
    )
    iso = [(u, i, f"2020-01-0{at}T00:00:0{at}", w) for at, (u, i, _, w) in enumerate(_NAMED, 1)]
    matrix = scipy.sparse.coo_array(
        ([5.0, 1.0, 4.0, 3.0, 2.0], ([0, 0, 1, 1, 2], [0, 1, 0, 2, 1])), (3, 3)
    )
    header = ",".join(_NAMES)
    quoted = [(u, '"a ""b"", c"', t, w) for u, _, t, w in _ROWS[:2]]
    inter = "user_id:token\titem_id:token\ttimestamp:float\trating:float"
    csv = [_text(",", header, rows) for rows in (_ROWS, iso, _ROWS[:2] + quoted)]
    return {
        "csv": [*csv, gzip.compress(csv[0]), csv[0].replace(b"\n", b"\r\n\r\n")],
        "tsv": [_text("\t", "\t".join(_NAMES), rows) for rows in (_ROWS, _NAMED)],
        "jsonl": [_jsonl(_ROWS), _jsonl(_NAMED), b'{"u": 1, "i": [2], "t": null, "x": {"y": 1}}\n'],
        "parquet": [
            _parquet(frame),
            _parquet(dates, compression="uncompressed"),
            _parquet(frame, compression="snappy", row_group_size=2),
        ],
        "inter": [_text("\t", inter, rows) for rows in (_ROWS, _NAMED)],
        "movielens": [_text("::", "", [(u, i, w, t) for u, i, t, w in _ROWS])],
        "lightgcn": [b"1 7 8 9\n2 7 9\n\n3\n4 8 007\n", gzip.compress(b"1 7 8\n2 7\t9\r\n")],
        "scipy": [
            _npz(kind(matrix), compressed=compressed)
            for kind, compressed in (
                (scipy.sparse.csr_array, True),
                *((kind, False) for kind in (scipy.sparse.csr_matrix, scipy.sparse.csc_array)),
                *((kind, False) for kind in (scipy.sparse.coo_array, scipy.sparse.bsr_matrix)),
                (scipy.sparse.dia_array, False),
            )
        ],
    }


# Damage: a file is refused, or read as it was.

GOLDEN = Path(__file__).with_name("golden")


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with what disks, memory and copies do to it; most of the time a single bit."""
    what, at = rng.randrange(8), rng.randrange(len(content))
    changed = bytearray(content)
    if what < 4:
        changed[at] ^= 1 << rng.randrange(8)
    elif what == 4:
        changed[at] = rng.randrange(256)
    elif what == 5:
        del changed[at:]
    elif what == 6:  # a block that was never written
        changed[at : at + 512] = bytes(len(changed[at : at + 512]))
    else:  # bytes of another place
        other = rng.randrange(len(content))
        length = min(rng.randint(1, 64), len(content) - max(at, other))
        changed[at : at + length] = content[other : other + length]
    return bytes(changed)


def read_in_full() -> dict[str, tuple[bytes, Callable[[Path], Any]]]:
    """By name a saved file, and a reader that gives all that it took from one."""

    def plain(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> tuple:
        return {k: (x.dtype.str, x.shape, x.tobytes()) for k, x in arrays.items()}, metadata

    def index(path: Path, **options: bool) -> tuple:
        found = HammingIndex.load(path, **options)
        numbers = (found.code_length, found.popularity_bits)
        return *numbers, found.codes.tolist(), found.ids.tolist(), found.rows(found.ids).tolist()

    def recommender(path: Path) -> tuple:
        found, metadata = Recommender.load_with_metadata(path)
        return *plain(*found.encode()), metadata

    def estimator(path: Path) -> tuple:
        found = HashRecommender.load(path)
        rest = {name: value for name, value in vars(found).items() if name != "recommender"}
        return *plain(*found.recommender.encode()), rest

    def checkpoint(path: Path) -> tuple:
        return plain(*load_arrays(path, "hashgcn.checkpoint"))

    files = {path.name: path for path in _saved()["index"]}
    files |= {path.stem: path for path in GOLDEN.iterdir()}
    found = {name: (files[name].read_bytes(), index) for name in files if "index" in name}
    mapped = partial(index, mmap=True, verify=True)
    found |= {f"{name}, mapped": (content, mapped) for name, (content, _) in found.items()}
    others = {"recommender": recommender, "estimator": estimator, "checkpoint": checkpoint}
    return found | {name: (files[name].read_bytes(), read) for name, read in others.items()}


# Saved codes: the bytes of a file, or edits of its arrays, which get past the check of its header.


class Choices:
    """Choices by bytes; 0 after the last one."""

    def __init__(self, content: bytes) -> None:
        self.left = io.BytesIO(content)

    def number(self, below: int) -> int:
        return int.from_bytes(self.left.read(1), "little") % below

    def of(self, options: list) -> Any:
        return options[self.number(len(options))]


_DTYPES = ["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]
_NUMBERS = [0, -1, 1, 2, 3, 63, 64, 65, 127, 128, 2**31, 2**32 + 1, 2**62, 2**63 - 1, -(2**63)]
_TEXTS = ["", "0", "-1", "1", "2", "3", "64", "65", "128", "1e3", "³", "½", "9" * 19, "9" * 5000]


def _edited(
    content: bytes, arrays: dict[str, np.ndarray], metadata: dict[str, str]
) -> tuple[dict[str, np.ndarray], dict[str, str], int]:
    """Arrays and metadata after a few changes, and a version, mostly the right one."""
    choices, arrays, metadata = Choices(content), dict(arrays), dict(metadata)
    version = int(metadata.pop("version")) + [0, 0, 0, 1, -1][choices.number(5)]
    for _ in range(choices.number(5)):
        name, what = choices.of([*sorted(arrays), "other"]), choices.number(8)
        old = arrays.get(name, np.zeros(2, np.int64))
        if what == 0:
            arrays.pop(name, None)
        elif what == 1:
            with np.errstate(all="ignore"):
                arrays[name] = old.astype(choices.of(_DTYPES))
        elif what in (2, 3) and old.size:
            changed = old.copy()
            value = np.array(choices.of(_NUMBERS), np.int64)
            with np.errstate(all="ignore"):
                changed.reshape(-1)[choices.number(old.size)] = value.astype(old.dtype)
            arrays[name] = changed
        elif what == 4:
            arrays[name] = old[: choices.number(4)] if old.ndim else old[None]
        elif what == 5:
            arrays[name] = np.concatenate([old, old]) if old.ndim else old[None]
        elif what == 6:
            arrays[name] = old[..., None] if choices.number(2) else old.reshape(-1)
        else:
            metadata[choices.of(["code_length", "popularity_bits"])] = choices.of(_TEXTS)
    return arrays, metadata, version


def _file(content: bytes, path: Path, saved: list[Path]) -> None:
    """Writes the bytes as they are, or a saved file edited by them."""
    if not content or content[0] % 4 == 0:
        path.write_bytes(content[1:])
        return
    source = saved[content[0] // 4 % len(saved)]
    name, version = ("index", 3) if "index" in source.name else ("recommender", 2)
    arrays, metadata = load_arrays(source, f"hashgcn.{name}", version=version)
    arrays, metadata, version = _edited(content[1:], arrays, metadata)
    save_arrays(path, arrays, metadata, version=version)


def _index(folder: Path, content: bytes) -> None:
    path = folder / "items.hgx"
    _file(content, path, _saved()["index"])
    for mapped in (False, True):
        try:
            index = HammingIndex.load(path, mmap=mapped)
        except ValueError as error:
            documented(error, path)
            continue
        try:
            _search(index, mapped)
            index.save(folder / "again.hgx")
            again = HammingIndex.load(folder / "again.hgx")
        except ValueError as error:
            documented(error)
            assert mapped  # Damage within codes and ids shows only where it is met.
            continue
        assert np.array_equal(again.codes, index.codes) and np.array_equal(again.ids, index.ids)
        assert (again.code_length, again.popularity_bits) == (
            index.code_length,
            index.popularity_bits,
        )


def _search(index: HammingIndex, mapped: bool) -> None:
    count, ids = len(index), index.ids
    assert len(ids) == len(index.codes) == count
    if not mapped:
        assert len(set(ids.tolist())) == count
        assert index.rows(ids).tolist() == list(range(count))
    for row in range(count):
        try:
            assert index.rows(ids[[row]]) == [row] or ids[row] == ids[index.rows(ids[[row]])]
        except ValueError as error:
            documented(error)
            assert mapped
    if index.code_length > 10_000:
        return
    queries = pack_codes(np.ones((1, index.code_length), np.float32))
    found, distances = index.search(queries, 3)
    # The popularity bits of the query are +1, as search sets them.
    apart = np.unpackbits((index.codes ^ queries).view(np.uint8), axis=1).sum(1, dtype=np.int64)
    best = np.lexsort((np.arange(count), apart))[:3]
    assert distances[0, : len(best)].tolist() == apart[best].tolist()
    assert found[0, : len(best)].tolist() == ids[best].tolist()
    assert (distances[0, len(best) :] == 2**31 - 1).all()


def _recommender(folder: Path, content: bytes) -> None:
    path = folder / "codes.safetensors"
    _file(content, path, _saved()["recommender"])
    try:
        recommender = Recommender.load(path)
    except ValueError as error:
        documented(error, path)
        return
    users, items = recommender.user_ids, recommender.index.ids
    assert recommender.user_rows(users).tolist() == list(range(len(users)))
    if recommender.index.code_length <= 10_000:
        found, scores = recommender.recommend(users, 3)
        assert found.shape == scores.shape == (len(users), 3)
        for user, row in enumerate(found.tolist()):
            seen = items[recommender.seen.of_users(np.array([user])).ids].tolist()
            missing = "" if items.dtype.kind == "T" else -1
            assert all(raw in items and raw not in seen for raw in row if raw != missing)
    recommender.save(folder / "again")
    again = Recommender.load(folder / "again")
    assert np.array_equal(again.user_codes, recommender.user_codes)
    assert np.array_equal(again.user_ids, users) and np.array_equal(again.index.ids, items)


def _saved() -> dict[str, list[Path]]:
    """Files of valid indexes and recommenders, made once."""
    if not _FILES:
        folder = Path(_FOLDER.name)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (5, 70))
        ids = {"rows": None, "int": [5, -7, 2**40, 0, 1], "str": ["a", "ü", "", "日本", "b c"]}
        _FILES["index"] = [folder / f"index-{kind}" for kind in ids]
        for path, raw in zip(_FILES["index"], ids.values(), strict=True):
            HammingIndex.build(signs, raw, popularity_bits=6 if raw else 0).save(path)
        _FILES["recommender"] = [folder / f"codes-{kind}" for kind in ("int", "str")]
        seen = Interactions(np.array([0, 2, 2, 3]), np.array([0, 3, 4]), 5)
        for path in _FILES["recommender"]:
            index = HammingIndex.build(signs, ids[path.name.removeprefix("codes-")])
            Recommender(pack_codes(signs[:3]), np.arange(3) * 7, index, seen).save(path)
    return _FILES


_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz")
_FILES: dict[str, list[Path]] = {}


def targets() -> dict[str, Target]:
    """Every target by name; the seeds are made here."""
    found = {}
    for format, seeds in _event_seeds().items():
        asked = [bytes([at]) + seed for at in range(len(_ASKED)) for seed in seeds]
        found[format] = Target(_events(format), asked, 300 if format == "lightgcn" else 40)
    for name, check in (("index", _index), ("recommender", _recommender)):
        files = _saved()[name]
        edits = [bytes([4 * at + 1, version]) for at in range(len(files)) for version in (0, 3)]
        whole = [b"\0" + path.read_bytes() for path in files]
        found[name] = Target(check, whole + edits, 300)
    return found


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """A seed with a few bytes changed, put in, taken out or taken from another seed."""
    content = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        length = min(rng.randint(1, 8), len(content) - at)
        what = rng.randrange(4)
        if what == 0 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            content[at:at] = rng.choice([rng.randbytes(rng.randint(1, 8)), b"\0", b"\xff", b"-9"])
        elif what == 2:
            del content[at : at + length]
        else:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            content[at : at + length] = other[start : start + rng.randint(1, 16)]
    return bytes(content)
