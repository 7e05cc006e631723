"""A BM25 index with bm25s: for mining, the fusion teacher and the baseline system."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gradret.errors import DataError
from gradret.search.topk import contenders, ordered
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.text import passage, terms
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["Bm25Index", "build_bm25", "lower_terms", "stems", "stopwords", "tokenize"]


# The languages whose stop words bm25s ships.
_STOPWORDS = {
    "danish", "dutch", "english", "french", "german", "italian", "norwegian", "portuguese", "russian", "spanish",
    "swedish", "turkish",
}  # fmt: skip


# Turkish has two letters i, whose capitals str.lower() mixes up.
_TURKISH = {ord("I"): "\u0131", ord("\u0130"): "i"}
_IDS = "doc_ids.arrow"


def build_bm25(config: Config, ingested: Artifact, k1: float, b: float) -> Artifact:
    """Build a bm25s index of all documents, which readers memory-map.

    Shards are tokenized on Ray; one process then builds the index from token numbers read from disk, so
    that no process ever holds the texts.

    Raises:
        DataError: no document has a word.
    """
    language = config.dataset.language
    settings = {"k1": k1, "b": b, "language": language}
    body = functools.partial(_build, ingested, settings)
    return make("bm25", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body)


def _build(ingested: Artifact, settings: dict[str, Any], draft: Draft) -> None:
    import bm25s
    from bm25s.tokenization import Tokenized

    words = draft.path / "work" / "words"
    words.mkdir(parents=True, exist_ok=True)
    shards = ingested.shards("docs")
    items = [(path, words / f"{number:05d}") for number, path in enumerate(shards)]
    load = functools.partial(_WordWriter, settings["language"])
    map_shards(draft, items, load, total=ingested.counts.get("rows_out"), unit="docs")
    tokens = _TokenReader([folder for _, folder in items])
    if not tokens.vocab:
        raise DataError(
            "BM25: no document has a word of at least two letters that is not a stop word; check the documents "
            "and dataset.language"
        )
    index = bm25s.BM25(method="lucene", k1=settings["k1"], b=settings["b"], csc_backend="scipy")
    # bm25s declares a list but only iterates over it, three times.
    index.index(Tokenized(cast("list[list[int]]", tokens), tokens.vocab), show_progress=False)
    folder = draft.folder("index")
    doc_ids, positions = _sorted_ids(shards)
    index.scores["indices"] = positions[index.scores["indices"]]
    index.save(folder)
    _write_ids(folder / _IDS, doc_ids)
    draft.counts.pop("rows_out")


class _WordWriter:
    """Writes a shard's distinct words to ``NAME.json``, and its documents as word numbers to ``NAME.npz``."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, item: tuple[Path, Path]) -> Result:
        import numpy as np

        source, target = item
        rows = read_shard(source, "docs", ["title", "text"])
        columns = rows["title"].to_pylist(), rows["text"].to_pylist()
        tokenized = tokenize([passage(*row) for row in zip(*columns, strict=True)], self.language)
        numbers: dict[str, int] = {}
        flat = [numbers.setdefault(word, len(numbers)) for words in tokenized for word in words]
        target.with_suffix(".json").write_text(json.dumps(list(numbers)), encoding="utf-8")
        lengths = np.array([len(words) for words in tokenized], np.int32)
        np.savez(target.with_suffix(".npz"), words=np.array(flat, np.int32), lengths=lengths)
        return Result({}, rows.num_rows, rows.num_rows)


class _TokenReader:
    """Yields every document's words as numbers of ``vocab``, reading one shard at a time on each iteration."""

    def __init__(self, shards: list[Path]) -> None:
        self.shards = shards
        words: set[str] = set()
        for shard in shards:
            words.update(self._words(shard))
        self.vocab = {word: number for number, word in enumerate(sorted(words))}

    def __len__(self) -> int:
        import numpy as np

        return sum(len(np.load(shard.with_suffix(".npz"))["lengths"]) for shard in self.shards)

    def __iter__(self) -> Iterator[list[int]]:
        import numpy as np

        for shard in self.shards:
            number = np.array([self.vocab[word] for word in self._words(shard)], np.int32)
            arrays = np.load(shard.with_suffix(".npz"))
            words, ends = number[arrays["words"]], np.cumsum(arrays["lengths"])
            for start, end in pairwise([0, *ends]):
                yield words[start:end].tolist()

    def _words(self, shard: Path) -> list[str]:
        words: list[str] = json.loads(shard.with_suffix(".json").read_text(encoding="utf-8"))
        return words


def _sorted_ids(shards: list[Path]) -> tuple[pa.Array, np.ndarray]:
    """Return all doc_ids, sorted, and each document's position among them, in stored order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    stored = pa.chunked_array([read_shard(path, "docs", ["doc_id"])["doc_id"].combine_chunks() for path in shards])
    order = pc.sort_indices(stored)
    positions = np.empty(len(order), np.int32)
    positions[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    return stored.take(order).combine_chunks(), positions


def _write_ids(path: Path, doc_ids: pa.Array) -> None:
    import pyarrow as pa

    table = pa.table({"doc_id": doc_ids})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)


class Bm25Index:
    """A built index. Scores are float32; 0 means that query and document share no term.

    Index and ids are memory-mapped, so that all workers of a machine share one copy.
    """

    def __init__(self, artifact: Artifact) -> None:
        import bm25s
        import pyarrow as pa

        folder = artifact.file("index")
        self.index = bm25s.BM25.load(folder, mmap=True)
        self.language = artifact.manifest["settings"]["language"]
        # In ascending order.
        self.doc_ids: pa.Array = pa.ipc.open_file(pa.memory_map(str(folder / _IDS))).read_all()["doc_id"].chunk(0)

    def search(self, texts: Sequence[str], k: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield each query's ``k`` best documents that share a word with it, best first, and their scores."""
        for tokens in tokenize(list(texts), self.language):
            scores = self._scores(tokens)
            (matches,) = scores.nonzero()
            matches = matches[contenders(scores[matches], k)]
            doc_ids = self.doc_ids.take(matches).to_pylist()
            best = ordered(scores[matches], doc_ids, k)
            yield [doc_ids[position] for position in best], scores[matches[best]]

    def scores(self, texts: list[str]) -> np.ndarray:
        """Return the scores of all documents, ``(len(texts), docs)``, columns in the order of ``doc_ids``."""
        import numpy as np

        rows = np.zeros((len(texts), len(self.doc_ids)), np.float32)
        for row, tokens in zip(rows, tokenize(texts, self.language), strict=True):
            row[:] = self._scores(tokens)
        return rows

    def _scores(self, tokens: list[str]) -> np.ndarray:
        import numpy as np

        known = [token for token in tokens if token in self.index.vocab_dict]
        scores: np.ndarray = self.index.get_scores(known) if known else np.zeros(len(self.doc_ids), np.float32)
        return scores

    def idf(self) -> dict[str, float]:
        """Return ``log(1 + (N - df + 0.5) / (df + 0.5))`` of every token, as Lucene computes it."""
        import math

        import numpy as np

        total = len(self.doc_ids)
        frequency = np.diff(self.index.scores["indptr"])
        return {
            token: math.log(1 + (total - frequency[number] + 0.5) / (frequency[number] + 0.5))
            for token, number in self.index.vocab_dict.items()
            if number < len(frequency)
        }


def stopwords(language: str) -> frozenset[str]:
    """Return bm25s's stop words for ``language``; empty if it has none."""
    from bm25s.tokenization import _infer_stopwords

    return frozenset(_infer_stopwords(language)) if language in _STOPWORDS else frozenset()


def tokenize(texts: list[str], language: str) -> list[list[str]]:
    """Return the terms of each text (``gradret.text.terms``), stemmed and without stop words."""
    term_lists = [lower_terms(text, language) for text in texts]
    stem = stems({term for row in term_lists for term in row}, language)
    return [[stem[term] for term in row if term in stem] for row in term_lists]


def lower_terms(text: str, language: str) -> list[str]:
    """Return ``gradret.text.terms``, with the language's rules for lower case."""
    return terms(text.translate(_TURKISH) if language == "turkish" else text)


def stems(terms: Iterable[str], language: str) -> dict[str, str]:
    """Return the Snowball stem of each term that is not a stop word; the term itself if ``language`` is ``none``."""
    import Stemmer

    kept = sorted(set(terms) - stopwords(language))
    return dict(zip(kept, kept if language == "none" else Stemmer.Stemmer(language).stemWords(kept), strict=True))
