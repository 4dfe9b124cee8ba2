"""The compiled NumPy module: exact results, and an error for everything it must not compute."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from hashgcn import _numpy

LENGTHS = [1, 31, 64, 65, 130, 256]
MAX_DISTANCE = 2**31 - 1


def signs(rng: np.random.Generator, rows: int, length: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], (rows, length)).astype(np.float32)


def pack_oracle(x: np.ndarray) -> np.ndarray:
    padded = np.zeros((len(x), -(-x.shape[1] // 64) * 64), dtype=np.uint8)
    padded[:, : x.shape[1]] = x >= 0
    return np.packbits(padded, axis=1, bitorder="little").view("<i8").astype(np.int64)


BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)


def topk_oracle(queries, items, k, exclude_ptr=None, exclude_ids=None, allow=None):
    """Ids and distances of every item by (distance, row); queries [Q, words] or [Q, P, words]."""
    distances = np.full((len(queries), k), MAX_DISTANCE, dtype=np.int32)
    ids = np.full((len(queries), k), -1, dtype=np.int64)
    for q, query in enumerate(queries):
        kept = np.ones(len(items), dtype=bool) if allow is None else allow.copy()
        if exclude_ptr is not None:
            kept[exclude_ids[exclude_ptr[q] : exclude_ptr[q + 1]]] = False
        rows = np.flatnonzero(kept)
        distance = sum(
            (BITS[(items[rows] ^ plane).view(np.uint8)].sum(axis=1, dtype=np.int32) << p)
            for p, plane in enumerate(np.atleast_2d(query))
        )
        order = np.lexsort((rows, distance))[:k]
        distances[q, : len(order)] = distance[order]
        ids[q, : len(order)] = rows[order]
    return ids, distances


def topk_oracles(queries, items, ks, **extra):
    """k and its result, which is the head of that for the largest."""
    most = topk_oracle(queries, items, max(ks), **extra)
    for k in ks:
        yield k, tuple(part[:, :k] for part in most)


def problem(length: int, num_queries: int = 19, num_items: int = 300, seed: int = 0) -> dict:
    """A problem with many ties, and exclusions in any order with repeats."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, num_queries)
    return {
        "queries": pack_oracle(signs(rng, num_queries, length)),
        "items": pack_oracle(signs(rng, num_items, length)),
        "code_length": length,
        "exclude_ptr": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "exclude_ids": rng.integers(0, num_items, counts.sum()),
        "allow": rng.random(num_items) < 0.7,
    }


def graded(rng: np.random.Generator, rows: int, length: int, planes: int) -> np.ndarray:
    """Bit planes of random weights."""
    return pack_oracle(signs(rng, rows * planes, length)).reshape(rows, planes, -1)


def assert_same(got, expected) -> None:
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_pack_and_unpack(length, dtype):
    x = np.random.default_rng(length).standard_normal((37, length)).astype(dtype)
    x[0, 0], x[1, 0], x[2, 0], x[3, 0] = 0.0, -0.0, np.inf, -np.inf
    words = _numpy.pack_codes(x)
    assert words.dtype == np.int64
    np.testing.assert_array_equal(words, pack_oracle(x))
    codes = _numpy.unpack_codes(words, length)
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(codes, np.where(x >= 0, 1, -1))
    np.testing.assert_array_equal(_numpy.unpack_codes(words.view(np.uint64), length), codes)


@pytest.mark.parametrize("length", [64, 256])
def test_pack_has_the_byte_layout_of_faiss(length):
    x = signs(np.random.default_rng(0), 11, length)
    expected = np.packbits(x > 0, axis=1, bitorder="little")
    np.testing.assert_array_equal(_numpy.pack_codes(x).astype("<i8").view(np.uint8), expected)


def test_pack_reads_any_layout():
    x = np.random.default_rng(0).standard_normal((40, 70)).astype(np.float32)
    words = pack_oracle(x)
    np.testing.assert_array_equal(_numpy.pack_codes(np.asfortranarray(x)), words)
    np.testing.assert_array_equal(_numpy.pack_codes(np.repeat(x, 2, axis=1)[::3, ::2]), words[::3])
    shifted = np.frombuffer(b"\0" + x.tobytes(), dtype=np.float32, offset=1).reshape(x.shape)
    assert not shifted.flags.aligned
    np.testing.assert_array_equal(_numpy.pack_codes(shifted), words)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("k", [1, 10, 300, 310])
def test_topk(length, k):
    full = problem(length)
    plain = {name: full[name] for name in ("queries", "items")}
    excluded = {name: full[name] for name in ("exclude_ptr", "exclude_ids")}
    for extra in ({}, excluded, {"allow": full["allow"]}, {**excluded, "allow": full["allow"]}):
        expected = topk_oracle(**plain, k=k, **extra)
        for threads in (1, 2, 3):
            got = _numpy.hamming_topk(
                **plain, k=k, code_length=length, **extra, num_threads=threads
            )
            assert_same(got, expected)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("planes", [1, 2, 3, 4])
def test_topk_of_graded_queries(length, planes):
    full = problem(length)
    queries = graded(np.random.default_rng(1), 19, length, planes)
    for extra in ({}, {name: full[name] for name in ("exclude_ptr", "exclude_ids", "allow")}):
        for k, expected in topk_oracles(queries, full["items"], (1, 10, 310), **extra):
            for threads in (1, 3):
                got = _numpy.hamming_topk(
                    queries, full["items"], k, length, **extra, num_threads=threads
                )
                assert_same(got, expected)
                few = _numpy.hamming_topk(queries[:2].view(np.uint64), full["items"], k, length)
                if not extra:
                    assert_same(few, tuple(part[:2] for part in expected))


def test_topk_selects_among_more_items_than_it_keeps():
    full = problem(8, num_queries=3, num_items=20_000)
    del full["exclude_ptr"], full["exclude_ids"], full["allow"]
    del full["code_length"]
    for k, expected in topk_oracles(**full, ks=(1, 7, 5000)):
        assert_same(_numpy.hamming_topk(**full, k=k, code_length=8), expected)


@pytest.mark.parametrize("length", [64, 100, 128, 192, 256, 300])
def test_topk_among_many_items(length):
    """Several tiles of items and, in some rows, distances that a sample of them misjudges."""
    rng = np.random.default_rng(length)
    flips = (0.5 + 0.5 * rng.random((20_003, 1))) * rng.random((20_003, length))
    # Near are some that a sample holds, of every eighth or every ninth item.
    flips[::72] *= 0.1
    base = signs(rng, 1, length)
    items = pack_oracle(np.where(flips > 0.4, -base, base))
    queries = pack_oracle(np.concatenate([base, -base, signs(rng, 12, length)]))
    allow = rng.random(len(items)) < 0.5
    counts = rng.integers(0, 3000, len(queries))
    exclude_ptr = np.concatenate([[0], np.cumsum(counts)])
    exclude_ids = rng.integers(0, len(items), counts.sum())
    for extra in ({}, {"allow": allow}, {"exclude_ptr": exclude_ptr, "exclude_ids": exclude_ids}):
        for k, expected in topk_oracles(queries, items, (1, 100, 1000, 4800), **extra):
            # In one thread: split among several, the queries would be too few to lay out planes.
            got = _numpy.hamming_topk(queries, items, k, length, **extra, num_threads=1)
            assert_same(got, expected)


@pytest.mark.parametrize("planes", [2, 3, 4])
@pytest.mark.parametrize("length", [64, 100, 128, 192, 256, 300])
def test_topk_of_graded_queries_among_many_items(length, planes):
    """As above; the weights of a query are those of random planes, one size, or all but one."""
    rng = np.random.default_rng(length + planes)
    flips = (0.5 + 0.5 * rng.random((20_003, 1))) * rng.random((20_003, length))
    flips[::72] *= 0.1
    base = signs(rng, 1, length)
    items = pack_oracle(np.where(flips > 0.4, -base, base))
    near = graded(rng, 15 + 2**planes, length, planes)
    near[:3, -1] = pack_oracle(base)
    for size in range(2**planes):
        bits = [np.full((1, length), 2.0 * (size >> p & 1) - 1) for p in range(planes - 1)]
        near[15 + size] = pack_oracle(np.concatenate([*bits, base if size % 3 else -base]))
        near[15 + size, 0, 0] ^= size >> planes - 1
    allow = rng.random(len(items)) < 0.5
    counts = rng.integers(0, 3000, len(near))
    exclude_ptr = np.concatenate([[0], np.cumsum(counts)])
    exclude_ids = rng.integers(0, len(items), counts.sum())
    for extra in ({}, {"allow": allow, "exclude_ptr": exclude_ptr, "exclude_ids": exclude_ids}):
        for k, expected in topk_oracles(near, items, (1, 100, 4800), **extra):
            got = _numpy.hamming_topk(near, items, k, length, **extra, num_threads=1)
            assert_same(got, expected)


@pytest.mark.parametrize("planes", [1, 2, 4])
@pytest.mark.parametrize("length", [63, 512, 1000, 4032, 4096, 4097, 5000])
def test_topk_of_long_codes_at_every_distance(length, planes):
    """Distances from 0 to the longest, few and many queries."""
    rng = np.random.default_rng(length)
    queries = np.where(rng.random((1, length)) < np.linspace(0, 1, 15)[:, None], -1.0, 1.0)
    items = np.where(rng.random((1, length)) < np.linspace(0, 1, 1100)[:, None], -1.0, 1.0)
    queries, items = pack_oracle(queries), pack_oracle(items)
    if planes > 1:
        queries = np.repeat(queries[:, None], planes, 1)
        queries[4:8, 0] = queries[0, 0]
    for count in (2, 15):
        for k, expected in topk_oracles(queries[:count], items, (1, 60, 1100)):
            got = _numpy.hamming_topk(queries[:count], items, k, length, num_threads=1)
            assert_same(got, expected)


def test_topk_of_equal_codes():
    """The bound falls to zero, and the distance is also the greatest there is."""
    for length in (64, 128, 256, 320):
        items = np.full((5000, length // 64), -1)
        plain = np.concatenate([np.repeat(items[:1], 7, 0), np.zeros_like(items[:7])])
        for queries in (plain, *(np.repeat(plain[:, None], p, 1) for p in (2, 3, 4))):
            for k, expected in topk_oracles(queries, items, (1, 70, 5000)):
                assert_same(_numpy.hamming_topk(queries, items, k, length), expected)


def test_topk_of_few_queries_splits_the_items_among_threads():
    rng = np.random.default_rng(0)
    # Many ties, across the parts too. 256 KiB more than eight parts of 8 MiB.
    items = np.zeros((2**18 + 1024, 32), dtype=np.int64)
    items[:, 0] = rng.integers(0, 2**20, len(items))
    queries = np.zeros((2, 32), dtype=np.int64)
    queries[:, 0] = rng.integers(0, 2**20, 2)
    exclude_ptr, exclude_ids = np.array([0, 5, 5]), rng.integers(0, len(items), 5)
    extra = {"exclude_ptr": exclude_ptr, "exclude_ids": exclude_ids}
    for k, expected in topk_oracles(queries, items, (1, 300, 150_000), **extra):
        for threads in (1, 5):
            got = _numpy.hamming_topk(queries, items, k, 2048, **extra, num_threads=threads)
            assert_same(got, expected)
    queries = np.stack([queries, queries[::-1]], 1)
    for k, expected in topk_oracles(queries, items, (1, 300), **extra):
        got = _numpy.hamming_topk(queries, items, k, 2048, **extra, num_threads=5)
        assert_same(got, expected)


def test_topk_of_a_block_of_queries_splits_the_items_among_threads():
    rng = np.random.default_rng(0)
    items, queries = (rng.integers(0, 2**12, (rows, 2)) for rows in (40_003, 140))
    graded_queries, queries = queries.reshape(70, 2, 2), queries[:70]
    exclude_ptr, exclude_ids = np.arange(0, 701, 10), rng.integers(0, len(items), 700)
    for extra in ({}, {"exclude_ptr": exclude_ptr, "exclude_ids": exclude_ids}):
        for k, expected in topk_oracles(queries, items, (1, 7, 30), **extra):
            for threads in (1, 3, 5):
                got = _numpy.hamming_topk(queries, items, k, 128, **extra, num_threads=threads)
                assert_same(got, expected)
    for k, expected in topk_oracles(graded_queries, items, (1, 30), **extra):
        got = _numpy.hamming_topk(graded_queries, items, k, 128, **extra, num_threads=3)
        assert_same(got, expected)


def test_topk_of_nothing():
    words = pack_oracle(signs(np.random.default_rng(0), 4, 70))
    ids, distances = _numpy.hamming_topk(words[:0], words, 3, 70)
    assert distances.shape == ids.shape == (0, 3)
    ids, distances = _numpy.hamming_topk(words, words[:0], 3, 70)
    assert (distances == MAX_DISTANCE).all() and (ids == -1).all()
    nothing = np.zeros(4, dtype=bool)
    ids, distances = _numpy.hamming_topk(words, words, 3, 70, allow=nothing)
    assert (distances == MAX_DISTANCE).all() and (ids == -1).all()
    assert _numpy.pack_codes(np.zeros((0, 5), dtype=np.float32)).shape == (0, 1)
    assert _numpy.unpack_codes(words[:0], 70).shape == (0, 70)


def test_topk_reads_strided_unsigned_and_read_only_words(tmp_path):
    full = problem(130)
    queries, items = full["queries"], full["items"]
    expected = topk_oracle(queries, items, 5)
    strided = np.repeat(items, 2, axis=0)[::2]
    assert_same(_numpy.hamming_topk(queries, strided, 5, 130), expected)
    unsigned = (queries.view(np.uint64), items.view(np.uint64))
    assert_same(_numpy.hamming_topk(*unsigned, 5, 130), expected)
    items.tofile(tmp_path / "items")
    mapped = np.memmap(tmp_path / "items", dtype=np.int64, mode="r", shape=items.shape)
    assert_same(_numpy.hamming_topk(queries, mapped, 5, 130), expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs sparse files")
def test_topk_does_not_copy_a_memory_map(tmp_path):
    path, rows = tmp_path / "items", 2**37
    path.touch()
    os.truncate(path, 8 * rows)
    items = np.memmap(path, dtype=np.int64, mode="r", shape=(rows, 1))
    # A copy would need a terabyte; no query, so that none of it is read.
    _, distances = _numpy.hamming_topk(np.zeros((0, 1), dtype=np.int64), items, 3, 64)
    assert distances.shape == (0, 3)


def test_any_number_of_threads_gives_the_same_words():
    x = np.random.default_rng(0).standard_normal((3001, 130)).astype(np.float32)
    words = pack_oracle(x)
    for threads in (0, 1, 2, 3, 5000):
        np.testing.assert_array_equal(_numpy.pack_codes(x, threads), words)
        codes = _numpy.unpack_codes(words, 130, threads)
        np.testing.assert_array_equal(codes, np.where(x >= 0, 1, -1))


VALID = problem(70, num_queries=3, num_items=9)
PLANES = np.repeat(VALID["queries"][:, None], 4, 1)
WIDE = VALID["items"].copy()
WIDE[4, 1] |= 1 << 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k in "),
        ({"k": 2**31}, "k in "),
        ({"code_length": 0}, "code_length in "),
        ({"code_length": 2**31}, "code_length in "),
        ({"code_length": 64}, r"queries of shape \[\*, 1\]"),
        ({"code_length": 69}, "queries with zero bits past code_length 69|items with"),
        ({"items": WIDE}, "items with zero bits past code_length 70"),
        ({"queries": WIDE[:3] | np.int64(1 << 20)}, "queries with zero bits past code_length 70"),
        ({"queries": VALID["queries"].tolist()}, "queries as a NumPy array, got list"),
        ({"queries": VALID["queries"][0]}, r"queries of shape \[\*, 2\]"),
        ({"queries": VALID["queries"].astype(np.int32)}, "queries of dtype int64 or uint64"),
        ({"items": VALID["items"].astype(np.float64)}, "items of dtype .*, got float64"),
        ({"items": VALID["items"].astype(">i8")}, "items of dtype .*, got >i8"),
        ({"items": VALID["items"][:, :1]}, r"items of shape \[\*, 2\] .*, got \[9, 1\]"),
        ({"queries": PLANES[:, :, :1]}, r"queries of shape \[\*, 2\] or .*, got \[3, 4, 1\]"),
        ({"queries": PLANES[:, :0]}, r"queries of shape .*1 to 4 planes.*, got \[3, 0, 2\]"),
        ({"queries": np.repeat(PLANES, 2, 1)}, r"queries of shape .*, got \[3, 8, 2\]"),
        ({"queries": PLANES[None]}, r"queries of shape .*, got \[1, 3, 4, 2\]"),
        ({"queries": PLANES.astype(np.int32)}, "queries of dtype int64 or uint64, got int32"),
        ({"queries": PLANES | np.int64(1 << 20)}, "queries with zero bits past code_length 70"),
        ({"items": PLANES}, r"items of shape \[\*, 2\] .*, got \[3, 4, 2\]"),
        (
            {"queries": np.zeros((0, 4, 2_236_963), np.int64), "code_length": 143_165_577},
            "code_length up to 143165576 for queries of 4 planes, got 143165577",
        ),
        ({"exclude_ptr": None}, "exclude_ptr and exclude_ids together"),
        ({"exclude_ids": None}, "exclude_ptr and exclude_ids together"),
        ({"exclude_ptr": VALID["exclude_ptr"][:-1]}, r"exclude_ptr of shape \[4\], got \[3\]"),
        ({"exclude_ptr": VALID["exclude_ptr"] + 1}, "exclude_ptr to rise from 0 to"),
        ({"exclude_ptr": VALID["exclude_ptr"][[0, 2, 1, 3]]}, "exclude_ptr to rise from 0 to"),
        ({"exclude_ids": VALID["exclude_ids"][1:]}, "exclude_ptr to rise from 0 to"),
        ({"exclude_ids": VALID["exclude_ids"] - 9}, r"exclude_ids in \[0, 9\)"),
        ({"exclude_ids": VALID["exclude_ids"] + 9}, r"exclude_ids in \[0, 9\)"),
        ({"exclude_ids": VALID["exclude_ids"].astype(np.int32)}, "exclude_ids of dtype int64"),
        ({"allow": VALID["allow"][:-1]}, r"allow of shape \[9\], got \[8\]"),
        ({"allow": VALID["allow"].astype(np.uint8)}, "allow of dtype bool, got uint8"),
        ({"num_threads": -1}, "num_threads >= 0, got -1"),
    ],
)
def test_topk_refuses(changes, message):
    arguments = {"k": 3, **VALID, **changes}
    with pytest.raises(ValueError, match=f"^hashgcn::hamming_topk: expected ({message})"):
        _numpy.hamming_topk(**arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0]], "x as a NumPy array, got list"),
        (np.ones(3, np.float32), r"x of shape \[rows, code_length >= 1\], got \[3\]"),
        (np.ones((3, 0), np.float32), "x of shape"),
        (np.ones((3, 2), bool), "x of dtype float32, float64 or float16, got bool"),
        (np.ones((3, 2), np.int64), "x of dtype .*, got int64"),
        (np.array([[1.0, np.nan]]), "x without NaN, got NaN"),
        (np.array([[1.0] * 64 + [-np.nan]], np.float32), "x without NaN, got NaN"),
        (np.array([[np.nan]], np.float16), "x without NaN, got NaN"),
    ],
)
def test_pack_refuses(x, message):
    with pytest.raises(ValueError, match=f"^hashgcn::pack_codes: expected {message}"):
        _numpy.pack_codes(x)


@pytest.mark.parametrize(
    ("words", "length", "message"),
    [
        (VALID["items"], 0, "code_length in "),
        (VALID["items"], 129, r"words of shape \[\*, 3\] .*, got \[9, 2\]"),
        (WIDE, 70, "words with zero bits past code_length 70"),
        (VALID["items"].astype(np.float32), 70, "words of dtype int64 or uint64, got float32"),
        (None, 70, "words as a NumPy array, got NoneType"),
    ],
)
def test_unpack_refuses(words, length, message):
    with pytest.raises(ValueError, match=f"^hashgcn::unpack_codes: expected {message}"):
        _numpy.unpack_codes(words, length)


def texts(strings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in strings]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


KNOWN = [
    "pear",
    "",
    "fig",
    "日本",
    "figs",
    "fig\0",
    "é",
    "zoë",
    "x" * 300,
    "🎷",
    "item 9",
    "item 10",
]


def test_find_texts():
    order = np.array(sorted(range(len(KNOWN)), key=lambda row: KNOWN[row].encode()))
    wanted = [*KNOWN[::-1], "fi", "figz", "\0", "x" * 299, "x" * 301, "🎸", "é" * 99]
    places, rows = _numpy.find_texts(*texts(KNOWN), order, *texts(wanted))
    assert rows.tolist() == [KNOWN.index(text) if text in KNOWN else -1 for text in wanted]
    assert places.tolist() == [sum(x.encode() < text.encode() for x in KNOWN) for text in wanted]
    assert rows.dtype == places.dtype == np.int64
    for nothing in (_numpy.find_texts(*texts([]), order[:0], *texts(["a"])),):
        assert [x.tolist() for x in nothing] == [[0], [-1]]
    assert [len(x) for x in _numpy.find_texts(*texts(KNOWN), order, *texts([]))] == [0, 0]


def test_find_texts_of_damaged_arrays_gives_no_wrong_row():
    rng, (text, offsets) = np.random.default_rng(0), texts(KNOWN)
    right = np.array(sorted(range(len(KNOWN)), key=lambda row: KNOWN[row].encode()))
    numbers = [-(2**63), -9, -1, 0, 3, len(KNOWN), len(text), 2**31, 2**63 - 1]
    for _ in range(500):
        order, wrong = right.copy(), offsets.copy()
        order[rng.integers(0, len(order), 3)] = rng.choice(numbers, 3)
        _, rows = _numpy.find_texts(text, offsets, order, text, offsets)
        assert ((rows == -1) | (rows == np.arange(len(KNOWN)))).all()
        wrong[rng.integers(0, len(wrong), 3)] = rng.choice(numbers, 3)
        _, rows = _numpy.find_texts(text, wrong, right, text, offsets)
        assert ((rows >= -1) & (rows < len(KNOWN))).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": b"abc"}, "text as a NumPy array, got bytes"),
        ({"text": np.zeros(3, np.int8)}, "text of dtype uint8, got int8"),
        ({"offsets": np.zeros(2, np.int32)}, "offsets of dtype int64, got int32"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets and wanted_offsets not to be empty"),
        ({"wanted_offsets": np.zeros(0, np.int64)}, "offsets and wanted_offsets not to be empty"),
        ({"offsets": np.zeros((2, 2), np.int64)}, r"offsets of shape \[\*\], got \[2, 2\]"),
        ({"order": np.zeros(3, np.int64)}, r"order of shape \[1\], got \[3\]"),
    ],
)
def test_find_texts_refuses(changes, message):
    names = ("text", "offsets", "order", "wanted_text", "wanted_offsets")
    good = dict(zip(names, (*texts(["a"]), np.zeros(1, np.int64), *texts(["a"])), strict=True))
    with pytest.raises(ValueError, match=f"^hashgcn::find_texts: expected {message}"):
        _numpy.find_texts(**{**good, **changes})


def run_python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("forced", _numpy.instruction_sets()[1:])
def test_every_instruction_set_gives_the_same_results(forced):
    code = "from hashgcn import _numpy; print(_numpy.instruction_set())"
    assert run_python(code, HASHGCN_CPU=forced) == forced
    # conftest.py would import torch, which is not needed here.
    options = "'-q', '--noconftest', '-k', '(topk_among or topk_of or pack) and not splits'"
    tests = f"import sys, pytest; sys.exit(pytest.main([FILE, {options}]))"
    run_python(tests.replace("FILE", repr(__file__)), HASHGCN_CPU=forced)


def test_unknown_instruction_set_is_a_value_error():
    code = """
import numpy as np
from hashgcn import _numpy
words = np.zeros((100, 1), dtype=np.int64)
for run in (
    _numpy.instruction_set,
    lambda: _numpy.hamming_topk(words, words, 3, 64, num_threads=2),
    lambda: _numpy.pack_codes(np.ones((100, 64))),
    lambda: _numpy.unpack_codes(words, 64),
):
    try:
        run()
    except ValueError as error:
        assert "HASHGCN_CPU" in str(error)
    else:
        raise AssertionError
"""
    run_python(code, HASHGCN_CPU="sse9")
