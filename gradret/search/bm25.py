"""A BM25 index with bm25s: for mining, the fusion teacher and the baseline system."""

from __future__ import annotations

import functools
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import DataError
from gradret.search.topk import contenders, ordered
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.atomic import atomic, write_text
from gradret.store.mirror import fetched, remove
from gradret.store.results import Result
from gradret.text import passage, terms
from gradret.work.shards import map_shards, run_step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["LANGUAGES", "Bm25Index", "build_bm25", "lower_terms", "stems", "stopwords", "tokenize"]


LANGUAGES = {
    "danish", "dutch", "english", "french", "german", "italian", "norwegian", "portuguese", "russian", "spanish",
    "swedish", "turkish",
}  # fmt: skip
"""The languages whose stop words bm25s ships."""


# Turkish has two letters i, whose capitals str.lower() mixes up.
_TURKISH = {ord("I"): "\u0131", ord("\u0130"): "i"}
_IDS = "doc_ids.arrow"
_ARRAYS = {"data": "float32", "indices": "int32"}


def build_bm25(config: Config, ingested: Artifact, k1: float, b: float) -> Artifact:
    """Build a bm25s index of all documents, which readers memory-map.

    Ray tasks count the words of the shards; another task then writes the scores, one shard in memory at a time.

    Raises:
        DataError: no document has a word.
    """
    language = config.dataset.language
    settings = {"k1": k1, "b": b, "language": language}
    body = functools.partial(_build, ingested, settings)
    return make("bm25", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body)


def _build(ingested: Artifact, settings: dict[str, Any], draft: Draft) -> None:
    words = draft.path / "work" / "words"
    words.mkdir(parents=True, exist_ok=True)
    items = [(path, words / f"{number:05d}") for number, path in enumerate(ingested.shards("docs"))]
    load = functools.partial(_WordCounter, settings["language"])
    map_shards(draft, items, load, total=ingested.counts.get("rows_out"), unit="docs")
    run_step(draft, "index", [draft.path / "index"], functools.partial(_Builder, items, settings))
    draft.counts.pop("rows_out")


class _WordCounter:
    """Writes a shard's distinct words to ``NAME.json``, and their counts in each document to ``NAME.npz``."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, item: tuple[Path, Path]) -> Result:
        import numpy as np

        source, target = item
        rows = read_shard(source, "docs", ["title", "text"])
        columns = rows["title"].to_pylist(), rows["text"].to_pylist()
        tokenized = tokenize([passage(*row) for row in zip(*columns, strict=True)], self.language)
        numbers: dict[str, int] = {}
        flat = np.array([numbers.setdefault(word, len(numbers)) for words in tokenized for word in words], np.int64)
        write_text(target.with_suffix(".json"), [json.dumps(list(numbers))])
        lengths = np.array([len(words) for words in tokenized], np.int64)
        pairs = np.repeat(np.arange(len(lengths)), lengths) * len(numbers) + flat
        pairs, counts = np.unique(pairs, return_counts=True)
        docs, words = np.divmod(pairs, max(1, len(numbers)))
        with atomic(target.with_suffix(".npz")) as draft, draft.open("wb") as file:
            np.savez(file, docs=docs, words=words, counts=counts, lengths=lengths)
        return Result({}, rows.num_rows, rows.num_rows)


class _Builder:
    """Writes the index from the counts of all shards; the scores of a word are in the order of the documents."""

    def __init__(self, items: list[tuple[Path, Path]], settings: dict[str, Any]) -> None:
        self.sources, self.counted = [source for source, _ in items], [counted for _, counted in items]
        self.k1, self.b = settings["k1"], settings["b"]

    def __call__(self, folder: Path) -> Result:
        import numpy as np

        vocabulary = {word: number for number, word in enumerate(sorted(set().union(*map(_words, self.counted))))}
        if not vocabulary:
            raise DataError(
                "BM25: no document has a word of at least two letters that is not a stop word; check the documents "
                "and dataset.language"
            )
        frequency, documents, length = np.zeros(len(vocabulary), np.int64), 0, 0
        for counted in self.counted:
            arrays = np.load(fetched(counted.with_suffix(".npz")))
            numbers = _numbers(counted, vocabulary)
            frequency[numbers] += np.bincount(arrays["words"], minlength=len(numbers))
            documents, length = documents + len(arrays["lengths"]), length + int(arrays["lengths"].sum())
        remove(folder)
        shutil.rmtree(folder, ignore_errors=True)
        with atomic(folder) as draft:
            draft.mkdir()
            self._write(draft, vocabulary, frequency, documents, length / documents)
        return Result({}, documents, documents)

    def _write(
        self, folder: Path, vocabulary: dict[str, int], frequency: np.ndarray, documents: int, mean: float
    ) -> None:
        import bm25s
        import numpy as np

        index = bm25s.BM25(method="lucene", k1=self.k1, b=self.b)
        ends = np.concatenate([[0], np.cumsum(frequency)])
        index.scores = {name: _mapped(folder / f".{name}", kind, ends[-1]) for name, kind in _ARRAYS.items()}
        index.scores |= {"indptr": ends, "num_docs": documents}
        self._fill(index.scores, _idf(frequency, documents), vocabulary, mean)
        # Those that BM25.index sets. Only other variants than Lucene's score words that do not occur.
        index.vocab_dict, index.nonoccurrence_array = vocabulary, None
        index.save(folder)
        for name in _ARRAYS:
            (folder / f".{name}").unlink()
        _write_ids(folder / _IDS, self.sources)

    def _fill(self, scores: dict[str, Any], idf: np.ndarray, vocabulary: dict[str, int], mean: float) -> None:
        import numpy as np

        following, first = scores["indptr"][:-1].copy(), 0
        for counted in self.counted:
            arrays = np.load(fetched(counted.with_suffix(".npz")))
            words = _numbers(counted, vocabulary)[arrays["words"]]
            order = np.argsort(words, kind="stable")
            words, docs, counts = words[order], arrays["docs"][order], arrays["counts"][order].astype(np.float64)
            starts = np.flatnonzero(np.diff(words, prepend=-1))
            runs = np.diff(starts, append=len(words))
            places = following[words] + np.arange(len(words)) - np.repeat(starts, runs)
            following[words[starts]] += runs
            norm = self.k1 * ((1 - self.b) + self.b * arrays["lengths"][docs] / mean)
            scores["data"][places] = idf[words] * (counts / (norm + counts))
            scores["indices"][places] = first + docs
            first += len(arrays["lengths"])


def _words(counted: Path) -> list[str]:
    words: list[str] = json.loads(fetched(counted.with_suffix(".json")).read_text(encoding="utf-8"))
    return words


def _numbers(counted: Path, vocabulary: dict[str, int]) -> np.ndarray:
    """Return the numbers in ``vocabulary`` of a shard's words."""
    import numpy as np

    return np.array([vocabulary[word] for word in _words(counted)], np.int64)


def _idf(frequency: np.ndarray, documents: int) -> np.ndarray:
    """Return ``log(1 + (N - df + 0.5) / (df + 0.5))`` of every document frequency, float32."""
    import numpy as np

    return np.array([math.log(1 + (documents - df + 0.5) / (df + 0.5)) for df in frequency.tolist()], np.float32)


def _mapped(path: Path, kind: str, size: int) -> np.ndarray:
    """Return an array on disk, of which memory holds what is being written."""
    import numpy as np

    return np.memmap(path, kind, "w+", shape=(int(size),))


def _write_ids(path: Path, sources: list[Path]) -> None:
    """Write all doc_ids, in stored order."""
    import pyarrow as pa

    parts = [read_shard(source, "docs", ["doc_id"])["doc_id"].combine_chunks() for source in sources]
    table = pa.table({"doc_id": pa.concat_arrays(parts)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)


class Bm25Index:
    """A built index. Scores are float32; 0 means that query and document share no term.

    Index and ids are memory-mapped, so that all workers of a machine share one copy.
    """

    def __init__(self, artifact: Artifact) -> None:
        import bm25s
        import numpy as np
        import pyarrow as pa

        folder = artifact.file("index")
        self.index = bm25s.BM25.load(folder, mmap=True)
        # Plain arrays: slices of numpy's memmap class are memmaps too, which is slow.
        self.arrays = {name: np.asarray(self.index.scores[name]) for name in ("data", "indices", "indptr")}
        self.language = artifact.manifest["settings"]["language"]
        # In the stored order of DOCS, as VECTORS are.
        self.doc_ids: pa.Array = pa.ipc.open_file(pa.memory_map(str(folder / _IDS))).read_all()["doc_id"].chunk(0)

    def search(self, texts: Sequence[str], k: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield each query's ``k`` best documents that share a word with it, best first, and their scores."""
        for tokens in tokenize(list(texts), self.language):
            scores = self.scores(tokens)
            (matches,) = scores.nonzero()
            matches = matches[contenders(scores[matches], k)]
            doc_ids = self.doc_ids.take(matches).to_pylist()
            best = ordered(scores[matches], doc_ids, k)
            yield [doc_ids[position] for position in best], scores[matches[best]]

    def scores(self, terms: Sequence[str], start: int = 0, end: int | None = None) -> np.ndarray:
        """Return the scores of the documents from ``start`` to ``end``, by default all, ``(documents,)``.

        Args:
            terms: a query's terms, as ``tokenize`` returns them.
            start: number of the first document, in the order of ``doc_ids``.
            end: number after the last.
        """
        import numpy as np

        end = len(self.doc_ids) if end is None else end
        scores = np.zeros(end - start, np.float32)
        for documents, parts in (self.postings(term) for term in terms if self.has(term)):
            first, last = np.searchsorted(documents, [start, end])
            scores[documents[first:last] - start] += parts[first:last]
        return scores

    def has(self, term: str) -> bool:
        """Whether any document has the term."""
        return term in self.index.vocab_dict

    def postings(self, term: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the documents with a term, ascending, and its part of their scores."""
        number = self.index.vocab_dict[term]
        span = slice(*self.arrays["indptr"][number : number + 2].tolist())
        return self.arrays["indices"][span], self.arrays["data"][span]

    def idf(self) -> dict[str, float]:
        """Return ``log(1 + (N - df + 0.5) / (df + 0.5))`` of every token, as Lucene computes it."""
        import numpy as np

        total, frequency = len(self.doc_ids), np.diff(self.arrays["indptr"]).tolist()
        return {
            token: math.log(1 + (total - frequency[number] + 0.5) / (frequency[number] + 0.5))
            for token, number in self.index.vocab_dict.items()
        }


def stopwords(language: str) -> frozenset[str]:
    """Return bm25s's stop words for ``language``; empty if it has none."""
    from bm25s.tokenization import _infer_stopwords

    return frozenset(_infer_stopwords(language)) if language in LANGUAGES else frozenset()


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
