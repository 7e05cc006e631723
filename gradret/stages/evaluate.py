"""Measure a run against the test judgments: METRICS.

Reads QUERIES with QRELS, and RUN. Writes the table ``metrics``: a row for each judged test query and measure, with
value 0 for a query that the run has no documents for.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gradret.measures import Judgments, check_grades, compute_metrics, limit_grades, parse_measures
from gradret.store.artifacts import Artifact, Draft, make, read_shard

if TYPE_CHECKING:
    from ir_measures import Measure

    from gradret.config.run import Config

__all__ = ["check_judgments", "evaluate", "read_judgments"]


def evaluate(config: Config, queries: Artifact, run: Artifact, system: str = "") -> Artifact:
    """Compute METRICS of one system, for every query that has a test judgment.

    Args:
        config: ``evaluate`` applies.
        queries: QUERIES and QRELS.
        run: RUN of the system.
        system: its name, for the log.

    Raises:
        ConfigError: ``evaluate.measures`` names a measure that cannot be computed.
        ContractError: the run lists a document twice for a query.
    """
    measures = parse_measures(config.evaluate.measures)
    body = functools.partial(_evaluate, measures, queries, run)
    return make(
        "evaluate",
        config.storage_path,
        module=__name__,
        settings={"measures": list(measures)},
        inputs={"queries": queries, "run": run},
        body=body,
        about=system,
    )


def check_judgments(config: Config, queries: Artifact) -> None:
    """Reject test judgments that a measure does not support, before anything is trained.

    Raises:
        DataError: raised by ``gradret.measures.check_grades``.
    """
    measures = parse_measures(config.evaluate.measures)
    if limit_grades(measures):
        check_grades(measures, read_judgments(queries))


def read_judgments(queries: Artifact) -> Judgments:
    """Test judgments as ``{query_id: {doc_id: relevance}}``."""
    judgments: Judgments = {}
    for rows in queries.batches("qrels"):
        columns = (rows[name].to_pylist() for name in ("split", "query_id", "doc_id", "relevance"))
        for split, query_id, doc_id, relevance in zip(*columns, strict=True):
            if split == "test":
                judgments.setdefault(query_id, {})[doc_id] = relevance
    return judgments


def _evaluate(measures: dict[str, Measure], queries: Artifact, run: Artifact, draft: Draft) -> None:
    parts = (read_shard(path, "run", ["query_id", "doc_id", "rank"]) for path in run.shards("run"))
    rows, counts = compute_metrics(measures, read_judgments(queries), parts, str(run.path))
    draft.count(**counts)
    draft.write("metrics", rows)
