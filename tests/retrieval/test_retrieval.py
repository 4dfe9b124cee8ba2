"""The public face of retrieval: an index over the user's own ids, without torch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from indexes import KINDS, MAX_DISTANCE, assert_same, make_ids, make_index, oracle, signs

import hashgcn
from hashgcn import _numpy
from hashgcn.data.ids import TEXT, find
from hashgcn.files import save_arrays
from hashgcn.retrieval import (
    HammingIndex,
    Neighbours,
    Recommendations,
    codes_from_bytes,
    hamming_topk,
    pack_codes,
    popularity_query_bits,
    unpack_codes,
)


def run_python(code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float16, np.float64])
def test_pack_takes_codes_of_any_signed_dtype(dtype):
    codes = signs(9, 70, 0)
    words = pack_codes(codes.astype(dtype))
    np.testing.assert_array_equal(words, pack_codes(codes))
    np.testing.assert_array_equal(unpack_codes(words, 70), codes)


def test_pack_takes_codes_of_true_and_false():
    codes = signs(9, 70, 0)
    for x in (codes > 0, np.asfortranarray(codes > 0), np.repeat(codes > 0, 2, axis=0)[::2]):
        np.testing.assert_array_equal(pack_codes(x), pack_codes(codes))
    index = HammingIndex.build(codes > 0)
    assert_same(index.search(codes[3] > 0, 4), HammingIndex.build(codes).search(codes[3], 4))
    assert pack_codes(np.zeros((0, 70), bool)).shape == (0, 2)


NOT_CODES = [
    (np.ones((3, 4), np.int64), "expected an array of dtype .*, got int64"),
    (np.ones((3, 4), np.uint8), "expected codes, got uint8; give 0 and 1 as bool, and packed"),
    (np.array([[1, -1], [1, 0]], np.int8), r"expected \+1 and -1 .*, got 0 in row 1; give 0 and"),
    (np.array([[1, -128]], np.int8), "expected .* got -128 in row 0; give 0 and 1 as bool, and"),
    (np.array([[1], [2]], np.int16), "expected .* got 2 in row 1; give 0 and 1 as bool"),
    (np.array([[-1], [2**30]], np.int32), f"expected .* got {2**30} in row 1;"),
    (np.array([[1.0, 0.0], [0.0, 1.0]]), "expected codes of .1 and -1, or real .* only 0 and 1"),
    (np.array([[1.0, 0.0]], np.float16), "expected codes of .1 and -1, or real .* only 0 and 1"),
    (np.zeros((2, 2), np.float32), "expected codes of .1 and -1, or real .* only 0 and 1"),
    (np.random.default_rng(0).random((8, 8)), "expected .* got real values that are all >= 0;"),
    (np.full((4, 64), 2.0), "expected .* got real values that are all >= 0; give 0 and 1 as bool"),
    (np.full((9, 9), np.inf, np.float32), "expected .* got real values that are all >= 0;"),
    (np.full((9, 9), np.nan), "expected an array without NaN, got NaN"),
    (np.array([[0.0, np.nan]]), "expected an array without NaN, got NaN"),
]


@pytest.mark.parametrize(("x", "message"), NOT_CODES)
def test_what_is_no_codes_is_refused(x, message):
    with pytest.raises(ValueError, match=f"^x: {message}"):
        pack_codes(x)
    with pytest.raises(ValueError, match=f"^codes: {message}"):
        HammingIndex.build(x)
    if x.dtype == np.int64:
        return  # such queries are packed
    index = HammingIndex.build(signs(5, x.shape[1], 0))
    with pytest.raises(ValueError, match=f"^queries: {message}"):
        index.search(x)
    with pytest.raises(ValueError, match=f"^codes: {message}"):
        index.add(x)
    with pytest.raises(ValueError, match=f"^codes: {message}"):
        index.replace(np.arange(len(x)), x)
    assert len(index) == 5


@pytest.mark.parametrize(
    "x",
    [
        np.ones((3, 70)),  # codes
        np.ones((3, 70), np.int8),
        np.full((1, 63), 0.3, np.float32),  # by chance
        np.array([[0.0, 2.0, 0.5]]),
        np.concatenate([np.zeros((99, 70)), np.full((1, 70), -1e-30)]),
        np.full((3, 70), -0.5, np.float16),
    ],
)
def test_real_values_of_any_signs_are_packed(x):
    np.testing.assert_array_equal(unpack_codes(pack_codes(x), x.shape[1]), np.where(x >= 0, 1, -1))


def test_packing_in_parts_finds_the_row(monkeypatch):
    codes = signs(50, 70, 0).astype(np.int8)
    want = pack_codes(codes)
    monkeypatch.setattr("hashgcn.retrieval.codes._CHUNK_VALUES", 200)
    np.testing.assert_array_equal(pack_codes(codes), want)
    codes[41, 3] = 5
    with pytest.raises(ValueError, match="got 5 in row 41"):
        pack_codes(codes)
    late = np.ones((50, 70))
    late[33, 3] = -0.1
    assert pack_codes(late).shape == (50, 2)


@pytest.mark.parametrize("length", [1, 7, 8, 63, 64, 70, 129])
@pytest.mark.parametrize("order", ["big", "little"])
def test_codes_of_bytes(length, order):
    codes = signs(9, length, 0)
    octets = np.packbits(codes > 0, axis=1, bitorder=order)
    less = (octets.astype(np.int16) - 128).astype(np.int8)  # as embedding services give them
    for given in (octets, less, np.asfortranarray(octets), octets.tolist()):
        if isinstance(given, list):
            given = np.array(given, np.uint8)
        words = codes_from_bytes(given, length, bit_order=order)
        assert words.dtype == np.int64
        np.testing.assert_array_equal(words, pack_codes(codes))
        index = HammingIndex.from_bytes(
            given, list("abcdefghi"), bit_order=order, code_length=length
        )
        assert_same(
            index.search(codes, 9), HammingIndex.build(codes, list("abcdefghi")).search(codes, 9)
        )
    if length % 8 == 0:
        assert HammingIndex.from_bytes(octets, bit_order=order).code_length == length
        np.testing.assert_array_equal(codes_from_bytes(octets, bit_order=order), words)
    assert codes_from_bytes(octets[:0], length, bit_order=order).shape == (0, words.shape[1])


OCTETS = np.array([[255, 1], [255, 3]], np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"octets": OCTETS.astype(np.int64)}, r"octets: expected uint8 or int8 .* int64 \[2, 2\]"),
        ({"octets": OCTETS.astype(bool)}, r"octets: expected uint8 or int8 .* bool \[2, 2\]"),
        ({"octets": OCTETS[0]}, r"octets: expected uint8 or int8 .* uint8 \[2\]"),
        ({"octets": OCTETS[:, :0]}, r"octets: expected uint8 or int8 .* uint8 \[2, 0\]"),
        ({"code_length": 8}, "code_length: expected 9 to 16 for 2 bytes a code, got 8"),
        ({"code_length": 17}, "code_length: expected 9 to 16 for 2 bytes a code, got 17"),
        ({"code_length": 0}, "code_length: expected 9 to 16 for 2 bytes a code, got 0"),
        ({"code_length": 9}, "octets: expected zero bits past code_length 9, got others in row 1"),
        ({"bit_order": "network"}, "bit_order: expected 'big' or 'little', got 'network'"),
    ],
)
def test_codes_of_bytes_refuses(changes, message):
    arguments = {"octets": OCTETS, "code_length": 10, "bit_order": "little", **changes}
    for read in (codes_from_bytes, HammingIndex.from_bytes):
        with pytest.raises(ValueError, match=f"^{message}"):
            read(**arguments)


def test_packed_bytes_are_not_taken_for_codes():
    """What sentence-transformers and Cohere call `binary`: f bits in f / 8 integers."""
    octets = np.packbits(signs(9, 128, 0) > 0, axis=1)
    less = (octets.astype(np.int16) - 128).astype(np.int8)
    with pytest.raises(ValueError, match="codes: expected .1 and -1 .* packed bytes to codes_from"):
        HammingIndex.build(less)
    few = np.ones((2, 2), np.int8)  # all of them happen to be +1
    with pytest.raises(
        ValueError, match=r"codes: expected 16 values .* int8 \[2, 2\]; packed bytes"
    ):
        HammingIndex.build(few, code_length=16)
    with pytest.raises(
        ValueError, match=r"codes: .* uint8 \[9, 16\]; packed bytes are for codes_from"
    ):
        HammingIndex(octets, code_length=128)
    index = HammingIndex.build(signs(9, 128, 0), code_length=128)
    for query in (octets, less):
        with pytest.raises(
            ValueError, match=r"queries: .*\[9, 16\]; packed bytes are for codes_from_"
        ):
            index.search(query)


@pytest.mark.parametrize("kind", KINDS)
def test_searches_in_parts_are_the_same(kind, monkeypatch):
    """Few queries at a time, so that Ctrl-C need not wait for all."""
    index, ids, queries = make_index(kind), make_ids(kind, 60), signs(150, 70, 2)
    rng = np.random.default_rng(0)
    options = {"deny": [ids[rng.integers(0, 60, q % 7)] for q in range(150)], "allow": ids[3:]}
    whole = [index.search(queries, 9), index.search(queries, 70, **options)]
    ptr, rows = np.arange(0, 301, 2), rng.integers(0, 60, 300)
    given = {"code_length": 70, "exclude_ptr": ptr, "exclude_ids": rows}
    words = pack_codes(queries)
    direct = hamming_topk(words, index.codes, 5, **given)
    calls = []
    compiled = _numpy.hamming_topk
    monkeypatch.setattr(_numpy, "hamming_topk", lambda *x: calls.append(len(x[0])) or compiled(*x))
    monkeypatch.setattr("hashgcn.retrieval.codes._CALL_WORDS", 1)
    for want, extra in zip(whole, ({"k": 9}, {"k": 70, **options}), strict=True):
        assert_same(index.search(queries, **extra), want)
    assert_same(hamming_topk(words, index.codes, 5, **given), direct)
    assert calls == 3 * [64, 64, 22]
    for wrong in (ptr + 1, ptr[:-1], ptr[::-1], ptr.astype(np.int32), ptr.tolist()):
        with pytest.raises(ValueError, match="^exclude_"):
            hamming_topk(words, index.codes, 5, **{**given, "exclude_ptr": wrong})


INTERRUPTED = """
import sys, time
sys.modules["torch"] = None
import numpy as np
from hashgcn.retrieval import HammingIndex
index = HammingIndex(np.arange(2**21)[:, None] * 999_983, code_length=64)
queries = np.arange(2**17)[:, None] * 1_000_003
print("ready", flush=True)
try:
    index.search(queries, 10, num_threads=1)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_long_search():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        # All of the search takes a minute.
        assert process.communicate(timeout=25)[0] == "interrupted\n"
    finally:
        process.kill()


@pytest.mark.parametrize("count", [1, 5000])
def test_long_texts_are_found(count):
    """NumPy's own search reads texts of more than 15 bytes out of bounds."""
    known = np.array([f"{i} is the number of this item" for i in range(count)], TEXT)
    order = np.argsort(known)
    wanted = [*known[::-3].tolist(), "9", "", "5 is the number of this item and more", "é"]
    rows = [*range(count)[::-3], -1, -1, -1, -1]
    assert find("x", known, order, wanted, "the shop").tolist() == rows
    index = HammingIndex.build(signs(count, 8, 0), known)
    assert index.rows(wanted, ignore_unknown=True).tolist() == rows
    assert index.ids.dtype == TEXT and index.search(signs(2, 8, 1), 3).ids.dtype == TEXT


def test_topk_of_rows():
    codes, queries = signs(50, 65, 0), signs(7, 65, 1)
    got = hamming_topk(pack_codes(queries), pack_codes(codes), 50, code_length=65)
    assert_same(got, oracle(codes, queries, 50, np.arange(50)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 7, 60, 64])
def test_search(kind, k):
    index, ids = make_index(kind), make_ids(kind, 60)
    codes, queries = signs(60, 70, 1), signs(11, 70, 2)
    expected = oracle(codes, queries, k, ids)
    words = pack_codes(queries)
    for form in (queries, queries.astype(np.int8), words, words.view(np.uint64)):
        assert_same(index.search(form, k), expected)
    for threads in (1, 2, 3):
        assert_same(index.search(queries, k, num_threads=threads), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_search_leaves_out_excluded_and_disallowed_items(kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    codes, queries = signs(60, 70, 1), signs(11, 70, 2)
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 60, size) for size in rng.integers(0, 80, 10)] + [np.arange(60)[::-1]]
    mask = rng.random(60) < 0.5
    kept = np.ones((11, 60), dtype=bool)
    for q, rows in enumerate(lists):
        kept[q, rows] = False

    expected = oracle(codes, queries, 20, ids, kept)
    assert (expected[1][-1] == MAX_DISTANCE).all()
    raw = [ids[rows].tolist() for rows in lists]
    assert_same(index.search(queries, 20, deny=raw), expected)

    expected = oracle(codes, queries, 40, ids, kept & mask)
    chosen = ids[mask].tolist()
    for allow in (mask, mask.tolist(), ids[mask][::-1], chosen, set(chosen), iter(chosen)):
        assert_same(index.search(queries, 40, deny=raw, allow=allow), expected)
    assert not index.search(queries, 5, allow=[]).counts.any()


@pytest.mark.parametrize("kind", KINDS)
def test_empty_index_and_empty_queries(kind):
    index = make_index(kind, count=0)
    assert len(index) == 0
    ids, distances = index.search(signs(3, 70, 0), 4, deny=[[], [], []], allow=[])
    assert distances.shape == ids.shape == (3, 4)
    assert (distances == MAX_DISTANCE).all()
    assert (ids == ("" if kind == "str" else -1)).all()
    ids, distances = make_index(kind).search(signs(0, 70, 0), 4, deny=[])
    assert distances.shape == ids.shape == (0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_results_have_names_counts_and_rows(kind):
    index, query = make_index(kind), signs(3, 70, 2)
    found = index.search(query, 9, deny=[index.ids, index.ids[:55], []], radius=70)
    assert isinstance(found, Neighbours) and found.ids is found[0] and found.distances is found[1]
    assert found.counts.tolist() == [0, 5, 9]
    one = index.search(query[1], 9, deny=index.ids[:55])
    assert (one.counts, len(one.ids)) == (5, 9)
    rows = index.search(query, 9, as_rows=True)
    assert rows.ids.dtype == np.int64
    np.testing.assert_array_equal(index.ids_of(rows.ids), index.search(query, 9).ids)


@pytest.mark.parametrize(("dtype", "lowest"), [(np.int32, -(2**31)), (np.float32, -np.inf)])
def test_counts_of_recommendations(dtype, lowest):
    scores = np.array([[5, -8, lowest], [lowest] * 3]).astype(dtype)
    assert Recommendations(np.full((2, 3), -1), scores).counts.tolist() == [2, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_rows(kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    rows = np.random.default_rng(0).integers(0, 60, 100)
    for raw in (ids[rows], ids[rows].tolist(), iter(ids[rows].tolist())):
        found = index.rows(raw)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, rows)
    for nothing in ([], np.array([]), np.array([], dtype=str), np.array([], dtype=np.int32)):
        assert index.rows(nothing).shape == (0,)
    unknown = ["item 3 and more than any id has"] if kind == "str" else [-1, 60, 2**60]
    for one in [*unknown, 1 if kind == "str" else "1"]:
        with pytest.raises(ValueError, match=f"raw_ids: expected ids of the index.*, got .*{one}"):
            index.rows([one])
    some = [*ids[:2].tolist(), unknown[0]]
    assert index.rows(some, ignore_unknown=True).tolist() == [0, 1, -1]
    with pytest.raises(ValueError, match="expected integers or strings"):
        index.rows([1.5])


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_rows(kind):
    index = make_index(kind)
    assert index.ids_of(np.array([[2, -1], [0, 2]])).tolist() == [
        [index.ids[2], "" if kind == "str" else -1],
        [index.ids[0], index.ids[2]],
    ]
    rows = np.arange(len(index))
    np.testing.assert_array_equal(index.rows(index.ids_of(rows)), rows)
    for outside in (-2, 60):
        with pytest.raises(ValueError, match=rf"rows: expected rows in \[-1, 60\), got {outside}"):
            index.ids_of(np.array([0, outside]))


def test_looks():
    index = HammingIndex.build(signs(5, 70, 0), popularity_bits=3)
    assert (len(index), index.num_items, index.code_length, index.popularity_bits) == (5, 5, 70, 3)
    assert repr(index) == "HammingIndex(5 codes of 70 bits, 3 of them popularity, no ids)"
    assert repr(make_index("int", 1200)) == "HammingIndex(1,200 codes of 70 bits, int ids)"
    assert repr(make_index("str", 0)) == "HammingIndex(0 codes of 70 bits, str ids)"
    np.testing.assert_array_equal(index.codes, pack_codes(signs(5, 70, 0)))
    np.testing.assert_array_equal(index.ids, np.arange(5))


def test_contiguous_codes_are_not_copied():
    words = pack_codes(signs(5, 70, 0))
    words.flags.writeable = False
    assert np.shares_memory(HammingIndex(words, code_length=70).codes, words)


WORDS = pack_codes(signs(5, 70, 0))
LONG = WORDS.copy()
LONG[2, 1] |= np.int64(1 << 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code_length": 0}, "code_length: expected a number >= 1, got 0"),
        (
            {"code_length": 64},
            r"codes: expected packed .*\[\*, 1\] .*, got int64 \[5, 2\]",
        ),
        ({"codes": LONG}, "codes: expected zero bits past code_length 70"),
        ({"codes": -WORDS}, "codes: expected zero bits past code_length 70"),
        ({"codes": signs(5, 70, 0)}, r"codes: expected packed .*, got float32 \[5, 70\]"),
        ({"codes": WORDS[0]}, r"codes: expected packed int64 words .*, got int64 \[2\]"),
        ({"ids": [1, 2, 3]}, "ids: expected 5, one per code, got 3"),
        ({"ids": [1, 2, 3, 2, 4]}, "ids: expected unique ids, got .*2.* twice"),
        ({"ids": list("abcda")}, "ids: expected unique ids, got .*a.* twice"),
        ({"ids": [1, "a", 2, 3, 4]}, "ids: expected integers or strings, got int and str"),
        ({"ids": [0.5, 1, 2, 3, 4]}, "ids: expected integers or strings"),
        ({"ids": "abcde"}, "ids: expected a list or an array of ids, got str"),
        ({"popularity_bits": -1}, r"popularity_bits: expected a number in \[0, 70\], got -1"),
        ({"popularity_bits": 71}, r"popularity_bits: expected a number in \[0, 70\], got 71"),
    ],
)
def test_index_refuses(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        HammingIndex(**{"codes": WORDS, "code_length": 70, **changes})


def test_build_refuses_nan_and_packed_codes():
    with pytest.raises(ValueError, match="^codes: expected an array without NaN, got NaN"):
        HammingIndex.build(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="^codes: expected an array of dtype .*, got int64"):
        HammingIndex.build(WORDS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, r"k: expected a number in \[1, .*, got 0"),
        ({"queries": signs(2, 64, 0)}, r"queries: expected codes \[\*, 70\] .* float32 \[2, 64\]"),
        ({"queries": signs(2, 64, 0)[0]}, r"queries: expected codes .*, got float32 \[1, 64\]"),
        (
            {"queries": signs(2, 70, 0)[None]},
            r"queries: expected codes .* float32 \[1, 2, 70\]",
        ),
        ({"queries": np.float32(1)}, r"queries: expected codes .*, got float32 \[\]"),
        ({"queries": np.ones((2, 9), bool)}, r"queries: expected codes \[\*, 70\].* bool \[2, 9\]"),
        (
            {"queries": np.ones((2, 70), np.int64)},
            r"queries: expected packed int64 .* \[\*, 2\]",
        ),
        (
            {"queries": pack_codes(signs(2, 64, 0))},
            r"queries: expected packed .*, got int64 \[2, 1",
        ),
        ({"queries": LONG}, "queries: expected an array with zero bits past code_length 70"),
        ({"queries": np.full((2, 70), np.nan)}, "queries: expected an array without NaN"),
        ({"allow": [7]}, "allow: expected ids of the index, got .*7"),
        ({"allow": np.ones(4, bool)}, r"allow: expected raw ids or bool \[5\], got bool \[4\]"),
        ({"allow": [[1], [2], [3]]}, "allow: expected 2 lists of ids, one per query, got 3"),
        ({"allow": [True, 5]}, "allow: expected integers or strings, got bool and int"),
        ({"deny": np.ones(6, bool)}, r"deny: expected raw ids or bool \[5\], got bool \[6\]"),
        ({"deny": ["a"]}, r"deny: expected ids of the index \(int64\), got .*a"),
        ({"deny": "a"}, "deny: expected a list or an array of ids, got str"),
        ({"deny": [5]}, "deny: expected ids of the index, got 5"),
        ({"radius": -1}, "radius: expected a number >= 0, got -1"),
        ({"radius": float("nan")}, "radius: expected a number >= 0, got nan"),
        ({"popularity_weight": 0.5}, "popularity_weight: expected None for codes without"),
        ({"num_threads": -1}, "num_threads: expected a number >= 0, got -1"),
    ],
)
def test_search_refuses(changes, message):
    index = HammingIndex(WORDS, code_length=70)
    with pytest.raises(ValueError, match=f"^{message}"):
        index.search(**{"queries": signs(2, 70, 0), "k": 2, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, r"k: expected a number in \[1, 2147483647\], got 0"),
        ({"code_length": 0}, r"code_length: expected a number in \[1, "),
        ({"queries": WORDS.tolist()}, "queries: expected a NumPy array, got list"),
        ({"items": WORDS.astype(float)}, "items: expected an array of dtype .*, got float64"),
        ({"items": WORDS[:, :1]}, r"items: expected an array of shape \[\*, 2\] .*, got \[5, 1\]"),
        ({"exclude_ptr": np.arange(6)}, "exclude_ptr, exclude_ids: expected both or neither"),
        ({"exclude_ids": np.arange(6)}, "exclude_ptr, exclude_ids: expected both or neither"),
        (
            {"exclude_ptr": np.array([0, 2, 1, 1, 1, 1]), "exclude_ids": np.array([0])},
            "exclude_ptr: expected an array to rise from 0 to 1",
        ),
        (
            {"exclude_ptr": np.array([0, 1, 1, 1, 1, 1]), "exclude_ids": np.array([5])},
            r"exclude_ids: expected rows in \[0, 5\), got one outside",
        ),
        ({"allow": np.ones(5, int)}, "allow: expected an array of dtype bool, got int64"),
        ({"num_threads": -1}, "num_threads: expected a number >= 0, got -1"),
    ],
)
def test_topk_refuses(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        hamming_topk(**{"queries": WORDS, "items": WORDS, "k": 2, "code_length": 70, **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(kind, tmp_path):
    path = tmp_path / "items.hgx"
    ids = None if kind == "rows" else make_ids(kind, 60)
    index = HammingIndex.build(signs(60, 70, 1), ids, popularity_bits=4)
    index.save(path)
    loaded = HammingIndex.load(path)
    assert repr(loaded) == repr(index)
    assert_same((loaded.codes, loaded.ids), (index.codes, index.ids))
    queries = signs(5, 70, 2)
    assert_same(loaded.search(queries, 9), index.search(queries, 9))
    content = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", KINDS)
def test_load_refuses_a_damaged_file(kind, tmp_path):
    path = tmp_path / "items.hgx"
    make_index(kind, count=5).save(path)
    content = path.read_bytes()
    for damaged in (content[:-1], content[:100], content[:8], b"", b"no index at all" * 9):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="items.hgx"):
            HammingIndex.load(path)
    with pytest.raises(FileNotFoundError):
        HammingIndex.load(tmp_path / "absent.hgx")


GOOD = {"format": "hashgcn.index", "code_length": "70", "popularity_bits": "0"}


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({"codes": WORDS}, {**GOOD, "format": "hashgcn.other"}),
        ({"codes": WORDS}, {**GOOD, "code_length": "200"}),
        ({"codes": WORDS}, {**GOOD, "code_length": "many"}),
        ({"codes": WORDS}, {**GOOD, "popularity_bits": "71"}),
        ({"codes": WORDS}, {name: GOOD[name] for name in ("format", "code_length")}),
        ({"codes": LONG}, GOOD),
        ({"codes": WORDS.astype(np.float32)}, GOOD),
        ({}, GOOD),
        ({"codes": WORDS, "ids": np.zeros(5, np.int64)}, GOOD),
        ({"codes": WORDS, "ids": np.arange(4)}, GOOD),
        ({"codes": WORDS, "other": np.arange(5)}, GOOD),
    ],
)
def test_load_refuses_a_file_that_is_no_index(arrays, metadata, tmp_path):
    path = tmp_path / "items.hgx"
    save_arrays(path, arrays, metadata, version=3)
    with pytest.raises(ValueError, match="items.hgx"):
        HammingIndex.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "items.hgx"
    make_index().save(path)
    content = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        make_index("str").save(path)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["items.hgx"]


def thermometer(level_bits: int, bits: int) -> np.ndarray:
    return np.where(np.arange(bits) < level_bits, 1.0, -1.0)


@pytest.mark.parametrize("bits", range(25))
def test_popularity_query_bits(bits):
    for p in np.linspace(-1, 1, 81):
        query = popularity_query_bits(bits, p)
        assert query.shape == (bits,)
        assert np.isin(query, (-1, 1)).all()
        assert abs((query == 1).sum() - bits * (1 + p) / 2) <= 0.5 + 1e-9
        for plus in range(bits + 1):
            inner = query @ thermometer(plus, bits)
            assert abs(inner - p * (2 * plus - bits)) <= 2 + 1e-9
    assert (popularity_query_bits(bits, 1) == 1).all()
    assert (popularity_query_bits(bits, -1) == -1).all()
    assert (popularity_query_bits(bits, np.nextafter(1, 0)) == 1).all()
    assert abs(popularity_query_bits(bits, 0).sum()) == bits % 2


@pytest.mark.parametrize("weight", [-1.01, 1.5, np.nan, np.inf])
def test_popularity_weights_out_of_range(weight):
    index = HammingIndex.build(signs(5, 70, 0), popularity_bits=3)
    for run in (
        lambda: popularity_query_bits(3, weight),
        lambda: index.search(signs(2, 70, 0), popularity_weight=weight),
    ):
        with pytest.raises(ValueError, match=r"popularity_weight: expected a number in \[-1, 1\]"):
            run()
    with pytest.raises(ValueError, match="popularity_bits: expected a number >= 0, got -1"):
        popularity_query_bits(-1, 1)


@pytest.mark.parametrize(("length", "bits"), [(70, 0), (70, 10), (64, 64), (130, 3)])
def test_search_replaces_the_popularity_bits_of_queries(length, bits):
    codes, queries = signs(60, length, 1), signs(9, length, 2)
    index = HammingIndex.build(codes, popularity_bits=bits)
    for p in (None, 1.0) if bits == 0 else (None, -1.0, -0.3, 0.0, 0.5, 1.0):
        replaced = queries.copy()
        replaced[:, length - bits :] = popularity_query_bits(bits, 1.0 if p is None else p)
        expected = oracle(codes, replaced, 10, np.arange(60))
        words = pack_codes(queries)
        for form in (queries, words, words.view(np.uint64)):
            assert_same(index.search(form, 10, popularity_weight=p), expected)
        np.testing.assert_array_equal(words, pack_codes(queries))


def test_a_query_packed_too_long_is_refused_with_popularity_bits():
    index = HammingIndex(WORDS, code_length=70, popularity_bits=6)
    with pytest.raises(ValueError, match="queries: expected an array with zero bits past code_len"):
        index.search(LONG)


def test_retrieval_works_without_torch(tmp_path):
    run_python(f"""
import sys
sys.modules["torch"] = None
import numpy as np
import hashgcn
path = {str(tmp_path / "items.hgx")!r}
codes = np.random.default_rng(0).standard_normal((50, 70))
index = hashgcn.retrieval.HammingIndex.build(codes, [f"item {{i}}" for i in range(50)])
index.save(path)
ids, distances = hashgcn.retrieval.HammingIndex.load(path).search(codes, 1)
assert not distances.any()
assert ids[:, 0].tolist() == [f"item {{i}}" for i in range(50)]
""")


def test_a_missing_module_says_how_to_build_it(tmp_path):
    package = Path(hashgcn.__file__).parent
    shutil.copytree(package, tmp_path / "hashgcn", ignore=shutil.ignore_patterns("*.so", "lib"))
    run_python(f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
try:
    import hashgcn.retrieval
except ImportError as error:
    assert "expected kernels compiled" in str(error) and "`make build`" in str(error), error
else:
    raise AssertionError
""")
