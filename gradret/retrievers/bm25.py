"""BM25 through bm25s: mining candidates, half of the fusion teacher, and the baseline system."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.artifacts import Artifact, Draft, make
from gradret.text import passage

if TYPE_CHECKING:
    import numpy as np

    from gradret.config import Config

# The languages whose stop words bm25s ships.
_STOPWORDS = {
    "english", "german", "dutch", "french", "spanish", "portuguese", "italian", "russian", "swedish", "norwegian",
}  # fmt: skip

__all__ = ["Bm25", "Bm25Index", "build_bm25", "stopwords", "tokenize"]


@dataclass(frozen=True)
class Bm25:
    """The ``k`` documents that BM25 ranks first.

    Lucene's variant (idf never negative), Snowball stemmer and stop words of ``dataset.language``,
    over title and text. Source: Robertson & Zaragoza 2009; implementation: bm25s (Lu 2024).
    """

    k: int = 20
    """Candidates a query."""
    k1: float = 1.2
    b: float = 0.75

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"bm25": build_bm25(config, ingested, self.k1, self.b)}

    def load(self, prepared: dict[str, Artifact], seed: int) -> _Top:
        return _Top(Bm25Index(prepared["bm25"]), self.k)


class _Top:
    def __init__(self, index: Bm25Index, k: int) -> None:
        self.index, self.k = index, k

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[list[str]]:
        from gradret.dense.topk import top_ids

        scores = self.index.scores([query["text"] for query in queries])
        return [top_ids(row, self.index.doc_ids, self.k, positive=True) for row in scores]


def build_bm25(config: Config, ingested: Artifact, k1: float, b: float) -> Artifact:
    """A bm25s index of all documents, memory-mapped by those who load it."""
    language = config.dataset.language
    settings = {"k1": k1, "b": b, "language": language}
    body = functools.partial(_build, ingested, settings)
    return make("bm25", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body)


def _build(ingested: Artifact, settings: dict[str, Any], draft: Draft) -> None:
    import bm25s

    docs = ingested.table("docs", ["doc_id", "title", "text"])
    texts = [passage(*row) for row in zip(docs["title"].to_pylist(), docs["text"].to_pylist(), strict=True)]
    index = bm25s.BM25(method="lucene", k1=settings["k1"], b=settings["b"])
    index.index(tokenize(texts, settings["language"]), show_progress=False)
    folder = draft.folder("index")
    index.save(folder)
    (folder / "doc_ids.txt").write_text("\n".join(docs["doc_id"].to_pylist()), encoding="utf-8")
    draft.count(rows_in=docs.num_rows)


class Bm25Index:
    """A built index. Scores are float32, zero where no term is shared."""

    def __init__(self, artifact: Artifact) -> None:
        import bm25s

        folder = artifact.path / "index"
        self.index = bm25s.BM25.load(folder, mmap=True)
        self.language = artifact.manifest["settings"]["language"]
        self.doc_ids = (folder / "doc_ids.txt").read_text(encoding="utf-8").split("\n")

    def scores(self, texts: list[str]) -> np.ndarray:
        """Scores of all documents, ``(len(texts), docs)``, documents in the order of ``doc_ids``."""
        import numpy as np

        known = self.index.vocab_dict
        rows = np.zeros((len(texts), len(self.doc_ids)), np.float32)
        for row, tokens in zip(rows, tokenize(texts, self.language), strict=True):
            found = [token for token in tokens if token in known]
            if found:
                row[:] = self.index.get_scores(found)
        return rows

    def idf(self) -> dict[str, float]:
        """``log(1 + (N - df + 0.5) / (df + 0.5))`` of every token, as Lucene computes it."""
        import math

        import numpy as np

        total = len(self.doc_ids)
        holding = np.diff(self.index.scores["indptr"])
        return {
            token: math.log(1 + (total - holding[number] + 0.5) / (holding[number] + 0.5))
            for token, number in self.index.vocab_dict.items()
            if number < len(holding)
        }


def stopwords(language: str) -> frozenset[str]:
    """The stop words that bm25s ships for ``language``; none where it ships none."""
    from bm25s.tokenization import _infer_stopwords

    return frozenset(_infer_stopwords(language)) if language in _STOPWORDS else frozenset()


def tokenize(texts: list[str], language: str) -> list[list[str]]:
    """Lower-cased words of two letters or more, without stop words, stemmed."""
    import bm25s
    import Stemmer

    stemmer = None if language == "none" else Stemmer.Stemmer(language)
    tokens: list[list[str]] = bm25s.tokenize(
        texts, stopwords=sorted(stopwords(language)), stemmer=stemmer, return_ids=False, show_progress=False
    )
    return tokens
