"""The lines of a run's stages."""

import json
import os

import pytest

from gradret import progress
from gradret.config.run import Ingest
from gradret.flow import Flow
from gradret.numbered import numbered, part, tallied
from gradret.retrievers.random import Random
from gradret.work.session import _silenced


@pytest.fixture(autouse=True)
def output():
    yield
    progress.set_output()


def run():
    """Two stages: an index of two models, of which one and its vectors are there; and a report that is there."""
    with numbered("index", 9, 10) as stage:
        part("encode", "docs, base model", "/a/encode/1", summary="7 rows")
        part("index", "base model", "/a/index/1")
        part("index", "tuned model", "/a/index/2", seconds=1.5, summary="7 rows out")
        stage.end({"rows_out": 7000, "quarantined": 0}, {"base": "/a/index/1", "tuned": "/a/index/2"}, {"index"})
    with numbered("report", 10, 10) as stage:
        part("report", "", "/runs/x")
        stage.end({}, {"report": "/runs/x"}, ())


def test_a_stage_is_one_line_that_names_its_own_models_and_no_zeros(capsys):
    with tallied() as tally:
        run()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("[ 9/10] index ")
    assert first.endswith(" s  base model, tuned model: 7,000 rows out")
    assert second == "[10/10] report   reused"
    assert tally.text == "1 stage computed, 1 reused"


def test_details_are_the_artifacts_and_their_folders(capsys):
    progress.set_output(verbose=True)
    run()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("  ")] == [
        "/a/encode/1", "/a/index/1", "/a/index/2", "/runs/x",
    ]  # fmt: skip
    assert "  index         1.5 s   tuned model: 7 rows out  /a/index/2" in lines


def test_details_are_the_settings_that_an_artifact_was_made_with(capsys):
    settings = {"k1": 1.2, "loss": [Random(k=3), {"weight": None}], "kinds": ["a", "b"], "on": True, "of": Random}
    settings |= {"ingest": Ingest(max_words=9)}
    for verbose in (False, True):
        progress.set_output(verbose=verbose)
        part("bm25", "", "/a/bm25/1", settings=settings)
    *parts, shown = capsys.readouterr().err.splitlines()
    assert parts == ["bm25       reused"] * 2
    assert shown == (
        "    settings: k1=1.2, loss[0].name=random, loss[0].k=3, loss[1].weight=null, "
        'kinds=["a", "b"], on=true, of=random, ingest.max_words=9, ingest.max_bad_share=0.1'
    )


def test_quiet_prints_warnings_alone_and_the_log_has_all(capsys, tmp_path):
    progress.set_output(quiet=True)
    with progress.logged(tmp_path / "log.txt"):
        run()
        progress.say("  leaks: skipped", "warning")
    assert capsys.readouterr().err == "  leaks: skipped\n"
    log = (tmp_path / "log.txt").read_text()
    assert all(text in log for text in ("[10/10] report", "/a/encode/1", "leaks: skipped"))


def test_events_are_one_object_a_line(capsys):
    progress.set_output(events=True)
    run()
    bar = progress.Progress("encode", 4, interval=0.0)
    bar.skip(1)
    bar.say_resumed()
    bar.add(2)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["start", "end", "start", "end", "resumed", "progress"]
    assert events[0] == {"event": "start", "stage": "index", "number": 9, "of": 10}
    assert events[1]["counts"] == {"rows_out": 7000, "quarantined": 0}
    assert [events[1]["reused"], events[3]["reused"]] == [False, True]
    assert {key: events[5][key] for key in ("what", "done", "total")} == {"what": "encode", "done": 3, "total": 4}


def test_what_is_told_again_for_another_run_of_the_process_is_not_told(capsys):
    with numbered("ingest", 1, 1) as stage:  # every part is known
        stage.end({"rows_out": 7}, {"ingest": "/a"}, {"ingest"})
    assert capsys.readouterr().err == ""


def test_a_line_clears_what_the_terminal_rewrites(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "20")
    with numbered("mine", 7, 15) as stage:
        part("mine", "", "/a", seconds=1.0)
        stage.end({}, {}, {"mine"})
    said = capsys.readouterr().err
    assert said.startswith("\r[ 7/15] mine     ..\x1b[K\r\x1b[K[ 7/15] mine ")
    progress.live("x" * 100)
    assert capsys.readouterr().err == f"\r{'x' * 19}\x1b[K"


def test_what_is_waited_for_is_told_again_and_again(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_WAITING", 0.01)
    with progress.waiting("waits for Ray"):
        while capsys.readouterr().err.count("  waits for Ray, for 0 s so far\n") < 1:
            pass
    capsys.readouterr()
    with progress.waiting("waits for an answer") as arrived:
        arrived()
    assert capsys.readouterr().err == ""


def test_lines_are_printed_where_standard_error_is_silenced(capfd):
    with _silenced():
        os.write(2, b"Ray's own\n")
        progress.say("ours")
    progress.say("after")
    assert capfd.readouterr().err == "ours\nafter\n"


def test_stages_are_counted_before_they_run(beir, config, monkeypatch):
    """The flow of a corpus with queries, and of documents alone, whose queries are generated ones."""
    seen = []
    monkeypatch.setattr("gradret.flow.numbered", lambda *stage: seen.append(stage) or pytest.fail("enough"))
    both, alone = beir(), beir(queries=None, qrels={}, name="alone")
    (alone / "qrels").rmdir()
    for folder, second in [(both, "queries"), (alone, "dedupe")]:
        flow = Flow(config(folder))
        flow.ingest = None  # as if it were done
        with pytest.raises(pytest.fail.Exception):
            flow.report  # noqa: B018
        with pytest.raises(pytest.fail.Exception):
            Flow(flow.config).make("train")
        assert seen[-2:] == [(second, 2, 15), ("ingest", 1, 11)]
