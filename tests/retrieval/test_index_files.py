"""Files of an index: mapping, damaged files, full disks, several writers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from indexes import KINDS, assert_same, make_ids, make_index, signs

from hashgcn.files import load_arrays, save_arrays
from hashgcn.retrieval import HammingIndex, pack_codes

QUERIES = signs(11, 70, 2)
MAPPED = pytest.mark.parametrize("mapped", [False, True])


def run_python(code: str, *arguments: object) -> subprocess.Popen:
    """A process in which torch cannot be imported."""
    code = "import sys; sys.modules['torch'] = None\n" + code
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output_of(process: subprocess.Popen) -> str:
    out, error = process.communicate()
    assert process.returncode == 0, error
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [60, 1, 0])
def test_a_mapped_index_is_the_same(kind, count, tmp_path):
    path = tmp_path / "items.hgx"
    index, ids = make_index(kind, count), make_ids(kind, count)
    index.save(path)
    mapped = HammingIndex.load(path, mmap=True)
    assert not mapped.codes.flags.writeable
    assert_same((mapped.codes, mapped.ids), (index.codes, index.ids))
    np.testing.assert_array_equal(mapped.rows(ids[::-1]), np.arange(count)[::-1])
    for options in ({}, {"allow": ids[5:], "deny": [ids[:9].tolist()] * 11}, {"allow": []}):
        for got, want in zip(
            mapped.search(QUERIES, 20, **options), index.search(QUERIES, 20, **options), strict=True
        ):
            np.testing.assert_array_equal(got, want)
    absent = "item 3 and more than any id has" if kind == "str" else 2**60
    with pytest.raises(ValueError, match="expected ids of the index, got"):
        mapped.rows([absent])
    with pytest.raises(ValueError, match="expected ids of the index .*, got"):
        mapped.rows([1 if kind == "str" else "1"])
    mapped.save(tmp_path / "again.hgx")
    assert (tmp_path / "again.hgx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_index_may_be_changed(kind, tmp_path):
    path, ids = tmp_path / "items.hgx", make_ids(kind, 60)
    index = make_index(kind)
    index.save(path)
    content = path.read_bytes()
    mapped = HammingIndex.load(path, mmap=True)
    for one in (index, mapped):
        one.remove(ids[5:9])
        one.add(signs(2, 70, 5), ids[5:7])
        one.replace(ids[[5, 0]], signs(2, 70, 6))
    assert_same((mapped.codes, mapped.ids), (index.codes, index.ids))
    assert_same(mapped.search(QUERIES, 60), index.search(QUERIES, 60))
    assert path.read_bytes() == content


def test_a_mapped_file_may_be_replaced(tmp_path):
    path = tmp_path / "items.hgx"
    make_index("str").save(path)
    mapped = HammingIndex.load(path, mmap=True)
    make_index("int", 5).save(path)
    assert_same(mapped.search(QUERIES, 60), make_index("str").search(QUERIES, 60))
    mapped.save(path)
    assert len(HammingIndex.load(path)) == 60


def test_opening_a_hundred_million_items_takes_no_time(tmp_path):
    path = tmp_path / "items.hgx"
    count = 10**8
    ends = {"codes": (0, 8 * count), "ids": (8 * count, 16 * count)}
    ends["order"] = (16 * count, 24 * count)
    header = {
        name: {
            "dtype": "I64",
            "shape": [count, 1] if name == "codes" else [count],
            "data_offsets": end,
        }
        for name, end in ends.items()
    }
    metadata = {"format": "hashgcn.index", "code_length": "64", "popularity_bits": "0"}
    header["__metadata__"] = {**metadata, "version": "3"}
    canonical = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    header["__metadata__"]["crc32"] = f"{zlib.crc32(canonical):08x}"
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as file:  # a hole: it reads as zeros and takes no room
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + 24 * count)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        index = HammingIndex.load(path, mmap=True)
        seconds.append(time.perf_counter() - started)
    assert len(index) == count
    assert min(seconds) < 0.05


SHARED = """
from hashgcn.retrieval import HammingIndex
index = HammingIndex.load(sys.argv[1], mmap=True)
index.search(index.codes[:1], 3)
print("ready", flush=True)
sys.stdin.readline()
counts = {}
with open("/proc/self/smaps") as file:
    mine = False
    for line in file:
        name = line.split()[0]
        if not name.endswith(":"):
            mine = line.rstrip().endswith(sys.argv[1])
        elif mine and name in ("Rss:", "Shared_Clean:", "Private_Clean:", "Private_Dirty:"):
            counts[name] = counts.get(name, 0) + int(line.split()[1])
print(counts["Rss:"], counts["Private_Clean:"] + counts["Private_Dirty:"])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="no /proc/self/smaps")
def test_processes_share_the_pages_of_a_mapped_file(tmp_path):
    path = tmp_path / "items.hgx"
    HammingIndex(np.arange(2**17)[:, None], code_length=64).save(path)
    command = [sys.executable, "-c", "import sys; sys.modules['torch'] = None\n" + SHARED, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    try:
        assert [p.stdout.readline() for p in processes] == ["ready\n"] * 2
        # Both hold the file while the first one counts its pages.
        processes[0].stdin.write("\n")
        processes[0].stdin.flush()
        resident, private = map(int, processes[0].stdout.readline().split())
    finally:
        for process in processes:
            process.communicate("\n")
    assert resident >= 1024  # KiB: all of it was read
    assert private <= 0.1 * resident


@MAPPED
@pytest.mark.parametrize("kind", KINDS)
def test_truncated_anywhere(kind, mapped, tmp_path):
    path = tmp_path / "items.hgx"
    make_index(kind, 20).save(path)
    content = path.read_bytes()
    for length in [0, 1, 7, 8, *range(9, len(content), 37), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="items.hgx: not a safetensors file, or a damaged one"):
            HammingIndex.load(path, mmap=mapped)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="items.hgx: not a safetensors file, or a damaged one"):
        HammingIndex.load(path, mmap=mapped)


@MAPPED
def test_other_versions_and_other_files(mapped, tmp_path):
    path = tmp_path / "items.hgx"
    make_index().save(path)
    arrays, metadata = load_arrays(path, "hashgcn.index", version=3)
    metadata.pop("version")
    for version in (1, 2, 4):
        save_arrays(path, arrays, metadata, version=version)
        with pytest.raises(ValueError, match=f"items.hgx: expected version 3 .*, got {version}"):
            HammingIndex.load(path, mmap=mapped)
    save_arrays(path, arrays, {**metadata, "format": "hashgcn.recommender"})
    with pytest.raises(ValueError, match="expected format 'hashgcn.index', got 'hashgcn.recomm"):
        HammingIndex.load(path, mmap=mapped)
    path.write_text("no index at all\n" * 9)
    with pytest.raises(ValueError, match="items.hgx: not a safetensors file"):
        HammingIndex.load(path, mmap=mapped)
    with pytest.raises(ValueError, match="expected a file, got a folder"):
        HammingIndex.load(tmp_path, mmap=mapped)
    with pytest.raises(FileNotFoundError, match="absent.hgx"):
        HammingIndex.load(tmp_path / "absent.hgx", mmap=mapped)


@MAPPED
@pytest.mark.parametrize("text", ["", "-1", "1e3", "½", "³", "0x9", "9" * 5000])
def test_numbers_that_are_none(text, mapped, tmp_path):
    path = tmp_path / "items.hgx"
    make_index().save(path)
    arrays, metadata = load_arrays(path, "hashgcn.index", version=3)
    metadata.pop("version")
    for name in ("code_length", "popularity_bits"):
        save_arrays(path, arrays, {**metadata, name: text}, version=3)
        with pytest.raises(
            ValueError, match=f"items.hgx: {name}: expected a number .*, got '{text[:9]}"
        ):
            HammingIndex.load(path, mmap=mapped)


IDS, ORDER = np.arange(5) * 3, np.arange(5)
TEXT = {"text": np.frombuffer(b"abcde", np.uint8), "offsets": np.arange(6)}


@MAPPED
@pytest.mark.parametrize(
    "arrays",
    [
        {"order": ORDER},
        {"ids": IDS, "order": ORDER[:4]},
        {"ids": IDS[:4], "order": ORDER[:4]},
        {"ids": IDS, "order": ORDER.astype(np.int32)},
        {"ids": IDS[:, None], "order": ORDER},
        {"ids": IDS.astype(float), "order": ORDER},
        {**TEXT, "ids": IDS, "order": ORDER},
        {"text": TEXT["text"], "order": ORDER},
        {**TEXT, "offsets": ORDER, "order": ORDER},
        {**TEXT, "text": TEXT["text"][:, None], "order": ORDER},
        {**TEXT, "text": TEXT["text"].view(np.int8), "order": ORDER},
        {**TEXT, "offsets": TEXT["offsets"].astype(np.int32), "order": ORDER},
        {**TEXT},
        {"other": IDS, "order": ORDER},
    ],
)
def test_arrays_that_do_not_fit(arrays, mapped, tmp_path):
    path = tmp_path / "items.hgx"
    metadata = {"format": "hashgcn.index", "code_length": "70", "popularity_bits": "0"}
    codes = {"codes": pack_codes(signs(5, 70, 0))}
    save_arrays(path, {**codes, **arrays}, metadata, version=3)
    with pytest.raises(ValueError, match="items.hgx: expected ids int64 .*, got"):
        HammingIndex.load(path, mmap=mapped)


@pytest.mark.parametrize("kind", ["int", "str"])
def test_a_wrong_order_of_ids_is_refused_or_finds_nothing_wrong(kind, tmp_path):
    path, rng = tmp_path / "items.hgx", np.random.default_rng(0)
    make_index(kind, 30).save(path)
    arrays, metadata = load_arrays(path, "hashgcn.index", version=3)
    metadata.pop("version")
    for _ in range(50):
        order = arrays["order"].copy()
        order[rng.integers(0, 30, 3)] = rng.choice([-(2**62), -30, -1, 0, 29, 30, 2**62], 3)
        save_arrays(path, {**arrays, "order": order}, metadata, version=3)
        with pytest.raises(ValueError, match="order: expected one that sorts unique ids"):
            HammingIndex.load(path)
        mapped = HammingIndex.load(path, mmap=True)
        for row, raw in enumerate(make_ids(kind, 30)):
            try:
                assert mapped.rows([raw]) == [row]
            except ValueError as error:
                assert "expected " in str(error)  # the project's own
        for change in (
            lambda i: i.remove(i.ids[:1]),
            lambda i: i.add(signs(1, 70, 0), ["new"] if kind == "str" else [-7]),
        ):
            with pytest.raises(ValueError, match="expected"):
                change(mapped)
        assert len(mapped) == 30


def test_wrong_offsets_of_texts_are_refused_or_met(tmp_path):
    """No read outside of the text: a sanitizer would see it."""
    path, rng = tmp_path / "items.hgx", np.random.default_rng(0)
    make_index("str", 30).save(path)
    arrays, metadata = load_arrays(path, "hashgcn.index", version=3)
    metadata.pop("version")
    for _ in range(50):
        offsets = arrays["offsets"].copy()
        numbers = [-(2**63), -30, -1, len(arrays["text"]) + 1, 2**31, 2**62, 2**63 - 1]
        offsets[rng.integers(0, 31, 3)] = rng.choice(numbers, 3)
        save_arrays(path, {**arrays, "offsets": offsets}, metadata, version=3)
        with pytest.raises(ValueError, match="items.hgx: offsets: expected a non-decreasing"):
            HammingIndex.load(path)
        mapped = HammingIndex.load(path, mmap=True)
        with pytest.raises(ValueError, match="offsets: expected"):
            mapped.search(QUERIES, 30)
        with pytest.raises(ValueError, match="offsets: expected"):
            mapped.add(signs(1, 70, 0), ["new"])
        for row, raw in enumerate(make_ids("str", 30)):
            assert mapped.rows([raw], ignore_unknown=True)[0] in (-1, row)


@pytest.mark.parametrize("kind", KINDS)
def test_any_damaged_byte_is_an_error_or_harmless(kind, tmp_path):
    path, rng = tmp_path / "items.hgx", np.random.default_rng(1)
    make_index(kind, 9).save(path)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    refused = 0
    for at in [*rng.integers(0, header, 80), *rng.integers(header, len(content), 80)]:
        damaged = bytearray(content)
        damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        for mapped in (False, True):
            try:
                index = HammingIndex.load(path, mmap=mapped)
                index.search(pack_codes(signs(2, index.code_length, 0)), 9)
                index.rows(index.ids)
            except ValueError:
                refused += 1
    assert refused > 80


def test_texts_that_are_not_utf8(tmp_path):
    path = tmp_path / "items.hgx"
    make_index("str", 5).save(path)
    arrays, metadata = load_arrays(path, "hashgcn.index", version=3)
    metadata.pop("version")
    text = arrays["text"].tobytes().replace(b"item", b"\xff\xfe\xfd\xfc")
    arrays["text"] = np.frombuffer(text, np.uint8)
    save_arrays(path, arrays, metadata, version=3)
    with pytest.raises(ValueError, match="items.hgx: text: expected UTF-8"):
        HammingIndex.load(path)
    with pytest.raises(ValueError, match="text: expected UTF-8"):
        HammingIndex.load(path, mmap=True).search(QUERIES, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_are_noticed(kind, tmp_path):
    path, rng = tmp_path / "items.hgx", np.random.default_rng(1)
    make_index(kind, 9).save(path)
    content = path.read_bytes()
    for bit in rng.integers(0, 8 * len(content), 200):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        for options in ({}, {"mmap": True, "verify": True}):
            with pytest.raises(ValueError, match="items.hgx: "):
                HammingIndex.load(path, **options)


def test_one_long_id_costs_what_it_is_long(tmp_path):
    """In the file, and in memory also once it is removed."""
    path = tmp_path / "items.hgx"
    index = HammingIndex(np.arange(20_000)[:, None], code_length=64, ids=map(str, range(20_000)))
    index.save(path)
    size, pickled = path.stat().st_size, len(pickle.dumps(index))
    index.add(np.zeros((1, 1), np.int64), ["x" * 100_000])
    assert index.search(np.zeros(1, np.int64), 2).ids.tolist() == ["0", "x" * 100_000]
    assert index.rows(["x" * 100_000, "x" * 99_999], ignore_unknown=True).tolist() == [20_000, -1]
    index.save(path)
    assert size + 100_000 < path.stat().st_size < size + 101_000
    mapped = HammingIndex.load(path, mmap=True)
    assert mapped.rows(["19999", "x" * 100_000]).tolist() == [19_999, 20_000]
    index.remove(["x" * 100_000])
    assert abs(len(pickle.dumps(index)) - pickled) < 100
    tables = index._table.ids
    assert tables.text.base is None and tables.text.nbytes < 100_000


FULL = """
import resource, signal
from hashgcn.retrieval import HammingIndex
index = HammingIndex.load(sys.argv[1])
index.add(index.codes, None)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    index.save(sys.argv[1])
except OSError as error:
    print(error)
"""


def test_no_room_in_the_middle_of_a_save_leaves_the_old_file(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "items.hgx"
    HammingIndex(np.arange(10_000)[:, None], code_length=64).save(path)
    content = path.read_bytes()
    out = output_of(run_python(FULL, path))
    assert "File too large" in out and str(path) in out
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["items.hgx"]


SAVING = """
import numpy as np
from hashgcn.retrieval import HammingIndex
path, number = sys.argv[1], int(sys.argv[2])
for count in range(100, 130):
    HammingIndex(np.full((count, 1), number), code_length=64, ids=np.arange(count)).save(path)
"""


def test_two_processes_that_save_to_one_path(tmp_path):
    path = tmp_path / "items.hgx"
    HammingIndex(np.full((100, 1), 1), code_length=64).save(path)
    processes = [run_python(SAVING, path, number) for number in (1, 2)]
    loads = 0
    while any(process.poll() is None for process in processes):
        for mapped in (False, True):
            index = HammingIndex.load(path, mmap=mapped)
            assert 100 <= len(index) < 130 and len(np.unique(index.codes)) == 1
            loads += 1
    for process in processes:
        output_of(process)
    assert loads > 0 and len(HammingIndex.load(path)) == 129
    assert os.listdir(tmp_path) == ["items.hgx"]
