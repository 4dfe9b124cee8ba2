"""Filters, changes and merges of an index, and changes during searches."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from indexes import KINDS, MAX_DISTANCE, assert_same, make_ids, make_index, oracle, signs

from hashgcn.retrieval import HammingIndex, pack_codes

CODES, QUERIES = signs(60, 70, 1), signs(11, 70, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_denied_items_are_left_out(kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    rng = np.random.default_rng(0)
    allowed, denied = rng.random(60) < 0.7, rng.random(60) < 0.3
    for allow in (None, allowed, ids[allowed]):
        kept = np.broadcast_to(~denied & (True if allow is None else allowed), (11, 60))
        expected = oracle(CODES, QUERIES, 50, ids, kept)
        for deny in (denied, denied.tolist(), ids[denied], ids[denied].tolist() * 2):
            assert_same(index.search(QUERIES, 50, allow=allow, deny=deny), expected)
    assert_same(index.search(QUERIES, 50, deny=[]), index.search(QUERIES, 50))
    nothing = index.search(QUERIES, 5, deny=np.ones(60, bool))
    assert (nothing.distances == MAX_DISTANCE).all() and not nothing.counts.any()


@pytest.mark.parametrize("radius", [0, 25, 33, 70, 10**6])
def test_radius(radius):
    index = make_index("str")
    queries = np.concatenate([QUERIES, CODES[:2]])
    ids, distances = index.search(queries, 40)
    far = distances > radius
    expected = np.where(far, "", ids), np.where(far, MAX_DISTANCE, distances)
    assert_same(index.search(queries, 40, radius=radius), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_one_query(kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    options = {"allow": ids[10:], "radius": 34}
    many = index.search(QUERIES, 7, deny=[ids[:20].tolist()] * 11, **options)
    for q, query in enumerate(QUERIES):
        for form in (query, query.astype(np.int8), pack_codes(query[None])[0]):
            for seen in (ids[:20], tuple(ids[:20].tolist()), iter(ids[:20].tolist())):
                one = index.search(form, 7, deny=seen, **options)
                assert_same(one, (many.ids[q], many.distances[q]))


def test_unknown_ids_are_passed_over_on_request():
    index, ids = make_index("int"), make_ids("int", 60)
    kept = np.tile(np.arange(60) >= 5, (11, 1))
    kept[3, 7] = False
    deny = [ids[:5].tolist() + [99999] + ([ids[7], 12345] if q == 3 else []) for q in range(11)]
    got = index.search(
        QUERIES,
        60,
        deny=deny,
        allow=[*ids, 77777],
        ignore_unknown=True,
    )
    assert_same(got, oracle(CODES, QUERIES, 60, ids, kept))
    with pytest.raises(ValueError, match="deny: expected ids of the index .int64., got 'a'"):
        index.search(QUERIES, deny=["a"], ignore_unknown=True)


@pytest.mark.parametrize("kind", KINDS)
def test_changes_give_the_index_of_what_is_left(kind):
    ids = make_ids(kind, 60)
    given = None if kind == "rows" else ids[:40]
    index = HammingIndex.build(CODES[:40], given, popularity_bits=2)
    index.add(CODES[40:55], None if kind == "rows" else ids[40:55])
    index.add(pack_codes(CODES[55:]), ids[55:].tolist())
    assert_same((index.codes, index.ids), (pack_codes(CODES), ids))
    index.remove(ids[[3, 59, 3, 20]])
    kept = np.setdiff1d(np.arange(60), [3, 20, 59])
    assert_same((index.codes, index.ids), (pack_codes(CODES[kept]), ids[kept]))
    other = signs(5, 70, 9)
    index.replace(ids[[7, 4, 50, 21, 0]], other.astype(np.int8))
    codes = CODES.copy()
    codes[[7, 4, 50, 21, 0]] = other
    expected = HammingIndex.build(codes[kept], ids[kept], popularity_bits=2)
    assert repr(index) == repr(expected)
    assert_same((index.codes, index.ids), (expected.codes, expected.ids))
    assert_same(index.search(QUERIES, 60), expected.search(QUERIES, 60))
    np.testing.assert_array_equal(index.rows(ids[kept]), np.arange(57))
    with pytest.raises(ValueError, match="expected ids of the index"):
        index.rows(ids[3:4])
    index.remove(ids[kept])
    assert len(index) == 0
    index.add(CODES[:2], ids[:2])
    assert_same(index.search(CODES[:2], 1)[:1], (ids[:2, None],))


def test_longer_strings_may_be_added():
    index = HammingIndex.build(CODES[:2], ["b", "a"])
    index.add(CODES[2:4], ["a longer name", ""])
    assert index.ids.tolist() == ["b", "a", "a longer name", ""]
    assert index.rows(["", "a longer name", "a", "b"]).tolist() == [3, 2, 1, 0]


def test_a_range_of_all_rows_is_not_stored(tmp_path):
    for name, ids in (("none", None), ("range", range(60))):
        HammingIndex.build(CODES, ids).save(tmp_path / name)
    assert (tmp_path / "range").read_bytes() == (tmp_path / "none").read_bytes()
    other = HammingIndex.build(CODES, range(1, 61))
    assert other.rows([60, 1]).tolist() == [59, 0]
    with pytest.raises(ValueError, match="ids: expected 60, one per code, got 59"):
        HammingIndex.build(CODES, range(59))


def test_ids_that_are_a_range_may_be_added():
    index = HammingIndex.build(CODES[:2], [10, 11])
    index.add(CODES[2:4], range(2))
    assert index.ids.tolist() == [10, 11, 0, 1]
    assert index.rows([1, 10]).tolist() == [3, 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ids", [None, []])
def test_an_index_may_grow_from_nothing(kind, ids):
    index = HammingIndex(np.zeros((0, 2), np.int64), code_length=70, ids=ids)
    index.add(CODES, make_ids(kind, 60))
    assert_same(index.search(QUERIES, 60), make_index(kind).search(QUERIES, 60))


def test_empty_changes_change_nothing():
    index = make_index("int")
    before = index.codes, index.ids
    index.add(np.zeros((0, 2), np.int64), [])
    index.remove([])
    index.replace([], np.zeros((0, 70), np.float32))
    assert_same((index.codes, index.ids), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.add(CODES[:2]), "ids: expected one per code for an index with ids, got none"),
        (lambda i: i.add(CODES[:2], [1, 2, 3]), "ids: expected 2, one per code, got 3"),
        (lambda i: i.add(CODES[:2], [1, 1]), "ids: expected unique ids, got 1 twice"),
        (lambda i: i.add(CODES[:2], [1, -500]), "ids: expected ids that the index lacks, got -500"),
        (lambda i: i.add(CODES[:2], ["a", "b"]), "ids of the index .int64., got 'a'"),
        (
            lambda i: i.add(CODES[:2, :64], [1, 2]),
            r"codes: expected .* float32 \[2, 64\]",
        ),
        (lambda i: i.add(CODES[0], [1]), r"codes: expected codes \[\*, 70\].* float32 \[70\]"),
        (
            lambda i: i.add(-pack_codes(CODES[:1]) - 1, [1]),
            "codes: expected zero bits past code_length",
        ),
        (lambda i: i.add(CODES[:2] * np.nan, [1, 2]), "codes: expected .* without NaN"),
        (lambda i: i.remove([-500, 4]), "ids: expected ids of the index, got 4"),
        (lambda i: i.remove(["a"]), "ids of the index .int64., got 'a'"),
        (lambda i: i.replace([-500, 4], CODES[:2]), "ids: expected ids of the index, got 4"),
        (lambda i: i.replace([-500], CODES[:2]), "ids: expected 2, one per code, got 1"),
        (lambda i: i.replace([-500, -500], CODES[:2]), "ids: expected unique ids, got -500 twice"),
    ],
)
def test_a_refused_change_leaves_the_index(change, message):
    index = make_index("int")
    before = index.codes, index.ids
    with pytest.raises(ValueError, match=message):
        change(index)
    assert index.codes is before[0] and index.ids is before[1]


def test_a_snapshot_is_not_changed():
    index = make_index("int")
    snapshot, before = index.snapshot(), index.search(QUERIES, 60)
    index.remove(index.ids[:30])
    assert (len(index), len(snapshot)) == (30, 60)
    assert_same(snapshot.search(QUERIES, 60), before)
    snapshot.remove(snapshot.ids[:59])
    assert (len(index), len(snapshot)) == (30, 1)


def test_copies_and_pickles():
    index = make_index("str")
    for other in (copy.copy(index), copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        assert_same(other.search(QUERIES, 60), index.search(QUERIES, 60))
        other.remove(other.ids[:1])
        assert len(index) == 60


def test_another_process_unpickles_an_index(tmp_path):
    index = make_index("str")
    (tmp_path / "index").write_bytes(pickle.dumps((index, index.search(QUERIES, 9), QUERIES)))
    code = f"""
import pickle, sys
sys.modules["torch"] = None
index, found, queries = pickle.load(open({str(tmp_path / "index")!r}, "rb"))
again = index.search(queries, 9)
assert (again.ids == found.ids).all() and (again.distances == found.distances).all()
index.remove(found.ids[0])
assert len(index) == 51
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_merged_shards_are_the_index_of_all(kind):
    ids = make_ids(kind, 60)
    cuts = [(0, 20), (20, 20), (20, 59), (59, 60)]
    shards = [
        HammingIndex.build(CODES[a:b], None if kind == "rows" else ids[a:b], popularity_bits=1)
        for a, b in cuts
    ]
    merged = HammingIndex.merge(shards)
    whole = HammingIndex.build(CODES, None if kind == "rows" else ids, popularity_bits=1)
    assert repr(merged) == repr(whole)
    assert_same((merged.codes, merged.ids), (whole.codes, whole.ids))
    assert_same(merged.search(QUERIES, 60), whole.search(QUERIES, 60))
    np.testing.assert_array_equal(merged.rows(ids), np.arange(60))


@pytest.mark.parametrize(
    ("indexes", "message"),
    [
        ([], "indexes: expected one or more, got none"),
        ([("int", 70), ("int", 64)], "indexes: expected code_length 70 in all, got 64"),
        (
            [("int", 70), ("str", 70)],
            "indexes: expected int ids in all, str ids in all or",
        ),
        (
            [("int", 70), ("rows", 70)],
            "indexes: expected int ids in all, str ids in all or",
        ),
        ([("int", 70), ("int", 70)], "expected unique ids, got -500 twice"),
    ],
)
def test_merge_refuses(indexes, message):
    with pytest.raises(ValueError, match=message):
        HammingIndex.merge([make_index(kind, 5, length) for kind, length in indexes])


def test_searches_during_changes_see_one_state_or_the_other():
    # Every state has codes of one kind only: a search that saw two of them would show it.
    number, count = 20, 300
    codes = [np.tile(signs(1, 70, seed), (count, 1)) for seed in range(number)]
    ids = np.arange(count) * 7
    index = HammingIndex.build(codes[0], ids)
    allowed = {tuple((70 - codes[0][0] @ c[0]) / 2 for _ in range(3)) for c in codes}
    stop, wrong, searches = threading.Event(), [], [0]

    def search() -> None:
        while not stop.is_set():
            try:
                found, distances = index.search(codes[0][0], 3, deny=[7, 14], ignore_unknown=True)
                searches[0] += 1
                if tuple(distances) not in allowed or not set(found.tolist()) <= set(ids.tolist()):
                    wrong.append((distances, found))
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for state in range(1, number):
        index.replace(ids, codes[state])
        index.remove(ids[::2])
        index.add(codes[state][::2], ids[::2])
        index.replace(ids[:1], codes[state][:1])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    assert searches[0] > 0 and len(index) == count


def test_changes_from_several_threads_are_all_kept():
    index = HammingIndex.build(CODES[:0], np.zeros(0, np.int64))

    def add(first: int) -> None:
        for i in range(first, first + 20):
            index.add(CODES[i : i + 1], [i])

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(index.ids.tolist()) == list(range(60))
    np.testing.assert_array_equal(index.codes, pack_codes(CODES[index.ids]))


FORKS = """
import os, sys, threading, time
sys.modules["torch"] = None
import numpy as np
from hashgcn.data import Interactions
from hashgcn.retrieval import HammingIndex, Recommender
names = [f"the item with the number {i}" for i in range(20_000)]
ids = np.arange(len(names)) * 7 if sys.argv[1] == "int" else names
index = HammingIndex(np.arange(len(names))[:, None], code_length=64, ids=ids)
new, codes = ([-1, -2] if sys.argv[1] == "int" else ["a", "b"]), np.zeros((2, 1), np.int64)
ask = lambda: index.search(codes, 5)
if sys.argv[1] == "recommender":
    rng, users = np.random.default_rng(0), [f"the user with the number {i}" for i in range(3000)]
    pairs = (rng.integers(0, size, 200_000) for size in (3000, len(names)))
    seen = Interactions.from_pairs(*pairs, 3000, len(names))
    index = Recommender(np.arange(3000)[:, None], users, index, seen)
    ask = lambda: (index.recommend(users[:9], 5), index.fold_in([names[5:8]]))
stop = threading.Event()


def change():
    while not stop.is_set():
        index.add(codes, new)
        ask()
        index.remove(new)


thread = threading.Thread(target=change, daemon=True)
thread.start()
hung = 0
for _ in range(20):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        left = getattr(index, "index", index).ids
        index.remove(left[:1])
        index.replace(left[1:3], codes)
        ask()
        os._exit(0 if os.fork() == 0 or os.wait()[1] == 0 else 1)
    ends = time.monotonic() + 10
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0
            break
        if time.monotonic() > ends:
            hung += 1
            os.kill(child, 9)
            os.waitpid(child, 0)
            break
        time.sleep(0.001)
stop.set()
thread.join()
print(hung, len(getattr(index, "index", index)))
"""


@pytest.mark.parametrize("kind", ["int", "str", "recommender"])
def test_a_process_may_fork_while_a_thread_changes_the_index(kind):
    command = [sys.executable, "-W", "ignore", "-c", FORKS, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "0 20000\n", done.stderr
