"""Export as ONNX: what onnxruntime computes, against transformers and against sentence-transformers."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from gradret.commands import export_onnx
from gradret.commands.export import export
from gradret.commands.export_source import open_source
from gradret.commands.export_verify import verify
from gradret.errors import ConfigError, StageError

from ..stages import tiny
from .test_export import LENGTHS, PROMPTS, run, storage, texts, vectors  # noqa: F401 - run and storage are fixtures


def encoder(folder):
    """The encoder of an exported folder, from the folder's own file."""
    spec = importlib.util.spec_from_file_location("exported_encode", folder / "encode.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Encoder(folder)


def test_onnxruntime_gives_the_vectors_that_transformers_gives(run, tmp_path):  # noqa: F811
    folder = export(run, tmp_path / "given", "onnx")
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "encode.json", "encode.py", "model.onnx", "tokenizer.json"}
    docs, queries = texts()
    exported = encoder(folder)
    want = [row["vector"] for row in vectors(run / "model", queries, "query_id", PROMPTS["query"], LENGTHS["query"])]
    np.testing.assert_allclose(exported.encode("query", [row["text"] for row in queries]), want, atol=1e-5)
    prompt, length = PROMPTS["document"], LENGTHS["document"]
    want = [row["vector"] for row in vectors(run / "model", docs, "doc_id", prompt, length)]
    passages = [f"{row['title']} {row['text']}" if row["title"] else row["text"] for row in docs]
    np.testing.assert_allclose(exported.encode("document", passages), want, atol=1e-5)

    # The check compares every kind: documents with the queries' prompt are refused.
    with pytest.raises(StageError, match=r"does not reproduce the run's vectors of \d+ of 100 docs"):
        verify(open_source(run), lambda kind, inputs: exported.encode("query", inputs))

    # In a process that can import neither gradret nor torch.
    alone = (
        "import sys, runpy; sys.modules.update(gradret=None, torch=None); runpy.run_path('encode.py', {}, '__main__')"
    )
    command = [sys.executable, "-c", alone, "query", *queries[7]["text"].split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    want = vectors(run / "model", queries[7:], "query_id", PROMPTS["query"], LENGTHS["query"])[0]["vector"]
    np.testing.assert_allclose(json.loads(done.stdout), want, atol=1e-5)


@pytest.mark.parametrize("kind", ["decoder", "modernbert"])
def test_other_architectures(tmp_path, kind):
    pooling = Pooling(16, "lasttoken" if kind == "decoder" else "mean")
    layer = Transformer(str(tiny.plain(tmp_path / "plain", kind)), max_seq_length=16)
    layer.tokenizer.pad_token = layer.tokenizer.pad_token or layer.tokenizer.eos_token
    model = SentenceTransformer(modules=[layer, pooling, Normalize()], device="cpu")
    model.save(str(tmp_path / "model"), create_model_card=False)
    (tmp_path / "model" / "README.md").write_text("the card")
    (tmp_path / "onnx").mkdir()
    exported = export_onnx.write_onnx(tmp_path / "model", tmp_path / "onnx", trusted=False)
    docs = [row["text"] for row in texts()[0]][:40]
    np.testing.assert_allclose(exported.encode("query", docs), model.encode(docs), atol=1e-5)


def test_a_package_that_is_missing_is_named(run, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(export_onnx, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match=r"no_such_package not installed; pip install 'gradret\[onnx\]'"):
        export(run, tmp_path / "given", "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["storage"]


def test_the_card_tells_how_to_run_it(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Toy\n\n## Use\n\nOld.\n\n## Size\n\nSmall.\n")
    (tmp_path / "given").mkdir()
    export_onnx._write_card(tmp_path, tmp_path / "given")
    card = ModelCard.load(tmp_path / "given" / "README.md")
    assert card.data.to_dict() == {"license": "mit", "library_name": "onnx"}
    assert "Old." not in card.text
    assert "from encode import Encoder" in card.text
    assert "## Size\n\nSmall." in card.text
