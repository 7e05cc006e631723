"""``gradret status`` on logs that ``logged`` wrote."""

import json

import pytest

from gradret.cli import main
from gradret.commands.status import status
from gradret.errors import ConfigError, StageError
from gradret.progress import Progress, logged, say


@pytest.fixture
def run(tmp_path):
    return tmp_path / "runs" / "toy"


def _fail(run, error, text):
    with logged(run / "log.txt"):
        say(text)
        raise error


def test_a_running_run_shows_its_stages_and_its_last_line(run):
    with logged(run / "log.txt"):
        say("ingest     1.0 s   9 rows in")
        progress = Progress("encode", 9, interval=0)
        progress.add(1)
        progress.add(1)
        found = status(run)
    assert (found.name, found.state) == ("toy", "running")
    assert found.lines[0] == "ingest     1.0 s   9 rows in"
    (last,) = found.lines[1:]
    assert last.startswith("  encode: 2/9 rows")
    assert 0 <= found.seconds < 3600


def test_a_finished_run_and_one_that_fails_when_started_again(run):
    with logged(run / "log.txt"):
        say("ingest     1.0 s   9 rows in")
    assert (status(run).state, status(run).lines) == ("finished", ("ingest     1.0 s   9 rows in",))
    with pytest.raises(StageError):
        _fail(run, StageError("a worker failed\nin many lines"), "ingest     reused")
    assert (status(run).state, status(run).lines) == ("failed: a worker failed", ("ingest     reused",))


def test_what_a_terminal_rewrites_in_place_is_logged_every_five_seconds(run, monkeypatch, capsys):
    clock = iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with logged(run / "log.txt"):
        progress = Progress("encode", 9)
        for _ in range(3):
            progress.add(1)
    lines = (run / "log.txt").read_text().splitlines()
    assert [line.partition("\t")[2].partition(" rows")[0] for line in lines] == ["started", "  encode: 2/9", "finished"]


def test_an_interrupted_run_and_lines_within_lines(run):
    with pytest.raises(KeyboardInterrupt):
        _fail(run, KeyboardInterrupt(), "one\ntwo")
    assert (status(run).state, status(run).lines) == ("failed: KeyboardInterrupt", ("one", "two"))


def test_nothing_is_logged_after_the_block(run):
    with logged(run / "log.txt"):
        pass
    say("later")
    assert "later" not in (run / "log.txt").read_text()


def test_the_command(run, capsys):
    with logged(run / "log.txt"):
        say("ingest     1.0 s")
    assert main(["status", str(run)]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("toy: finished, last line ")
    assert rest == ["ingest     1.0 s"]
    assert main(["status", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "finished"


def test_a_folder_without_a_log(tmp_path):
    with pytest.raises(ConfigError, match=r"log\.txt cannot be read: No such file or directory; give the folder"):
        status(tmp_path)
