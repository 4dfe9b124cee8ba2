"""Downloads of single files, which are resumed if they break off and checked at the end."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from hashgcn.files import write_atomic

_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without data


def git_blob(path: Path) -> str:
    """Computes git's id of a file's content: the SHA-1 of `blob <size>\\0` and the content, in hex.

    The file is read in parts of 1 MiB.

    Raises:
        FileNotFoundError: no such file.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "empty")
        ...     _ = file.write_bytes(b"")
        ...     git_blob(file)
        'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def download(
    url: str,
    path: Path,
    blob: str,
    most: int,
    progress: Callable[[int, int | None], None] | None = None,
) -> bool:
    """Downloads a file whose content has a known id, unless it is there already.

    The data received so far are kept in a hidden file beside it, so that a later call fetches only
    the rest. On return, the file is on disk under its name (fsync).

    Args:
        url: an http, https or file address.
        path: the file to make; its folder must exist.
        blob: the git_blob of the content.
        most: number of bytes that the content has at most.
        progress: called with the number of bytes received and the total, None if unknown.

    Returns:
        Whether anything was downloaded.

    Raises:
        ConnectionError: no server, or the connection broke; call again to resume.
        ValueError: the file exists with other content, and is left as it is; the server sent other
            content, or more than `most` bytes, which is deleted; or what has the name of the hidden
            file is no file, for instance a symbolic link.
    """
    if path.exists():
        found = git_blob(path)
        if found == blob:
            return False
        raise ValueError(
            f"{path}: expected the published file (git blob {blob}), got another ({found}); "
            "remove it to download it again"
        )
    partial = path.parent / f".{path.name}.{blob[:8]}.part"
    try:
        _fetch(url, partial, most, progress)
    except (OSError, HTTPException) as error:
        # urllib's errors are OSErrors, as is a full disk, whose own message says so.
        reason = getattr(error, "reason", None) or error or type(error).__name__
        kept = partial.stat().st_size if partial.exists() else 0
        raise ConnectionError(
            f"{url}: cannot be downloaded: {reason}; {kept} bytes are kept, and the same command "
            f"resumes from there. Without a network, put the file at {path} by other means"
        ) from error

    def copy(temporary: Path) -> None:
        # A copy: another process may be downloading the same file and write to the partial one.
        shutil.copyfile(partial, temporary)
        found = git_blob(temporary)
        if found != blob:
            partial.unlink(missing_ok=True)
            raise ValueError(f"{url}: expected content with git blob {blob}, got {found}; deleted")

    write_atomic(path, copy)
    partial.unlink(missing_ok=True)
    return True


def _fetch(
    url: str, partial: Path, most: int, progress: Callable[[int, int | None], None] | None
) -> None:
    """Appends to a file what it still lacks of the content at an address."""
    there = 0
    if os.path.lexists(partial):
        found = partial.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(
                f"{partial}: expected a file with part of {url}, got "
                f"{'a symbolic link' if stat.S_ISLNK(found.st_mode) else 'something else'}; "
                "remove it"
            )
        there = found.st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and there:  # nothing follows, so it is complete; its id is checked
            return
        raise
    # Between the check and here, a link may have taken the place.
    with answer, open(partial, "ab", opener=_not_through_links) as file:
        if there and answer.status != 206:  # the server sends the whole content
            file.truncate(0)
            there = 0
        length = answer.headers.get("Content-Length")
        total = there + int(length) if length is not None else None
        if total is not None and total > most:
            partial.unlink()
            raise _too_much(url, most, str(total))
        while chunk := answer.read(_CHUNK):
            there += len(chunk)
            if there > most:
                partial.unlink()
                raise _too_much(url, most, "more")
            file.write(chunk)
            if progress is not None:
                progress(there, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and there < total:
        raise ConnectionError(f"the connection broke after {there} of {total} bytes")


def _not_through_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _too_much(url: str, most: int, got: str) -> ValueError:
    return ValueError(f"{url}: expected at most {most} bytes, got {got}; deleted")
