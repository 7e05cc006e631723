"""Quarantine generated queries by what is wrong with them, with a reason each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gradret.config.fields import require, share
from gradret.copies.similar import grams, similar
from gradret.generators._faults import FORMS, is_foreign, is_line, mentions_document, on_topic, shared
from gradret.text import words

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["DocumentFilters", "Filters", "Query"]


class Query(NamedTuple):
    """A query that a model wrote about a document."""

    query_id: str
    text: str
    kind: str
    doc_id: str
    document: str


@dataclass(frozen=True)
class Filters:
    """What is wrong with a query; each fault has a threshold, and 0 or false turns its filter off.

    Most defaults were chosen on labelled answers of a small model: docs/generation.md. gradret's; not from a paper.
    """

    prompt: float = 0.4
    """Copy of the prompt: at least this share of the words lies in sequences of four words of the prompt, its task
    or its examples."""
    document: float = 0.7
    """Copied from the document: at least this share of the words lies in sequences of five words of the document."""
    extractive: tuple[str, ...] = ("title", "keywords")
    """Kinds that may be copied from the document."""
    form: bool = True
    """Wrong form: a question that is none, a claim that is a question, keywords that are a sentence."""
    mention: bool = True
    """Mentions the document ("the text", "this article"), in English."""
    language: bool = True
    """Another language or script than the document's."""
    topic: float = 0.15
    """Not about the document: it has less than this share of the words, stop words aside."""
    similar: float = 0.8
    """Near-duplicates: the Jaccard similarity of their sets of character 4-grams is at least this. Of those about one
    document the first kind's is kept."""
    documents: int = 3
    """Same query for several documents: near-duplicates about this many documents are all quarantined, since such a
    query says nothing about any of them. They are looked for in shards of 2,000 documents."""

    def __post_init__(self) -> None:
        shares = {name: share(getattr(self, name)) for name in ("prompt", "document", "topic", "similar")}
        few = self.documents < 0 or self.documents == 1
        require(**shares, documents=f"must be 0 or at least 2, got {self.documents}" if few else "")

    def answer_fault(self, line: str, prompt: str, form: str) -> str:
        """Return what is wrong with an answer by itself; empty if nothing is.

        Args:
            line: the answer's line.
            prompt: the prompt without the document.
            form: a key of ``FORMS``; empty for a kind whose queries may have any form.
        """
        if self.prompt and (is_line(line, prompt) or shared(line, prompt, 4) >= self.prompt):
            return "copy of the prompt"
        if self.form and form and (reason := FORMS[form](line)):
            return reason
        return "mentions the document" if self.mention and mentions_document(line) else ""

    def query_faults(self, queries: Sequence[Query]) -> dict[str, str]:
        """Return what is wrong with queries, given their documents and each other, by query_id."""
        faults = {query.query_id: fault for query in queries if (fault := self._document_fault(query))}
        rest = [query for query in queries if query.query_id not in faults]
        return faults | self._duplicates(rest)

    def _document_fault(self, query: Query) -> str:
        if self.language and is_foreign(query.text, query.document):
            return "another language than the document"
        if self.topic and on_topic(query.text, query.document) < self.topic:
            return "not about the document"
        may_copy = not self.document or query.kind in self.extractive
        return "" if may_copy or shared(query.text, query.document, 5) < self.document else "copied from the document"

    def _duplicates(self, queries: Sequence[Query]) -> dict[str, str]:
        if not self.similar or not queries:
            return {}
        sets = _grams([query.text for query in queries])
        near: dict[int, list[int]] = {}
        for left, right, _ in similar(sets, sets, self.similar):
            for one, other in zip(left.tolist(), right.tolist(), strict=True):
                near.setdefault(one, []).append(other)
        faults: dict[str, str] = {}
        kept: set[int] = set()
        for number, query in enumerate(queries):
            others = [other for other in near.get(number, ()) if other != number]
            documents = {query.doc_id, *(queries[other].doc_id for other in others)}
            if 0 < self.documents <= len(documents):
                faults[query.query_id] = "same query for several documents"
            elif any(other in kept and queries[other].doc_id == query.doc_id for other in others):
                faults[query.query_id] = "near-duplicate of another kind"
            else:
                kept.add(number)
        return faults


@dataclass(frozen=True)
class DocumentFilters:
    """What is wrong with documents written for a query; 0 turns a filter off. gradret's; not from a paper."""

    prompt: float = 0.5
    """Copy of an example or of the prompt: at least this share of a document's words lies in sequences of five words
    of it."""
    similar: float = 0.8
    """The same document at two grades: the Jaccard similarity of their sets of character 4-grams is at least this."""

    def __post_init__(self) -> None:
        require(prompt=share(self.prompt), similar=share(self.similar))

    def fault(self, documents: Sequence[str], prompt: str, examples: str) -> str:
        """Return what is wrong with the documents of an answer; empty if nothing is."""
        for source, fault in ((examples, "copy of an example"), (prompt, "copy of the prompt")):
            if self.prompt and any(shared(document, source, 5) >= self.prompt for document in documents):
                return fault
        return "the same document at two grades" if self.repeats(documents) else ""

    def repeats(self, documents: Sequence[str]) -> bool:
        """Return whether two of the documents are near-duplicates."""
        if not self.similar:
            return False
        sets = _grams(documents)
        return any((left != right).any() for left, right, _ in similar(sets, sets, self.similar))


def _grams(texts: Sequence[str]) -> csr_array:
    return grams([" ".join(words(text)) for text in texts])
