import io
import json
import os
import zipfile

import pytest

from . import outside


@pytest.fixture(scope="session", autouse=True)
def sent_by_value():
    """Ray's workers cannot import tests."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(outside)


SCIFACT = {
    "corpus.jsonl": [{"_id": f"d{n}", "title": f"title {n}", "text": f"text {n}", "metadata": {}} for n in range(25)],
    "queries.jsonl": [{"_id": f"q{n}", "text": f"query {n}", "metadata": {}} for n in range(6)],
    "qrels/test.tsv": [("q1", "d1", 1), ("q1", "d2", 1), ("q2", "d3", 1)],
    "qrels/train.tsv": [("q3", "d4", 1)],
}


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """ir_datasets' folder with a small ``beir/scifact`` and ``vaswani`` in it; it is looked up at first import."""
    folder = tmp_path_factory.mktemp("ir_datasets")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, rows in SCIFACT.items():
            head = "query-id\tcorpus-id\tscore\n" if name.endswith("tsv") else ""
            lines = [json.dumps(row) if isinstance(row, dict) else "\t".join(map(str, row)) for row in rows]
            archive.writestr(f"scifact/{name}", head + "".join(f"{line}\n" for line in lines))
    texts = {
        "beir/scifact/source.zip": buffer.getvalue(),
        "vaswani/docs.txt": b"".join(b"%d\ntext %d\n   /\n" % (n, n) for n in range(1, 13)),
        "vaswani/queries.txt": b"1\nA QUERY\n/\n",
        "vaswani/qrels.txt": b"1\n3 5\n   /\n",
    }
    for path, data in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    before = os.environ.get("IR_DATASETS_HOME")
    os.environ["IR_DATASETS_HOME"] = str(folder)
    yield folder
    del os.environ["IR_DATASETS_HOME"]
    if before is not None:
        os.environ["IR_DATASETS_HOME"] = before
