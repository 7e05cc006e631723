"""``gradret report RUN ...`` on the folders of toy runs."""

import json
from dataclasses import replace

import pytest

from gradret.cli import main
from gradret.config.loading import parse
from gradret.config.run import Evaluate
from gradret.report.run import report
from gradret.stages.evaluate import evaluate

from ..report.html import read
from ..report.test_page import artifact, tables, whole_flow


def config(storage):
    measures = ["nDCG@10", "MAP", "judged@10"]
    tree = {"name": "toy-run", "storage_path": str(storage), "dataset": {"name": "pydocs"}}
    return parse(tree | {"evaluate": {"measures": measures}})


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def flow(storage):
    return whole_flow(storage)


@pytest.fixture(scope="module")
def first(storage, flow):
    return report(config(storage), flow)


@pytest.fixture(scope="module")
def second(storage, flow):
    """A run whose tuned model ranks as the first one's teacher, with another seed."""
    better = flow | {name: flow[name.replace("tuned", "teacher")] for name in ("search.tuned", "evaluate.tuned")}
    return report(replace(config(storage), name="<b>second", seed=7), better)


def test_a_page_is_written_again_from_the_artifacts(first, capsys):
    page = first / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    assert main(["report", str(first)]) == 0
    assert capsys.readouterr().out == f"report: {page}\n"
    assert page.read_text(encoding="utf-8") == before


def test_runs_side_by_side(first, second, flow, tmp_path, capsys):
    output = tmp_path / "both.html"
    assert main(["report", str(first), str(second), "--output", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(output)}
    html = output.read_text(encoding="utf-8")
    assert [name for name, _ in read(html).contents] == ["results", "queries", "settings", "runs", "machine"]
    assert "<b>second" not in html
    ndcg, _, _, queries, settings, runs, _ = tables(html)
    assert ndcg[0] == ["dataset", "toy-run", "&lt;b&gt;second"]
    values = [
        {r["query_id"]: r["value"] for r in flow[name].table("metrics").to_pylist() if r["measure"] == "nDCG@10"}
        for name in ("evaluate.tuned", "evaluate.teacher")
    ]
    means = [f"{sum(each.values()) / 12:.4f}" for each in values]
    assert [cell.split()[0].rstrip("†") for cell in ndcg[1][1:]] == means
    differences = {query_id: values[1][query_id] - values[0][query_id] for query_id in values[0]}
    order = sorted(differences, key=lambda query_id: (-differences[query_id], query_id))
    assert [row[0].split()[-1] for row in queries[1:]] == order
    assert [row[1:3] for row in queries[1:]] == [[f"{each[query_id]:.3f}" for each in values] for query_id in order]
    assert settings[1:] == [["seed", "0", "7"]]
    assert [row[:5] for row in runs[1:]] == [[name, "40", "12", "–", "–"] for name in ("toy-run", "&lt;b&gt;second")]


def test_runs_on_other_queries_are_refused(first, storage, flow, capsys):
    few = flow | {"queries": artifact(storage, "queries", {
        "queries": [{"query_id": "q1", "text": "t", "split": "test", "generator": "human"}],
        "qrels": [{"query_id": "q1", "doc_id": "d3", "relevance": 1, "split": "test"}],
    })}  # fmt: skip
    of_few = few | {"evaluate.tuned": evaluate(config(storage), few["queries"], flow["search.tuned"])}
    chosen = {name: of_few[name] for name in ("ingest", "queries", "search.tuned", "evaluate.tuned")}
    other = report(replace(config(storage), name="other"), chosen)
    assert main(["report", str(first), str(other)]) == 2
    words = "other was evaluated on other test queries than toy-run (1 and 12); only runs on the same queries stand"
    assert words in capsys.readouterr().err


def test_what_is_no_finished_run_is_refused(first, storage, flow, tmp_path, capsys):
    assert main(["report", str(first), str(tmp_path)]) == 2
    assert f"{tmp_path} is not the folder of a finished run" in capsys.readouterr().err
    assert main(["report", str(first), str(first)]) == 2
    assert "toy-run: named twice; name each run once" in capsys.readouterr().err.replace(f"{storage.name}/", "")
    unfinished = report(replace(config(storage), name="unfinished"), {"ingest": flow["ingest"]})
    assert main(["report", str(first), str(unfinished)]) == 2
    assert "unfinished: tuned was not evaluated; finish the run with gradret run" in capsys.readouterr().err
    others = replace(config(storage), name="others", evaluate=Evaluate(("MRR@10",)))
    assert main(["report", str(first), str(report(others, {"ingest": flow["ingest"]}))]) == 2
    assert "the runs have no measure in common" in capsys.readouterr().err
