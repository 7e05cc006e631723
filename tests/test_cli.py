"""The command line: exit codes, and one line in place of a traceback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gradret import arguments, cli
from gradret.cli import main
from gradret.errors import ConfigError, ContractError, DataError, StageError, StorageError
from gradret.store.artifacts import make


@pytest.fixture
def yaml(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(f"name: toy\nstorage_path: {tmp_path / 'storage'}\ndataset: {{name: pydocs}}\n")
    return str(path)


def said(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("words", [[], ["nonsense"], ["run"], ["run", "c.yaml", "--nonsense"], ["show", "a", "b", "c"]])
def test_wrong_use_is_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: gradret" in said(capsys)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["search", "-h"]])
def test_help_is_0(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "usage: gradret" in capsys.readouterr().out


def test_a_missing_config(capsys):
    assert main(["run", "nowhere.yaml"]) == 2
    assert said(capsys) == "gradret: no config file at nowhere.yaml\n"


@pytest.mark.parametrize("command", [name for name in arguments.STAGES if name != "search"] + ["run", "search"])
def test_every_command_checks_its_config_before_anything_else(yaml, command, capsys, tmp_path):
    assert main([command, yaml, "train.epoch=3", "seed=-1"]) == 2
    assert said(capsys).splitlines() == [
        "gradret: the config has 2 errors:",
        "  train.epoch: 'epoch' is not a key here; did you mean 'epochs'?",
        "  seed: must be at least 0, got -1",
    ]
    assert not (tmp_path / "storage").exists()


def test_a_storage_that_cannot_be_written(yaml, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["ingest", yaml, f"storage_path={tmp_path / 'file' / 'below'}"]) == 2
    (line,) = said(capsys).splitlines()
    assert line == (
        f"gradret: storage_path: {tmp_path}/file/below cannot be created: Not a directory; choose another folder"
    )


def test_a_dataset_that_is_not_there(yaml, capsys, tmp_path):
    assert main(["queries", yaml, "dataset.name=beir", f"dataset.path={tmp_path / 'nowhere'}"]) == 2
    assert said(capsys) == f"gradret: dataset.path: no folder at {tmp_path / 'nowhere'}\n"


def test_flags_may_stand_anywhere(yaml, monkeypatch):
    for words in (
        ["--json", yaml, "seed=1", "name=b"],
        [yaml, "--json", "seed=1", "name=b"],
        [yaml, "seed=1", "--json", "name=b"],
    ):
        parsed = arguments.parse(["train", *words])
        assert (parsed.config, parsed.overrides, parsed.json) == (yaml, ["seed=1", "name=b"], True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("words"), 2), (DataError("words"), 2), (StorageError("words"), 2),
        (StageError("words"), 1), (ContractError("words"), 1),
        (OSError(28, "No space left on device"), 2), (PermissionError(13, "Permission denied", "some/file"), 2),
    ],
)  # fmt: skip
def test_each_error_has_its_exit_code_and_line(monkeypatch, capsys, error, code):
    def _raise(*_):
        raise error

    monkeypatch.setattr("gradret.commands.show.describe", _raise)
    assert main(["show"]) == code
    assert said(capsys) == f"gradret: {error}\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal(monkeypatch, capsys, number, status):
    before = signal.getsignal(number)
    monkeypatch.setattr("gradret.commands.show.describe", lambda *_: signal.raise_signal(number))
    assert main(["show"]) == status
    assert signal.getsignal(number) is before
    assert said(capsys) == "gradret: interrupted; run the same command again to resume\n"


COMPLETE = """
source /dev/stdin
COMP_WORDS=({words}) COMP_CWORD={place}
_shtab_gradret
printf '%s\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("gradret se", ["search", "select", "serve"]),
        ("gradret export --fo", ["--format"]),
        ("gradret run c.y", ["c.yaml"]),
    ],
)
def test_bash_completes_commands_flags_and_files(yaml, tmp_path, capsys, words, found):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 0
    line = COMPLETE.format(words=words, place=len(words.split()) - 1)
    script = capsys.readouterr().out
    done = subprocess.run(["bash", "-c", line], input=script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.split()) == found, done.stderr


def test_control_characters_reach_no_terminal(tmp_path, capsys):
    (tmp_path / "qrels").write_text("q1 0 d1 1\n")
    runs = [tmp_path / "a\x1b[2J.trec", tmp_path / "b\x9b2J.trec"]
    for run in runs:
        run.write_text("q1 Q0 d1 1 0.5 x\n")
    assert main(["evaluate", *map(str, runs), "--qrels", str(tmp_path / "qrels")]) == 0
    assert main(["run", f"{runs[0]}.yaml"]) == 2
    out, err = capsys.readouterr()
    assert "\\x1b[2J" in out
    assert "\\x1b[2J" in err
    assert not {"\x1b", "\x9b"} & {*out, *err}


def test_every_line_of_the_command_line_is_printable():
    """One print, of a text that passed `printable`; all else goes through it or `say`."""
    assert Path(cli.__file__).read_text(encoding="utf-8").count(" print(") == 1


def test_a_bug_keeps_its_traceback(monkeypatch):
    def _raise(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("gradret.commands.show.describe", _raise)
    with pytest.raises(ZeroDivisionError):
        main(["show"])


@pytest.mark.parametrize(("status", "ends"), [(0, True), (2, True), (130, False), (143, False)])
def test_after_a_signal_the_process_ends_without_the_interpreters_own_end(status, ends):
    code = f"import atexit; from gradret import cli; atexit.register(print, 'end'); cli.main = lambda: {status}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('out', end=' '); cli.main_of_process()"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (status, ["out", "end"] if ends else ["out"])


def test_output_that_nobody_reads_to_its_end():
    command = f"{sys.executable} -m gradret.cli show | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode in {0, 1}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian", "x.yaml"], "gradret: error: 'trian' is not a command; did you mean 'train'?"),
        (["xyzzy"], "gradret: error: 'xyzzy' is not a command; known: run, ingest, queries, "),
        ([], "gradret: error: the following arguments are required: COMMAND"),
    ],
)
def test_a_command_that_does_not_exist(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_config_that_does_not_exist_has_a_near_name(tmp_path, capsys):
    (tmp_path / "quickstart.yaml").write_text("name: x")
    for wrong in ("quikstart.yaml", "quickstart", "quickstart.yml"):
        assert main(["run", str(tmp_path / wrong)]) == 2
        words = f"gradret: no config file at {tmp_path / wrong}; did you mean {tmp_path / 'quickstart.yaml'}?\n"
        assert said(capsys) == words
    assert main(["run", str(tmp_path / "other" / "quickstart.yaml")]) == 2
    assert said(capsys) == f"gradret: no config file at {tmp_path / 'other' / 'quickstart.yaml'}\n"


def test_show(capsys):
    assert main(["show"]) == 0
    (losses,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("losses "))
    assert {"infonce,", "kl,", "wasserstein"} <= set(losses.split())
    assert main(["show", "--json"]) == 0
    assert "kl" in json.loads(capsys.readouterr().out)["losses"]
    assert main(["show", "datasets", "beir", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["fields"][0] == {"field": "path", "type": "str", "default": "", "required": False, "doc": "The folder."}
    assert main(["show", "losses", "infonse"]) == 2
    assert said(capsys) == "gradret: 'infonse' is not one of the losses; did you mean 'infonce'?\n"
    assert main(["show", "loses"]) == 2
    assert said(capsys) == "gradret: 'loses' is not a kind of component or a config key; did you mean 'losses'?\n"


def test_a_stage_prints_its_folder(beir, yaml, artifact, capsys, monkeypatch):
    made = artifact("ingest", docs=[{"doc_id": f"d{n}", "text": "enough words", "origin": "corpus"} for n in (1, 2, 3)])
    monkeypatch.setattr("gradret.stages.ingest.ingest", lambda config: made)
    arguments = [yaml, "dataset.name=beir", f"dataset.path={beir()}"]
    assert main(["queries", *arguments]) == 0
    path = capsys.readouterr().out.strip()
    assert json.loads((cli.Path(path) / "manifest.json").read_text())["stage"] == "queries"
    assert main(["queries", *arguments, "--json"]) == 0
    *events, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert last == {"event": "result", "artifacts": {"queries": path}}
    assert [(event["event"], event["stage"]) for event in events][-2:] == [("start", "queries"), ("end", "queries")]


def test_check_prints_a_table_or_numbers(beir, yaml, artifact, capsys, monkeypatch):
    docs = [{"doc_id": f"d{n}", "text": "enough words", "origin": "corpus"} for n in (1, 2, 3)]
    made = artifact("ingest", docs=docs)
    written = artifact("generate", queries=[{"query_id": "q", "text": "a", "generator": "test"}])
    monkeypatch.setattr("gradret.stages.ingest.ingest", lambda config: made)
    monkeypatch.setattr("gradret.stages.dedupe.dedupe", lambda config, ingested: made)
    monkeypatch.setattr("gradret.stages.generate.generate", lambda config, ingested, deduped: written)
    arguments = ["check", yaml, "dataset.name=beir", f"dataset.path={beir()}", "check.queries=0"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "The teacher was not checked: check.queries is 0.\n"
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"skipped": "check.queries is 0"}


def test_a_teacher_that_is_no_better_is_2_unless_told_to_go_on(yaml, capsys, monkeypatch, tmp_path):
    found = {"retriever": "dense", "teacher": "fusion", "sample": "dev", "drawn": 50, "queries": 50}
    found |= {"retriever_ndcg": 0.5, "teacher_ndcg": 0.4, "difference": -0.1, "low": -0.2, "high": -0.05, "p": 0.001}
    found |= {
        "unscored": 0,
        "judged_pairs": 0,
        "kappa": None,
        "kendall_tau": None,
        "spearman": None,
        "signal": None,
        "orders": None,
    }
    made = make(
        "check",
        str(tmp_path),
        module="gradret.text",
        settings={},
        inputs={},
        body=lambda draft: draft.notes.update(found),
    )
    monkeypatch.setattr("gradret.flow.Flow.check", made)
    monkeypatch.setattr("gradret.flow.Flow.mine", property(lambda flow: pytest.fail("it was mined")))
    assert main(["check", yaml]) == 2
    out, err = capsys.readouterr()
    assert [line.split(maxsplit=2) for line in out.splitlines()[1:4]] == [
        ["retriever", "dense", "0.5000"],
        ["teacher", "fusion", "0.4000"],
        ["difference", "-0.1000", "95% -0.2000 to -0.0500, p = 0.001"],
    ]
    assert err.splitlines()[-2].startswith(
        "gradret: check: The teacher fusion ranks no better than the retriever dense"
    )
    assert "Traceback" not in err
    assert main(["label", yaml]) == 2
    assert said(capsys).endswith("or continue with check.stop=false.\n")
    assert main(["check", yaml, "check.stop=false", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"outcome": "not better", **found}


def test_evaluate_compares_run_files(tmp_path, capsys):
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tb\t2\n")
    (tmp_path / "one.trec").write_text("q1 Q0 x 1 2 t\nq1 Q0 a 2 1 t\n")
    (tmp_path / "two.trec").write_text("q1 Q0 a 1 2 t\nq2 Q0 b 1 1 t\nq3 Q0 b 1 1 t\n")
    arguments = ["evaluate", "--qrels", *(str(tmp_path / name) for name in ("qrels.tsv", "one.trec", "two.trec"))]
    assert main([*arguments, "--measures", "MRR@10,P(rel=2)@1", "--one-sided"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=2)[:2] for line in lines[1:3]] == [["one", "0.2500"], ["two", "1.0000"]]
    assert lines[4].startswith("† is better than one: one-sided paired t-test")
    assert lines[5:] == [
        "one: 1 judged queries have no results and count as 0",
        "two: 1 of its queries have no judgment and do not count",
    ]
    assert main([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert list(data["datasets"]["qrels.tsv"]["systems"]["two"]) == ["nDCG@10", "Recall@100", "judged@10"]
    assert data["counts"]["one"]["without_results"] == 1


def test_evaluate_says_what_does_not_go_together(yaml, tmp_path, capsys):
    assert main(["evaluate", yaml, "--measures", "MAP"]) == 2
    words = "--measures and --one-sided require --qrels; a config sets evaluate.measures, evaluate.test"
    assert said(capsys) == f"gradret: {words}\n"
    path = tmp_path / "e.yaml"
    path.write_text("name: e\ndatasets: {a: {name: beir, path: nowhere}}\nsystems: {bm25: {bm25: true}}\n")
    assert main(["run", str(path)]) == 2
    assert said(capsys) == f"gradret: {path} is the config of an evaluation; run it with: gradret evaluate {path}\n"
    assert main(["evaluate", str(path), "systems.x={}"]) == 2
    assert "systems.x.encoder, model, run, bm25: exactly one is required" in said(capsys)
    assert main(["evaluate", str(path)]) == 2
    assert said(capsys).splitlines()[:2] == [
        "gradret: not available:",
        f"  a: dataset.path: no folder at {cli.Path('nowhere').absolute()}",
    ]
