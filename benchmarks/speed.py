"""Training speed compared with sentence-transformers' trainer and its cached loss.

    python -m benchmarks.speed DATA [--collection scifact] [--device cuda] [--lists FILE]

DATA contains the BEIR folder. Lists (a query, its source document, hard negatives) come from the quickstart's flow
with few queries. Both sides train MiniLM on the same batches in the same order, with InfoNCE over all documents of the
batch at temperature 0.05, AdamW, no dropout, and the same lengths, chunk size, precision and cores. The measured time
includes tokenisation and the optimizer step, but not loading. Sides alternate, and results are medians. Before
measuring, a small step on each side must give the same loss. Two more rows explain the difference: one encodes shared
documents once per list, the other forms chunks in stored order instead of by length.

``--lists`` stores the lists in FILE, or reads them from it if it exists, without starting Ray. ``--batch``,
``--documents``, ``--chunk``, ``--steps`` and ``--runs`` change the sizes. Writes
``benchmarks/results/speed_<collection>_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

import gradret
from benchmarks.hardware import hardware, result_path
from benchmarks.speed_runs import MODEL, PRECISION, RATE, TEMPERATURE, Examples, Passes, Run, Sizes, Stopwatch, finished
from gradret.encoders.transformer import Transformer
from gradret.losses.infonce import InfoNCE
from gradret.models.locate import locate, open_model
from gradret.store.contracts import schema
from gradret.text import passage
from gradret.training.batches import Groups
from gradret.training.objective import Objective
from gradret.training.step import Texts, backward
from gradret.training.tokens import Tokens, write_tokens
from gradret.work.session import cores, session

PEER = "sentence-transformers"


SIZES = {"cpu": Sizes(32, 8, 32, 2, 3), "cuda": Sizes(4096, 20, 512, 3, 3)}
SMALL = Sizes(batch=4, documents=4, chunk=8, steps=1, runs=1)


def main() -> None:
    """Check that both sides compute the same loss, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="contains the BEIR folder")
    parser.add_argument("--collection", default="scifact")
    parser.add_argument("--device", choices=SIZES, default="cpu")
    parser.add_argument("--lists", type=Path, help="file in which to keep the lists")
    names = [field.name for field in dataclasses.fields(Sizes)]
    for name in names:
        parser.add_argument(f"--{name}", type=int)
    parsed = parser.parse_args()
    given = {name: getattr(parsed, name) for name in names if getattr(parsed, name) is not None}
    sizes = dataclasses.replace(SIZES[parsed.device], **given)
    examples = kept(parsed.lists, parsed.data / parsed.collection, sizes).first(sizes)
    torch.set_num_threads(cores())

    # This is also the warm-up.
    losses = [side(examples.first(SMALL), SMALL, parsed.device).losses[0] for side in (peer, apart)]
    tolerance = 1e-4 if PRECISION[parsed.device] == "float32" else 3e-2
    assert abs(losses[0] - losses[1]) < tolerance, f"the sides compute different losses: {losses}"

    results = {
        "collection": parsed.collection,
        "device": torch.cuda.get_device_name() if parsed.device == "cuda" else "cpu",
        "precision": PRECISION[parsed.device],
        "sizes": dataclasses.asdict(sizes),
        "first_losses": losses,
        "batch": counted(examples, sizes),
        "predicted": predicted(examples, sizes, parsed.device),
    }
    print(results, flush=True)
    runs: dict[str, list[Run]] = {name: [] for name in SIDES}
    for turn in range(sizes.runs):
        for name, side in SIDES.items():
            if turn and name not in (PEER, "gradret"):
                continue  # these sides only explain the difference, so one run is enough
            runs[name].append(side(examples, sizes, parsed.device))
            print(name, runs[name][-1], flush=True)
    results["runs"] = {name: [dataclasses.asdict(run) for run in found] for name, found in runs.items()}
    what = f"speed_{parsed.collection}" + ("_gpu" if parsed.device == "cuda" else "")
    result_path(what, "json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    result_path(what, "md").write_text(markdown(results, runs), encoding="utf-8")


def kept(path: Path | None, folder: Path, sizes: Sizes) -> Examples:
    """Return the lists in the file ``path``, which is created if it does not exist."""
    if path and path.exists():
        return Examples(**json.loads(path.read_text(encoding="utf-8")))
    examples = drawn(folder, sizes)
    if path:
        path.write_text(json.dumps(dataclasses.asdict(examples)), encoding="utf-8")
    return examples


def drawn(folder: Path, sizes: Sizes) -> Examples:
    """Return lists from the quickstart's flow, as drawn in the first epoch of a training."""
    from gradret.flow import Flow

    wanted = sizes.batch * sizes.steps
    with tempfile.TemporaryDirectory() as storage, session():
        # More than needed, because some lists may be too short.
        limits = [f"dedupe.max_docs={2 * wanted}", f"generate.generator.queries={2 * wanted}"]
        source = ["dataset.name=beir", f"dataset.path={folder}", f"storage_path={storage}"]
        flow = Flow(gradret.load("configs/quickstart.yaml", [*source, *limits]))
        rows = flow.select.table("groups")
        texts = flow.generate.table("queries", ["query_id", "text"])
        docs = flow.ingest.table("docs", ["doc_id", "title", "text"])
    rows = rows.filter([len(row) >= sizes.documents for row in rows["doc_ids"].to_pylist()])
    if rows.num_rows < wanted:
        raise SystemExit(
            f"{folder}: {wanted} lists of {sizes.documents} documents were wanted, {rows.num_rows} came; "
            "measure fewer with --batch or --steps"
        )
    doc_ids = docs["doc_id"].to_pylist()
    groups = Groups(rows, pa.array(doc_ids), sizes.documents, seed=0, max_positives=1)
    batch = next(groups.epoch(0, wanted))
    text_of = dict(zip(texts["query_id"].to_pylist(), texts["text"].to_pylist(), strict=True))
    listed = [[doc_ids[doc] for doc in batch.docs_N[columns]] for columns in batch.columns_QG]
    used = {doc for row in listed for doc in row}
    columns = (docs[name].to_pylist() for name in docs.column_names)
    passages = {doc: passage(title, text) for doc, title, text in zip(*columns, strict=True) if doc in used}
    return Examples([text_of[groups.query_ids[query]] for query in batch.queries_Q], listed, passages)


def ours(examples: Examples, sizes: Sizes, device: str, *, by_length: bool = True) -> Run:
    """Time gradret's step, which tokenises every text once, within the measured time."""
    student = Transformer(precision=PRECISION[device]).student(locate(MODEL), device)
    objective = Objective([InfoNCE(temperature=TEMPERATURE)]).to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    passes, losses = Passes(student.model), []
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        groups, texts = tokenised(examples, sizes, student, Path(folder))
        tokenising = time.monotonic() - started
        if not by_length:
            texts = dataclasses.replace(texts, queries=InOrder(texts.queries), docs=InOrder(texts.docs))
        for step, batch in enumerate(groups.in_order(sizes.batch)):
            optimizer.zero_grad(set_to_none=True)
            losses.append(backward(student, objective, [batch], texts, step))
            optimizer.step()
        return passes.run(finished(device) - started, tokenising, losses)


def apart(examples: Examples, sizes: Sizes, device: str) -> Run:
    """Time gradret's step with every document encoded once per list that contains it."""
    return ours(examples.apart(), sizes, device)


def tokenised(examples: Examples, sizes: Sizes, student: torch.nn.Module, folder: Path) -> tuple[Groups, Texts]:
    """Write the examples in the format that training reads."""
    doc_ids = sorted(examples.passages)
    rows = [
        {
            "query_id": f"{number:07}",
            "split": "train",
            "doc_ids": docs,
            "grades": [None] * len(docs),
            "scores": [None] * len(docs),
            "positives": [place == 0 for place in range(len(docs))],
            "relevant_doc_ids": docs[:1],
        }
        for number, docs in enumerate(examples.docs)
    ]
    groups = Groups(pa.Table.from_pylist(rows, schema("groups")), pa.array(doc_ids), sizes.documents, seed=0)
    write_tokens(folder / "docs", [examples.passages[doc] for doc in doc_ids], student.tokenize, "docs")
    write_tokens(folder / "queries", examples.queries, student.tokenize, "queries")
    return groups, Texts(Tokens(folder / "queries"), Tokens(folder / "docs"), sizes.chunk)


class InOrder:
    """Tokens that report equal lengths, so that chunks are formed in stored order."""

    def __init__(self, tokens: Tokens) -> None:
        self.take = tokens.take

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the same length for all, so that chunks keep the stored order."""
        return np.zeros(len(rows), np.int64)


def peer(examples: Examples, sizes: Sizes, device: str) -> Run:
    """Time sentence-transformers' trainer, which tokenises in its collator."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
    from torch.utils.data import SequentialSampler
    from transformers import PrinterCallback, TrainerCallback

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *_: object, **__: object) -> None:
            self.started = time.monotonic()

        def on_step_end(self, *_: object, **__: object) -> None:
            self.stopped = finished(device)

    def in_order(dataset: Dataset, batch_size: int, **_: object) -> DefaultBatchSampler:
        return DefaultBatchSampler(SequentialSampler(dataset), batch_size, drop_last=False)

    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = open_model(locate(MODEL), device=device, config_kwargs=no_dropout)
    columns = zip(*([examples.passages[doc] for doc in row] for row in examples.docs), strict=True)
    names = ["positive", *(f"negative_{number}" for number in range(1, sizes.documents))]
    dataset = Dataset.from_dict({"anchor": examples.queries, **dict(zip(names, columns, strict=True))})
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=sizes.batch,
            batch_sampler=in_order,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=0.0,
            bf16=PRECISION[device] == "bfloat16",
            use_cpu=device == "cpu",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        loss = CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE, mini_batch_size=sizes.chunk)
        clock = Clock()
        trainer = SentenceTransformerTrainer(model, arguments, dataset, loss=loss, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        preprocess = trainer.data_collator.preprocess_fn = Stopwatch(trainer.data_collator.preprocess_fn)
        passes = Passes(model)
        trainer.train()
        steps = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return passes.run(clock.stopped - clock.started, preprocess.seconds, steps)


SIDES: dict[str, Callable[[Examples, Sizes, str], Run]] = {
    PEER: peer,
    "gradret": ours,
    "gradret, no document shared": apart,
    "gradret, chunks in stored order": functools.partial(ours, by_length=False),
}


def counted(examples: Examples, sizes: Sizes) -> dict[str, float]:
    """Documents of an average batch: positions in its lists, and unique documents."""
    batches = [examples.docs[start : start + sizes.batch] for start in range(0, len(examples.docs), sizes.batch)]
    unique = statistics.mean(len({doc for row in batch for doc in row}) for batch in batches)
    return {"places": sizes.batch * sizes.documents, "unique": round(unique, 1)}


def predicted(examples: Examples, sizes: Sizes, device: str) -> dict[str, float]:
    """Lower bound of a step's seconds: 8 x parameters x tokens, at the rate of a plain matrix product.

    6 for a forward and a backward pass, 2 for the other forward pass. Parameters are those of the linear
    layers, tokens those of the batch's unique texts without padding. Attention's products are not counted.
    """
    student = Transformer().student(locate(MODEL))
    with tempfile.TemporaryDirectory() as folder:
        groups, texts = tokenised(examples, sizes, student, Path(folder))
        tokens = statistics.mean(
            int(texts.docs.lengths(batch.docs_N).sum() + texts.queries.lengths(batch.queries_Q).sum())
            for batch in groups.in_order(sizes.batch)
        )
    linear = [module for module in student.modules() if isinstance(module, torch.nn.Linear)]
    parameters = sum(parameter.numel() for module in linear for parameter in module.parameters())
    rate = matmul_rate(device)
    return {
        "tokens": tokens,
        "parameters": parameters,
        "matmul_teraflops": rate / 1e12,
        "seconds": 8 * parameters * tokens / rate,
    }


def matmul_rate(device: str) -> float:
    """Operations per second of a square matrix product in the training's precision; best of five."""
    size = {"cpu": 2048, "cuda": 16384}[device]
    matrix = torch.randn(size, size, device=device, dtype=getattr(torch, PRECISION[device]))
    seconds = []
    for _ in range(5):
        started = finished(device)
        matrix @ matrix
        seconds.append(finished(device) - started)
    return 2 * size**3 / min(seconds)


def markdown(results: dict, runs: dict[str, list[Run]]) -> str:
    """Format the result file."""
    sizes, batch, least = Sizes(**results["sizes"]), results["batch"], results["predicted"]
    where = "" if results["device"] == "cpu" else f" GPU: {results['device']}."
    median = {name: statistics.median(run.seconds for run in found) / sizes.steps for name, found in runs.items()}
    seconds = median["gradret"]
    lines = [
        f"# Training speed on {results['collection']}",
        "",
        f"{hardware()}.{where} Command: `python -m benchmarks.speed DATA --collection {results['collection']}`.",
        f"MiniLM in {results['precision']}, batches of {sizes.batch} queries with {sizes.documents} documents each,",
        f"chunks of {sizes.chunk} texts, {sizes.steps} steps per run. Values are medians (slowest to fastest) of",
        f"{sizes.runs} runs; the last two rows are single runs. The time includes tokenisation and the optimizer step.",
        f"First loss on a small batch: {results['first_losses'][0]:.6f} and {results['first_losses'][1]:.6f}.",
        "",
        "| | queries/s | times | texts | tokens | padded | padded/s | tokenising, s |",
        "|---" * 8 + "|",
    ]
    for name, found in runs.items():
        run, rates = found[0], [sizes.batch * sizes.steps / each.seconds for each in found]
        tokenising = statistics.median(each.tokenising for each in found) / sizes.steps
        cells = [
            name,
            f"{sizes.batch / median[name]:.2f} ({min(rates):.2f}-{max(rates):.2f})",
            f"{median[PEER] / median[name]:.2f}",
            *(f"{count / sizes.steps:,.0f}" for count in (run.texts, run.tokens, run.padded)),
            f"{run.padded / sizes.steps / median[name]:,.0f}",
            f"{tokenising:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "`texts`, `tokens` and `padded` (tokens with padding) are per step, over the passes without and with gradient.",
        f"A batch has {sizes.batch} queries, {batch['places']} list positions, {batch['unique']:g} unique documents.",
        "",
        "Prediction: 8 x tokens of unique texts x parameters of linear layers operations,",
        f"8 x {least['tokens']:,.0f} x {least['parameters']:,}, take at least {least['seconds']:.3g} s per step at the",
        f"{least['matmul_teraflops']:.3g} Tflop/s of a plain matrix product here. gradret took {seconds:.3g} s:",
        f"{least['tokens'] / seconds:,.0f} tokens/s, {least['seconds'] / seconds:.0%} of that rate.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
