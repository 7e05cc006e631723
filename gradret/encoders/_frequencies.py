"""In how many documents each token or word of the corpus occurs, counted by Ray tasks, a shard of DOCS at a time."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.atomic import write_json
from gradret.store.mirror import fetched
from gradret.store.results import Result
from gradret.text import passage
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from gradret.config.run import Config

__all__ = ["Of", "frequencies"]

Of = Literal["tokens", "words"]


def frequencies(config: Config, ingested: Artifact, tokenizer: Tokenizer, of: Of) -> dict[str, int]:
    """Return the number of documents with each token, by its id as text, or with each word before it is cut.

    Args:
        config: the run's config.
        ingested: DOCS.
        tokenizer: it must not pad or truncate.
        of: ``tokens``, or ``words``, the parts of the normalised text that the tokenizer cuts into tokens.
    """
    text = tokenizer.to_str()
    body = functools.partial(_frequencies, ingested, text, of)
    settings = {"tokenizer": hashlib.sha256(text.encode()).hexdigest(), "of": of}
    made = make(
        "frequencies", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body
    )
    found: dict[str, int] = json.loads(made.file("frequencies.json").read_text(encoding="utf-8"))
    return found


def _frequencies(ingested: Artifact, tokenizer: str, of: Of, draft: Draft) -> None:
    folder = draft.path / "work" / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    items = [(path, folder / f"{number:05d}.json") for number, path in enumerate(ingested.shards("docs"))]
    total = ingested.counts.get("rows_out")
    map_shards(draft, items, functools.partial(_Counter, tokenizer, of), unit="docs", total=total)
    frequency: Counter[str] = Counter()
    for _, path in items:
        frequency.update(json.loads(fetched(path).read_text(encoding="utf-8")))
    write_json(draft.path / "frequencies.json", dict(sorted(frequency.items())))


class _Counter:
    def __init__(self, tokenizer: str, of: Of) -> None:
        from tokenizers import Tokenizer

        self.tokenizer: Tokenizer = Tokenizer.from_str(tokenizer)
        self.distinct = self._tokens if of == "tokens" else self._words

    def __call__(self, item: tuple[Path, Path]) -> Result:
        source, target = item
        rows = read_shard(source, "docs", ["title", "text"])
        texts = [passage(*row) for row in zip(rows["title"].to_pylist(), rows["text"].to_pylist(), strict=True)]
        frequency = Counter(key for keys in self.distinct(texts) for key in keys)
        write_json(target, frequency)
        return Result({}, len(texts), len(texts))

    def _tokens(self, texts: list[str]) -> list[set[int]]:
        return [set(encoding.ids) for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _words(self, texts: list[str]) -> list[set[str]]:
        normalizer, splitter = self.tokenizer.normalizer, self.tokenizer.pre_tokenizer
        normal = (normalizer.normalize_str(text) if normalizer else text for text in texts)
        return [{word for word, _ in splitter.pre_tokenize_str(text)} for text in normal]
