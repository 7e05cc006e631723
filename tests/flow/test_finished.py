"""The Python API of a finished run, and the notebook that uses it."""

import ast
import json
from pathlib import Path

import pytest

import gradret

from ..small_run import ROOT, SMALL

NOTEBOOK = ROOT / "docs" / "first-run.ipynb"


def test_measures_files_tables_and_search(finished, capsys):
    run = gradret.open_run(finished)
    assert run.metrics == json.loads((finished / "metrics.json").read_text())
    assert f"{run.metrics['systems']['tuned']['nDCG@10']:.4f}" in str(run)
    assert "nDCG@10" in run._repr_html_()
    assert run.report.is_file()
    assert (run.model / "modules.json").is_file()
    assert Path(run) == finished
    assert run.artifact("label").table("labels").num_rows == run.artifact("label").counts["rows_out"]
    for system in ("tuned", "base", "bm25", "hybrid"):
        hits = run.search("wait for a process but give up after a while", 3, system)
        assert [hit["rank"] for hit in hits] == [1, 2, 3]


def test_searching_with_the_hybrid_gives_the_ranking_of_the_run(finished):
    run = gradret.open_run(finished)
    queries = run.artifact("queries").table("queries").to_pylist()[:3]
    rows = [row.split() for row in (finished / "runs" / "hybrid.trec").read_text().splitlines()]
    for query in queries:
        expected = [row[2] for row in rows if row[0] == query["query_id"]]
        assert [hit["doc_id"] for hit in run.search(query["text"], len(expected), "hybrid")] == expected
        assert [hit["doc_id"] for hit in run.search(query["text"], 5, "hybrid")] == expected[:5]


def test_a_query_of_unknown_words_finds_nothing(finished):
    run = gradret.open_run(finished)
    assert {system: run.search("\u2603 \u2603", 5, system) for system in ("tuned", "base", "bm25", "hybrid")} == {
        "tuned": [], "base": [], "bm25": [], "hybrid": []
    }  # fmt: skip


def test_what_a_run_does_not_have(finished, tmp_path):
    run = gradret.open_run(finished)
    with pytest.raises(gradret.ConfigError, match=r"has no artifact 'labels'; it has .*label"):
        run.artifact("labels")
    with pytest.raises(gradret.ConfigError, match="system 'best' is not one of tuned, base, bm25, hybrid"):
        run.search("query", system="best")
    with pytest.raises(gradret.ConfigError, match="is not the folder of a finished run"):
        gradret.open_run(tmp_path)


def test_the_notebook_runs(finished, dataset, storage, monkeypatch, capsys):
    """Its cells, in order, with the small run in place of the quickstart's."""
    monkeypatch.chdir(ROOT)
    overrides = [*SMALL, f"dataset.path={dataset}", f"storage_path={storage}", "name=small"]
    load = gradret.load
    monkeypatch.setattr(gradret, "load", lambda path: load(path, overrides))
    names = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            run_cell("".join(cell["source"]), names)
    assert names["_"] == (1, 640)
    assert names["graded"]["score"].is_monotonic_decreasing
    assert len(names["graded"]) > 1


def run_cell(source, names):
    """Run a cell; the value of its last line, if that is an expression, becomes ``_``."""
    cell = ast.parse(source)
    if isinstance(cell.body[-1], ast.Expr):
        cell.body[-1] = ast.Assign([ast.Name("_", ast.Store())], cell.body[-1].value)
    exec(compile(ast.fix_missing_locations(cell), str(NOTEBOOK), "exec"), names)
