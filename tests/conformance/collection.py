"""A small collection shared by the suites, as a BEIR folder and as artifacts.

Documents d000 to d039 are of made-up words; d036 to d038 are the same text, d039 has a title alone. Of the queries
q000 to q005 each is the text of the document of its number, q006 is q005 again, q007 is human and judged for
training, q008 has no known word, q009 is human and not judged. Documents were written for q000 and q001.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from gradret import components
from gradret.config.loading import parse
from gradret.pairs import pair_id
from gradret.store.contracts import GENERATED

from ..stages import tiny
from .made import placed, used

GRADES = 4
WRITER = {"name": "graded_documents", "levels": [GRADES], "engine": {"name": "vllm", "model": "some/model"}}


class Collection:
    """The collection in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        draw = random.Random(0)
        self.storage, self.beir = folder / "storage", folder / "beir"
        texts = [tiny.sentence(draw, draw.randint(4, 12)) for _ in range(36)] + ["bal dim gor"] * 3 + [""]
        self.docs = [tiny.doc(n, text, "kun fil" if n % 3 == 0 else "") for n, text in enumerate(texts)]
        self.queries = [tiny.query(n, texts[n], f"d{n:03d}") for n in range(6)]
        self.queries.append(tiny.query(6, texts[5], "d005"))
        self.queries.append(tiny.query(7, tiny.sentence(draw, 3), split="train"))
        self.queries.append(tiny.query(8, "unheard", "d008"))
        self.queries.append(tiny.query(9, tiny.sentence(draw, 3), split="train"))
        self._write()
        self.encoder = {"name": "pretrained", "model": str(tiny.model(self.storage, "transformer").path / "model")}
        self.encoder |= {"precision": "float32"}
        parts = [self.docs[30:], self.docs[:30]]
        self.ingested = tiny.artifact(self.storage, "ingest", {"docs": parts}, rows_out=len(self.docs))
        self.sample = tiny.artifact(
            self.storage, "dedupe", {"sample": [[{"doc_id": doc["doc_id"]} for doc in self.docs]]}
        )
        written, labels = self._written()
        tables = {"queries": [self.queries], "docs": [written], "labels": [labels]}
        self.generated = tiny.artifact(self.storage, "generate", tables)
        pairs = sorted((self._pair(query, doc) for query in self.queries for doc in self.docs[:4]), key=_by_ids)
        self.mined = tiny.artifact(self.storage, "mine", {"pairs": [pairs[:12], pairs[12:]]})
        self.doc_ids = {doc["doc_id"] for doc in [*self.docs, *written]}

    def config(self, kind: str, node: dict[str, Any]) -> Any:
        """A config over the collection with the component."""
        blocks = {
            "storage_path": str(self.storage),
            "dataset": {"name": "beir", "path": str(self.beir), "language": "none"},
            "train": {"encoder": self.encoder},
            "generate": {"generator": WRITER},
        }
        return parse(placed(kind, node, **blocks))

    def component(self, kind: str, node: dict[str, Any]) -> Any:
        """The component in such a config."""
        return used(self.config(kind, node), components.find(kind, node["name"]))

    def _pair(self, query: dict[str, Any], doc: dict[str, Any]) -> dict[str, Any]:
        ids = {"query_id": query["query_id"], "doc_id": doc["doc_id"]}
        return ids | {"pair_id": pair_id(*ids.values()), "origins": ["random"], "ranks": [1 + int(doc["doc_id"][1:])]}

    def _written(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        docs, labels = [], []
        for query_id in ("q000", "q001"):
            for grade in range(GRADES):
                doc_id = f"{GENERATED}{query_id}~{grade}"
                docs.append({"doc_id": doc_id, "title": None, "text": f"text {grade}", "origin": "test"})
                row = {"pair_id": pair_id(query_id, doc_id), "query_id": query_id, "doc_id": doc_id}
                labels.append(row | {"source": "generated", "score": float(grade)})
        return docs, labels

    def _write(self) -> None:
        (self.beir / "qrels").mkdir(parents=True)
        human = [query for query in self.queries if query["split"]]
        rows = {
            "corpus.jsonl": [{"_id": doc["doc_id"], "title": doc["title"], "text": doc["text"]} for doc in self.docs],
            "queries.jsonl": [{"_id": query["query_id"], "text": query["text"]} for query in human]
            + [{"_id": "q900", "text": "bal dim"}],
        }
        for name, records in rows.items():
            (self.beir / name).write_text("".join(f"{json.dumps(record)}\n" for record in records))
        judged = {"train": ["q007\td001\t2", "q007\td002\t1", "q009\td003\t0"], "test": ["q900\td036\t1"]}
        for split, lines in judged.items():
            (self.beir / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")


def _by_ids(pair: dict[str, Any]) -> tuple[str, str]:
    return pair["query_id"], pair["doc_id"]
