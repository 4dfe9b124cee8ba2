"""Graded codes as bit planes, over NumPy arrays and over tensors, and top-N of graded queries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hashgcn import _numpy, ops
from hashgcn.levels import LEVELS, largest_weight, num_planes
from hashgcn.retrieval import hamming_topk, pack_codes, pack_levels, unpack_levels


def weights(rows: int, length: int, levels: int, seed: int = 0) -> np.ndarray:
    """Random odd weights, the largest ones among them."""
    rng = np.random.default_rng(seed)
    values = 2 * rng.integers(0, 2 * levels, (rows, length)) - largest_weight(levels)
    values[0], values[1] = largest_weight(levels), -largest_weight(levels)
    return values


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("length", [1, 63, 64, 70, 130])
def test_planes_are_the_codes_of_their_signs_and_add_up(levels, length):
    codes = weights(9, length, levels)
    planes = pack_levels(codes, levels)
    assert planes.dtype == np.int64 and planes.shape == (9, num_planes(levels), -(-length // 64))
    got = unpack_levels(planes, length)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, codes)
    np.testing.assert_array_equal(unpack_levels(planes.view(np.uint64), length), codes)
    np.testing.assert_array_equal(planes[:, -1], pack_codes(codes.astype(float)))
    signs = [_numpy.unpack_codes(planes[:, p], length) for p in range(num_planes(levels))]
    np.testing.assert_array_equal(sum(2**p * b for p, b in enumerate(signs)), codes)


@pytest.mark.parametrize("levels", LEVELS)
def test_tensors_have_the_same_planes(levels):
    codes = weights(9, 70, levels)
    planes = pack_levels(codes, levels)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        given = torch.from_numpy(codes).to(dtype)
        got = ops.pack_levels(given, levels)
        np.testing.assert_array_equal(got.numpy(), planes)
        assert torch.equal(ops.unpack_levels(got, 70, dtype), given)


@pytest.mark.parametrize(
    "dtype",
    [np.int8, np.int16, np.int32, np.int64, ">i4", np.float16, np.float32, np.float64, ">f8"],
)
def test_weights_of_any_signed_dtype_and_layout(dtype, monkeypatch):
    codes = weights(50, 70, 8)
    want = pack_levels(codes, 8)
    monkeypatch.setattr("hashgcn.retrieval.codes._CHUNK_VALUES", 500)
    for given in (codes, np.asfortranarray(codes), np.repeat(codes, 2, axis=0)[::2]):
        np.testing.assert_array_equal(pack_levels(given.astype(dtype), 8), want)
    assert pack_levels(codes[:0].astype(dtype), 8).shape == (0, 4, 2)
    assert unpack_levels(want[:0], 70).shape == (0, 70)


def changed(dtype, value, levels: int = 2) -> np.ndarray:
    codes = weights(40, 3, levels).astype(dtype)
    codes[30, 1] = value
    return codes


@pytest.mark.parametrize(
    ("codes", "levels", "message"),
    [
        (weights(3, 4, 1), 3, "levels: expected one of 1, 2, 4 and 8, got 3"),
        (weights(3, 4, 1), True, "levels: expected one of 1, 2, 4 and 8, got True"),
        (changed(int, 2), 2, "codes: expected odd weights from -3 to 3, got 2 in row 30"),
        (changed(int, 5), 2, "codes: expected odd weights from -3 to 3, got 5 in row 30"),
        (changed(np.int8, -128), 8, "codes: expected odd .* from -15 to 15, got -128 in row 30"),
        (changed(np.int8, 127), 8, "codes: expected odd weights .* got 127 in row 30"),
        (changed(float, 0.0), 2, "codes: expected odd weights .* got 0.0 in row 30"),
        (changed(float, 1.5), 2, "codes: expected odd weights .* got 1.5 in row 30"),
        (changed(np.float16, np.nan), 2, "codes: expected odd weights .* got nan in row 30"),
        (changed(np.float32, np.inf), 2, "codes: expected odd weights .* got inf in row 30"),
        (changed(float, -np.inf), 2, "codes: expected odd weights .* got -inf in row 30"),
        (weights(3, 4, 1).tolist(), 2, "codes: expected a NumPy array, got list"),
        (weights(3, 4, 1)[0], 1, r"codes: expected signed integers or floats .*, got int64 \[4\]"),
        (weights(3, 4, 1)[:, :0], 1, r"codes: expected .*, got int64 \[3, 0\]"),
        (np.ones((3, 4), np.uint8), 1, r"codes: expected .*, got uint8 \[3, 4\]"),
        (np.ones((3, 4), bool), 1, r"codes: expected .*, got bool \[3, 4\]"),
    ],
)
def test_pack_levels_refuses(codes, levels, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        pack_levels(codes, levels)


PLANES = pack_levels(weights(3, 70, 4), 4)


@pytest.mark.parametrize(
    ("planes", "length", "message"),
    [
        (PLANES, 0, "code_length: expected a number in "),
        (PLANES, 64, r"planes: expected an array of shape \[\*, 1\] .* got \[3, 2\]"),
        (PLANES, 69, "planes: expected an array with zero bits past code_length 69"),
        (PLANES.astype(float), 70, "planes: expected an array of dtype int64 or uint64"),
        (PLANES[:, :0], 70, r"planes: expected \[\*, 1 to 4 planes, words\], got \[3, 0, 2\]"),
        (np.repeat(PLANES, 2, 1), 70, r"planes: expected \[\*, 1 to 4 planes, words\], got "),
        (PLANES[0, 0], 70, r"planes: expected an array of shape .* got \[2\]"),
        (PLANES.tolist(), 70, "planes: expected a NumPy array, got list"),
    ],
)
def test_unpack_levels_refuses(planes, length, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        unpack_levels(planes, length)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("count", [3, 150])
def test_the_nearest_have_the_largest_scores(levels, count, monkeypatch):
    """Few queries at a time too, so that Ctrl-C need not wait for all."""
    queries, items = weights(count, 70, levels, 1), weights(300, 70, 1, 2)
    exclude_ptr = np.arange(0, 2 * count + 1, 2)
    exclude_ids = np.random.default_rng(0).integers(0, 300, 2 * count)
    scores = queries @ items.T
    scores[np.repeat(np.arange(count), 2), exclude_ids] = -10_000
    order = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    for words in (1 << 32, 1):
        monkeypatch.setattr("hashgcn.retrieval.codes._CALL_WORDS", words)
        found = hamming_topk(
            pack_levels(queries, levels),
            pack_codes(items.astype(float)),
            20,
            code_length=70,
            exclude_ptr=exclude_ptr,
            exclude_ids=exclude_ids,
        )
        np.testing.assert_array_equal(found.ids, order)
        largest = largest_weight(levels) * 70 - 2 * found.distances
        np.testing.assert_array_equal(largest, np.take_along_axis(scores, order, 1))


def test_weights_that_are_nearly_whole_are_refused():
    """1 + 2^-23 plus 3 rounds to 4 in float32."""
    near = np.full((2, 3), 1 + 2.0**-23, np.float32)
    with pytest.raises(ValueError, match="odd weights"):
        pack_levels(near, 2)
    with pytest.raises(ValueError, match="odd weights"):
        ops.pack_levels(torch.from_numpy(near), 2)
