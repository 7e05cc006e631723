"""BEIR archives from a server on loopback: complete, interrupted, resumed, damaged or unavailable."""

import hashlib
import http.server
import io
import json
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from gradret.datasets import _download, read_settings
from gradret.datasets.beir import Beir
from gradret.datasets.beir_archive import BeirArchive
from gradret.errors import ConfigError, DataError, StorageError

TABLES = ("docs", "queries", "qrels")


def zipped(name="scifact", **more):
    files = {
        "corpus.jsonl": "".join(json.dumps({"_id": f"d{n}", "text": f"text {n:x}"}) + "\n" for n in range(2000)),
        "queries.jsonl": '{"_id": "q1", "text": "a query"}\n',
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{name}/{file}", text)
        for path, text in more.items():
            archive.writestr(path, text)
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``data``; ``cuts`` are the bytes after which answers break off, one an answer."""

    def __init__(self, data):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.cuts, self.ranges, self.asked, self.status = data, [], True, [], 0
        self.pause = 0.0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/datasets"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        time.sleep(server.pause)
        if server.status:
            self.send_error(server.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start >= len(server.data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.data) - start))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(server.data)
        self.wfile.write(server.data[start : start + cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    with Server(zipped()) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def archive(server, tmp_path):
    def make(name="scifact", **options):
        options = {"path": str(tmp_path / "cache"), "url": server.url, "md5": md5(server.data)} | options
        return BeirArchive(archive=name, **options)

    return make


def md5(data):
    return hashlib.md5(data).hexdigest()


def rows(dataset, table):
    return [row for part in dataset.parts(table) for _, row in dataset.read(table, part)]


def test_it_is_fetched_once_and_read_as_a_folder(archive, server, tmp_path):
    dataset = archive()
    with zipfile.ZipFile(io.BytesIO(server.data)) as file:
        file.extractall(tmp_path / "by hand")
    folder = Beir(path=str(tmp_path / "by hand" / "scifact"))
    for table in TABLES:
        assert rows(dataset, table) == rows(folder, table)
        assert dataset.content(table) == folder.content(table)
    assert len(rows(dataset, "docs")) == 2000
    assert server.asked == [("/datasets/scifact.zip", None)]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".scifact.lock", "scifact", "scifact.zip"]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_breaks_off_is_gone_on_with(archive, server, ranges):
    server.cuts, server.ranges = [1000, 5000], ranges
    assert len(rows(archive(), "docs")) == 2000
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-", f"bytes={6000 if ranges else 5000}-"]


def test_it_goes_on_as_long_as_something_comes(archive, server):
    server.cuts = [1000] * 6
    assert len(rows(archive(), "docs")) == 2000
    assert len(server.asked) == 7


def test_the_next_run_goes_on(archive, server, tmp_path):
    server.cuts = [1000, 0, 0]
    with pytest.raises(DataError) as caught:
        archive().content("docs")
    size = len(server.data)
    assert f"cannot download {server.url}/scifact.zip: the connection closed after 1,000 of {size:,} bytes" in str(
        caught.value
    )
    assert f"copy it to {tmp_path / 'cache' / 'scifact.zip'}" in str(caught.value)
    assert not (tmp_path / "cache" / "scifact").exists()
    server.asked.clear()
    assert len(rows(archive(), "docs")) == 2000
    assert server.asked == [("/datasets/scifact.zip", "bytes=1000-")]


def test_what_was_fetched_whole_before_a_kill_is_not_fetched_again(archive, server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "scifact.zip.part").write_bytes(server.data)
    assert len(rows(archive(), "docs")) == 2000
    assert server.asked == [("/datasets/scifact.zip", f"bytes={len(server.data)}-")]


def test_another_checksum_is_refused_until_it_is_removed(archive, server, tmp_path):
    good = server.data
    server.data = good[:-1] + b"?"
    for _ in range(2):  # the second finds the archive in place
        with pytest.raises(DataError, match=f"expected MD5 {md5(good)}, got {md5(server.data)}: .*Delete it"):
            archive(md5=md5(good)).content("docs")
    assert len(server.asked) == 1
    assert not (tmp_path / "cache" / "scifact").exists()
    (tmp_path / "cache" / "scifact.zip").unlink()
    server.data = good
    assert len(rows(archive(), "docs")) == 2000


def test_the_published_checksum_holds_where_none_is_given(archive):
    with pytest.raises(DataError, match="expected MD5 5f7d1de60b170fc8027bb7898e2efca1, got"):
        archive(md5="").content("docs")


def test_an_archive_put_there_by_hand_needs_no_network(archive, server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "scifact.zip").write_bytes(server.data)
    assert len(rows(archive(), "docs")) == 2000
    (tmp_path / "cache" / "fiqa" / "qrels").mkdir(parents=True)
    (tmp_path / "cache" / "fiqa" / "corpus.jsonl").write_text('{"_id": "1", "text": "x"}\n')
    assert rows(archive("fiqa"), "docs") == [{"doc_id": "1", "title": "", "text": "x"}]
    assert server.asked == []


def test_a_zip_that_is_none(archive, server, tmp_path):
    server.data = server.data[: len(server.data) // 2]
    with pytest.raises(DataError, match=r"scifact\.zip: not a valid zip archive: .*; delete it and run again"):
        archive().content("docs")
    assert not (tmp_path / "cache" / "scifact").exists()
    assert not list((tmp_path / "cache").glob("*unpacking*"))


def test_a_zip_of_another_set(archive, server):
    server.data = zipped("other")
    with pytest.raises(DataError, match=r"scifact\.zip: no folder scifact"):
        archive().content("docs")


def test_nothing_is_written_outside(archive, server, tmp_path):
    server.data = zipped(**{"../../escaped": "x", "scifact/../../escaped": "x", f"{tmp_path}/escaped": "x"})
    assert len(rows(archive(), "docs")) == 2000
    left = {path for path in tmp_path.rglob("*escaped*") if not path.is_relative_to(tmp_path / "cache" / "scifact")}
    assert not left
    assert not (tmp_path.parent / "escaped").exists()


def test_a_killed_unpacking_is_done_again(archive, tmp_path):
    left = tmp_path / "cache" / ".scifact.unpacking" / "scifact"
    (left / "qrels").mkdir(parents=True)
    (left / "corpus.jsonl").write_text("{half")
    (left / "qrels" / "train.tsv").write_text("q1\td1\t1\n")
    assert len(rows(archive(), "docs")) == 2000
    assert [row["split"] for row in rows(archive(), "qrels")] == ["test"]


def test_no_server(archive, server, tmp_path):
    dataset = archive(url="http://127.0.0.1:9/datasets")
    with pytest.raises(DataError, match=r"cannot download http://127\.0\.0\.1:9/datasets/scifact\.zip: .*copy it to"):
        dataset.content("docs")


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (503, 3)])
def test_a_server_that_refuses(archive, server, status, tries):
    server.status = status
    with pytest.raises(DataError, match="cannot download"):
        archive().content("docs")
    assert len(server.asked) == tries


def test_a_folder_that_cannot_be_written(archive, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"dataset\.path: cannot write to .*file/cache"):
        archive(path=str(tmp_path / "file" / "cache")).content("docs")


def test_a_full_disk(archive, server, tiny):
    folder, grow = tiny
    with pytest.raises(StorageError, match=r"dataset\.path: cannot write to .*: No space left on device"):
        archive(path=str(folder)).content("docs")
    grow()
    assert len(rows(archive(path=str(folder)), "docs")) == 2000
    assert server.asked[1][1] is not None  # what fitted was kept


def test_two_at_once_fetch_it_once(archive, server):
    server.pause = 0.2
    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(lambda _: archive().content("docs"), range(4)))
    assert len(server.asked) == len(set(contents)) == 1
    assert len(rows(archive(), "docs")) == 2000


def test_a_part_of_cqadupstack_is_a_folder(archive, server):
    server.data = zipped("cqadupstack/android")
    assert len(rows(archive("cqadupstack/android"), "docs")) == 2000
    assert server.asked == [("/datasets/cqadupstack.zip", None)]
    with pytest.raises(ConfigError, match=r"archive: 'cqadupstack' is not one of cqadupstack/android, .*wordpress"):
        BeirArchive(archive="cqadupstack")


def test_unknown_sets_and_places():
    with pytest.raises(ConfigError, match=r"archive: 'scifct' is not a published BEIR dataset.*did you mean 'scifact'"):
        BeirArchive(archive="scifct")
    with pytest.raises(ConfigError, match="archive: 'scifact/a' is not one of scifact"):
        BeirArchive(archive="scifact/a")
    with pytest.raises(ConfigError, match="url: must begin with http"):
        BeirArchive(archive="scifact", url="file:///etc")
    with pytest.raises(ConfigError, match="no Snowball stemmer"):
        BeirArchive(archive="scifact", language="klingon")


def test_the_same_ids_are_left_out_where_the_queries_are_documents():
    sets = ("arguana", "quora", "scifact", "cqadupstack/tex")
    assert [BeirArchive(archive=name).exclude_same_ids for name in sets] == [True, True, False, False]


def test_a_fingerprint_knows_nothing_of_places():
    assert read_settings(BeirArchive(archive="scifact", path="a", md5="b")) == {"class": BeirArchive}
