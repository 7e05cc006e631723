"""The teacher check in the report: the section, the sentence, the numbers for programs."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from gradret.config.run import Check, Config
from gradret.errors import DataError
from gradret.report.check import terminal_text
from gradret.report.run import report
from gradret.stages.check import CheckResult
from gradret.stages.verdict import outcome, require, sentence
from gradret.store.artifacts import Artifact, make

from .test_page import Toy, section, tables, whole_flow
from .test_page import config as toy

FOUND = CheckResult(
    retriever="dense", teacher="fusion", sample="train", drawn=40, queries=40,
    retriever_ndcg=0.51234, teacher_ndcg=0.61234, difference=0.1, low=0.04, high=0.16, p=0.002,
    unscored=0, judged_pairs=70, kappa=0.5, kendall_tau=0.25, spearman=None,
)  # fmt: skip
WORSE = replace(FOUND, teacher_ndcg=0.41234, difference=-0.1, low=-0.16, high=-0.04)


def artifact(storage: Path, notes: dict[str, Any]) -> Artifact:
    def _body(draft: Any) -> None:
        draft.notes |= notes

    return make("check", str(storage), module="gradret.store.artifacts", settings=notes, inputs={}, body=_body)


def config(storage: Path, *, stop: bool = True) -> Config:
    return Config(name="toy-run", dataset=Toy(), storage_path=str(storage), check=Check(stop=stop))


def test_the_section_and_the_numbers(tmp_path: Path) -> None:
    folder = report(config(tmp_path), {"check": artifact(tmp_path, asdict(FOUND))})
    html = section(folder, "check")
    numbers, human = tables(html)
    assert numbers == [
        ["queries", "retriever dense", "teacher fusion", "difference", "p"],
        ["40", "0.5123", "0.6123", "+0.1000 +0.040 to +0.160", "p = 0.002"],
    ]
    assert human[1] == ["70", "0.500", "0.250", "\N{EN DASH}"]
    assert 'class="bad"' not in html
    assert json.loads((folder / "metrics.json").read_text())["teacher_check"] == {"outcome": "better"} | asdict(FOUND)
    lineage = json.loads((folder / "lineage.json").read_text())
    assert list(lineage) == ["check"]


def test_a_run_that_went_on_says_so_loudly(tmp_path: Path) -> None:
    made = artifact(tmp_path, asdict(WORSE))
    html = section(report(config(tmp_path, stop=False), {"check": made}), "check")
    (said,) = re.findall(r'<p class="bad">(.*?)</p>', html, re.DOTALL)
    assert unescape(said) == sentence(made)
    assert "WARNING: The teacher fusion ranks no better than the retriever dense" in said


def test_a_check_that_was_skipped_says_why(tmp_path: Path) -> None:
    made = artifact(tmp_path, {"skipped": "check.queries is <0>"})
    folder = report(config(tmp_path), {"check": made})
    html = section(folder, "check")
    assert "The teacher was not checked: check.queries is &lt;0&gt;." in html
    assert "<table" not in html
    assert json.loads((folder / "metrics.json").read_text())["teacher_check"] == {"skipped": "check.queries is <0>"}


def test_generated_queries_have_no_human_grades(tmp_path: Path) -> None:
    found = replace(FOUND, sample="generated", drawn=200, judged_pairs=0, kappa=None, kendall_tau=None, unscored=3)
    html = section(report(config(tmp_path), {"check": artifact(tmp_path, asdict(found))}), "check")
    assert len(tables(html)) == 1
    assert "40 of 200 generated queries, those whose source document" in html
    assert "3 pairs have no score" in html


@pytest.mark.parametrize(
    ("changes", "expected", "stops"),
    [
        ({}, "better", False),
        ({"p": 0.2}, "better, not significant", False),
        ({"difference": 0.0, "p": 1.0}, "not better", True),
        ({"difference": -0.001, "p": 0.9}, "not better", True),
        ({"difference": -0.1, "p": 0.9, "queries": 19}, "not better", False),
        ({"difference": -0.1, "p": 0.01, "queries": 19}, "not better", True),
        ({"difference": -0.1, "p": None, "queries": 1, "low": None, "high": None}, "not better", False),
    ],
)
def test_what_stops_a_run(tmp_path: Path, changes: dict[str, Any], expected: str, stops: bool) -> None:
    found = replace(FOUND, **changes)
    made = artifact(tmp_path, asdict(found))
    assert outcome(found) == expected
    assert ("too few queries" in sentence(made)) == (found.queries < 20)
    assert terminal_text(made).endswith(sentence(made))
    require(config(tmp_path, stop=False), made)
    if stops:
        with pytest.raises(DataError, match=r"check: The teacher fusion ranks no better(.|\n)*check.stop=false"):
            require(config(tmp_path), made)
    else:
        require(config(tmp_path), made)


def test_a_teacher_that_only_reranks_is_told_from_one_that_searches(tmp_path: Path) -> None:
    made = whole_flow(tmp_path)
    assert "reranks the first 100 documents" not in section(report(toy(tmp_path), made), "systems")
    made["search.teacher"] = replace(made["search.teacher"], stage="rerank")
    assert "The teacher reranks the first 100 documents of every" in section(report(toy(tmp_path), made), "systems")
