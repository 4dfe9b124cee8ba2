"""Text files in blocks of whole rows, of which every line has been accounted for."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

_BLOCK = 1 << 24
_LONGEST = 1 << 26  # of a row: one that never ends must not fill the memory
# What gzip may make of a file: logs shrink to a tenth, and 1 MB of zeros to 1 kB.
_EXPANDED = 1 << 28
_RATIO = 100
TAKEN = "\x01"  # stands for a separator of two characters
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LF, _CR = 10, 13


def read_bytes(path: Path) -> Iterator[bytes]:
    """Reads a plain or gzip file in parts, without the byte order mark of UTF-8.

    Raises:
        ValueError: UTF-16, or gzip that expands beyond measure.
        OSError, EOFError, zlib.error: damaged gzip.
    """
    with open(path, "rb") as file:
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        source = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file
        most = max(_EXPANDED, _RATIO * path.stat().st_size)
        done = 0
        while part := source.read(_BLOCK):
            done += len(part)
            if packed and done > most:
                raise ValueError(
                    f"{path}: expected gzip of at most {_RATIO} times its size, got more than "
                    f"{most} bytes; decompress it first if that is right"
                )
            if done == len(part):
                start = part[:4]
                if start[:2] in _UTF16 or b"\0\0" in (start[::2], start[1::2]):
                    raise ValueError(
                        f"{path}: expected UTF-8, got UTF-16 or UTF-32 ({start!r} at its start); "
                        "convert it, for instance with iconv -t UTF-8"
                    )
                part = part.removeprefix(b"\xef\xbb\xbf")
            yield part


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Reads a text file in blocks of whole lines, each of which ends in a line feed.

    Returns:
        The number of the block's first line, from 1, and the block.

    Raises:
        ValueError: bytes that are no UTF-8, with their line; a line that is too long.
    """
    number, rest = 1, b""
    for part in read_bytes(path):
        end = part.rfind(b"\n") + 1
        if not end:
            rest += part
            _check_length(path, number, rest)
            continue
        text, rest = rest + part[:end], part[end:]
        _check_utf8(path, number, text)
        yield number, text
        number += text.count(b"\n")
    if rest:
        _check_utf8(path, number, rest)
        yield number, rest + b"\n"


def read_rows(
    path: Path, separator: str, quote: str = "", *, sure: bool = False
) -> Iterator[tuple[bytes, int]]:
    """Reads a text file of rows in blocks, so that what is not a row is an error with its line.

    A field that begins with the quote character ends with the next single one; between them, two
    stand for one, and separators and line breaks are text. In other fields the character is text.
    Blank lines are left out. All rows have as many fields as the first.

    Args:
        path: a plain or gzip file.
        separator: one or two ASCII characters.
        quote: an ASCII character; empty for none.
        sure: whether line breaks within quotes are taken although each of the lines looks like a
            row by itself, which is what two stray quotes look like.

    Returns:
        The first row, which may be a header, then blocks of rows, each with its number of rows.
        Every row ends in a line feed, and every quote that is text is doubled and within quotes.
        Where the separator has two characters, it is \\x01 instead.

    Raises:
        ValueError: a row with another number of fields than the first; a quoted field that text
            follows or that does not end; a carriage return that ends no line.
    """
    carried, fields = b"", 0
    mark = ord(separator if len(separator) == 1 else TAKEN)
    for number, text in _with_end(read_lines(path)):
        last = not text
        number -= carried.count(b"\n")
        text = carried + text
        if len(separator) > 1 and text:
            if (at := text.find(TAKEN.encode())) >= 0:
                raise _wrong(path, number, text, at, "text without control characters", "\\x01")
            text = text.replace(separator.encode(), TAKEN.encode())
        carried = b""
        if quote and quote.encode() in text:
            text, carried = _quoted(path, number, text, mark, quote.encode(), last)
            _check_length(path, number + text.count(b"\n"), carried)
        if not text:
            continue
        rows = _Rows(path, number, text, mark, quote)
        if not fields:
            if not rows.filled.any():
                continue
            first = int(rows.filled.argmax())
            fields = int(rows.fields[first])
            yield text[rows.starts[first] : rows.ends[first] + 1], 1
            rows.filled[first] = False
        rows.check(fields, sure)
        count = int(rows.filled.sum())
        if count:
            yield rows.kept(), count


def _with_end(blocks: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """The blocks, then an empty one, with the number of the line after the last."""
    number = 1
    for number, text in blocks:
        yield number, text
        number += text.count(b"\n")
    yield number, b""


class _Rows:
    """Where the rows of a block begin and end, and how many fields each has."""

    def __init__(self, path: Path, number: int, text: bytes, mark: int, quote: str) -> None:
        self.path, self.number, self.text = path, number, text
        data = np.frombuffer(text, np.uint8)
        self.lines = np.flatnonzero(data == _LF)
        self.marks = np.flatnonzero(data == mark)
        returns = np.flatnonzero(data == _CR)
        ends, marks = self.lines, self.marks
        if quote:
            quotes = np.flatnonzero(data == ord(quote))
            if len(quotes):
                ends, marks, returns = (
                    places[np.searchsorted(quotes, places) % 2 == 0]
                    for places in (ends, marks, returns)
                )
        self.ends, self.data = ends, data
        self.starts = np.append(0, ends[:-1] + 1)
        self.fields = np.diff(np.searchsorted(marks, ends), prepend=0) + 1
        stray = returns[data[returns + 1] != _LF]
        if len(stray):
            raise _wrong(path, number, text, int(stray[0]), "a line feed after a carriage return")
        length = ends - self.starts
        if len(returns):
            length -= data[ends - 1] == _CR
        self.filled = length > 0

    def check(self, fields: int, sure: bool) -> None:
        wrong = np.flatnonzero((self.fields != fields) & self.filled)
        if len(wrong):
            row = wrong[0]
            raise _wrong(
                *(self.path, self.number, self.text, int(self.starts[row])),
                f"{fields} fields, as in the first row",
                str(self.fields[row]),
            )
        if sure or fields == 1 or len(self.ends) == len(self.lines):
            return
        alike = np.diff(np.searchsorted(self.marks, self.lines), prepend=0) == fields - 1
        alike |= np.diff(self.lines, prepend=-1) <= 1 + (self.data[self.lines - 1] == _CR)  # blank
        first = np.searchsorted(self.lines, self.starts)
        several = np.diff(first, append=len(self.lines)) > 1
        several &= np.logical_and.reduceat(alike, first)
        if several.any():
            row = int(several.argmax())
            raise _wrong(
                *(self.path, self.number, self.text, int(self.starts[row])),
                f"a quoted field whose lines are no rows, or quote= (--quote): the character if "
                f"line {self.number + int(first[row])} and those after it are one row, or an empty "
                "text if quotes are text",
            )

    def kept(self) -> bytes:
        if self.filled.all():
            return self.text
        lengths = self.ends + 1 - self.starts
        return self.data[np.repeat(self.filled, lengths)].tobytes()


def _quoted(
    path: Path, number: int, text: bytes, mark: int, quote: bytes, last: bool
) -> tuple[bytes, bytes]:
    """The rows of a block with all quotes that are text doubled, and what follows the last row."""
    data = np.frombuffer(text, np.uint8)
    places = np.flatnonzero(data == quote[0])
    opening, closing = places[::2], places[1::2]
    # Where each quote stands at the border of a field, their parity tells what is within.
    border = (mark, _LF, quote[0])
    after = data[closing + 1]
    ended = np.isin(after, border)
    ended |= (after == _CR) & (data[np.minimum(closing + 2, len(data) - 1)] == _LF)
    if not (np.isin(data[opening - 1], border).all() and ended.all()):
        return _requoted(path, number, text, mark, quote, last)
    if len(places) % 2 == 0:
        return text, b""
    if last:
        raise _unended(path, number, text, int(places[-1]))
    lines = np.flatnonzero(data == _LF)
    lines = lines[np.searchsorted(places, lines) % 2 == 0]
    end = int(lines[-1]) + 1 if len(lines) else 0
    return text[:end], text[end:]


def _requoted(
    path: Path, number: int, text: bytes, mark: int, quote: bytes, last: bool
) -> tuple[bytes, bytes]:
    """As `_quoted`, quote by quote."""
    parts: list[bytes] = []
    separator, copied, done, row = bytes([mark]), 0, 0, 0
    while (at := text.find(quote, done)) >= 0:
        line = text.rfind(b"\n", done, at)
        row = line + 1 if line >= 0 else row
        # A field ends at `done`, so one of both is there, except in front of the first field.
        start = max(text.rfind(separator, done, at), line) + 1
        if start < at:
            stop = min(x for x in (text.find(separator, at), text.find(b"\n", at)) if x >= 0)
            done = stop - (text[stop - 1 : stop + 1] == b"\r\n")
            doubled = text[start:done].replace(quote, quote * 2)
            parts += [text[copied:start], quote, doubled, quote]
            copied = done
            continue
        stop = text.find(quote, at + 1)
        while stop >= 0 and text[stop + 1 : stop + 2] == quote:
            stop = text.find(quote, stop + 2)
        if stop < 0 and last:
            raise _unended(path, number, text, at)
        if stop < 0:
            return _requoted(path, number, text[:row], mark, quote, True)[0], text[row:]
        done = stop + 1
        if not text.startswith((separator, b"\n", b"\r\n"), done):
            expected = f"a separator after the quoted field that begins with {_shown(text, at)!r}"
            raise _wrong(path, number, text, done, expected, repr(_shown(text, done)))
    return b"".join([*parts, text[copied:]]), b""


def _unended(path: Path, number: int, text: bytes, at: int) -> ValueError:
    expected = "an end of the quoted field, or quote= (--quote) empty if quotes are text"
    return _wrong(path, number, text, at, expected, "none")


def _wrong(
    path: Path, number: int, text: bytes, at: int, expected: str, got: str | None = None
) -> ValueError:
    line = number + text.count(b"\n", 0, at)
    content = repr(_shown(text, text.rfind(b"\n", 0, at) + 1))
    found = content if got is None else f"{got} in {content}"
    return ValueError(f"{path}, line {line}: expected {expected}, got {found}")


def _shown(text: bytes, at: int) -> str:
    return text[at : at + 80].split(b"\n", 1)[0].rstrip(b"\r").decode(errors="replace")


def _check_utf8(path: Path, number: int, text: bytes) -> None:
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise _wrong(path, number, text, error.start, "UTF-8") from error


def _check_length(path: Path, number: int, row: bytes) -> None:
    if len(row) > _LONGEST:
        raise ValueError(
            f"{path}, line {number}: expected a row of at most {_LONGEST} bytes, got more, from "
            f"{_shown(row, 0)!r} on"
        )
