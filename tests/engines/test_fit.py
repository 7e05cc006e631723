"""Truncation of prompts that are too long, counted in words."""

import pytest

from gradret.engines import Prompt, Sampling, TooLong
from gradret.engines._fit import fit


class Words:
    """A word is a token; a message costs one more."""

    def count(self, messages):
        return sum(1 + len(message["content"].split()) for message in messages)

    def size(self, text):
        return len(text.split())

    def cut(self, text, size):
        return " ".join(text.split()[:size])


def prompt(*sizes, longest=100):
    """Two messages of one word each, and texts of the given numbers of words."""
    texts = tuple(" ".join(f"{place}.{word}" for word in range(size)) for place, size in enumerate(sizes))
    return Prompt("p", "system", lambda cut: f"user {' '.join(cut)}", texts, Sampling(1), longest)


@pytest.mark.parametrize(
    ("sizes", "longest", "limit", "left"),
    [
        ((10,), 100, 14, [10]),  # fits exactly: 2 messages, 2 words, 10 of the text
        ((10,), 100, 13, [9]),
        ((10,), 4, 100, [4]),  # cut though it would fit
        ((10, 3), 100, 14, [7, 3]),  # the longest first
        ((10, 8, 2), 100, 16, [5, 5, 2]),
        ((10, 8, 2), 6, 100, [6, 6, 2]),
        ((5, 5), 100, 13, [4, 4]),  # one length for all: nothing tells the documents apart
        ((), 100, 4, []),
    ],
)
def test_the_longest_texts_are_cut_to_one_length(sizes, longest, limit, left):
    asked = prompt(*sizes, longest=longest)
    fitted = fit(asked, Words(), limit)
    words = fitted.messages[1]["content"].split()
    assert fitted.messages[0] == {"role": "system", "content": "system"}
    assert words == ["user", *(f"{place}.{word}" for place, size in enumerate(left) for word in range(size))]
    assert fitted.tokens_in == 4 + sum(left) <= limit
    assert fitted.cut == sum(before != after for before, after in zip(sizes, left, strict=True))


@pytest.mark.parametrize("sizes", [(), (5,), (5, 9)])
def test_what_does_not_fit_without_its_texts_is_refused(sizes):
    with pytest.raises(TooLong, match="at most 3 fit"):
        fit(prompt(*sizes), Words(), 3)


def test_a_text_is_never_cut_to_nothing():
    with pytest.raises(TooLong):
        fit(prompt(5), Words(), 4)
    assert fit(prompt(5), Words(), 5).tokens_in == 5


def test_it_ends_where_cutting_does_not_shorten():
    """Counts of tokens do not add up exactly: the text's end may merge with what follows it."""

    class Sticky(Words):
        def count(self, messages):
            return super().count(messages) + 3

    assert fit(prompt(10), Sticky(), 14).tokens_in <= 14
