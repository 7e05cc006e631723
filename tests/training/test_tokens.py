from itertools import pairwise

import numpy as np
import pytest

from gradret.training.tokens import Tokens, join_tokens, write_tokens

TEXTS = [[5, 6, 7], [], [8], [9, 9, 9, 9], [], [1, 2]]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    write_tokens(folder, ["text"] * len(TEXTS), lambda *_: [np.array(text, np.int32) for text in TEXTS], "docs")
    return Tokens(folder)


@pytest.mark.parametrize(
    "rows", [[], [0], [1], [1, 4], list(range(6)), [5, 3, 0], [3, 3, 1, 3], np.random.default_rng(0).integers(0, 6, 50)]
)
def test_take_equals_plain_slices(tokens, rows):
    rows = np.array(rows, np.int64)
    ids, starts = tokens.take(rows)
    assert [list(ids[start:end]) for start, end in pairwise(starts)] == [TEXTS[row] for row in rows]
    assert starts[-1] == len(ids)
    assert list(tokens.lengths(rows)) == [len(TEXTS[row]) for row in rows]
    assert ids.dtype == np.int32


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_but_empty_texts(tmp_path, count):
    write_tokens(tmp_path, [""] * count, lambda texts, table: [np.zeros(0, np.int32) for _ in texts], "docs")
    ids, starts = Tokens(tmp_path).take(np.arange(count))
    assert len(ids) == 0
    assert list(starts) == [0] * (count + 1)


def test_parts_are_joined_in_any_order(tmp_path):
    """Parts are tokenized by themselves; an empty part and an empty text are among them."""
    parts = [tmp_path / name for name in "abc"]
    for part, texts in zip(parts, (TEXTS[:4], [], TEXTS[4:]), strict=True):
        write_tokens(part, [""] * len(texts), lambda *_, texts=texts: [np.array(t, np.int32) for t in texts], "docs")
    rows = np.array([3, 0, 5, 1, 4, 2])
    join_tokens(tmp_path / "joined", parts, rows)
    ids, starts = Tokens(tmp_path / "joined").take(rows)
    assert [list(ids[start:end]) for start, end in pairwise(starts)] == TEXTS
    with pytest.raises(ValueError, match="read-only"):
        Tokens(tmp_path / "joined").ids[0] = 1
