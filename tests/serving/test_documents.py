"""Documents whose ids and texts are hard to sort, over several batches."""

from gradret.serving import documents
from gradret.serving.documents import Documents

IDS = ["b", "a", "\U0001f600", "\uff21", "\u00e9", "", "B", "10", "9", "a b", "aa", "\ue000"]


def row(number, doc_id):
    return {
        "doc_id": doc_id,
        "title": None if number % 3 else f"title {number}",
        "text": f"text {number}",
        "origin": "",
    }


def test_every_document_is_found(artifact, monkeypatch):
    monkeypatch.setattr(documents, "_ROWS", 5)
    rows = [row(number, doc_id or "empty") for number, doc_id in enumerate(IDS)]
    stored = artifact("ingest", docs=rows)
    found = Documents(stored).get([each["doc_id"] for each in rows])
    assert found == {
        each["doc_id"]: {"doc_id": each["doc_id"], "title": each["title"] or "", "text": each["text"]} for each in rows
    }
