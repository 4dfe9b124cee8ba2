"""Files: atomic writes, and named arrays in the safetensors format."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import mmap
import os
import re
import stat
import uuid
import zlib
from collections.abc import Callable, Set
from contextlib import suppress
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
_VERSION = 2  # of a format that has had no reason for another one since files have checksums
# Metadata of save_arrays itself: CRC-32 of the header, and of array x as "crc32.x".
_CHECKSUM = "crc32"
_CHECKED_AT_ONCE = 1 << 26  # bytes, so that Ctrl-C need not wait for all of a large file
# A file system that cannot sync a folder says so by one of these, once the file is in its place.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_READING = {errno.EACCES, errno.EPERM}


def write_atomic(path: str | os.PathLike[str], writer: Callable[[Path], object]) -> None:
    """Writes a file so that readers, and a crash at any moment, leave the old file or the new one.

    Args:
        path: the file to create or replace; its folder must exist. A file that is there keeps its
            permissions, and its owner where the system allows. A symbolic link stays, and the file
            that it leads to is replaced.
        writer: writes the whole content to the path that it is given, of an empty file in the same
            folder.

    Raises:
        FileNotFoundError: the folder does not exist.
        OSError: the system's error, for instance on a full disk, or a path that is a folder or a
            device, with the path.

    Note:
        Content and name are on disk (fsync) on return, as far as the file system can. After an
        error, also of the writer itself, the old file is untouched and nothing is left beside it.
        A process that is killed leaves a temporary file, which the next write of the same path
        removes. If several processes write at the same time, the last one to finish wins, and
        nobody ever sees a mixture.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: no such folder: {target.parent}")
    try:
        _replace(target, writer)
        _sync(target.parent, _NO_SYNC | _NO_READING)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(target: Path, writer: Callable[[Path], object]) -> None:
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "expected a file, got a device, pipe or socket")
    _remove_leftovers(target)
    # Nobody else may read the content of a private file while it is written.
    temporary, descriptor = _create(target, 0o666 if old is None else 0o600)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode if old is None else old.st_mode)
        writer(temporary)
        if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(OSError):
                os.chown(temporary, old.st_uid, old.st_gid)
        _sync(temporary)
        # By name: a writer may have put another file in its place. Some file systems know one mode.
        if stat.S_IMODE(os.stat(temporary).st_mode) != mode & 0o777:
            os.chmod(temporary, mode & 0o777)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _create(target: Path, mode: int) -> tuple[Path, int]:
    """A temporary file beside the target, open and locked for as long as its writer lives."""
    while True:
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        with suppress(OSError):  # a file system without locks, where nothing is a leftover either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # removed as a leftover, in the moment before it was locked


def _remove_leftovers(target: Path) -> None:
    """Removes temporary files of the target whose writers are gone: nobody holds their locks."""
    pattern = re.compile(re.escape(f".{target.name}.") + r"[0-9a-f]{32}\.tmp")
    # A file that cannot be opened has gone meanwhile, or is another user's; a folder that cannot be
    # listed may still be written to.
    with suppress(OSError):
        for name in filter(pattern.fullmatch, os.listdir(target.parent)):
            with suppress(OSError):
                leftover = target.parent / name
                descriptor = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    leftover.unlink()
                finally:
                    os.close(descriptor)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes text in UTF-8, atomically (see write_atomic)."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_arrays(
    path: str | os.PathLike[str],
    arrays: dict[str, np.ndarray],
    metadata: dict[str, str],
    *,
    version: int = _VERSION,
) -> None:
    """Saves named arrays and text as a safetensors file, atomically.

    Args:
        path: the file to create or replace; its folder must exist.
        arrays: bool, int8 to int64, uint8 or float16 to float64, of any shape and memory layout.
        metadata: text by name. "format" says what the file is; "version" and checksums, whose names
            begin with "crc32", are added here.
        version: version of the format; that of files with checksums if left out.

    Raises:
        ValueError: a dtype that the format lacks, or metadata without "format", with a name that is
            added here or with something else than text.
        FileNotFoundError: the folder does not exist.
        OSError: the system's error, with the path; the old file is then untouched.

    Examples:
        >>> import tempfile, numpy as np
        >>> from hashgcn.files import load_arrays, save_arrays
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_arrays(f"{folder}/file", {"x": np.arange(3)}, {"format": "example"})
        ...     arrays, metadata = load_arrays(f"{folder}/file", "example")
        >>> arrays["x"].tolist(), metadata
        ([0, 1, 2], {'format': 'example', 'version': '2'})

    Note:
        Equal content gives equal bytes. Cost: two reads of the arrays, one of them for checksums.
        Peak extra memory: a copy of an array that is not contiguous.
    """
    taken = [name for name in metadata if name == "version" or name.startswith(_CHECKSUM)]
    if "format" not in metadata or taken:
        raise ValueError(
            f"metadata: expected 'format' and no name that is added here, 'version' or "
            f"'{_CHECKSUM}...', got {sorted(metadata)}"
        )
    if "__metadata__" in arrays:
        raise ValueError(
            "arrays: expected no array named '__metadata__', which the format reserves"
        )
    for name, text in metadata.items():
        if not isinstance(text, str):
            raise ValueError(f"metadata: expected text for {name!r}, got {type(text).__name__}")

    # Not safetensors.numpy.save_file: it writes the buffer of a transposed array as it lies in
    # memory, and metadata in an order that differs from run to run.
    own = {**metadata, "version": str(version)}
    header: dict[str, dict] = {"__metadata__": {}}
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
        own[f"{_CHECKSUM}.{name}"] = _checksum(_content(array))
    header["__metadata__"] = own
    own[_CHECKSUM] = _header_checksum(header)
    header["__metadata__"] = dict(sorted(own.items()))
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.write(len(encoded).to_bytes(8, "little") + encoded)
            for _, array in ordered:
                file.write(_content(array))

    write_atomic(path, write)


def _content(array: np.ndarray) -> memoryview:
    """The array as the bytes of a file: little-endian, in C order."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _checksum(content: memoryview | bytes) -> str:
    """CRC-32 as eight hexadecimal digits."""
    found = 0
    for start in range(0, len(content), _CHECKED_AT_ONCE):
        found = zlib.crc32(content[start : start + _CHECKED_AT_ONCE], found)
    return f"{found:08x}"


def _header_checksum(header: dict[str, Any]) -> str:
    """That of the header as JSON without its own checksum: sorted, without spaces, in ASCII."""
    metadata = {k: v for k, v in header.get("__metadata__", {}).items() if k != _CHECKSUM}
    whole = {**header, "__metadata__": metadata}
    return _checksum(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode())


def load_arrays(
    path: str | os.PathLike[str],
    expected_format: str,
    *,
    version: int | tuple[int, ...] = _VERSION,
    map_file: bool = False,
    verify: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays and the text of a file that save_arrays wrote.

    Nothing in the file is executed, and no array reaches beyond the file, whatever its header says.

    Args:
        path: the file.
        expected_format: the value that metadata["format"] must have.
        version: the version of the format that the caller reads, as in save_arrays, or several.
        map_file: give read-only views of the file, which is then read page by page where an array
            is touched, and shared between processes. Meanwhile the file may be replaced, as
            save_arrays does, but not written to in place.
        verify: read a mapped file once to compare its arrays with their checksums. A file that is
            not mapped is always compared, and every header is.

    Returns:
        The arrays by name, and the metadata with "format" and "version", without checksums.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged or foreign file, or one of another format or version; the message
            names the file and says which. Any bit that flipped in what is compared is noticed.

    Note:
        Cost: one read of the file, or of its header if it is mapped and not verified.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, got a folder or a device")
    # One open file throughout: meanwhile the name may come to stand for another file.
    with open(path, "rb") as file:
        try:
            metadata, entries, checksum = _read_header(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a safetensors file, or a damaged one: {error}") from None
        versions = version if isinstance(version, tuple) else (version,)
        _check_metadata(path, metadata, expected_format, versions)
        for name, (dtype, _, _) in entries.items():
            if dtype not in _DTYPES.values():
                raise ValueError(
                    f"{path}: expected one of {list(_DTYPES)} for array {name!r}, got {dtype}"
                )
        _compare(path, "the header", metadata.pop(_CHECKSUM, None), checksum)
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if map_file else None
        arrays = {}
        for name, (dtype, shape, offset) in entries.items():
            kind = np.dtype(_NUMPY[dtype]).newbyteorder("<")
            try:
                if content is not None:
                    arrays[name] = np.ndarray(shape, kind, content, offset)
                else:
                    arrays[name] = np.empty(shape, kind)
            except (ValueError, OverflowError) as error:  # no bytes, and lengths that no array has
                raise ValueError(f"{path}: array {name!r} of shape {shape}: {error}") from error
            view = arrays[name].reshape(-1).view(np.uint8).data
            if content is None:
                file.seek(offset)
                if file.readinto(view) != len(view):
                    raise ValueError(f"{path}: expected {name!r} to its end, got a shorter file")
            stated = metadata.pop(f"{_CHECKSUM}.{name}", None)
            if content is None or verify:
                _compare(path, f"array {name!r}", stated, _checksum(view))
        left = sorted(name for name in metadata if name.startswith(_CHECKSUM))
        if left:
            raise ValueError(f"{path}: expected checksums of its arrays alone, got {left[0]!r}")
        return arrays, metadata


def _compare(path: Path, what: str, stated: str | None, found: str) -> None:
    if stated is None:
        raise ValueError(f"{path}: expected a checksum of {what}, got none")
    if stated != found:
        raise ValueError(
            f"{path}: expected {what} with checksum {stated}, got {found}: the file is damaged"
        )


def stated_number(metadata: dict[str, str], name: str) -> int:
    """A whole number in metadata; a KeyError if it is missing, a ValueError if it is malformed."""
    text = metadata[name]
    if not re.fullmatch("[0-9]{1,18}", text):
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise ValueError(f"{name}: expected a number of at most 18 digits, got {shown!r}")
    return int(text)


def _read_header(
    file: Any,
) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...], int]], str]:
    """Metadata, the dtype, shape and offset of every array, and the checksum that the header should
    have; a ValueError if they are wrong."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        raise ValueError(f"expected a header within {size} bytes, got one of {length}")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"expected an object as header, got {type(header).__name__}")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise ValueError("expected metadata of text, got something else")
    checksum = _header_checksum(header)
    header.pop("__metadata__", None)
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
    return metadata, entries, checksum


def encode_ids(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Encodes raw ids as arrays that a file can hold.

    Args:
        ids: int64 or str [N].

    Returns:
        {"ids": int64 [N]} for integers. For strings {"text": uint8, "offsets": int64 [N + 1]}: the
        UTF-8 of id i is text[offsets[i]:offsets[i + 1]], so that N ids cost what they are long.

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
    if ids.ndim != 1 or ids.dtype.kind not in "TU":
        raise ValueError(f"ids: expected int64 or str [N], got {ids.dtype} of shape {ids.shape}")
    encoded = [text.encode() for text in ids.tolist()]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return {"text": np.frombuffer(b"".join(encoded), dtype=np.uint8), "offsets": offsets}


def decode_ids(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Decodes what encode_ids encoded, int64 or StringDType [N]; a ValueError if it is damaged."""
    layout = {name: (array.dtype.name, array.ndim) for name, array in arrays.items()}
    if layout == {"ids": ("int64", 1)}:
        return arrays["ids"]
    if layout != {"text": ("uint8", 1), "offsets": ("int64", 1)}:
        raise ValueError(
            f"arrays: expected ids int64 [N], or text uint8 and offsets int64 [N + 1], got {layout}"
        )
    text, offsets = arrays["text"], arrays["offsets"]
    if (
        not len(offsets)
        or offsets[0] != 0
        or offsets[-1] != len(text)
        or (offsets[1:] < offsets[:-1]).any()
    ):
        raise ValueError(
            f"offsets: expected a non-decreasing array from 0 to {len(text)}, the bytes of text"
        )
    return decode_texts(text, offsets[:-1], offsets[1:])


def decode_texts(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The strings whose UTF-8 are text[start:end], StringDType [N]; a ValueError if one is none."""
    content = np.ascontiguousarray(text).data
    try:
        decoded = [
            str(content[a:b], "utf-8") for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
    except UnicodeDecodeError as error:
        raise ValueError(f"text: expected UTF-8 between offsets, got {error}") from error
    return np.array(decoded, dtype=np.dtypes.StringDType())


def _check_metadata(
    path: Path, metadata: dict[str, str], expected_format: str, versions: tuple[int, ...]
) -> None:
    found = metadata.get("format")
    if found != expected_format:
        raise ValueError(f"{path}: expected format {expected_format!r}, got {found!r}")
    try:
        version = stated_number(metadata, "version")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected a version number, got {error}") from error
    if version not in versions:
        expected = " or ".join(map(str, versions))
        raise ValueError(
            f"{path}: expected version {expected} of {expected_format}, got {version}, "
            "which another release of hashgcn wrote"
        )


def _sync(path: Path, passed_over: Set[int] = frozenset()) -> None:
    """Has a file or a folder written to disk; errors of the given numbers count for nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in passed_over:
            raise
