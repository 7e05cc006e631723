"""Compare short texts by their character 4-grams, so that a small edit changes little, in every script."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gradret.text import fold

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

__all__ = ["grams", "similar"]

_ROWS_A_BLOCK = 1000


def grams(texts: Sequence[str]) -> csr_array:
    """Hashed 4-grams, ``(len(texts), 2**20)``, 1 where a text has one; one text in a thousand has a collision.

    The 4-grams are those within words, after ``gradret.text.fold``, NFKC normalisation and lower casing.
    """
    import numpy as np
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import HashingVectorizer

    plain = [unicodedata.normalize("NFKC", fold(text)) for text in texts]
    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(4, 4), binary=True, norm=None, alternate_sign=False, dtype=np.float32
    )
    return csr_array(vectorizer.transform(plain))


def similar(left: csr_array, right: csr_array, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the pairs whose sets of 4-grams have at least this Jaccard similarity, in blocks of rows of ``left``.

    Args:
        left: ``grams`` of texts.
        right: ``grams`` of the texts that each of them is compared with.
        threshold: above 0, at most 1.

    Yields:
        Indices into ``left``, indices into ``right``, and the similarities, one each per pair.
    """
    sizes = right.sum(axis=1)
    for start in range(0, left.shape[0], _ROWS_A_BLOCK):
        block = left[start : start + _ROWS_A_BLOCK]
        common = (block @ right.T).tocoo()
        row, column = common.coords
        similarity = common.data / (block.sum(axis=1)[row] + sizes[column] - common.data)
        found = similarity >= threshold
        yield start + row[found], column[found], similarity[found]
