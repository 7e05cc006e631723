"""Progress lines."""

import sys
import unicodedata

import pytest

from gradret.progress import Progress, duration, printable, say

DIRECTIONS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}  # UAX #9, 3.1


def test_lines_go_to_standard_error(capsys):
    say("words")
    assert capsys.readouterr() == ("", "words\n")


def test_every_control_character_is_written_out(capsys):
    """Unicode's control characters, marks of direction that stay open, and what UTF-8 has no bytes for."""
    bad = {chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) in {"Cc", "Cs"}} - {"\t", "\n"}
    bad |= {chr(n) for n in range(sys.maxunicode + 1) if unicodedata.bidirectional(chr(n)) in DIRECTIONS}
    assert {char for char in map(chr, range(sys.maxunicode + 1)) if printable(char) != char} == bad
    say("\x1b]0;title\x07 \x9b2J \u202e \ud800 \tä\n漢")
    assert capsys.readouterr().err == "\\x1b]0;title\\x07 \\x9b2J \\u202e \\ud800 \tä\n漢\n"


def test_rate_and_time_left_leave_out_what_was_resumed(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress("encode", 3100, "texts")
    progress.skip(1000)
    progress.add(50)
    progress.add(950, ", loss 0.1")
    progress.close()
    assert capsys.readouterr().err == "  encode: 2,000/3,100 texts, 106/s, 10 s left, loss 0.1\n"


def test_rates_count_from_where_work_began_and_not_from_a_burst(monkeypatch, capsys):
    """Two bursts of 50 answers, 40 and 41 seconds after an engine took the first prompt: 100 in 41 seconds."""
    clock = iter([0.0, 100.0, 100.0, 106.0, 106.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress("generate", 200, "prompts")
    progress.begin(40.0)
    progress.add(50)
    progress.begin(41.0)
    progress.add(50)
    assert capsys.readouterr().err.splitlines() == [
        "  generate: 50/200 prompts, 1.2/s, 120 s left",
        "  generate: 100/200 prompts, 2.4/s, 41 s left",
    ]


def test_slow_work(monkeypatch, capsys):
    clock = iter([0.0, 20.0, 40.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress("ingest", 4, "shards")
    progress.add(1)
    progress.add(1)
    assert capsys.readouterr().err == "  ingest: 1/4 shards\n  ingest: 2/4 shards, 0.05/s, 40 s left\n"


def test_starting_counts_neither_for_the_rate_nor_for_the_time_left(monkeypatch, capsys):
    clock = iter([0.0, 15.0, 30.0, 40.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress("train", 1000, "steps")
    for count in (0, 10, 200):
        progress.add(count)
    assert capsys.readouterr().err.splitlines() == [
        "  train: 0/1,000 steps, starting for 15 s",
        "  train: 10/1,000 steps",
        "  train: 210/1,000 steps, 20/s, 40 s left",
    ]


def test_a_terminal_gets_one_line_rewritten(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = Progress("x", 2)
    progress.add(1)
    progress.add(1)
    progress.close()
    said = capsys.readouterr().err
    assert "\n" not in said
    assert said.startswith("\r██████████░░░░░░░░░░ x: 1/2 rows\x1b[K\r████████████████████ x: 2/2 rows")
    assert said.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.4, "9.4 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (7384, "2 h 3 min"),
    ],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words
