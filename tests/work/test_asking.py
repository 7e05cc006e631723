"""Prompting an engine: no answer is lost, no prompt is sent twice, and errors stop the stage early."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradret.engines import Answer, Prompt, Sampling
from gradret.errors import ConfigError, StageError, StorageError
from gradret.store.artifacts import make
from gradret.store.contracts import schema
from gradret.work.answers import Answers
from gradret.work.asking import ask
from gradret.work.shards import split_rows

from ..stages.outside import Broken, Echo, Twice

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def asked(tmp_path):
    """Asks about documents with the given texts, two shards of them; the artifact."""

    def run(texts, engine, task=Twice, limit=0.5, stop=None):
        rows = [
            {"doc_id": f"d{n:02d}", "title": None, "text": text, "origin": "corpus"} for n, text in enumerate(texts)
        ]

        def body(draft):
            shards = split_rows(draft, pa.Table.from_pylist(rows, schema("docs")), "docs", -(-len(rows) // 2))
            ask(draft, shards, task, engine, seed=7, max_bad_share=limit)

        settings = {"texts": texts}
        return make("asked", str(tmp_path), module="gradret.text", settings=settings, inputs={}, body=body)

    return run


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.txt"


def asked_about(log):
    return log.read_text().split() if log.exists() else []


def ids(number):
    return [f"d{n:02d}~{half}" for n in range(number) for half in "ab"]


def work(tmp_path):
    """The one draft under way."""
    return Answers(next(tmp_path.glob("artifacts/asked/*/work")) / "answers")


def test_every_prompt_is_asked_once_and_kept(asked, log):
    made = asked([f"text {n}" for n in range(11)], Echo(str(log)))
    assert sorted(asked_about(log)) == ids(11)
    answers = made.table("answers").to_pylist()
    assert [row["prompt_id"] for row in answers] == ids(11)
    assert [row["text"] for row in answers] == [f"TEXT {n}" for n in range(11) for _ in "ab"]
    assert [json.loads(row["facts"]) for row in answers] == [{"half": half} for _ in range(11) for half in "ab"]
    # The seed follows from the prompt's id and the run's seed, not from its place.
    seeds = [Prompt(each, "", str, (), Sampling(1)).seed(7) for each in ids(11)]
    assert [row["logprobs"][1] for row in answers] == pytest.approx(seeds)
    assert made.table("queries")["query_id"].to_pylist() == ids(11)
    wanted = {"rows_in": 22, "rows_out": 22, "quarantined": 0, "tokens_in": 66, "tokens_out": 44}
    assert made.counts == wanted | {"prompts": 22, "texts_cut": 0}
    assert not (made.path / "work").exists()


def test_the_last_line_tells_the_rate_since_the_engine_took_the_first_prompt(asked, log, capsys):
    asked([f"text {n}" for n in range(11)], Echo(str(log), seconds=3600))
    lines = [line for line in capsys.readouterr().err.splitlines() if " in 1 h " in line]
    assert len(lines) == 1
    assert lines[0].startswith("  asked: 22 prompts in 1 h 0 min, after a start of 0.0 s: 0 tokens/s in, 0 out, 0 unus")


def test_what_cannot_be_used_is_quarantined_with_its_reason_and_text(asked, log):
    made = asked(["fine", "bad one", "", "fine too"], Echo(str(log), errors="d03~b"), limit=0.9)
    tables = made.batches("quarantine")
    rows = {row["where"]: (row["reason"], row["raw"]) for table in tables for row in table.to_pylist()}
    assert rows == {
        "d01~a": ("it is bad", "BAD ONE"),
        "d01~b": ("it is bad", "BAD ONE"),
        "d02~a": ("prompt too long", "no room"),
        "d02~b": ("prompt too long", "no room"),
        "d03~b": ("engine error", "no luck"),
    }
    assert made.counts["rows_in"] == 8 == made.counts["rows_out"] + made.counts["quarantined"]
    assert made.manifest["quarantined"] == {"it is bad": 2, "prompt too long": 2, "engine error": 1}
    assert sorted(asked_about(log)) == sorted(set(ids(4)) - {"d02~a", "d02~b"})


def test_a_stopped_stage_goes_on_with_what_is_missing_and_asks_errors_again(asked, log, tmp_path):
    texts = [f"text {n}" for n in range(8)]
    with pytest.raises(StageError, match=r"4 of 16 answers cannot be used, more than max_bad_share=0.1"):
        asked(texts, Echo(str(log), errors="d00~a,d00~b,d07~a,d07~b"), limit=0.1)
    first = asked_about(log)
    assert sorted(first) == ids(8)
    # As if the stage had been killed before a block: its file is not there.
    lost = sorted((work(tmp_path).folder / "00001").glob("*.parquet"))[0]
    forgotten = pq.read_table(lost)["prompt_id"].to_pylist()
    lost.unlink()
    made = asked(texts, Echo(str(log)), limit=0.1)
    again = asked_about(log)[len(first) :]
    assert sorted(again) == sorted({"d00~a", "d00~b", "d07~a", "d07~b", *forgotten})
    assert made.table("answers")["prompt_id"].to_pylist() == ids(8)
    assert made.counts["rows_out"] == 16
    assert set(made.table("answers")["error"].to_pylist()) == {""}


def test_a_stage_with_all_answers_asks_nobody(asked, log, tmp_path):
    texts = ["bad", *(f"text {n}" for n in range(9))]
    with pytest.raises(StageError, match="2 of 20"):
        asked(texts, Echo(str(log)), limit=0.05)
    made = asked(texts, Echo(str(log), refuses=True), limit=0.05)
    assert made.counts["quarantined"] == 2
    assert sorted(asked_about(log)) == ids(10)


def test_of_two_answers_one_is_taken(asked, log, tmp_path):
    texts = ["bad", *(f"text {n}" for n in range(9))]
    with pytest.raises(StageError):
        asked(texts, Echo(str(log)), limit=0.05)
    # As if an engine had died after its block was written, and the block was composed anew.
    answers = work(tmp_path)
    answers.add(0, [Answer("d01~a", "ANOTHER", "stop", 1, 1), Answer("d01~b", "", "error", 0, 0, error="no luck")])
    made = asked(texts, Echo(str(log), refuses=True), limit=0.05)
    kept = {row["prompt_id"]: row["text"] for row in made.table("answers").to_pylist()}
    assert sorted(kept) == ids(10)
    assert kept["d01~a"] in {"ANOTHER", "TEXT 0"}
    assert kept["d01~b"] == "TEXT 0"
    queries = made.table("queries")["query_id"].to_pylist()
    assert len(queries) == len(set(queries)) == 18


def test_too_many_failures_stop_the_stage_before_its_end(asked, log):
    with pytest.raises(StageError) as stopped:
        asked(["bad text"] * 400, Echo(str(log), block=8))
    said = str(stopped.value)
    assert "answers cannot be used, more than max_bad_share=0.5" in said
    assert said.count("it is bad: 'BAD TEXT'") == 3
    assert "the good answers are kept for the next run" in said
    assert len(asked_about(log)) < 800


def test_an_error_of_the_users_comes_back_as_it_was(asked, log):
    with pytest.raises(ConfigError, match=r"^template queries/none cannot be read$"):
        asked(["text"], Echo(str(log)), task=Broken)


def test_a_full_disk_is_said_in_a_line(tiny, log):
    folder, enlarge = tiny
    rows = [{"doc_id": f"d{n:02d}", "title": None, "text": f"{n} {'x' * 20_000}", "origin": "c"} for n in range(20)]
    inputs = Path(log.parent / "docs.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema("docs")), inputs)

    def body(draft):
        ask(draft, [inputs], Twice, Echo(str(log), block=2), seed=7, max_bad_share=0.5)

    def run():
        return make("asked", str(folder), module="gradret.text", settings={}, inputs={}, body=body)

    with pytest.raises(StorageError, match="no space left"):
        run()
    enlarge()
    assert run().counts["rows_out"] == 40
