"""Export of a complete run's model."""

import json
import re
import shutil

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from gradret.commands.export import export
from gradret.errors import StorageError

from ..small_run import ROOT, shard_ids


def test_the_folder_gives_the_vectors_of_the_index(finished, storage, dataset, tmp_path):
    folder = export(finished, tmp_path / "given")
    model = SentenceTransformer(str(folder), device="cpu")
    index = storage / json.loads((finished / "lineage.json").read_text())["index.tuned"]["path"] / "shards"
    rows = [json.loads(line) for line in (dataset / "corpus.jsonl").read_text().splitlines()]
    texts = {row["_id"]: f"{row['title']} {row['text']}" for row in rows}
    got = model.encode_document([texts[doc_id] for doc_id in shard_ids(index)])
    np.testing.assert_allclose(got, np.load(index / "00000.npy"), atol=1e-5)
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "sentence-transformers"
    assert f"- Documents: {len(rows)}" in card.text
    results = {one.metric_name: one.metric_value for one in card.data.eval_results}
    tuned = json.loads((finished / "metrics.json").read_text())["systems"]["tuned"]
    assert f"| tuned | {' | '.join(f'{value:.4f}' for value in tuned.values())} |" in card.text
    assert results == {name: pytest.approx(tuned[name], abs=1e-6) for name in tuned if name != "judged@10"}


def test_a_changed_model_is_refused_and_nothing_is_written(finished, storage, tmp_path):
    run = shutil.copytree(finished, storage / "runs" / "changed")
    weights = load_file(run / "model" / "model.safetensors")
    (table,) = weights.values()
    tokens = json.loads((run / "model" / "tokenizer.json").read_text())["model"]["vocab"]
    table[tokens["the"], 0] += 1
    save_file(weights, run / "model" / "model.safetensors")
    with pytest.raises(StorageError, match=r"model\.safetensors is damaged: its checksum differs; delete .*/model and"):
        export(run, tmp_path / "given")
    assert list(tmp_path.iterdir()) == []


def test_the_static_student_as_onnx_gives_the_vectors_of_the_index(finished, storage, dataset, tmp_path, monkeypatch):
    folder = export(finished, tmp_path / "onnx", "onnx")
    monkeypatch.syspath_prepend(folder)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    names = {}
    exec(code.replace('"DIR"', repr(str(folder))), names)
    index = storage / json.loads((finished / "lineage.json").read_text())["index.tuned"]["path"] / "shards"
    rows = [json.loads(line) for line in (dataset / "corpus.jsonl").read_text().splitlines()]
    texts = {row["_id"]: f"{row['title']} {row['text']}" for row in rows}
    got = names["encoder"].encode("document", [texts[doc_id] for doc_id in shard_ids(index)])
    np.testing.assert_allclose(got, np.load(index / "00000.npy"), atol=1e-5)
    assert not names["encoder"].encode("query", ["", ""]).any()
