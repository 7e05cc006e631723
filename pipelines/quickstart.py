"""The quickstart as a flat script: every stage is a function from a config and artifacts to an artifact.

python pipelines/quickstart.py configs/quickstart.yaml [key=value ...]
ray job submit --working-dir . -- python pipelines/quickstart.py configs/quickstart.yaml
"""

from __future__ import annotations

import sys

import gradret
from gradret.report.run import report
from gradret.stages.base import base
from gradret.stages.check import check
from gradret.stages.dedupe import dedupe
from gradret.stages.evaluate import evaluate
from gradret.stages.generate import generate
from gradret.stages.index import index
from gradret.stages.ingest import ingest
from gradret.stages.label import label
from gradret.stages.leaks import leaks
from gradret.stages.mine import mine
from gradret.stages.queries import queries
from gradret.stages.search import search, search_bm25, search_teacher
from gradret.stages.select import select
from gradret.stages.train import train
from gradret.stages.verdict import require
from gradret.work.session import session


def main(path: str, *overrides: str) -> None:
    """From a corpus to a report."""
    config = gradret.load(path, overrides)
    docs = ingest(config)
    human = queries(config, docs)
    sample = dedupe(config, docs)
    synthetic = generate(config, docs, sample)
    compared = check(config, docs, synthetic)
    require(config, compared)
    leaked = leaks(config, synthetic, human)
    pairs = mine(config, docs, synthetic, leaked)
    labels = label(config, docs, synthetic, pairs)
    groups = select(config, sample, synthetic, pairs, labels)
    untrained = base(config, docs)
    tuned = train(config, untrained, docs, synthetic, groups)

    made = {"ingest": docs, "queries": human, "dedupe": sample, "generate": synthetic}
    made |= {
        "check": compared,
        "leaks": leaked,
        "mine": pairs,
        "label": labels,
        "select": groups,
        "base": untrained,
        "train": tuned,
    }
    made["search.bm25"] = search_bm25(config, docs, human)
    for system, model in {"base": untrained, "tuned": tuned}.items():
        made[f"index.{system}"] = index(config, model, docs)
        made[f"search.{system}"] = search(config, model, made[f"index.{system}"], human)
    made["search.teacher"] = search_teacher(config, docs, human)
    for system in ("bm25", "base", "tuned", "teacher"):
        made[f"evaluate.{system}"] = evaluate(config, human, made[f"search.{system}"])
    print(report(config, made) / "report.html")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
