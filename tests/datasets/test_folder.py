"""A folder of text, Markdown and HTML files."""

import pytest

from gradret.datasets import Bad, _tables
from gradret.datasets.folder import Folder
from gradret.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    """Writes files and makes the dataset that reads them."""

    def make(**files):
        for name, data in files.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return Folder(path=str(tmp_path))

    return make


def read(dataset):
    return [row for part in dataset.parts("docs") for _, row in dataset.read("docs", part)]


def test_each_file_is_a_document(folder):
    dataset = folder(
        notes_txt="A wing gains lift.\n",
        guide__start_md="intro\n\n## First *steps* ##\ntext\n",
        skip_pdf="no",
        _git__a_txt="no",
    )
    assert read(dataset) == [
        {"doc_id": "guide/start.md", "title": "First *steps*", "text": "intro\n\n## First *steps* ##\ntext\n"},
        {"doc_id": "notes.txt", "title": "", "text": "A wing gains lift.\n"},
    ]


PAGE = """<!doctype html><html><head><title> Wings &amp;
 slipstreams </title><style>p {color: red}</style><script>if (1 < 2) alert("<p>no</p>")</script></head>
<body><h1>Wings</h1><p>A <b>wing</b> in a <a href="x">slip</a>stream<br>gains   lift.</p><ul><li>one<li>two</ul>
<noscript>no</noscript><template><p>no</p></template>caf&eacute; 1 &lt; 2</body></html>"""


def test_a_page_is_its_title_and_visible_text(folder):
    (row,) = read(folder(page_html=PAGE))
    assert row["title"] == "Wings & slipstreams"
    assert row["text"] == "Wings\nA wing in a slipstream\ngains lift.\none\ntwo\ncaf\u00e9 1 < 2"


def test_unusable_files_are_quarantined(folder):
    rows = read(folder(a_txt=b"\xff\xfe", b_txt="  \n", c_html="<script>1</script>", d_txt="\ufeffgood"))
    assert [row.reason if isinstance(row, Bad) else row["text"] for row in rows] == [
        "not UTF-8", "empty title and text", "empty title and text", "good",
    ]  # fmt: skip


def test_parts_cover_all_files_once(folder, monkeypatch):
    monkeypatch.setattr(_tables, "_PART_BYTES", 100)
    dataset = folder(**{f"d{number:02d}_txt": f"text {number} " * 5 for number in range(40)})
    assert len(dataset.parts("docs")) > 5
    assert [row["doc_id"] for row in read(dataset)] == [f"d{number:02d}.txt" for number in range(40)]


def test_a_name_is_content(folder, tmp_path):
    dataset = folder(a_txt="text")
    before = dataset.content("docs")
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert dataset.content("docs") != before


def test_queries_and_judgments_are_those_of_a_beir_folder(folder):
    assert folder(a_txt="text").parts("queries") == []
    dataset = folder(queries_jsonl='{"_id": "q", "text": "x"}\n', qrels__test_tsv="q\ta.txt\t1\n")
    (part,) = dataset.parts("qrels")
    ((_, row),) = dataset.read("qrels", part)
    assert row == {"query_id": "q", "doc_id": "a.txt", "relevance": 1, "split": "test"}


def test_what_is_wrong_is_said(folder, tmp_path):
    with pytest.raises(ConfigError, match="path: is required"):
        Folder()
    with pytest.raises(DataError, match=r"dataset\.path: no folder at .*nowhere"):
        Folder(path=str(tmp_path / "nowhere")).content("docs")
    with pytest.raises(DataError, match=r"has no \.htm, \.html, \.md, \.txt files"):
        folder(a_pdf="x").parts("docs")
