"""Queries extracted from the document: no language model, no network, no GPU."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradret.draw import generator
from gradret.generators import Generated, Generator, Write
from gradret.search.bm25 import Bm25Index, build_bm25, lower_terms, stems
from gradret.text import passage, pieces, sentences, terms

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Extractive"]

_TRIES = 3
_KEYWORDS = 20


@dataclass(frozen=True)
class Extractive(Generator):
    """Sentences, spans, keywords and the title of the document, in configurable shares.

    Each document gets its share of ``queries`` (at most ``per_doc``), sampled with a hash of seed and
    doc_id: a sentence (cut to ``max_words``), a span of 5 to 14 words, 3 to 7 of its words sampled by
    tf-idf weight, or its title. In a script without spaces, letters count as words. gradret's method; it is not
    from a paper.
    """

    queries: int = 21_000
    """Approximate number over the whole corpus; every sampled document gets at least one."""
    per_doc: int = 12
    sentence: float = 0.4
    span: float = 0.2
    keywords: float = 0.3
    title: float = 0.1
    max_words: int = 24

    def __post_init__(self) -> None:
        shares = (self.sentence, self.span, self.keywords, self.title)
        if min(shares) < 0 or sum(shares) <= 0:
            raise ValueError(f"sentence, span, keywords and title must be at least 0 and not all 0, got {shares}")

    def prepare(self, config: Config, ingested: Artifact, sample: Artifact) -> dict[str, Artifact]:
        return {"bm25": build_bm25(config, ingested, 1.2, 0.75)}

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> Write:
        return _Writer(self, Bm25Index(prepared["bm25"]), sampled, seed)


class _Writer:
    def __init__(self, settings: Extractive, index: Bm25Index, sampled: int, seed: int) -> None:
        self.settings, self.language, self.seed = settings, index.language, seed
        self.idf = index.idf()
        self.share = min(settings.queries / sampled, settings.per_doc)
        self.shares = [settings.sentence, settings.span, settings.keywords, settings.title]

    def __call__(self, doc_id: str, title: str, text: str) -> list[Generated]:
        draw = generator("extractive", self.seed, doc_id)
        full_text = passage(title, text)
        words = pieces(full_text)
        long = [cut for cut in map(pieces, sentences(text)) if len(cut) > 3] or [words]
        # Round the share up or down at random, so that the total over the corpus comes out right.
        number = max(1, int(self.share + draw.random()))
        kinds = draw.choice(4, size=number * _TRIES, p=[share / sum(self.shares) for share in self.shares])
        keywords = self._keywords(full_text)
        written: dict[str, Generated] = {}
        for kind in kinds:
            query = (
                self._sentence(long, draw) if kind == 0
                else self._span(words, draw) if kind == 1
                else self._keyword_query(keywords, draw) if kind == 2
                else Generated("title", " ".join(title.split()))
            )  # fmt: skip
            if terms(_spaced(query.text)):
                written.setdefault(query.text, query)
            if len(written) == number:
                break
        return list(written.values())

    def _sentence(self, sentences: list[list[str]], draw: np.random.Generator) -> Generated:
        words = sentences[draw.integers(len(sentences))]
        start = int(draw.integers(max(len(words) - self.settings.max_words, 0) + 1))
        return Generated("sentence", "".join(words[start : start + self.settings.max_words]).strip())

    def _span(self, words: list[str], draw: np.random.Generator) -> Generated:
        length = int(draw.integers(5, 15))
        start = int(draw.integers(max(len(words) - length, 0) + 1))
        return Generated("span", "".join(words[start : start + length]).strip())

    def _keywords(self, text: str) -> tuple[list[str], list[float]]:
        """Return the document's top 20 words by ``sqrt(tf) * idf``, and their weights."""
        words = lower_terms(_spaced(text), self.language)
        stem = stems(words, self.language)
        surface: dict[str, str] = {}
        for word in words:
            if word in stem:
                surface.setdefault(stem[word], word)
        counts = Counter(stem[word] for word in words if word in stem)
        weights = Counter({stem: count**0.5 * self.idf.get(stem, 0.0) for stem, count in counts.items()})
        best = [(surface[stem], weight) for stem, weight in weights.most_common(_KEYWORDS) if weight > 0]
        return [word for word, _ in best], [weight for _, weight in best]

    def _keyword_query(self, keywords: tuple[list[str], list[float]], draw: np.random.Generator) -> Generated:
        import numpy as np

        words, weights = keywords
        if len(words) < 3:
            return Generated("keywords", "")
        number = min(len(words), int(draw.integers(3, 8)))
        chosen = draw.choice(len(words), number, replace=False, p=np.array(weights) / sum(weights))
        return Generated("keywords", " ".join(words[index] for index in chosen))


def _spaced(text: str) -> str:
    """The text with the parts of ``snake_case`` as words."""
    return text.replace("_", " ")
