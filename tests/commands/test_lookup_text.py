"""What ``gradret search RUN`` prints."""

import pytest

from gradret.commands.lookup_text import as_columns, as_list, excerpt


def hit(rank, doc_id, title="", text="text"):
    return {"rank": rank, "score": 0.5, "doc_id": doc_id, "title": title, "text": text}


def test_the_passage_with_most_of_the_words_is_shown():
    text = "nothing here " * 60 + "Wait for a process, " + "nothing more " * 60
    shown = excerpt(text, "wait process")
    assert shown.startswith("... ")
    assert shown.endswith(" ...")
    assert "\0Wait\0 for a \0process,\0" in shown
    assert len(shown) < 260


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("one two", "two", "one \0two\0"),
        ("", "two", ""),
        ("x" * 500, "two", "x" * 500),
        ("一二三", "二三", "一\0二\0\0三\0"),
    ],
)
def test_short_and_odd_texts(text, query, shown):
    assert excerpt(text, query) == shown


def test_words_are_bold_on_a_terminal_alone_and_texts_cannot_control_it():
    hits = [hit(1, "d1", "A \033[2Jtitle", "wait \0\033[31m here")]
    assert "\033[1mwait\033[0m" in as_list(hits, "wait", bold=True)
    plain = as_list(hits, "wait", bold=False)
    assert "\033" not in plain
    assert "\0" not in plain
    assert plain.splitlines() == ["  1  0.5000  d1  A \\x1b[2Jtitle", "     wait \\x00\\x1b[31m here"]
    assert as_list([], "wait", bold=False) == "no document"


def test_systems_stand_side_by_side():
    rankings = {"tuned": [hit(1, "d1", "Wings"), hit(2, "d2")], "bm25": [hit(1, "d2", "A long title " * 9)]}
    lines = as_columns(rankings, 64).splitlines()
    assert [line.split() for line in lines[:1]] == [["tuned", "bm25"]]
    assert lines[1].split()[:3] == ["1", "d1", "Wings"]
    assert lines[2].split() == ["2", "d2"]
    assert all(len(line) <= 64 for line in lines)
    assert lines[0].index("bm25") == lines[1].index("d2")
