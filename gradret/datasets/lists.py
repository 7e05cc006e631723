"""Training lists of FlagEmbedding, Tevatron, sentence-transformers or gradret: queries with their passages."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from gradret.config.fields import require, share
from gradret.datasets import Bad, Part, Row, _formats, _lines, _tables, check_language, place
from gradret.datasets._listed import TrainingList, read_list
from gradret.datasets.hf import load_splits
from gradret.draw import draw
from gradret.errors import ConfigError, DataError

__all__ = ["Lists"]

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_SAVED = ("dataset_dict.json", "state.json")


class _Pair(NamedTuple):
    """What all lists of a query say about a passage."""

    line: int
    relevant: bool
    score: float


@dataclass(frozen=True)
class Lists:
    """Queries with positive and negative passages, as other libraries train on.

    The keys of a row tell its format: FlagEmbedding's ``{query, pos, neg, pos_scores, neg_scores}``; Tevatron's
    ``{query_id, query, positive_passages, negative_passages}``, whose passages may have a ``score``;
    sentence-transformers' columns anchor, positive and negative (``negative_1``, ...), perhaps with ``label`` or
    ``score``; or what ``gradret export`` writes. The passages of all lists are the corpus. A passage or query without
    an id gets a hash of its text as one.

    Rows of the same query are one list. A passage that is positive in any of them is, and of several scores the
    highest counts. To train on the lists as they are: ``configs/lists.yaml``.
    """

    path: str = place()
    """The lists: JSON lines, compressed or not, Parquet, a folder of ``save_to_disk``, or a repository on the Hub. Of
    several splits, ``train`` is read."""
    test: str = place()
    """Lists to evaluate on, in the same forms; of several splits, ``split`` is. Empty holds out some of ``path``."""
    configuration: str = place()
    """Configuration of the repository on the Hub, such as ``triplet``; empty is its default."""
    revision: str = place()
    """Commit, tag or branch of the repository; empty is the latest."""
    test_share: float = 0.1
    """Share of the queries to hold out, at least one, drawn by a hash of query_id, if there are no ``test`` lists."""
    positive_above: float = 0.5
    """In rows that do not tell which passages are relevant, those with a higher score are."""
    split: str = "test"
    """Name of the lists to evaluate on, and the split of ``test`` that has them."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""

    exclude_same_ids: ClassVar[bool] = False
    _folder: ClassVar[Path]

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("path: is required: a file of training lists, or a Hugging Face dataset")
        require(
            test_share=share(self.test_share),
            split="must not be train, which is trained on" if self.split == "train" else "",
        )
        check_language(self.language)
        # Goes to the workers, which have another working directory on a cluster.
        object.__setattr__(self, "_folder", Path.cwd())

    def content(self, table: str) -> str:
        return _formats.content([(split, path) for split in self._places() for path in self._source(split)[0]])

    def parts(self, table: str) -> list[Part]:
        """Return a part for ``path``, and one for ``test``; ids are unique over both, so that more would not help."""
        parts = []
        for split, name in self._places().items():
            self._source(split)
            path = self._folder / name
            parts.append(Part(str(path) if path.exists() else name, split=split))
        return parts

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        """Yield the rows of a table, with the line or row of the list that they are from, which may have many.

        A list that cannot be used is told once, among the documents.
        """
        yield from {"docs": self._docs, "queries": self._queries, "qrels": self._qrels}[table](part.split)

    def scores(self) -> Iterator[tuple[int, str, str, float]]:
        """Yield line, query_id, doc_id and score of each pair of the training lists; 1 and 0 where they have none."""
        pairs = self._pairs("train")
        held_out = self._held_out(pairs)
        for (query_id, doc_id), pair in pairs.items():
            if query_id not in held_out:
                yield pair.line, query_id, doc_id, pair.score

    def _docs(self, split: str) -> Iterator[tuple[int, Row | Bad]]:
        seen: set[str] = set()
        for source, line, found in self._lists(split):
            if isinstance(found, Bad):
                if source == split:
                    yield line, found
                continue
            for row in (passage.doc for passage in found.passages if passage.doc["doc_id"] not in seen):
                seen.add(row["doc_id"])
                if source == split:
                    yield line, row

    def _queries(self, split: str) -> Iterator[tuple[int, Row]]:
        seen: set[str] = set()
        for source, line, found in self._lists(split):
            if not isinstance(found, Bad) and found.query["query_id"] not in seen:
                seen.add(found.query["query_id"])
                if source == split:
                    yield line, found.query

    def _qrels(self, split: str) -> Iterator[tuple[int, Row]]:
        pairs = self._pairs(split)
        held_out = self._held_out(pairs) if split == "train" else set()
        for (query_id, doc_id), pair in pairs.items():
            row = {"query_id": query_id, "doc_id": doc_id, "relevance": int(pair.relevant)}
            yield pair.line, row | {"split": self.split if query_id in held_out else split}

    def _pairs(self, split: str) -> dict[tuple[str, str], _Pair]:
        """What the lists of a split say, by query_id and doc_id."""
        pairs: dict[tuple[str, str], _Pair] = {}
        for source, line, found in self._lists(split):
            if source != split or isinstance(found, Bad):
                continue
            for row, relevant, score in found.passages:
                key = found.query["query_id"], row["doc_id"]
                before = pairs.get(key, _Pair(line, relevant, score))
                pairs[key] = _Pair(before.line, before.relevant or relevant, max(before.score, score))
        return pairs

    def _held_out(self, pairs: dict[tuple[str, str], _Pair]) -> set[str]:
        """The training queries that are test queries."""
        if self.test or not pairs:
            return set()
        draws = {query_id: draw("lists", query_id) for query_id, _ in pairs}
        last = max(self.test_share * 2**64, min(draws.values()))
        return {query_id for query_id, number in draws.items() if number <= last}

    def _lists(self, last: str) -> Iterator[tuple[str, int, TrainingList | Bad]]:
        """Yield the lists of all splits up to the last, each with its split and line.

        Bad if an id stands for another text than in an earlier list.
        """
        texts: dict[tuple[str, str], bytes] = {}
        for split in self._places():
            for line, record in self._source(split)[1]:
                found = record if isinstance(record, Bad) else read_list(record, self.positive_above)
                if not isinstance(found, Bad) and (name := _renamed(found, texts)):
                    found = Bad(f"its {name} stands for another text in an earlier row", str(record)[:200])
                yield split, line, found
            if split == last:
                return

    def _places(self) -> dict[str, str]:
        """Where the lists of each split are."""
        return {self.split: self.test, "train": self.path} if self.test else {"train": self.path}

    def _source(self, split: str) -> tuple[list[Path], Iterator[tuple[int, dict[str, Any] | Bad]]]:
        """The files of a split, and their rows with their numbers.

        Raises:
            DataError: there is no such file, folder or repository, or it has no such split.
        """
        name = self._places()[split]
        path = self._folder / name
        if path.is_file():
            return [path], _tables.read_records(path) if path.suffix == ".parquet" else _json_lines(path)
        if path.is_dir() and not any((path / each).is_file() for each in _SAVED):
            raise DataError(f"{path} is no folder of save_to_disk; name a file of training lists in it")
        if not path.is_dir() and (path.parent.is_dir() or not _REPOSITORY.fullmatch(name)):
            raise DataError(f"no file or folder {path}; expected training lists")
        splits = load_splits(str(path) if path.is_dir() else name, self.configuration, self.revision)
        rows = next(iter(splits.values())) if len(splits) == 1 else splits.get(split)
        if rows is None:
            raise DataError(f"{name} has no split {split!r}, only {', '.join(splits)}")
        batches = rows.with_format("arrow").iter(1000)
        return [Path(file["filename"]) for file in rows.cache_files], _tables.numbered(batches)


def _renamed(found: TrainingList, texts: dict[tuple[str, str], bytes]) -> str:
    """The kind of id that has another text in ``texts``; empty if there is none, and the list's are added."""
    named = {("query_id", found.query["query_id"]): found.query["text"]}
    named |= {("docid", row["doc_id"]): f"{row['title']}\0{row['text']}" for row, *_ in found.passages}
    digests = {key: hashlib.blake2b(text.encode(), digest_size=8).digest() for key, text in named.items()}
    for key, digest in digests.items():
        if texts.get(key, digest) != digest:
            return key[0]
    texts |= digests
    return ""


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | Bad]]:
    for number, line in _lines.read(Part(str(path))):
        yield number, line if isinstance(line, Bad) else _object(line)


def _object(line: str) -> dict[str, Any] | Bad:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return Bad("invalid JSON", line[:200])
    return record if isinstance(record, dict) else Bad("not a JSON object", line[:200])
