"""One file from the web: resumed where it stopped, checked before it gets its name."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from hashgcn.files import write_atomic

_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte


def git_blob(path: Path) -> str:
    """The id that git gives a file's content: SHA-1 of `blob <size>\\0` and the content, in hex.

    Raises:
        FileNotFoundError: no such file.

    Cost: O(bytes), a few MiB of memory.
    """
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def download(
    url: str, path: Path, blob: str, progress: Callable[[int, int | None], None] | None = None
) -> bool:
    """Make a file hold the content with a known id.

    What has come is kept in a hidden file beside it, and a later call asks for the rest.

    Args:
        url: http, https or file.
        path: the file; its folder exists.
        blob: git_blob of the content.
        progress: called with the bytes there are and the bytes in all, None where not known.

    Returns:
        Whether anything had to be fetched.

    Raises:
        ConnectionError: no server, or a connection that broke; calling again resumes.
        ValueError: the file is there with other content and is left alone, or other content came
            and was removed.

    Content and name are on disk (fsync) on return.
    """
    if path.exists():
        found = git_blob(path)
        if found == blob:
            return False
        raise ValueError(
            f"{path}: expected the published file (git blob {blob}), got another ({found}); "
            "remove it to fetch it again"
        )
    partial = path.parent / f".{path.name}.{blob[:8]}.part"
    try:
        _fetch(url, partial, progress)
    except (OSError, HTTPException) as error:
        # urllib's errors are OSErrors; so is a full disk, which its own message tells.
        reason = getattr(error, "reason", None) or error or type(error).__name__
        kept = partial.stat().st_size if partial.exists() else 0
        raise ConnectionError(
            f"{url}: cannot be fetched: {reason}; {kept} bytes are kept, the same command goes on "
            f"from there. Without a network, put the file at {path} by other means"
        ) from error

    def copy(temporary: Path) -> None:
        # Not the partial file itself: another process that fetches the same may still write to it.
        shutil.copyfile(partial, temporary)
        found = git_blob(temporary)
        if found != blob:
            partial.unlink(missing_ok=True)
            raise ValueError(f"{url}: expected content of git blob {blob}, got {found}; removed")

    write_atomic(path, copy)
    partial.unlink(missing_ok=True)
    return True


def _fetch(url: str, partial: Path, progress: Callable[[int, int | None], None] | None) -> None:
    """Append to a file what it lacks of the content at the address."""
    there = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and there:  # nothing follows: whole, which its id will tell
            return
        raise
    with answer, open(partial, "ab") as file:
        if there and answer.status != 206:  # the server sends all of it
            file.truncate(0)
            there = 0
        length = answer.headers.get("Content-Length")
        total = there + int(length) if length is not None else None
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            there += len(chunk)
            if progress is not None:
                progress(there, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and there < total:
        raise ConnectionError(f"the connection broke after {there} of {total} bytes")
