"""Progress lines."""

import sys
import unicodedata

from gradret.progress import Progress, printable, say

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
    assert capsys.readouterr().err == "  encode: 2,000/3,100 texts, 100/s, 11 s left, loss 0.1\n"


def test_slow_work(monkeypatch, capsys):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    Progress("ingest", 4, "shards").add(1)
    assert capsys.readouterr().err == "  ingest: 1/4 shards, 0.05/s, 60 s left\n"


def test_a_terminal_gets_one_line_rewritten(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = Progress("x", 2)
    progress.add(1)
    progress.add(1)
    progress.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("\r  x: 1/2 rows")
    assert said.endswith("\r\x1b[K")
