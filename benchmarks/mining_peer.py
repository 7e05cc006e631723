"""Mine as a user of sentence-transformers would; a side of ``benchmarks.mining``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    """Read the texts, mine, and write the result."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("texts", type=Path, help="JSON: corpus, queries, positives")
    parser.add_argument("out", help="Parquet file to write")
    parser.add_argument("negatives", type=int)
    parser.add_argument("--faiss", action="store_true")
    parsed = parser.parse_args()
    held = json.loads(parsed.texts.read_text(encoding="utf-8"))
    found = mine_hard_negatives(
        Dataset.from_dict({"query": held["queries"], "answer": held["positives"]}),
        SentenceTransformer(parsed.model, device="cpu"),
        corpus=held["corpus"],
        num_negatives=parsed.negatives,
        output_format="n-tuple",
        use_faiss=parsed.faiss,
    )
    found.to_parquet(parsed.out)


if __name__ == "__main__":
    main()
