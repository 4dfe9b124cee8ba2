"""Atomic writes, files of arrays, and raw ids in them."""

from __future__ import annotations

import errno
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from hashgcn.files import decode_ids, encode_ids, load_arrays, save_arrays, write_atomic

ARRAYS = {
    "codes": np.arange(12, dtype=np.int64).reshape(3, 4) - 5,
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "every_other": np.arange(9, dtype=np.int16)[::2],
    "big_endian": np.arange(3, dtype=">f8"),
    "empty": np.zeros((0, 7), dtype=np.float16),
    "scalar": np.array(2.5),
    "flags": np.array([True, False, True]),
}
METADATA = {"format": "test-codes", "note": "größe 64"}


class TestWriteAtomic:
    def test_creates_and_replaces(self, tmp_path):
        path = tmp_path / "file"
        for text in ("first", "second"):
            write_atomic(path, lambda temporary, text=text: temporary.write_text(text))
            assert path.read_text() == text
            assert os.listdir(tmp_path) == ["file"]

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_a_failing_writer_leaves_the_old_file(self, tmp_path, error):
        path = tmp_path / "file"
        path.write_text("old")

        def fail(temporary: Path) -> None:
            assert temporary.parent == tmp_path
            temporary.write_text("half")
            raise error("disk full")

        with pytest.raises(error, match="disk full"):
            write_atomic(path, fail)
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["file"]

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_failing_system_call_leaves_the_old_file(self, tmp_path, monkeypatch, call):
        path = tmp_path / "file"
        path.write_text("old")

        def fail(*arguments):
            raise OSError("no space")

        monkeypatch.setattr(os, call, fail)
        with pytest.raises(OSError, match="no space"):
            write_atomic(path, lambda temporary: temporary.write_text("new"))
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["file"]

    def test_an_error_of_the_system_names_the_file(self, tmp_path):
        path = tmp_path / "file"
        full = OSError(errno.ENOSPC, "No space left on device")
        for write in (mock.Mock(side_effect=full), lambda temporary: temporary.mkdir()):
            with pytest.raises(OSError, match=f"'{path}'$"):
                write_atomic(path, write)

    def test_synced_before_and_after_the_rename(self, tmp_path, monkeypatch):
        steps = []
        fsync, replace = os.fsync, os.replace

        def record_sync(descriptor: int) -> None:
            steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            fsync(descriptor)

        def record_replace(source: Path, target: Path) -> None:
            steps.append("rename")
            replace(source, target)

        monkeypatch.setattr(os, "fsync", record_sync)
        monkeypatch.setattr(os, "replace", record_replace)
        write_atomic(tmp_path / "file", lambda temporary: temporary.write_text("new"))
        assert steps == ["file", "rename", "folder"]

    def test_permissions_follow_the_umask(self, tmp_path):
        old = os.umask(0o027)
        try:
            save_arrays(tmp_path / "file", ARRAYS, METADATA)
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640

    def test_no_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such folder"):
            write_atomic(tmp_path / "nowhere" / "file", lambda temporary: None)


class TestArrays:
    def test_round_trip(self, tmp_path):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        arrays, metadata = load_arrays(tmp_path / "file", "test-codes")
        assert metadata == {**METADATA, "version": "1"}
        assert arrays.keys() == ARRAYS.keys()
        for name, expected in ARRAYS.items():
            assert arrays[name].dtype == expected.dtype.newbyteorder("=")
            assert arrays[name].shape == expected.shape
            assert np.array_equal(arrays[name], expected)
            assert arrays[name].flags.writeable

    def test_mapped_arrays_are_read_only_views(self, tmp_path):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        arrays, metadata = load_arrays(tmp_path / "file", "test-codes", map_file=True)
        assert metadata == {**METADATA, "version": "1"}
        for name, expected in ARRAYS.items():
            assert arrays[name].dtype == expected.dtype.newbyteorder("=")
            assert np.array_equal(arrays[name], expected)
            assert not arrays[name].flags.writeable and arrays[name].flags.aligned

    def test_no_arrays(self, tmp_path):
        save_arrays(tmp_path / "file", {}, METADATA)
        assert load_arrays(tmp_path / "file", "test-codes")[0] == {}

    def test_other_readers_see_the_same(self, tmp_path):
        safetensors_numpy = pytest.importorskip("safetensors.numpy")
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        for name, array in safetensors_numpy.load_file(tmp_path / "file").items():
            assert np.array_equal(array, ARRAYS[name])

    def test_arrays_are_aligned(self, tmp_path):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        content = (tmp_path / "file").read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        for name, array in ARRAYS.items():
            assert (8 + size + header[name]["data_offsets"][0]) % array.itemsize == 0

    def test_equal_content_gives_equal_bytes_in_any_process(self, tmp_path):
        code = (
            "import sys, numpy as np; from hashgcn.files import save_arrays;"
            "save_arrays(sys.argv[1], {n: np.ones(3) for n in sys.argv[2]},"
            " {n: n for n in ['format', *sys.argv[2]]})"
        )
        for run, names in enumerate(("abcdef", "fedcba")):
            subprocess.run(
                [sys.executable, "-c", code, tmp_path / str(run), names],
                cwd=Path(__file__).resolve().parents[1],
                env={**os.environ, "PYTHONHASHSEED": str(run)},
                check=True,
            )
        assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()

    def test_truncated_anywhere(self, tmp_path):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        content = (tmp_path / "file").read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        cuts = {0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(content) - 1}
        for length in sorted(cuts):
            (tmp_path / "cut").write_bytes(content[:length])
            with pytest.raises(ValueError, match="cut: not a safetensors file, or a damaged one"):
                load_arrays(tmp_path / "cut", "test-codes")

    def test_damaged_headers_never_raise_anything_else(self, tmp_path):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        content = (tmp_path / "file").read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        rng = np.random.default_rng(0)
        rejected = 0
        for _ in range(300):
            damaged = bytearray(content)
            damaged[rng.integers(0, header)] = rng.integers(0, 256)
            (tmp_path / "damaged").write_bytes(damaged)
            try:
                load_arrays(tmp_path / "damaged", "test-codes")
            except ValueError:
                rejected += 1
        assert rejected > 100

    @pytest.mark.parametrize(
        "content", [b"plain text, not arrays\n" * 9, pickle.dumps({"format": "test-codes"})]
    )
    def test_foreign(self, tmp_path, content):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match="file: not a safetensors file"):
            load_arrays(tmp_path / "file", "test-codes")

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ({}, "expected format 'test-codes', got None"),
            ({"__metadata__": {"format": "pt"}}, "expected format 'test-codes', got 'pt'"),
            (
                {"__metadata__": {"format": "test-codes"}},
                "expected a version number, got 'version'",
            ),
            (
                {"__metadata__": {"format": "test-codes", "version": "9" * 5000}},
                "expected a version number, got version: expected a number of at most 18 digits",
            ),
            (
                {"__metadata__": {"format": "test-codes", "version": "2"}},
                "expected version 1, got 2",
            ),
            (
                {
                    "__metadata__": {"format": "test-codes", "version": "1"},
                    "x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
                },
                "for array 'x', got BF16",
            ),
        ],
    )
    def test_wrong_format_version_or_dtype(self, tmp_path, header, message):
        encoded = json.dumps(header).encode()
        size = 4 if "x" in header else 0
        content = len(encoded).to_bytes(8, "little") + encoded + bytes(size)
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match=f"file: {message}|file: .*{message}"):
            load_arrays(tmp_path / "file", "test-codes")

    @pytest.mark.parametrize("mapped", [False, True])
    @pytest.mark.parametrize(
        "entry",
        [
            {"dtype": "I64", "shape": [2**40], "data_offsets": [0, 16]},
            {"dtype": "I64", "shape": [2], "data_offsets": [0, 2**70]},
            {"dtype": "I64", "shape": [2], "data_offsets": [16, 0]},
            {"dtype": "I64", "shape": [2], "data_offsets": [8, 24]},
            {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
            {"dtype": "I64", "shape": [-1, -2], "data_offsets": [0, 16]},
            {"dtype": "I64", "shape": [2.0], "data_offsets": [0, 16]},
            {"dtype": "I64", "shape": 2, "data_offsets": [0, 16]},
            {"dtype": "I64", "shape": [2], "data_offsets": [0, 16, 32]},
            {"dtype": "I64", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]},
            {"dtype": "I64", "shape": [0, 2**70], "data_offsets": [0, 0]},
            {"dtype": "I64", "shape": [1] * 99 + [2], "data_offsets": [0, 16]},
            {"dtype": [], "shape": [2], "data_offsets": [0, 16]},
            {"dtype": "I64", "shape": [2]},
            [],
        ],
    )
    def test_arrays_that_lie(self, tmp_path, entry, mapped):
        header = {"__metadata__": {**METADATA, "version": "1"}, "x": entry}
        encoded = json.dumps(header).encode()
        size = 0 if isinstance(entry, dict) and entry.get("data_offsets") == [0, 0] else 16
        (tmp_path / "file").write_bytes(len(encoded).to_bytes(8, "little") + encoded + bytes(size))
        with pytest.raises(ValueError, match="file: "):
            load_arrays(tmp_path / "file", "test-codes", map_file=mapped)

    @pytest.mark.parametrize("header", [b"[" * 10**6, b"[]", b'{"__metadata__": 1}', b"\xff"])
    def test_headers_that_are_none(self, tmp_path, header):
        (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(ValueError, match="file: not a safetensors file"):
            load_arrays(tmp_path / "file", "test-codes")

    def test_missing_or_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nothing"):
            load_arrays(tmp_path / "nothing", "test-codes")
        with pytest.raises(ValueError, match="expected a file"):
            load_arrays(tmp_path, "test-codes")

    @pytest.mark.parametrize(
        ("arrays", "metadata", "message"),
        [
            ({}, {}, "metadata: expected 'format'"),
            ({}, {"format": "x", "version": "1"}, "metadata: expected 'format' and no 'version'"),
            ({}, {"format": "x", "epochs": 3}, "metadata: expected text for 'epochs', got int"),
            ({"a": np.array(["b"])}, {"format": "x"}, "arrays: .* for 'a', got <U1"),
            ({"a": np.array([None])}, {"format": "x"}, "arrays: .* for 'a', got object"),
            ({"a": np.zeros(1, complex)}, {"format": "x"}, "arrays: .* for 'a', got complex128"),
            ({"__metadata__": np.zeros(1)}, {"format": "x"}, "arrays: .* '__metadata__'"),
        ],
    )
    def test_save_rejects(self, tmp_path, arrays, metadata, message):
        with pytest.raises(ValueError, match=message):
            save_arrays(tmp_path / "file", arrays, metadata)
        assert os.listdir(tmp_path) == []


class TestIds:
    @pytest.mark.parametrize(
        "ids",
        [
            np.array([5, -3, 2**63 - 1]),
            np.array([], dtype=np.int64),
            np.array(["user-1", "", "zoë", "日本語", "🎷", ""]),
            np.array([""]),
            np.array([], dtype=str),
        ],
    )
    def test_round_trip_through_a_file(self, tmp_path, ids):
        save_arrays(tmp_path / "file", encode_ids(ids), {"format": "ids"})
        decoded = decode_ids(load_arrays(tmp_path / "file", "ids")[0])
        assert decoded.dtype.kind == ids.dtype.kind
        assert decoded.tolist() == ids.tolist()

    @pytest.mark.parametrize("ids", [np.array([1.0]), np.array([["a"]]), np.array([b"a"])])
    def test_encode_rejects(self, ids):
        with pytest.raises(ValueError, match="ids: expected int64 or str"):
            encode_ids(ids)

    @pytest.mark.parametrize(
        ("offsets", "message"),
        [
            ([], "offsets: expected"),
            ([1, 4], "offsets: expected"),
            ([0, 3], "offsets: expected"),
            ([0, 5], "offsets: expected"),
            ([0, 2, 1, 4], "offsets: expected"),
            ([0, -3, 4], "offsets: expected"),
            ([0, 3, 4], "text: expected UTF-8"),
        ],
    )
    def test_inconsistent_offsets(self, offsets, message):
        text = np.frombuffer("abé".encode(), dtype=np.uint8)
        with pytest.raises(ValueError, match=message):
            decode_ids({"text": text, "offsets": np.array(offsets, dtype=np.int64)})

    @pytest.mark.parametrize(
        "arrays",
        [
            {},
            {"ids": np.zeros(2)},
            {"ids": np.zeros((2, 2), np.int64)},
            {"text": np.zeros(2, np.uint8)},
            {"text": np.zeros(2, np.int8), "offsets": np.array([0, 2])},
            {"text": np.zeros(2, np.uint8), "offsets": np.array([0.0, 2.0])},
        ],
    )
    def test_other_arrays(self, arrays):
        with pytest.raises(ValueError, match="arrays: expected"):
            decode_ids(arrays)
