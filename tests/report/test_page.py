"""The page and all files that the stage ``report`` writes, for a toy run."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gradret.config.run import Config, Evaluate
from gradret.config.train import Train
from gradret.encoders.static import Static
from gradret.errors import StorageError
from gradret.report.curve import Epoch, epochs, read_curve
from gradret.report.headline import headline, verdicts
from gradret.report.plots import systems_plot, training_plot
from gradret.report.queries import queries
from gradret.report.run import report
from gradret.report.tables import terminal_table
from gradret.stages.evaluate import evaluate
from gradret.stats.significance import Comparison, Mean, Results, results
from gradret.store import contracts
from gradret.store.artifacts import Artifact, make

from .html import read

Rows = list[dict[str, Any]]
SYSTEMS = ("tuned", "teacher", "bm25", "base")
NONE = "\N{EN DASH}"
TOPICS = ("wing flutter", "boundary layer", "heat transfer", "shock wave", "panel buckling")


@dataclass(frozen=True)
class Toy:
    """A dataset of the tests."""

    path: str = "toy"
    split: str = "test"
    language: str = "english"
    options: list[str] = field(default_factory=list)


def artifact(
    storage: Path, stage: str, tables: Mapping[str, Rows], files: Mapping[str, str] | None = None, **counts: int
) -> Artifact:
    def _body(draft: Any) -> None:
        for name, rows in tables.items():
            draft.write(name, pa.Table.from_pylist(rows, contracts.schema(name)))
        for name, text in (files or {}).items():
            (draft.path / name).parent.mkdir(parents=True, exist_ok=True)
            (draft.path / name).write_text(text, encoding="utf-8")
        draft.count(**counts)
        if "quarantine" in tables:
            draft.quarantined["empty text"] = len(tables["quarantine"])

    settings = {"rows": dict(tables), "files": dict(files or {})}
    return make(stage, str(storage), module="gradret.store.artifacts", settings=settings, inputs={}, body=_body)


def config(storage: Path) -> Config:
    return Config(
        name="toy-run",
        dataset=Toy(),
        storage_path=str(storage),
        train=Train(encoder=Static()),
        evaluate=Evaluate(("nDCG@10", "MAP", "judged@10")),
    )


def whole_flow(storage: Path) -> dict[str, Artifact]:
    """Artifacts as a run leaves them: 40 documents, 12 test queries, four systems."""
    made = given(storage)
    draw = random.Random(5)
    for noise, system in zip((2.0, 0.5, 6.0, 9.0), SYSTEMS, strict=True):
        rows = []
        for number in range(12):
            scores = {f"d{doc}": -abs(doc - 3 * number) + draw.gauss(0, noise) for doc in range(40)}
            ranked = sorted(scores, key=lambda doc: -scores[doc])
            rows += [
                {"query_id": f"q{number}", "doc_id": doc, "score": scores[doc], "rank": rank}
                for rank, doc in enumerate(ranked, 1)
            ]
        made[f"search.{system}"] = artifact(storage, "search", {"run": rows}, rows_in=12, rows_out=len(rows))
        made[f"evaluate.{system}"] = evaluate(config(storage), made["queries"], made[f"search.{system}"])
    return made


def given(storage: Path) -> dict[str, Artifact]:
    """What stands before search."""
    docs = [
        {
            "doc_id": f"d{n}",
            "title": f"On {TOPICS[n % 5]} & <b>more</b> {n}",
            "text": f"Text {n}. " * 40,
            "origin": "corpus",
        }
        for n in range(40)
    ]
    bad = [
        {"table": "docs", "where": f"corpus.jsonl:{n}", "reason": "empty text", "raw": "<script>x</script>\x1b[2J"}
        for n in range(12)
    ]
    human = [
        {"query_id": f"q{n}", "text": f"what of {TOPICS[n % 5]} {n}?", "split": "test", "generator": "human"}
        for n in range(12)
    ]
    qrels = [
        {"query_id": f"q{n}", "doc_id": f"d{3 * n + near}", "relevance": 2 - near, "split": "test"}
        for n in range(12)
        for near in range(3)
    ]
    written = [
        {
            "query_id": f"g{n}",
            "text": f"{kind} about {TOPICS[n % 5]}",
            "source_doc_id": f"d{n}",
            "kind": kind,
            "generator": "extractive",
        }
        for n, kind in enumerate(["keywords", "title", "sentence"] * 4)
    ]
    groups = [
        {
            "query_id": f"g{n}",
            "split": "train",
            "source_doc_id": f"d{n}",
            "kind": written[n]["kind"],
            "doc_ids": [f"d{n}", f"d{n + 1}", "generated-1", f"d{n + 3}"],
            "grades": [0.9, 0.25, None, 1.0],
            "scores": [5.0, 1.0, None, 6.0],
            "positives": [True, False, False, False],
            "relevant_doc_ids": [f"d{n}"],
        }
        for n in range(12)
    ]
    lines = [{"step": n, "epoch": n // 20, "loss": 2 / (1 + n / 20) + 0.1 * (n % 3)} for n in range(100)]
    lines += [{"step": 20 * n, "epoch": n, "dev_loss": 1.6 / (1 + n), "dev_ndcg": 0.1 * n} for n in range(6)]
    curve = "".join(f"{json.dumps(line)}\n" for line in lines) + '{"step": 10'
    return {
        "ingest": artifact(
            storage, "ingest", {"docs": docs, "quarantine": bad}, rows_in=52, rows_out=40, quarantined=12, over_long=3
        ),
        "queries": artifact(storage, "queries", {"queries": human, "qrels": qrels}, rows_in=48, test_queries=12),
        "generate": artifact(storage, "generate", {"queries": written}, rows_in=40, rows_out=12),
        "select": artifact(storage, "select", {"groups": groups}, rows_in=48, rows_out=12),
        "train": artifact(storage, "train", {}, {"metrics.jsonl": curve, "model/config.json": "{}"}),
    }


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def flow(storage: Path) -> dict[str, Artifact]:
    return whole_flow(storage)


@pytest.fixture(scope="module")
def folder(storage: Path, flow: dict[str, Artifact]) -> Path:
    return report(config(storage), flow)


def test_the_run_folder_holds_these_files_and_no_other(storage: Path, folder: Path) -> None:
    assert folder == storage / "runs" / "toy-run"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "checksums.json",
        "config.yaml",
        "lineage.json",
        "metrics.json",
        "model/README.md",
        "model/config.json",
        "model/fingerprint.txt",
        "report.html",
        "runs/base.trec",
        "runs/bm25.trec",
        "runs/teacher.trec",
        "runs/tuned.trec",
    ]


def test_metrics_json(folder: Path, flow: dict[str, Artifact]) -> None:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics) == [
        "name",
        "dataset",
        "queries",
        "systems",
        "significance",
        "remarks",
        "seconds",
        "teacher_check",
    ]
    assert metrics["teacher_check"] is None  # this flow has none
    assert (metrics["name"], metrics["queries"]) == ("toy-run", 12)
    assert metrics["dataset"].endswith(":Toy")
    assert list(metrics["systems"]) == ["bm25", "base", "tuned", "teacher"]
    assert list(metrics["systems"]["tuned"]) == ["nDCG@10", "MAP", "judged@10"]
    assert list(metrics["seconds"]) == list(flow)
    rows = flow["evaluate.tuned"].table("metrics").to_pylist()
    own = [row["value"] for row in rows if row["measure"] == "MAP"]
    assert metrics["systems"]["tuned"]["MAP"] == pytest.approx(sum(own) / 12)
    first = metrics["significance"][0]
    assert list(first) == ["a", "b", "measure", "difference", "p", "p_corrected", "test", "correction"]
    assert (first["a"], first["test"], first["correction"]) == ("tuned", "paired t", "holm")
    # Three others in two measures: shares of judged documents are no quality, and not tested.
    assert {one["measure"] for one in metrics["significance"]} == {"nDCG@10", "MAP"}
    assert len(metrics["significance"]) == 6
    assert terminal_table(metrics).splitlines()[0].split() == ["12", "queries", "nDCG@10", "MAP", "judged@10"]


def test_lineage_and_config(storage: Path, folder: Path, flow: dict[str, Artifact]) -> None:
    lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
    assert list(lineage) == list(flow)
    entry, made = lineage["ingest"], flow["ingest"]
    assert entry["artifact"] == f"ingest/{made.fingerprint}"
    assert (storage / entry["path"]).samefile(made.path)
    assert entry["quarantined"] == {"empty text": 12}
    assert entry["counts"]["over_long"] == 3
    assert set(lineage["evaluate.bm25"]["inputs"]) == {"queries", "run"}
    assert "seconds" in entry
    assert "name: toy-run" in (folder / "config.yaml").read_text(encoding="utf-8")


def test_trec_files_have_six_columns_in_rank_order(folder: Path) -> None:
    lines = [line.split() for line in (folder / "runs" / "tuned.trec").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 12 * 40
    assert {len(line) for line in lines} == {6}
    assert {(line[1], line[5]) for line in lines} == {("Q0", "tuned")}
    first = [line for line in lines if line[0] == "q0"]
    assert [int(line[3]) for line in first] == list(range(1, 41))
    scores = [float(line[4]) for line in first]
    assert scores == sorted(scores, reverse=True)


def test_ids_with_white_space_keep_the_columns(tmp_path: Path) -> None:
    run = artifact(tmp_path, "search", {"run": [{"query_id": "a b", "doc_id": "c d", "score": 0.1, "rank": 1}]})
    written = report(config(tmp_path), {"search.bm25": run}) / "runs" / "bm25.trec"
    assert written.read_text(encoding="utf-8") == "a b\tQ0\tc d\t1\t0.1\tbm25\n"


def test_the_page_is_whole_in_itself(folder: Path) -> None:
    page = read((folder / "report.html").read_text(encoding="utf-8"))
    assert [title for _, title in page.contents] == [
        "Systems",
        "Queries",
        "Cost",
        "Recipe",
        "Training",
        "Training lists",
        "Rows",
        "Generated data",
        "Selection and false negatives",
        "Config",
        "Lineage",
    ]


def test_the_page_escapes(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "On wing flutter &amp; &lt;b&gt;more&lt;/b&gt;" in html
    assert html.count(r"&lt;script&gt;x&lt;/script&gt;\x1b[2J") == 10
    assert "\x1b" not in html
    assert "4 keywords, 4 sentence, 4 title" in html


def test_lists_of_every_kind_and_of_different_documents(folder: Path) -> None:
    html = section(folder, "lists")
    assert re.findall("<h3>(.*?)</h3>", html) == ["keywords", "title", "sentence"]
    shown = re.findall(r"<summary>(.*?)<small>(.*?)</small>", html)
    # Queries 0 to 5 of the lists, two of each kind, each written from a document of its own.
    assert [text for text, _ in shown] == [
        f"{kind} about {TOPICS[n % 5]}"
        for first, kind in enumerate(("keywords", "title", "sentence"))
        for n in (first, first + 3)
    ]
    assert {length for _, length in shown} == {"top 4 of 4 documents"}
    assert "generated-1" in html
    tags = re.findall(r'<span class="tag">([^<]*)<', html)
    assert tags[:4] == ["1.00", "0.90 positive", "0.25", "no grade"]


def tables(section: str) -> list[list[list[str]]]:
    """Tables of rows of cells, as text."""
    found = re.findall(r"<table.*?</table>", section, re.DOTALL)
    rows = [re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL) for table in found]
    cells = [[re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in table] for table in rows]
    return [[[" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in row] for row in table] for table in cells]


def section(folder: Path, name: str) -> str:
    html = (folder / "report.html").read_text(encoding="utf-8")
    read(html)
    found = re.search(rf'<section id="{name}">.*?</section>', html, re.DOTALL)
    return found.group() if found else ""


def test_generated_queries_are_shown(folder: Path) -> None:
    html = section(folder, "data")
    (counts,) = tables(html)
    # Four queries of each kind, all of another topic; no document has three words of its query in a row.
    assert counts[1:] == [[kind, "4", "4", "0.0%", "0.0%"] for kind in ("keywords", "sentence", "title")]
    assert html.count("<svg") == 4
    shown = re.findall(r"<li><b>(.*?)</b> (.*?)\n?</li>", html, re.DOTALL)
    assert len(shown) == 9
    assert [query.split()[0] for query, _ in shown] == ["keywords"] * 3 + ["sentence"] * 3 + ["title"] * 3
    for query, document in shown:
        topic = query.partition(" about ")[2]
        assert document.startswith(f"On {topic} &amp; &lt;b&gt;more&lt;/b&gt; ")


def test_generated_documents_drops_and_prompts_are_shown(tmp_path: Path) -> None:
    written = [
        {"query_id": f"q{n}", "text": f"<q{n}>", "source_doc_id": f"generated~q{n}", "kind": None, "generator": "g"}
        for n in range(3)
    ]
    docs = [
        {"doc_id": f"generated~q{n}~{grade}", "title": None, "text": f"for <q{n}> at {grade}", "origin": "g"}
        for n in range(3)
        for grade in range(2)
    ]
    labels = [
        {"pair_id": doc["doc_id"], "query_id": doc["doc_id"][10:12], "doc_id": doc["doc_id"], "source": "generated"}
        | {"score": float(doc["doc_id"][-1])}
        for doc in docs
    ]
    answers = [
        {"prompt_id": f"q{n}", "text": "", "finish": "length" if n == 3 else "stop", "tokens_in": 100, "tokens_out": 9}
        | {"logprobs": [], "error": "", "cut": 0, "facts": "{}"}
        for n in range(4)
    ]
    bad = [{"table": "generate", "where": "q3", "reason": "cut <off>", "raw": ""}]
    made = {"queries": written, "docs": docs, "labels": labels, "answers": answers, "quarantine": bad}
    generated = artifact(tmp_path, "generate", made, rows_in=4, rows_out=3)
    labelled = artifact(tmp_path, "label", {})
    labelled.manifest["notes"]["outside_mean"] = 0.0312
    folder = report(config(tmp_path), {"generate": generated, "label": labelled})
    spent, html = section(folder, "cost"), section(folder, "data")
    assert "gave 3.1% of the probability to tokens that are not grades" in spent
    queries, grades, drops = tables(html)
    prompts = tables(spent)[-1]
    assert queries[1] == ["no kind", "3", "1", "0.0%", NONE]
    assert grades[1:] == [["grade 1", "3", "4", "0.0%", NONE], ["grade 0", "3", "4", "0.0%", NONE]]
    assert drops == [["stage", "reason", "no kind"], ["generate", "cut &lt;off&gt;", "25.0% 1"]]
    assert prompts[1] == ["generate", "", "4", "100.0", "9.0", "0.0%", "25.0%"]
    shown = re.findall(r"<li><b>&lt;q(.)&gt;</b> for &lt;q(.)&gt; at (.)", html)
    assert [grade for _, _, grade in shown] == ["1"] * 3 + ["0"] * 3
    assert sorted((query, of) for query, of, _ in shown) == [(n, n) for n in "001122"]


def test_the_teacher_is_shown_against_human_training_labels_only(tmp_path: Path) -> None:
    made = given(tmp_path)
    human = {("h1", "d1"): 2, ("h1", "d2"): 0, ("h2", "d1"): 1, ("h2", "d3"): 0}
    qrels = [{"query_id": q, "doc_id": d, "relevance": grade, "split": "train"} for (q, d), grade in human.items()]
    test = [{"query_id": "q1", "doc_id": "d1", "relevance": 2, "split": "test"}]
    scores = {("h1", "d1"): 0.9, ("h1", "d2"): 0.1, ("h2", "d1"): 0.2, ("h2", "d3"): 0.1, ("q1", "d1"): 0.0}
    labels = [
        {"pair_id": q + d, "query_id": q, "doc_id": d, "source": "judge", "score": score}
        for (q, d), score in scores.items()
    ]
    made["label"] = artifact(tmp_path, "label", {"labels": labels})
    made["queries"] = artifact(tmp_path, "queries", {"queries": [], "qrels": qrels + test}, test_queries=1)
    numbers, confusion = tables(section(report(config(tmp_path), made), "agreement"))
    # Grades 2, 0, 1, 0 against 0.9, 0.1, 0.2, 0.1 times 2, rounded: 2, 0, 0, 0. Kappa: (3/4 - 7/16) / (1 - 7/16).
    assert numbers[1][:2] == ["4", f"{5 / 9:.3f}"]
    assert confusion == [["grade", "0", "1", "2"], ["0", "2", "0", "0"], ["1", "1", "0", "0"], ["2", "0", "0", "1"]]
    made["queries"] = artifact(tmp_path, "queries", {"queries": [], "qrels": test}, test_queries=1)
    assert section(report(config(tmp_path), made), "agreement") == ""


def test_every_query_is_listed_with_its_gain_and_documents(flow: dict[str, Artifact]) -> None:
    tables = {system: flow[f"evaluate.{system}"].table("metrics") for system in SYSTEMS}
    listed = queries(results(tables, ["nDCG@10"], 0), flow, "nDCG@10")
    values = {
        system: {r["query_id"]: r["value"] for r in tables[system].to_pylist() if r["measure"] == "nDCG@10"}
        for system in SYSTEMS
    }
    assert (len(listed.rows), listed.left_out, listed.closed) == (12, 0, 0)
    assert [row.gain for row in listed.rows] == sorted((row.gain for row in listed.rows), reverse=True)
    ranks = {
        system: {(r["query_id"], r["doc_id"]): r["rank"] for r in flow[f"search.{system}"].table("run").to_pylist()}
        for system in ("base", "tuned")
    }
    for row in listed.rows:
        number = int(row.query_id.removeprefix("q"))
        assert row.text == f"what of {TOPICS[number % 5]} {number}?"
        assert row.values == {system: values[system][row.query_id] for system in SYSTEMS}
        assert row.gain == row.values["tuned"] - row.values["base"]
        grades = {f"d{3 * number + near}": 2 - near for near in range(3)}
        for system, shown in (("base", row.before), ("tuned", row.after)):
            top = {rank: doc for (query, doc), rank in ranks[system].items() if query == row.query_id and rank <= 3}
            assert [doc.doc_id for doc in shown] == [top[rank] for rank in (1, 2, 3)]
            assert [doc.grade for doc in shown] == [grades.get(doc.doc_id) for doc in shown]
            assert [doc.relevant for doc in shown] == [grades.get(doc.doc_id, 0) > 0 for doc in shown]
        assert [(each.doc_id, each.grade) for each in row.judged] == [(f"d{3 * number + n}", 2 - n) for n in (0, 1)]
        assert [(each.before, each.after) for each in row.judged] == [
            tuple(ranks[system].get((row.query_id, each.doc_id)) for system in ("base", "tuned")) for each in row.judged
        ]


def test_a_table_of_too_many_queries_says_so(flow: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradret.report.queries._LISTED", 8)
    monkeypatch.setattr("gradret.report.queries._OPENED", 5)
    tables = {system: flow[f"evaluate.{system}"].table("metrics") for system in SYSTEMS}
    of_all = results(tables, ["nDCG@10"], 0)
    listed = queries(of_all, flow, "nDCG@10")
    changes = sorted(abs(of_all.values["tuned"]["nDCG@10"] - of_all.values["base"]["nDCG@10"]))
    assert (len(listed.rows), listed.left_out, listed.closed) == (8, 4, 3)
    assert sorted(abs(row.gain) for row in listed.rows) == pytest.approx(changes[4:])
    assert sorted(abs(row.gain) for row in listed.rows if row.opened) == pytest.approx(changes[7:])
    assert not any(row.before or row.after or row.judged for row in listed.rows if not row.opened)


def test_the_queries_section(folder: Path) -> None:
    html = section(folder, "queries")
    ((head, *rows),) = tables(html)
    assert head == ["query", "base", "tuned", "gain"]
    assert len(rows) == 2 * 12  # each query, and its documents
    assert html.count("<details>") == html.count("<tbody>") == 12
    gains = [float(row[3]) for row in rows[::2]]
    assert gains == sorted(gains, reverse=True)
    assert "grade 2, relevant" in html


def test_wins_and_losses(flow: dict[str, Artifact]) -> None:
    tables = {system: flow[f"evaluate.{system}"].table("metrics") for system in SYSTEMS}
    of_all = results(tables, ["nDCG@10"], 0)
    base, bm25 = verdicts(of_all, 0)
    for verdict, name, other in ((base, "the base model", "base"), (bm25, "BM25", "bm25")):
        pairs = list(zip(*(of_all.values[s]["nDCG@10"].tolist() for s in ("tuned", other)), strict=True))
        assert verdict.name == name
        assert verdict.wins == sum(a > b for a, b in pairs)
        assert verdict.losses == sum(a < b for a, b in pairs)
        assert verdict.wins + verdict.ties + verdict.losses == 12
        assert verdict.gain.value == pytest.approx(sum(a - b for a, b in pairs) / 12)
        assert verdict.gain.low < verdict.gain.value < verdict.gain.high
    assert "unlikely to be chance" in base.in_words


def test_a_partial_flow_shows_what_there_is(tmp_path: Path) -> None:
    made = given(tmp_path)
    written = report(config(tmp_path), {"ingest": made["ingest"]})
    html = (written / "report.html").read_text(encoding="utf-8")
    read(html)
    assert "No system was evaluated." in html
    assert "Training lists" not in html
    metrics = json.loads((written / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["queries"], metrics["systems"], metrics["significance"]) == (0, {}, [])
    assert not (written / "model").exists()
    read((report(config(tmp_path), {}) / "report.html").read_text(encoding="utf-8"))


def test_the_model_is_copied_once_and_replaced_when_another_was_trained(tmp_path: Path) -> None:
    first = artifact(tmp_path, "train", {}, {"model/a.txt": "1"})
    model = report(config(tmp_path), {"train": first}) / "model"
    (model / "mark").touch()
    report(config(tmp_path), {"train": first})
    assert (model / "mark").exists()
    report(config(tmp_path), {"train": artifact(tmp_path, "train", {}, {"model/b.txt": "2"})})
    assert sorted(path.name for path in model.iterdir()) == ["README.md", "b.txt", "fingerprint.txt"]
    assert not [path for path in model.parent.iterdir() if path.name.startswith(".")]


def test_a_storage_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match=r"report: .*toy-run cannot be written: .*set storage_path"):
        report(config(tmp_path), {})


def outcome(base: tuple[float, float | None], bm25: tuple[float, float | None]) -> Results:
    """Results with these differences and corrected p-values of tuned at 0.5."""
    others = {"base": base, "bm25": bm25}
    compared = tuple(Comparison("tuned", name, "nDCG@10", d, p, p) for name, (d, p) in others.items())
    means = {name: {"nDCG@10": Mean(0.5 - d, None, None)} for name, (d, _) in others.items()}
    means["tuned"] = {"nDCG@10": Mean(0.5, None, None)}
    return Results(("nDCG@10",), ("q1", "q2"), {name: {} for name in means}, means, compared)


def test_the_headline_is_honest() -> None:
    assert headline(outcome((0.1, 0.0002), (-0.02, 0.4))) == (
        "On 2 test queries the tuned model reaches nDCG@10 0.500: significantly better than the base model at 0.400 "
        "(+0.100, p < 0.001), and not significantly different from BM25 at 0.520 (-0.020, p = 0.400)."
    )
    assert headline(outcome((-0.1, 0.01), (0.1, None))) == (
        "On 2 test queries the tuned model reaches nDCG@10 0.500: significantly worse than the base model at 0.600 "
        "(-0.100, p = 0.010), and +0.100 against BM25 at 0.400 (too few queries to test)."
    )
    assert headline(results({}, ["MAP"], 0)) == "No system was evaluated."


def test_the_curve_tolerates_what_is_missing(tmp_path: Path) -> None:
    assert read_curve(tmp_path / "none.jsonl") == []
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"loss": 1.0}\n[3]\n\n{"epoch": 1}\n{"step": 4, "dev_loss": null}\n{"step":', encoding="utf-8")
    rows = read_curve(path)
    assert rows == [{"loss": 1.0}, {"epoch": 1}, {"step": 4, "dev_loss": None}]
    assert "<svg" in training_plot(rows)
    assert epochs(rows, None) == []
    lines = [{"step": 0, "epoch": 0, "dev_loss": 2.0}, {"step": 1, "epoch": 0, "loss": 1.5}]
    lines += [{"step": 9, "epoch": 1, "dev_loss": 1.0, "dev_ndcg": 0.5}]
    assert epochs(lines, 1) == [Epoch(0, 0, 2.0, None, kept=False), Epoch(1, 9, 1.0, 0.5, kept=True)]
    assert training_plot([{"epoch": 1}]) == ""
    assert systems_plot(results({}, ["MAP"], 0)) == ""
