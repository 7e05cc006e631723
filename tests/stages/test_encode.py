import dataclasses

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from gradret.dense.vectors import read_vectors
from gradret.errors import StageError
from gradret.stages.encode import encode, load_model
from gradret.text import passage

from . import tiny


@pytest.mark.parametrize("kind", ["static", "transformer"])
@pytest.mark.parametrize("table", ["docs", "queries"])
def test_vectors_are_what_sentence_transformers_gives(world, kind, table):
    """Text by text, an empty and a very long one among them."""
    config, ingested, models = world
    vectors = encode(config, models[kind], ingested, table)
    ids, matrix = read_vectors(vectors)
    rows = ingested.table(table).to_pylist()
    assert ids == [row["doc_id" if table == "docs" else "query_id"] for row in rows]
    texts = [passage(row.get("title"), row["text"]) for row in rows]
    model = SentenceTransformer(str(models[kind].path / "model"), device="cpu")
    want = np.stack([model.encode([text], convert_to_numpy=True)[0] for text in texts])
    np.testing.assert_allclose(matrix, want, atol=1e-5)
    assert matrix.dtype == np.float32
    assert vectors.counts["rows_in"] == vectors.counts["rows_out"] == len(rows)
    if table == "docs":
        assert "" in texts
        assert max(map(len, texts)) > 10_000
        assert matrix.any(axis=1).sum() == len(rows) - (kind == "static")


def test_a_shard_may_be_empty(world):
    config, _, models = world
    storage = config.storage_path
    ingested = tiny.artifact(storage, "ingest", {"docs": [[], [tiny.doc(0, "bal")]]})
    ids, matrix = read_vectors(encode(config, models["static"], ingested, "docs"))
    assert ids == ["d000"]
    assert matrix.shape == (1, 12)


def test_a_vector_that_is_not_finite_names_its_text(world, tmp_path):
    config, _, _ = world
    config = dataclasses.replace(config, storage_path=str(tmp_path))
    broken = tiny.model(tmp_path, "static")
    model = load_model(broken.path / "model")
    model[0].embedding.weight.data[model.tokenizer.token_to_id("bal")] = np.nan
    model.save(str(broken.path / "model"), create_model_card=False)
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(0, "dim"), tiny.doc(1, "dim bal")]]})
    with pytest.raises(StageError, match="not finite for docs 'd001'"):
        encode(config, broken, ingested, "docs")
