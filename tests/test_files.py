"""Atomic writes, files of arrays, and raw ids in them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pickle
import random
import signal
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from hashgcn.files import decode_ids, encode_ids, load_arrays, save_arrays, write_atomic

TEXT = np.dtypes.StringDType()
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


SAVING = """
import sys, numpy as np
from hashgcn.files import save_arrays
number = 0
while True:
    number += 1
    save_arrays(sys.argv[1], {"x": np.full(200_000, number)}, {"format": "killed"})
    print(number, flush=True)
"""


def killed_saves(folder: Path, count: int) -> int:
    """Kills processes that save, at random moments; the number of files that the kills left."""
    path, rng, leftovers = folder / "file", random.Random(0), 0
    for _ in range(count):
        command = [sys.executable, "-c", SAVING, path]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            process.stdout.readline()  # one is saved
            time.sleep(rng.random() * 0.05)
        finally:
            process.send_signal(signal.SIGKILL)
        last = [1, *map(int, process.communicate()[0].split())][-1]
        arrays, _ = load_arrays(path, "killed")
        assert len(np.unique(arrays["x"])) == 1 and arrays["x"][0] >= last
        leftovers += len(os.listdir(folder)) - 1
        save_arrays(path, arrays, {"format": "killed"})
        assert os.listdir(folder) == ["file"]
    return leftovers


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

    def test_a_file_keeps_its_permissions(self, tmp_path):
        path = tmp_path / "file"
        for mode in (0o600, 0o640, 0o664, 0o444):
            path.write_text("old")
            path.chmod(mode)
            seen = []

            def write(temporary: Path, seen=seen) -> None:
                seen.append(stat.S_IMODE(temporary.stat().st_mode))
                temporary.write_text("new")

            write_atomic(path, write)
            assert path.read_text() == "new"
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert seen == [0o600]  # nobody else reads what is not in its place yet
            path.unlink()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    def test_a_file_keeps_its_owner(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")
        os.chown(path, 1234, 5678)
        write_atomic(path, lambda temporary: temporary.write_text("new"))
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)

    @pytest.mark.parametrize("there", [True, False])
    def test_a_link_stays_and_its_file_is_replaced(self, tmp_path, there):
        (tmp_path / "elsewhere").mkdir()
        file, first, second = (tmp_path / x for x in ("elsewhere/file", "first", "second"))
        if there:
            file.write_text("old")
            file.chmod(0o640)
        second.symlink_to("elsewhere/file")
        first.symlink_to(second)
        write_atomic(first, lambda temporary: temporary.write_text("new"))
        assert file.read_text() == "new" and first.is_symlink() and second.is_symlink()
        assert not there or stat.S_IMODE(file.stat().st_mode) == 0o640
        assert os.listdir(tmp_path / "elsewhere") == ["file"]

    def test_what_is_no_file_stays(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "nowhere").symlink_to("no folder/file")
        before = sorted(os.listdir(tmp_path))
        for name in ("pipe", "folder", "loop", "nowhere"):
            with pytest.raises(OSError, match=name):
                write_atomic(tmp_path / name, lambda temporary: temporary.write_text("new"))
        assert sorted(os.listdir(tmp_path)) == before
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
    def test_a_file_system_that_cannot_sync_folders(self, tmp_path, monkeypatch, number):
        fsync = os.fsync

        def refuse(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", refuse)
        write_atomic(tmp_path / "file", lambda temporary: temporary.write_text("new"))
        assert (tmp_path / "file").read_text() == "new"

    def test_a_folder_that_fails_to_sync_is_an_error(self, tmp_path, monkeypatch):
        def fail(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error: '.*/file'"):
            write_atomic(tmp_path / "file", lambda temporary: temporary.write_text("new"))

    def test_leftovers_of_the_same_file_go_unless_their_writer_lives(self, tmp_path):
        path = tmp_path / "a [1].hgx"
        dead, living = (tmp_path / f".{path.name}.{digit * 32}.tmp" for digit in "0f")
        others = [
            tmp_path / name
            for name in (f".b.hgx.{'0' * 32}.tmp", f".{path.name}.{'0' * 31}.tmp", "a [1].hgx.tmp")
        ]
        for one in (dead, living, *others):
            one.write_text("half")
        with open(living, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            write_atomic(path, lambda temporary: temporary.write_text("new"))
            assert not dead.exists()
            assert sorted(tmp_path.iterdir()) == sorted([living, *others, path])
        write_atomic(path, lambda temporary: temporary.write_text("new"))
        assert sorted(tmp_path.iterdir()) == sorted([*others, path])

    def test_saves_at_one_time_leave_each_others_files(self, tmp_path):
        path, seen = tmp_path / "file", []

        def write(temporary: Path) -> None:
            write_atomic(path, lambda inner: inner.write_text("inner"))
            seen.append(path.read_text())
            temporary.write_text("outer")

        write_atomic(path, write)
        assert seen == ["inner"] and path.read_text() == "outer"
        assert os.listdir(tmp_path) == ["file"]

    def test_killed_saves_lose_nothing_and_leave_nothing(self, tmp_path):
        """Ten kills; `python tests/test_files.py FOLDER 200` tries more."""
        leftovers = killed_saves(tmp_path, 10)
        assert leftovers > 0

    def test_no_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such folder"):
            write_atomic(tmp_path / "nowhere" / "file", lambda temporary: None)


class TestArrays:
    def test_round_trip(self, tmp_path):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        arrays, metadata = load_arrays(tmp_path / "file", "test-codes")
        assert metadata == {**METADATA, "version": "2"}
        assert arrays.keys() == ARRAYS.keys()
        for name, expected in ARRAYS.items():
            assert arrays[name].dtype == expected.dtype.newbyteorder("=")
            assert arrays[name].shape == expected.shape
            assert np.array_equal(arrays[name], expected)
            assert arrays[name].flags.writeable

    def test_mapped_arrays_are_read_only_views(self, tmp_path):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        arrays, metadata = load_arrays(tmp_path / "file", "test-codes", map_file=True)
        assert metadata == {**METADATA, "version": "2"}
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

    def test_checksums_are_as_documented(self, tmp_path):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        content = (tmp_path / "file").read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        metadata = header["__metadata__"]
        stated = metadata.pop("crc32")
        canonical = json.dumps(header, sort_keys=True, separators=(",", ":"))
        assert stated == f"{zlib.crc32(canonical.encode('ascii')):08x}"
        for name in ARRAYS:
            begin, end = header[name]["data_offsets"]
            own = zlib.crc32(content[start + begin : start + end])
            assert metadata.pop(f"crc32.{name}") == f"{own:08x}"
        assert metadata == {**METADATA, "version": "2"}

    @pytest.mark.parametrize("mapped", [False, True])
    def test_no_flipped_bit_passes(self, tmp_path, mapped):
        arrays = {"x": np.arange(3), "y": np.array([7], np.uint8)}
        save_arrays(tmp_path / "file", arrays, {"format": "test-codes", "n": "1"})
        content = (tmp_path / "file").read_bytes()
        for bit in range(8 * len(content)):
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            (tmp_path / "damaged").write_bytes(damaged)
            with pytest.raises(ValueError, match="/damaged: "):
                load_arrays(tmp_path / "damaged", "test-codes", map_file=mapped, verify=mapped)

    def test_a_mapped_file_is_verified_on_demand(self, tmp_path):
        save_arrays(tmp_path / "file", {"x": np.arange(3)}, METADATA)
        content = bytearray((tmp_path / "file").read_bytes())
        content[-1] ^= 1
        (tmp_path / "file").write_bytes(content)
        arrays, _ = load_arrays(tmp_path / "file", "test-codes", map_file=True)
        assert arrays["x"].tolist() != [0, 1, 2]
        for options in ({}, {"map_file": True, "verify": True}):
            with pytest.raises(ValueError, match="file: expected array 'x' with checksum .*, got"):
                load_arrays(tmp_path / "file", "test-codes", **options)

    def test_an_array_of_several_checked_parts(self, tmp_path, monkeypatch):
        save_arrays(tmp_path / "file", ARRAYS, METADATA)
        monkeypatch.setattr("hashgcn.files._CHECKED_AT_ONCE", 5)
        save_arrays(tmp_path / "parts", ARRAYS, METADATA)
        assert (tmp_path / "parts").read_bytes() == (tmp_path / "file").read_bytes()
        assert load_arrays(tmp_path / "file", "test-codes")[0].keys() == ARRAYS.keys()

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
                {"__metadata__": {"format": "test-codes", "version": "1"}},
                "expected version 2 of test-codes, got 1, which another release",
            ),
            (
                {
                    "__metadata__": {"format": "test-codes", "version": "2"},
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
        header = {"__metadata__": {**METADATA, "version": "2"}, "x": entry}
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
            (
                {},
                {"format": "x", "version": "2"},
                "metadata: .* no name that is added here, 'version' or",
            ),
            ({}, {"format": "x", "crc32.y": ""}, "metadata: .*, got .'crc32.y', 'format'."),
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
            np.array(["user-1", "", "zoë", "日本語", "🎷", "", "x" * 1000, "nul\0"], TEXT),
            np.array([""], TEXT),
            np.array([], TEXT),
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


if __name__ == "__main__":
    print(killed_saves(Path(sys.argv[1]), int(sys.argv[2])), "files left by kills, none kept")
