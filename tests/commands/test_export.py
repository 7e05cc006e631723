"""Export of a model: the files written and the errors. flow/test_export.py exports a complete run."""

import json
import random
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from gradret.cli import main
from gradret.commands.export import export
from gradret.errors import ConfigError, StageError, StorageError

from ..stages import tiny

PROMPTS = {"query": "bal dim ", "document": "kun "}
LENGTHS = {"query": 7, "document": 12}
# In document d100 and query q007 alone: the last shard of either is not the first.
RARE = {"docs": "gur", "queries": "fis"}
NO_QUERIES = {"index.tuned": {"inputs": {"vectors": "encode/x"}}, "ingest": {"artifact": "ingest/x"}}


def texts():
    """Documents that are cut at their length and others that are not, and queries."""
    draw = random.Random(3)
    docs = [tiny.doc(n, tiny.sentence(draw, draw.randint(2, 15)), "bal" if n % 2 else None) for n in range(130)]
    queries = [tiny.query(n, tiny.sentence(draw, draw.randint(1, 9)), split="test") for n in range(8)]
    for rows in (docs, queries):
        for row in rows:
            row["text"] = " ".join("bal" if word in RARE.values() else word for word in row["text"].split())
    docs[100]["text"] = f"{RARE['docs']} {docs[100]['text']}"
    queries[7]["text"] = f"{RARE['queries']} {queries[7]['text']}"
    return docs, queries


def vectors(folder, rows, key, prompt, length):
    """By transformers alone: prompt, cut, mean of the tokens' last states, scaled to length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer, bert = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    for row in rows:
        text = f"{prompt}{row['title']} {row['text']}" if row.get("title") else prompt + row["text"]
        tokens = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        with torch.no_grad():
            mean = bert(**tokens).last_hidden_state[0].mean(dim=0)
        found.append({"id": row[key], "vector": (mean / mean.norm()).tolist()})
    return found


def set_prompts(run, prompts):
    path = run / "model" / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prompts": prompts}))


def set_lengths(run, lengths):
    path = run / "model" / "sentence_bert_config.json"
    own = {f"{kind}_length": length for kind, length in lengths.items()}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))


def forget_checksums(path):
    """As a manifest of an earlier version; tests/flow/test_damage.py has what a checksum finds."""
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({key: manifest[key] for key in manifest if key not in ("files", "checksum")}))


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """A storage with a run of a small transformer with prompts and lengths."""
    storage = tmp_path_factory.mktemp("storage")
    made = tiny.model(storage, "transformer")
    run = storage / "runs" / "toy"
    shutil.copytree(made.path / "model", run / "model")
    set_prompts(run, PROMPTS)
    set_lengths(run, LENGTHS)
    (run / "config.yaml").write_text("")
    (run / "model" / "README.md").write_text("the card")
    (run / "model" / "fingerprint.txt").write_text(made.fingerprint)
    (run / "metrics.json").write_text("{}")
    docs, queries = texts()
    doc_vectors = vectors(run / "model", docs, "doc_id", PROMPTS["document"], LENGTHS["document"])
    query_vectors = vectors(run / "model", queries, "query_id", PROMPTS["query"], LENGTHS["query"])
    artifacts = {
        "ingest": tiny.artifact(storage, "ingest", {"docs": [docs[:90], [], docs[90:]]}),
        "queries": tiny.artifact(storage, "queries", {"queries": [queries]}),
        "train": made,
    }
    encoded = {
        "index.tuned": tiny.artifact(storage, "encode", {"vectors": [doc_vectors[:90], [], doc_vectors[90:]]}),
        "search.tuned": tiny.artifact(storage, "encode", {"vectors": [query_vectors[:4], query_vectors[4:]]}),
    }
    lineage = {name: {"artifact": f"{one.stage}/{one.fingerprint}"} for name, one in artifacts.items()}
    lineage |= {name: {"inputs": {"vectors": f"encode/{one.fingerprint}"}} for name, one in encoded.items()}
    (run / "lineage.json").write_text(json.dumps(lineage))
    for path in storage.glob("artifacts/*/*/manifest.json"):
        forget_checksums(path)
    return storage


@pytest.fixture
def run(storage, tmp_path):
    """The folder of the run, in a storage of the test's own."""
    return shutil.copytree(storage, tmp_path / "storage") / "runs" / "toy"


def change_weight(model, word):
    """Move one number of a word's embedding."""
    weights = load_file(model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][4 + tiny.WORDS.index(word), 5] += 0.5
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def test_the_folder_is_the_model_and_its_card(run, tmp_path):
    folder = export(run, tmp_path / "new" / "given")
    assert folder == tmp_path / "new" / "given"
    assert (folder / "README.md").read_text() == "the card"
    assert not (folder / "fingerprint.txt").exists()
    assert not (folder / "loss.safetensors").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["given"]
    assert (folder / "model.safetensors").stat().st_mode & 0o044
    model = SentenceTransformer(str(folder), device="cpu")
    assert model.similarity_fn_name == "dot"
    docs, queries = texts()
    want = [row["vector"] for row in vectors(run / "model", queries, "query_id", PROMPTS["query"], 7)]
    np.testing.assert_allclose(model.encode_query([row["text"] for row in queries]), want, atol=1e-5)
    want = [row["vector"] for row in vectors(run / "model", docs[:1], "doc_id", PROMPTS["document"], 12)]
    np.testing.assert_allclose(model.encode_document([docs[0]["text"]]), want, atol=1e-5)


def test_what_the_losses_learned_goes_along(run, tmp_path):
    lineage = json.loads((run / "lineage.json").read_text())
    learned = run.parents[1] / "artifacts" / lineage["train"]["artifact"] / "loss.safetensors"
    save_file({"loss.0.bias": np.ones(3, np.float32)}, learned)
    assert load_file(export(run, tmp_path / "given") / "loss.safetensors")["loss.0.bias"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("text", ["---\nlicense: [\n---\n", "---\n- a list\n---\n", "---\nmodel-index: [{}]\n---\n"])
def test_a_card_that_the_hub_would_not_read_is_refused(run, tmp_path, text):
    (run / "model" / "README.md").write_text(text)
    with pytest.raises(StageError, match=r"README\.md is no model card \(.*\)\. Mend it"):
        export(run, tmp_path / "given")
    assert not (tmp_path / "given").exists()


@pytest.mark.parametrize(("kind", "name"), [("docs", "d100"), ("queries", "q007")])
def test_one_changed_weight_is_refused_and_nothing_is_written(run, tmp_path, kind, name):
    change_weight(run / "model", RARE[kind])
    before = sorted(tmp_path.iterdir())
    message = rf"does not reproduce the run's vectors of 1 of \d+ {kind}: '{name}' differs by \d"
    with pytest.raises(StageError, match=message):
        export(run, tmp_path / "given")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("kind", "name"), [("docs", "document"), ("queries", "query")])
def test_other_lengths_are_refused(run, tmp_path, kind, name):
    set_lengths(run, LENGTHS | {name: 5})
    with pytest.raises(StageError, match=rf"does not reproduce the run's vectors of \d+ of \d+ {kind}"):
        export(run, tmp_path / "given")


@pytest.mark.parametrize(("kind", "name"), [("docs", "document"), ("queries", "query")])
def test_other_prompts_are_refused(run, tmp_path, kind, name):
    set_prompts(run, PROMPTS | {name: ""})
    with pytest.raises(StageError, match=rf"does not reproduce the run's vectors of \d+ of \d+ {kind}"):
        export(run, tmp_path / "given")


def test_vectors_that_are_not_finite_are_refused(run, tmp_path):
    weights = load_file(run / "model" / "model.safetensors")
    save_file({name: np.full_like(one, np.nan) for name, one in weights.items()}, run / "model" / "model.safetensors")
    with pytest.raises(StageError, match=r"of 100 of 100 docs: .* differs by inf"):
        export(run, tmp_path / "given")


def test_a_model_that_cannot_be_read_is_refused_and_nothing_is_written(run, tmp_path):
    (run / "model" / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(StageError, match="sentence-transformers cannot load the run's model"):
        export(run, tmp_path / "given")
    assert [path.name for path in tmp_path.iterdir()] == ["storage"]


@pytest.mark.parametrize("trusted", [False, True])
def test_the_models_own_code_runs_only_where_the_config_says_so(run, tmp_path, monkeypatch, trusted):
    asked = []

    def _load(folder, **options):
        asked.append(options)
        return SentenceTransformer(folder, device="cpu")

    monkeypatch.setattr("sentence_transformers.SentenceTransformer", _load)
    lineage = json.loads((run / "lineage.json").read_text())
    path = run.parents[1] / "artifacts" / lineage["train"]["artifact"] / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": {"trust_remote_code": trusted}}))
    export(run, tmp_path / "given")
    assert asked == [{"trust_remote_code": trusted}]


def test_a_folder_that_is_not_empty_is_refused(run, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    assert export(run, given) == given
    with pytest.raises(ConfigError, match=r"given exists and is not empty; name another folder"):
        export(run, given)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file exists and is not empty"):
        export(run, tmp_path / "file")


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", json.dumps(NO_QUERIES)])
def test_a_folder_that_is_no_run(tmp_path, text):
    if text is not None:
        (tmp_path / "lineage.json").write_text(text)
    with pytest.raises(ConfigError, match=r"is not the folder of a finished run .*expected STORAGE/runs/NAME"):
        export(tmp_path, tmp_path / "given")


@pytest.mark.parametrize(
    "name", ["config.yaml", "metrics.json", "model/README.md", "model/config_sentence_transformers.json"]
)
def test_a_run_that_was_stopped(run, tmp_path, name):
    (run / name).unlink()
    with pytest.raises(ConfigError, match=rf"is not the folder of a finished run .*{name}"):
        export(run, tmp_path / "given")


def test_the_storage_may_have_moved(run, tmp_path):
    shutil.move(run.parents[1], tmp_path / "elsewhere")
    assert (export(tmp_path / "elsewhere" / "runs" / "toy", tmp_path / "given") / "modules.json").exists()


def test_a_run_outside_its_storage(run, tmp_path):
    shutil.move(run, tmp_path / "moved" / "runs" / "toy")
    with pytest.raises(StorageError, match=r"is missing, which the export reads.*run the command that made it"):
        export(tmp_path / "moved" / "runs" / "toy", tmp_path / "given")


@pytest.mark.parametrize("name", ["ingest", "queries", "encode", "base"])
def test_an_artifact_that_is_gone(run, tmp_path, name):
    shutil.rmtree(run.parents[1] / "artifacts" / name)
    with pytest.raises(StorageError, match=rf"artifacts/{name}/\w+ is missing, .*run the command"):
        export(run, tmp_path / "given")


def test_rows_that_are_gone(run, tmp_path):
    for shard in (run.parents[1] / "artifacts" / "ingest").rglob("part-00002.parquet"):
        shutil.copyfile(shard.with_name("part-00001.parquet"), shard)
    with pytest.raises(StorageError, match=r"docs: rows are missing; delete .* and run again"):
        export(run, tmp_path / "given")


def test_a_place_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"export: .*given cannot be written"):
        export(run, tmp_path / "file" / "given")


def test_the_command(run, tmp_path, capsys):
    assert main(["export", str(run), str(tmp_path / "a"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"model": str(tmp_path / "a")}
    assert [line.split()[:4] for line in err.splitlines()] == [
        ["export", "100", "docs", "verified,"],
        ["export", "8", "queries", "verified,"],
    ]
    assert main(["export", str(run), str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'b'}\n"
    assert main(["export", str(run), str(tmp_path / "b")]) == 2
    change_weight(run / "model", RARE["docs"])
    assert main(["export", str(run), str(tmp_path / "c")]) == 1
    assert "Traceback" not in capsys.readouterr().err
