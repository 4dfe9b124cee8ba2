"""What codes waste: dead bits, copies and shared codes are those of a plain count."""

from __future__ import annotations

import numpy as np
import pytest

from hashgcn.data import Interactions
from hashgcn.evaluate import CodeUse, bits_of, code_use, codes, twins
from hashgcn.retrieval import pack_levels
from hashgcn.retrieval.codes import pack_codes as pack


def pack_codes(x: np.ndarray) -> np.ndarray:
    return pack(x.astype(np.int8))


def random_codes(seed: int, rows: int, length: int) -> np.ndarray:
    """Codes of rows by length with a dead bit, a nearly dead one, copies and repeated rows."""
    rng = np.random.default_rng(seed)
    found = rng.choice([-1.0, 1.0], (rows, length))
    found[:, 1] = 1
    found[:, 2] = -1
    found[: rows // 200, 2] = 1
    found[:, 5] = -found[:, 3]
    found[:, 7] = found[:, 3]
    found[0, 7] *= -1
    found[-20:] = found[:20]
    return found


def plain_count(words: np.ndarray) -> tuple[int, float]:
    """The number of different rows, and the share of rows that equal another one."""
    rows = [tuple(row.ravel().tolist()) for row in words]
    return len(set(rows)), sum(rows.count(row) > 1 for row in rows) / len(rows)


def test_bits_of_known_codes():
    found = bits_of(
        pack_codes(np.array([[1, 1, 1, 1], [1, 1, -1, 1], [-1, -1, 1, 1], [-1, -1, -1, 1]])), 4
    )
    assert found.share.tolist() == [0.5, 0.5, 0.5, 1.0]
    np.testing.assert_allclose(
        found.correlation, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    )
    assert found.distinct == 4 and found.shared == 0
    assert found.constant.tolist() == [False, False, False, True]
    assert found.copies.tolist() == [False, True, False, False]
    assert found.mean_correlation == pytest.approx(1 / 3)


@pytest.mark.parametrize("length", [8, 64, 65, 130])
@pytest.mark.parametrize("rows", [600, 2 * codes._ROWS + 3])
def test_bits_are_those_of_the_unpacked_codes(length, rows):
    plain = random_codes(length, rows, length)
    words = pack_codes(plain)
    found = bits_of(words, length)
    assert found.share.tolist() == (plain > 0).mean(0).tolist()
    varies = plain.std(0) > 0
    exact = np.zeros((length, length))
    exact[np.ix_(varies, varies)] = np.corrcoef(plain[:, varies].T)
    np.testing.assert_allclose(found.correlation, exact, atol=1e-12)
    assert np.flatnonzero(found.constant).tolist() == [1, 2]
    assert np.flatnonzero(found.copies).tolist() == [5, 7]
    if rows == 600:
        assert (found.distinct, found.shared) == plain_count(words)


def test_where_a_bit_begins_to_be_constant_or_a_copy():
    plain = np.ones((1000, 4), np.int8)
    plain[:10, 0] = plain[:11, 1] = -1  # the same for 99.0% and for 98.9%
    plain[::2, 2:] = -1
    plain[:4, 3] *= -1  # a correlation of 0.992
    found = bits_of(pack_codes(plain), 4)
    assert found.constant.tolist() == [True, False, False, False]
    assert found.copies.tolist() == [False, False, False, True]
    plain[4:6, 3] *= -1  # 0.988
    assert not bits_of(pack_codes(plain), 4).copies.any()


def test_popularity_bits_are_no_taste_bits():
    users = np.array([[1, -1, 1, 1], [-1, 1, 1, 1], [1, 1, 1, 1]])
    items = np.array([[1, -1, 1, -1], [-1, 1, 1, -1], [-1, 1, 1, 1]])
    words = pack_codes(users), pack_codes(items)
    assert code_use(*words, 4, popularity_bits=2) == CodeUse(0, 0, 1, 0.0, 0.0)
    assert code_use(*words, 4) == CodeUse(2, 1, 1, 0.0, 0.0)


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_graded_users_share_a_code_only_with_the_same_weights(levels):
    rng = np.random.default_rng(levels)
    users = rng.choice([-1, 1], (300, 6)) * (2 * rng.integers(0, levels, (300, 6)) + 1)
    users[:, 0] = np.abs(users[:, 0])  # of one sign, of several weights
    words = pack_levels(users, levels)
    found = bits_of(words, 6)
    assert found.share.tolist() == (users > 0).mean(0).tolist()
    assert np.flatnonzero(found.constant).tolist() == [0]
    assert (found.distinct, found.shared) == plain_count(users)
    assert found.distinct > bits_of(np.ascontiguousarray(words[:, -1]), 6).distinct


def test_many_codes_are_counted_all_and_correlated_by_a_sample(monkeypatch):
    plain = random_codes(0, 999, 16)
    words = pack_codes(plain)
    whole = bits_of(words, 16)
    monkeypatch.setattr(codes, "_SAMPLE", 100)
    monkeypatch.setattr(codes, "_ROWS", 7)
    part = bits_of(words, 16)
    assert part.share.tolist() == whole.share.tolist()
    assert (part.distinct, part.shared) == (whole.distinct, whole.shared)
    of_every_tenth = bits_of(np.ascontiguousarray(words[::10]), 16)
    assert part.correlation.tolist() == of_every_tenth.correlation.tolist()


def test_no_codes_and_one_code():
    none = np.zeros((0, 1), np.int64)
    assert code_use(none, none, 8) == CodeUse(8, 8, 0, 0.0, 0.0)
    one = np.ones((1, 1), np.int64)
    assert code_use(one, one, 8) == CodeUse(8, 8, 0, 0.0, 0.0)


def test_twins_have_the_same_partners():
    pairs = [(0, 1), (0, 2), (1, 2), (1, 1), (2, 1), (4, 1), (4, 2), (5, 3)]
    part = Interactions.from_pairs(*zip(*pairs, strict=True), 6, 5)
    assert twins(part) == (3 / 5, 0.0)  # users 0, 1 and 4; user 3 has no items
    turned = Interactions.from_pairs(part.ids, part.users(), 5, 6)
    assert twins(turned) == (0.0, 3 / 5)
    rng = np.random.default_rng(0)
    part = Interactions.from_pairs(rng.integers(0, 200, 300), rng.integers(0, 9, 300), 200, 9)
    table = np.zeros((200, 9))
    table[part.users(), part.ids] = 1
    assert twins(part) == tuple(plain_count(x[x.any(1)])[1] for x in (table, table.T))


def test_errors():
    with pytest.raises(ValueError, match="expected words"):
        bits_of(np.zeros((3, 2), np.int64), 64)
    with pytest.raises(ValueError, match="expected words"):
        bits_of(np.full((3, 1), -1, np.int64), 8)
