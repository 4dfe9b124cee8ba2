"""Files: atomic writes, and named arrays in the safetensors format."""

from __future__ import annotations

import json
import math
import mmap
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
_NUMPY = {code: name for name, code in _DTYPES.items()}
_LONGEST_HEADER = 100_000_000  # as of the format's own library


def write_atomic(path: str | os.PathLike[str], writer: Callable[[Path], object]) -> None:
    """Writes a file so that readers, and a crash at any moment, leave the old file or the new one.

    Args:
        path: the file to create or replace; its folder must exist.
        writer: writes the whole content to the path that it is given, in the same folder.

    Raises:
        FileNotFoundError: the folder does not exist.
        OSError: the system's error, for instance on a full disk, with the path.

    Note:
        Content and name are on disk (fsync) on return. After an error, also of the writer itself,
        the old file is untouched and nothing is left beside it. If several processes write at the
        same time, the last one to finish wins, and nobody ever sees a mixture.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no such folder: {path.parent}")
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        # Created here to get the permissions that the umask gives; a writer may replace the file.
        with open(temporary, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
        writer(temporary)
        os.chmod(temporary, mode)
        _sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes text in UTF-8, atomically (see write_atomic)."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_arrays(
    path: str | os.PathLike[str],
    arrays: dict[str, np.ndarray],
    metadata: dict[str, str],
    *,
    version: int = 1,
) -> None:
    """Saves named arrays and text as a safetensors file, atomically.

    Args:
        path: the file to create or replace; its folder must exist.
        arrays: bool, int8 to int64, uint8 or float16 to float64, of any shape and memory layout.
        metadata: text by name. "format" says what the file is; "version" is added here.
        version: version of the format.

    Raises:
        ValueError: a dtype that the format lacks, or metadata without "format", with "version" or
            with something else than text.
        FileNotFoundError: the folder does not exist.
        OSError: the system's error, with the path; the old file is then untouched.

    Examples:
        >>> import tempfile, numpy as np
        >>> from hashgcn.files import load_arrays, save_arrays
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_arrays(f"{folder}/file", {"x": np.arange(3)}, {"format": "example"})
        ...     arrays, metadata = load_arrays(f"{folder}/file", "example")
        >>> arrays["x"].tolist(), metadata
        ([0, 1, 2], {'format': 'example', 'version': '1'})

    Note:
        Equal content gives equal bytes. Peak extra memory: a copy of an array that is not
        contiguous.
    """
    if "format" not in metadata or "version" in metadata:
        raise ValueError(f"metadata: expected 'format' and no 'version', got {sorted(metadata)}")
    if "__metadata__" in arrays:
        raise ValueError(
            "arrays: expected no array named '__metadata__', which the format reserves"
        )
    for name, text in metadata.items():
        if not isinstance(text, str):
            raise ValueError(f"metadata: expected text for {name!r}, got {type(text).__name__}")

    # Not safetensors.numpy.save_file: it writes the buffer of a transposed array as it lies in
    # memory, and metadata in an order that differs from run to run.
    header: dict[str, dict] = {
        "__metadata__": dict(sorted({**metadata, "version": str(version)}.items()))
    }
    # Wide types first, so that every array starts at a multiple of its item size.
    ordered = sorted(
        ((name, np.asarray(array)) for name, array in arrays.items()),
        key=lambda entry: (-entry[1].itemsize, entry[0]),
    )
    end = 0
    for name, array in ordered:
        if array.dtype.name not in _DTYPES:
            raise ValueError(
                f"arrays: expected one of {list(_DTYPES)} for {name!r}, got {array.dtype}"
            )
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": (begin, end),
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.write(len(encoded).to_bytes(8, "little") + encoded)
            for _, array in ordered:
                file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)

    write_atomic(path, write)


def load_arrays(
    path: str | os.PathLike[str],
    expected_format: str,
    *,
    version: int = 1,
    map_file: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays and the text of a file that save_arrays wrote.

    Nothing in the file is executed, and no array reaches beyond the file, whatever its header says.

    Args:
        path: the file.
        expected_format: the value that metadata["format"] must have.
        version: the version of the format that the caller reads.
        map_file: give read-only views of the file, which is then read page by page where an array
            is touched, and shared between processes. Meanwhile the file may be replaced, as
            save_arrays does, but not written to in place.

    Returns:
        The arrays by name, and the metadata with "format" and "version".

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged or foreign file, or one of another format or version; the message
            names the file and says which.

    Note:
        Cost: one read of the file, or of its header if it is mapped.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, got a folder or a device")
    # One open file throughout: meanwhile the name may come to stand for another file.
    with open(path, "rb") as file:
        try:
            metadata, entries = _read_header(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a safetensors file, or a damaged one: {error}") from None
        _check_metadata(path, metadata, expected_format, version)
        for name, (dtype, _, _) in entries.items():
            if dtype not in _DTYPES.values():
                raise ValueError(
                    f"{path}: expected one of {list(_DTYPES)} for array {name!r}, got {dtype}"
                )
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if map_file else None
        arrays = {}
        for name, (dtype, shape, offset) in entries.items():
            kind = np.dtype(_NUMPY[dtype]).newbyteorder("<")
            try:
                if content is not None:
                    arrays[name] = np.ndarray(shape, kind, content, offset)
                    continue
                arrays[name] = np.empty(shape, kind)
            except (ValueError, OverflowError) as error:  # no bytes, and lengths that no array has
                raise ValueError(f"{path}: array {name!r} of shape {shape}: {error}") from error
            file.seek(offset)
            if file.readinto(arrays[name].reshape(-1).view(np.uint8).data) != arrays[name].nbytes:
                raise ValueError(f"{path}: expected {name!r} to its end, got a shorter file")
        return arrays, metadata


def stated_number(metadata: dict[str, str], name: str) -> int:
    """A whole number in metadata; a KeyError if it is missing, a ValueError if it is malformed."""
    text = metadata[name]
    if not re.fullmatch("[0-9]{1,18}", text):
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise ValueError(f"{name}: expected a number of at most 18 digits, got {shown!r}")
    return int(text)


def _read_header(file: Any) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...], int]]]:
    """Metadata, and the dtype, shape and offset of every array; a ValueError if they are wrong."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        raise ValueError(f"expected a header within {size} bytes, got one of {length}")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"expected an object as header, got {type(header).__name__}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise ValueError("expected metadata of text, got something else")
    entries, places = {}, []
    for name, entry in header.items():
        try:
            dtype, shape, (begin, end) = (entry[x] for x in ("dtype", "shape", "data_offsets"))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"expected dtype, shape and offsets of array {name!r}") from None
        numbers = [begin, end, *(shape if isinstance(shape, list) else [None])]
        if not isinstance(dtype, str) or not all(type(x) is int and x >= 0 for x in numbers):
            raise ValueError(f"expected a dtype, lengths and offsets of array {name!r}")
        # The caller reports an unknown dtype, together with the file's format.
        known = dtype in _NUMPY
        if known and end - begin != math.prod(shape) * np.dtype(_NUMPY[dtype]).itemsize:
            raise ValueError(f"expected array {name!r} to fill its bytes, got {begin} to {end}")
        entries[name] = (dtype, tuple(shape), 8 + length + begin)
        places.append((begin, end))
    last = 0
    for begin, end in sorted(places):
        if begin != last or end < begin:
            raise ValueError(f"expected arrays one after the other, got {begin} after {last}")
        last = end
    if 8 + length + last != size:
        raise ValueError(f"expected {8 + length + last} bytes, got {size}")
    return metadata, entries


def encode_ids(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Encodes raw ids as arrays that a file can hold.

    Args:
        ids: int64 or str [N].

    Returns:
        {"ids": int64 [N]} for integers. For strings {"text": uint8, "offsets": int64 [N + 1]}: the
        UTF-8 of id i is text[offsets[i]:offsets[i + 1]].

    Raises:
        ValueError: another dtype or shape.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.files import decode_ids, encode_ids
        >>> encoded = encode_ids(np.array(["fig", "kiwi"]))
        >>> encoded["offsets"].tolist(), encoded["text"].tobytes()
        ([0, 3, 7], b'figkiwi')
        >>> decode_ids(encoded).tolist()
        ['fig', 'kiwi']
    """
    ids = np.asarray(ids)
    if ids.ndim == 1 and ids.dtype == np.int64:
        return {"ids": ids}
    if ids.ndim != 1 or ids.dtype.kind != "U":
        raise ValueError(f"ids: expected int64 or str [N], got {ids.dtype} of shape {ids.shape}")
    encoded = [text.encode() for text in ids.tolist()]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return {"text": np.frombuffer(b"".join(encoded), dtype=np.uint8), "offsets": offsets}


def decode_ids(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Decodes what encode_ids encoded, int64 or str [N]; a ValueError if it is damaged."""
    layout = {name: (array.dtype.name, array.ndim) for name, array in arrays.items()}
    if layout == {"ids": ("int64", 1)}:
        return arrays["ids"]
    if layout != {"text": ("uint8", 1), "offsets": ("int64", 1)}:
        raise ValueError(
            f"arrays: expected ids int64 [N], or text uint8 and offsets int64 [N + 1], got {layout}"
        )
    text, offsets = arrays["text"].tobytes(), arrays["offsets"]
    if (
        not len(offsets)
        or offsets[0] != 0
        or offsets[-1] != len(text)
        or (np.diff(offsets) < 0).any()
    ):
        raise ValueError(
            f"offsets: expected a non-decreasing array from 0 to {len(text)}, the bytes of text"
        )
    bounds = offsets.tolist()
    try:
        decoded = [text[a:b].decode() for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    except UnicodeDecodeError as error:
        raise ValueError(f"text: expected UTF-8 between offsets, got {error}") from error
    return np.array(decoded, dtype=np.str_)


def _check_metadata(
    path: Path, metadata: dict[str, str], expected_format: str, expected_version: int
) -> None:
    found = metadata.get("format")
    if found != expected_format:
        raise ValueError(f"{path}: expected format {expected_format!r}, got {found!r}")
    try:
        version = stated_number(metadata, "version")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected a version number, got {error}") from error
    if version != expected_version:
        raise ValueError(f"{path}: expected version {expected_version}, got {version}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
