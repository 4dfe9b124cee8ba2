"""Published datasets: fetched from a server of this machine, resumed, checked."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from command_line import hashgcn

from hashgcn.data import PUBLISHED, catalogue, fetch, load
from hashgcn.data.download import _not_through_links, download, git_blob

MOST = 1 << 23
CONTENT = b"0 1 2\n1 2 3\n" * 400_000  # several chunks


class Server(ThreadingHTTPServer):
    """Serves bytes by path; knows ranges unless told otherwise, and can break off."""

    files: dict[str, bytes]
    ranges = True
    break_after: int | None = None
    silent = False  # about the length

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = {}, []

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found.group(1)) if found else 0
        self.server.asked.append((self.path, start))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = start if self.server.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if not self.server.silent:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop, self.server.break_after = self.server.break_after, None
        self.wfile.write(content[start : len(content) if stop is None else start + stop])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def blob(content: bytes, tmp_path: Path) -> str:
    path = tmp_path / "content"
    path.write_bytes(content)
    return git_blob(path)


def test_blob_is_gits(tmp_path):
    assert blob(b"", tmp_path) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert blob(b"hello\n", tmp_path) == "ce013625030ba8dba906f756967f9e9ca394464a"


class TestDownload:
    @pytest.fixture
    def path(self, tmp_path, server) -> Path:
        server.files["/f"] = CONTENT
        (tmp_path / "to").mkdir()
        return tmp_path / "to" / "f"

    @pytest.fixture
    def wanted(self, tmp_path) -> str:
        return blob(CONTENT, tmp_path)

    def test_fetches_once_and_reports(self, server, path, wanted):
        seen = []
        assert download(f"{server.home}/f", path, wanted, MOST, lambda *at: seen.append(at))
        assert path.read_bytes() == CONTENT and seen[-1] == (len(CONTENT), len(CONTENT))
        assert not download(f"{server.home}/f", path, wanted, MOST) and len(server.asked) == 1
        assert [p.name for p in path.parent.iterdir()] == ["f"]

    @pytest.mark.parametrize("ranges", [True, False])
    def test_resumes_where_the_connection_broke(self, server, path, wanted, ranges):
        server.break_after, server.ranges = 2_000_000, ranges
        with pytest.raises(ConnectionError, match=r"2000000 bytes are kept, and the same command"):
            download(f"{server.home}/f", path, wanted, MOST)
        assert not path.exists()
        assert download(f"{server.home}/f", path, wanted, MOST)
        assert path.read_bytes() == CONTENT
        assert server.asked == [("/f", 0), ("/f", 2_000_000)]

    def test_takes_what_is_whole_but_has_no_name_yet(self, server, path, wanted):
        (path.parent / f".f.{wanted[:8]}.part").write_bytes(CONTENT)
        assert download(f"{server.home}/f", path, wanted, MOST) and path.read_bytes() == CONTENT

    def test_another_process_cannot_spoil_what_was_checked(self, server, path, wanted):
        """One that was fetching the same, and writes on where it left off."""
        with open(path.parent / f".f.{wanted[:8]}.part", "ab") as other:
            assert download(f"{server.home}/f", path, wanted, MOST)
            other.write(b"the rest")
        assert path.read_bytes() == CONTENT

    def test_two_at_a_time(self, server, path, wanted):
        def run() -> None:
            with contextlib.suppress(ValueError, OSError):  # which says to try again
                download(f"{server.home}/f", path, wanted, MOST)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not path.exists() or path.read_bytes() == CONTENT
        download(f"{server.home}/f", path, wanted, MOST)
        assert path.read_bytes() == CONTENT

    def test_refuses_other_content(self, server, path, wanted):
        server.files["/f"] = b"other"
        with pytest.raises(ValueError, match=rf"/f: expected content with git blob {wanted}, got "):
            download(f"{server.home}/f", path, wanted, MOST)
        assert not list(path.parent.iterdir())

    def test_leaves_a_file_with_other_content_alone(self, server, path, wanted):
        path.write_bytes(b"mine")
        with pytest.raises(ValueError, match=r"f: expected the published file .* remove it"):
            download(f"{server.home}/f", path, wanted, MOST)
        assert path.read_bytes() == b"mine" and not server.asked

    def test_refuses_more_than_the_most(self, server, path, wanted):
        for ranges in (True, False):
            server.ranges = ranges
            (path.parent / f".f.{wanted[:8]}.part").write_bytes(CONTENT[:1000])
            with pytest.raises(
                ValueError, match=r"/f: expected at most 2000 bytes, got 4800000; d"
            ):
                download(f"{server.home}/f", path, wanted, 2000)
            assert not list(path.parent.iterdir())

    def test_stops_a_server_that_does_not_say_how_much(self, server, path, wanted):
        server.silent = True
        with pytest.raises(ValueError, match=r"/f: expected at most 3000000 bytes, got more; del"):
            download(f"{server.home}/f", path, wanted, 3_000_000)
        assert not list(path.parent.iterdir())

    @pytest.mark.parametrize("there", [True, False])
    def test_does_not_write_through_a_link(self, tmp_path, server, path, wanted, there):
        other = tmp_path / "other"
        if there:
            other.write_bytes(b"mine")
        partial = path.parent / f".f.{wanted[:8]}.part"
        partial.symlink_to(other)
        with pytest.raises(
            ValueError, match=r"\.part: expected a file with part of .*symbolic link"
        ):
            download(f"{server.home}/f", path, wanted, MOST)
        assert other.exists() == there and (not there or other.read_bytes() == b"mine")
        assert partial.is_symlink() and not server.asked
        with pytest.raises(OSError, match="symbolic link"):  # one that comes after the check
            _not_through_links(str(partial), os.O_WRONLY)

    def test_missing_on_the_server(self, server, path, wanted):
        with pytest.raises(ConnectionError, match=r"/none: cannot be downloaded: Not Found; 0 "):
            download(f"{server.home}/none", path, wanted, MOST)


class TestFetch:
    @pytest.fixture
    def published(self, tmp_path, server, monkeypatch) -> str:
        files = {"train.txt": b"0 1 2\n1 2 3\n", "test.txt": b"0 3\n"}
        server.files = {f"/tiny/{name}": content for name, content in files.items()}
        blobs = {name: blob(content, tmp_path) for name, content in files.items()}
        entry = catalogue.Published("a test's", blobs, in_time=False)
        monkeypatch.setitem(catalogue.PUBLISHED, "tiny", entry)
        return "tiny"

    def test_then_load(self, tmp_path, server, published):
        folder = fetch(published, tmp_path / "data", home=server.home + "/")
        data = load(published, tmp_path / "data")
        assert folder == tmp_path / "data/tiny" and data.train.num_pairs == 4
        fetch(published, tmp_path / "data", home=server.home)
        assert len(server.asked) == 2

    def test_another_name(self, tmp_path):
        with pytest.raises(
            ValueError, match="name: expected one of gowalla, yelp2018, amazon-book"
        ):
            fetch("movies", tmp_path)

    def test_command_offline(self, tmp_path, server):
        server.shutdown()
        server.server_close()
        done = hashgcn("data", "fetch", "gowalla", "--data", tmp_path, "--home", server.home)
        assert done.returncode == 1
        message = done.stderr
        assert message.startswith("hashgcn: ") and message.count("\n") == 1, message
        for words in ("gowalla/train.txt: cannot be downloaded: ", "Without a network"):
            assert words in message
        assert not (tmp_path / "gowalla/train.txt").exists()


@pytest.mark.parametrize("name", ["gowalla", "yelp2018"])
def test_checksums_are_those_of_the_published_files(real_data, name):
    for file, expected in PUBLISHED[name].blobs.items():
        assert git_blob(real_data / name / file) == expected
