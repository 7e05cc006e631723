"""The whole flow at small size: a run's results, and what a second run reuses."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradret.arguments import STAGES
from gradret.cli import main
from gradret.planning.used import used_hours
from gradret.store.artifacts import opened, read_shard

from ..small_run import ROOT, command, gradret, made, model_bytes, shard_ids

SYSTEMS = ["bm25", "base", "tuned", "hybrid", "teacher"]


def test_metrics_json_is_as_specified(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    keys = ["name", "dataset", "queries", "systems", "significance", "remarks", "seconds", "teacher_check"]
    assert list(metrics) == keys
    assert metrics["name"] == "small"
    assert sorted(metrics["systems"]) == sorted(SYSTEMS)
    for values in metrics["systems"].values():
        assert list(values) == ["nDCG@10", "Recall@100", "MRR@10", "MAP", "judged@10"]
        assert all(0 <= value <= 1 for value in values.values())
    for row in metrics["significance"]:
        assert list(row) == ["a", "b", "measure", "difference", "p", "p_corrected", "test", "correction"]
        difference = metrics["systems"][row["a"]][row["measure"]] - metrics["systems"][row["b"]][row["measure"]]
        assert row["difference"] == pytest.approx(difference, abs=1e-9)
        assert row["p_corrected"] >= row["p"]


def test_the_teacher_was_checked_before_labels_were_made(finished, storage):
    found = json.loads((finished / "metrics.json").read_text())["teacher_check"]
    assert (found["retriever"], found["teacher"], found["sample"]) == ("dense", "fusion", "generated")
    assert found["outcome"] == "better"
    assert 100 < found["queries"] <= found["drawn"] == 200
    assert found["difference"] == pytest.approx(found["teacher_ndcg"] - found["retriever_ndcg"])
    entries = json.loads((finished / "lineage.json").read_text())
    assert list(entries).index("check") < list(entries).index("label")
    # The student before training is encoded and indexed once, for the check and for the report.
    searched = [json.loads(path.read_text()) for path in (storage / "artifacts" / "retrieve").glob("*/manifest.json")]
    assert entries["index.base"]["artifact"] in {manifest["inputs"].get("index") for manifest in searched}


def test_training_orders_held_out_lists_better_than_the_base_model(finished, storage):
    train = json.loads((finished / "lineage.json").read_text())["train"]
    lines = (storage / train["path"] / "metrics.jsonl").read_text().splitlines()
    base, *epochs = (line["dev_ndcg"] for line in map(json.loads, lines) if "dev_ndcg" in line)
    assert max(epochs) > base


def test_lineage_names_every_artifact_and_counts_reconcile(finished, storage):
    lineage = json.loads((finished / "lineage.json").read_text())
    needed = {"ingest", "generate", "check", "leaks", "mine", "label", "select", "base", "train"}
    needed |= {"index.tuned", "search.bm25"}
    assert needed <= set(lineage)
    for entry in lineage.values():
        manifest = json.loads((storage / entry["path"] / "manifest.json").read_text())
        assert sum(manifest["quarantined"].values()) == manifest["counts"].get("quarantined", 0)
    for name in ("ingest", "label", "select"):  # one row out for each row in
        counts = lineage[name]["counts"]
        assert counts["rows_in"] == counts["rows_out"] + counts["quarantined"] > 0
    assert lineage["label"]["counts"]["rows_in"] == lineage["mine"]["counts"]["rows_out"]


def test_report_needs_nothing_from_outside(finished):
    page = (finished / "report.html").read_text()
    assert page.count("<html") == 1
    for outside in ('src="http', 'href="http', "@import", "<script src", "url(http"):
        assert outside not in page
    assert "tuned" in page
    assert "bm25" in page.lower()


def test_run_files_are_trec_runs_in_the_order_of_their_scores(finished):
    for system in SYSTEMS:
        lines = [line.split() for line in (finished / "runs" / f"{system}.trec").read_text().splitlines()]
        assert {len(line) for line in lines} == {6}
        by_query = {}
        for query_id, _, doc_id, rank, score, tag in lines:
            assert tag == system
            by_query.setdefault(query_id, []).append((int(rank), float(score), doc_id))
        for rows in by_query.values():
            assert [rank for rank, _, _ in rows] == list(range(1, len(rows) + 1))
            scores = [np.float32(score) for _, score, _ in rows]
            assert scores == sorted(scores, reverse=True)


def test_tuned_model_in_sentence_transformers_gives_the_vectors_of_the_index(finished, storage, dataset):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(finished / "model"), device="cpu")
    entries = json.loads((finished / "lineage.json").read_text())
    folder = storage / entries["index.tuned"]["path"] / "shards"
    vectors = np.load(folder / "00000.npy")
    docs = {}
    for line in (dataset / "corpus.jsonl").read_text().splitlines():
        row = json.loads(line)
        docs[row["_id"]] = f"{row['title']} {row['text']}"
    expected = model.encode([docs[doc_id] for doc_id in shard_ids(folder)])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    strange = model.encode(["", "word " * 20_000])
    np.testing.assert_allclose(np.linalg.norm(strange, axis=1), [0.0, 1.0], atol=1e-5)


def test_the_log_has_a_numbered_line_for_every_stage_and_details(finished):
    first = (finished / "log.txt").read_text().partition("\tfinished\n")[0]
    lines = [line.partition("\t")[2] for line in first.splitlines()[:-1]]
    stages = re.findall(r"^\[ ?(\d+)/15\] (\w+)  .* s", "\n".join(lines), re.MULTILINE)
    assert [int(number) for number, _ in stages] == list(range(1, 16))
    assert {name for _, name in stages} == set(STAGES) - {"cut"}  # documents stay whole
    assert any(
        re.fullmatch(r"  encode .* queries, tuned model: 29 rows in.*/artifacts/encode/\w+", line) for line in lines
    )
    assert re.fullmatch(r"finished in .*: 15 stages computed, 0 reused", lines[-1])


HEAVY = {"faiss", "pandas", "ray", "scipy", "sklearn", "torch", "transformers"}


def test_a_second_run_computes_nothing_and_imports_nothing_heavy(finished, dataset, storage):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != "log.txt"}
    assert made(without(HEAVY, command("run", dataset, storage))) == []
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != "log.txt"} == before


def test_a_plan_of_a_finished_run_computes_nothing_and_imports_nothing_heavy(finished, dataset, storage):
    """Of what is heavy it imports bm25s, and with it scipy, to write the sample's queries."""
    planned = without(HEAVY - {"scipy"}, command("plan", dataset, storage))
    assert made(planned) == []
    used = {line.split()[0] for line in planned.stdout.splitlines()[3:20] if line and line.split()[-1] != "-"}
    assert used > set(used_hours(storage, "small")) > {"ingest", "train"}


def without(heavy, arguments):
    """Run the command in a process that fails if it has imported any of the modules."""
    code = (
        "import sys; from gradret.cli import main; status = main(sys.argv[1:]);"
        f"heavy = {heavy!r} & set(sys.modules); assert not heavy, heavy; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments[3:]], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", ["report.html", "metrics.json", "runs/tuned.trec", "model/README.md"])
def test_a_file_of_the_report_that_was_changed_is_written_again(finished, dataset, storage, name):
    whole = (finished / name).read_bytes()
    (finished / name).write_bytes(whole[:-1] + b"!")
    done = gradret("report", dataset, storage)
    assert done.returncode == 0, done.stderr
    assert (finished / name).read_bytes() == whole


def test_a_resource_changes_nothing(finished, dataset, storage):
    done = gradret("run", dataset, storage, "train.resources.chunk_size=77", "label.resources.actors=2")
    assert done.returncode == 0, done.stderr
    assert made(done) == ["report"]  # which shows the config


def test_another_loss_runs_train_and_what_follows(finished, dataset, storage):
    done = gradret("train", dataset, storage, "train.loss=[{name: infonce, temperature: 0.1}]")
    assert done.returncode == 0, done.stderr
    assert made(done) == ["train"]


def test_a_change_in_a_loss_file_runs_train_again(finished, dataset, storage, tmp_path):
    shutil.copytree(ROOT / "gradret", tmp_path / "gradret")
    with (tmp_path / "gradret" / "losses" / "kl.py").open("a") as file:
        file.write("\n# changed\n")
    done = gradret("train", dataset, storage, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert made(done) == ["train"]


def test_four_shards_give_the_identical_run(finished, dataset, storage):
    one = {system: (finished / "runs" / f"{system}.trec").read_bytes() for system in ("base", "tuned")}
    done = gradret("run", dataset, storage, "index.num_shards=4", "name=four")
    assert done.returncode == 0, done.stderr
    for system, expected in one.items():
        assert (storage / "runs" / "four" / "runs" / f"{system}.trec").read_bytes() == expected


def test_search_by_hand(finished, capsys):
    words = ["wait", "for", "a", "process", "but", "give", "up", "after", "a", "while"]
    assert main(["search", str(finished), *words, "--json", "--top", "5"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert [hit["rank"] for hit in hits] == list(range(1, 6))
    assert any(hit["doc_id"].startswith("subprocess") for hit in hits)


def test_typed_queries_give_the_ranking_of_the_run(finished, storage, capsys, monkeypatch):
    entries = json.loads((finished / "lineage.json").read_text())
    queries = opened(storage / entries["queries"]["path"]).table("queries").to_pylist()[:3]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(query["text"] for query in queries)))
    assert main(["search", str(finished), "--compare", "--json"]) == 0
    for query, line in zip(queries, capsys.readouterr().out.splitlines(), strict=True):
        for system, hits in json.loads(line).items():
            rows = [row.split() for row in (finished / "runs" / f"{system}.trec").read_text().splitlines()]
            expected = [row[2] for row in rows if row[0] == query["query_id"]][:10]
            assert [hit["doc_id"] for hit in hits] == expected


def test_search_by_hand_imports_neither_torch_nor_ray(finished):
    code = (
        "import sys; from gradret.cli import main; main(sys.argv[1:]);"
        "sys.exit(bool({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    )
    arguments = ["search", str(finished), "wait", "--compare"]
    assert subprocess.run([sys.executable, "-c", code, *arguments], check=False, cwd=ROOT).returncode == 0


def test_poisoned_test_judgments_give_the_identical_model(finished, dataset, tmp_path):
    poisoned = tmp_path / "dataset"
    shutil.copytree(dataset, poisoned)
    qrels = poisoned / "qrels" / "test.tsv"
    header, *lines = qrels.read_text().splitlines()
    moved = [line.split("\t")[:2] for line in lines]
    docs = [doc_id for _, doc_id in moved]
    lines = [f"{query_id}\t{doc_id}\t3" for (query_id, _), doc_id in zip(moved, reversed(docs), strict=True)]
    qrels.write_text("\n".join([header, *dict.fromkeys(lines)]) + "\n")
    text = (poisoned / "queries.jsonl").read_text()
    (poisoned / "queries.jsonl").write_text(text.replace('"text": "', '"text": "poison '))
    done = gradret("train", poisoned, tmp_path / "storage")
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip().splitlines()[-1]
    assert model_bytes(Path(folder)) == model_bytes(finished)
    clean = json.loads((finished / "lineage.json").read_text())
    assert clean["train"]["artifact"] == f"train/{Path(folder).name}"
    for stage in ("check", "leaks"):
        assert (tmp_path / "storage" / "artifacts" / clean[stage]["artifact"] / "manifest.json").is_file()


def test_documents_alone_are_enough(finished, dataset, storage, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(dataset / "corpus.jsonl", alone)
    done = gradret("run", alone, storage, "name=alone")
    assert done.returncode == 0, done.stderr
    assert "The test queries are generated" in done.stdout
    run = storage / "runs" / "alone"
    assert "The test queries are generated" in (run / "report.html").read_text()
    entries = json.loads((run / "lineage.json").read_text())
    test = {row["query_id"] for row in opened(storage / entries["queries"]["path"]).table("queries").to_pylist()}
    trained = {row["query_id"] for row in opened(storage / entries["select"]["path"]).table("groups").to_pylist()}
    assert len(test) >= 50
    assert trained
    assert not test & trained
    ranks = {line.split()[0] for line in (run / "runs" / "tuned.trec").read_text().splitlines()}
    assert ranks == test


def test_every_table_of_the_run_keeps_its_contract(finished, storage):
    entries = json.loads((finished / "lineage.json").read_text())
    tables = {"ingest": "docs", "generate": "queries", "mine": "pairs", "label": "labels", "select": "groups"}
    for stage, table in tables.items():
        shards = sorted((storage / entries[stage]["path"] / table).glob("*.parquet"))
        assert shards
        assert sum(read_shard(shard, table).num_rows for shard in shards) > 0
