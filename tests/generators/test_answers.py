import pytest

from gradret.engines import Answer, Unusable
from gradret.generators._answers import is_refusal, one_line


def answer(text, finish="stop"):
    return Answer("d1~question", text, finish, tokens_in=9, tokens_out=9)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("why does a shell buckle", "why does a shell buckle"),
        ("\n\n  why does\ta  shell buckle \n\nBecause it is thin.", "why does a shell buckle"),
        ("why does\r\na shell", "why does"),
        ('"why does a shell buckle?"', "why does a shell buckle?"),
        ("“why does a shell buckle?”", "why does a shell buckle?"),
        ("'why does a shell buckle?'", "why does a shell buckle?"),
        ("„warum knickt eine Schale“", "warum knickt eine Schale"),
        ("**why does a shell buckle**", "why does a shell buckle"),
        ("Question: why does a shell buckle", "why does a shell buckle"),
        ('Query: "why does a shell buckle"', "why does a shell buckle"),
        ('"Search query: why does a shell buckle"', "why does a shell buckle"),
        ("**Title:** Shells", "Shells"),
        ("**Title**: Shells", "Shells"),
        ("Answer 1: Shells", "Shells"),
        ("Document Title: Shells", "Shells"),
        ("Title:薄い殻", "薄い殻"),
        ("Main idea: Shells", "Shells"),
        ("Document: Shells", "Shells"),
        ("This can be found as follows:\nShells", "Shells"),
        ("答え：\n薄い殻", "薄い殻"),
        ("```html\n<title>Shells</title>\n```", "Shells"),
        ("Keywords:\nshell, axial load", "shell, axial load"),
        ("- shell, axial load", "shell, axial load"),
        ("1. why does a shell buckle\n2. when does it", "why does a shell buckle"),
        ("Sure! Here is a question about it:\n\nwhy does a shell buckle", "why does a shell buckle"),
        ("Here's the title:\nShells", "Shells"),
        ("Here\u2019s the title:\nShells", "Shells"),
        ("```text\nwhy does a shell buckle\n```", "why does a shell buckle"),
        ("The title for the document, which covers thin shells, is: Shells", "Shells"),
        ('A possible question about this text:\n"why does a shell buckle?"', "why does a shell buckle?"),
        ("Here is a question that the document answers: why does a shell buckle", "why does a shell buckle"),
        ("My search query would be: shell buckling", "shell buckling"),
        ("The keywords are:\n- shell, axial load", "shell, axial load"),
        ("**Search terms:** shell, axial load", "shell, axial load"),
        ("<think>\nThe text is on shells.\n</think>\n\nwhy does a shell buckle", "why does a shell buckle"),
        ("...\nwhy does a shell buckle", "why does a shell buckle"),
        ("薄い殻はなぜ座屈するのか", "薄い殻はなぜ座屈するのか"),
    ],
)
def test_what_models_put_around_a_line_is_taken_off(text, line):
    assert one_line(answer(text)) == line


@pytest.mark.parametrize(
    "text",
    [
        '"thin" and "thick"',
        "the shell's edge",
        "what is a query: a definition",
        "title insurance: who pays",
        "question mark in url",
        "Query optimisation: a survey",
        "The question of lift: what is known",
        "Title search: how long it takes",
        "here we go: lyrics",
        "<title> in HTML",
        "https://example.com login page",
        "10. symphony by Mahler",
        "here is where it began",
        "sorry sight in Macbeth",
        "C++ -> Rust",
        "5 * 3",
        "-5 degrees in Fahrenheit",
    ],
)
def test_a_line_that_only_looks_so_is_left(text):
    assert one_line(answer(text)) == text


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("", "stop", "empty answer"),
        (" \n\t\n", "stop", "empty answer"),
        ('""', "stop", "empty answer"),
        ("Question:", "stop", "empty answer"),
        ("Sure, here is a title:", "length", "empty answer"),
        ("<think>\nThe text is on", "length", "no answer after the thoughts"),
        ("I'm sorry, but I can't help with that.", "stop", "refusal"),
        ("https://example.com/search?q=shell", "stop", "a link"),
        ("Title: I cannot provide a title", "length", "refusal"),
        ("why does a shell buckle under", "length", "cut off at max_tokens"),
        ("\nwhy does a shell buckle under", "length", "cut off at max_tokens"),
    ],
)
def test_what_cannot_be_used_says_why(text, finish, reason):
    with pytest.raises(Unusable, match=f"^{reason}$"):
        one_line(answer(text, finish))


def test_the_task_is_taken_off_where_an_answer_repeats_it():
    task = "A title for this document"
    assert one_line(answer("A title for this document: Shells"), task) == "Shells"
    assert one_line(answer("A title for this document:\nShells"), task) == "Shells"
    assert one_line(answer("A title for this document of shells"), task) == "A title for this document of shells"
    assert one_line(answer("A search for this document: shells"), task) == "A search for this document: shells"


def test_a_line_that_ended_before_the_limit_is_kept():
    assert one_line(answer("why does a shell buckle\nBecause it is", "length")) == "why does a shell buckle"
    assert one_line(answer("why does a shell buckle\n", "length")) == "why does a shell buckle"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, I cannot assist with this request.",
        "Sorry, but I am unable to do so",
        "I apologize, but I cannot",
        "I apologise. I can't answer",
        "Unfortunately, I am not able to write this.",
        "I cannot provide medical advice.",
        "I can't write a claim about this",
        "I won't generate that",
        "I'm not able to help",
        "I'm unable to comply",
        "As an AI language model, I do not have opinions",
        "As an AI, I cannot",
        "  as a large language model I can only",
    ],
)
def test_refusals_are_known(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I can't sleep after surgery",
        "I cannot find my passport",
        "I'm sorry lyrics",
        "sorry game rules",
        "unfortunately synonym",
        "as an AI engineer what should I learn",
        "as a language teacher I need games",
        "unable to help a friend with depression",
        "I cannot helpfully",
        "what does I'm sorry, but I can't mean",
    ],
)
def test_queries_that_begin_nearly_so_are_no_refusals(text):
    assert not is_refusal(text)
