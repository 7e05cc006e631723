"""Compute the measures of a run with ir_measures, as trec_eval does, one value per query.

Measures keep the config's spelling, which ir_measures would change (Recall@100 to R@100, MRR@10 to RR@10, MAP to
AP). Every nDCG is accompanied by the share of judged documents, because unjudged documents count as not relevant.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any

from gradret.components import unknown
from gradret.errors import ConfigError, ContractError, DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from ir_measures import Measure, Metric

__all__ = ["Judgments", "check_grades", "compute_metrics", "limit_grades", "parse_measures"]


_QUERIES_PER_BLOCK = 500
_GDEVAL_MAX_GRADE = 4

Judgments = dict[str, dict[str, int]]
"""Relevance by query_id, then doc_id."""
Run = dict[str, dict[str, float]]
"""Scores by query_id, then doc_id."""


def parse_measures(spellings: Sequence[str]) -> dict[str, Measure]:
    """Return the measure of each spelling, in order; duplicate spellings count once.

    ``judged@k`` is appended for every nDCG@k, unless it is among them.

    Raises:
        ConfigError: a spelling names no measure, has an invalid parameter, or needs a package that is
            not installed; the message lists all such spellings.
    """
    measures, problems = {}, []
    for spelling in spellings:
        try:
            measures[spelling] = _parse(spelling)
        except ValueError as error:
            problems.append(f"evaluate.measures: {spelling!r}: {error}")
    if not spellings:
        problems.append("evaluate.measures: must not be empty; set at least one, such as nDCG@10")
    if problems:
        raise ConfigError.of(problems)
    return _with_judged(measures)


def compute_metrics(
    measures: Mapping[str, Measure], judgments: Judgments, parts: Iterable[pa.Table], name: str
) -> tuple[pa.Table, dict[str, int]]:
    """Return METRICS of a run for every judged query, and counts.

    Args:
        measures: the result of ``parse_measures``.
        judgments: all judgments; a query that is missing from the run gets the value 0, as with ``trec_eval -c``.
        parts: tables of the run's rows, in any order; all rows of a query must be in the same part.
        name: the run's name in messages.

    Raises:
        ContractError: a query lists a document twice, or is in two parts.
        DataError: raised by ``check_grades``.
    """
    check_grades(measures, judgments)
    left, seen, unjudged = dict(judgments), set[str](), 0
    values = []
    for block in (block for part in parts for block in _blocks(part, name)):
        repeated = seen & block.keys()
        if repeated:
            raise ContractError(f"{name}: the rows of query {min(repeated)!r} are split over two parts")
        seen |= block.keys()
        judged = {query_id: docs for query_id, docs in block.items() if query_id in left}
        unjudged += len(block) - len(judged)
        values.append(_values(measures, {query_id: left.pop(query_id) for query_id in judged}, judged))
    values.append(_values(measures, left, {}))
    rows = _concat(values)
    counts = {"judged_queries": len(judgments), "without_results": len(left), "rows_out": rows.num_rows}
    return rows, counts | ({"unjudged_queries": unjudged} if unjudged else {})


def check_grades(measures: Mapping[str, Measure], judgments: Judgments) -> None:
    """Check that every measure supports the grades.

    Raises:
        DataError: a grade is above 4, and a measure is computed by gdeval, whose gain is ``2**grade / 16``.
    """
    limited = limit_grades(measures)
    if not limited:
        return
    for query_id, docs in judgments.items():
        for doc_id, grade in docs.items():
            if grade > _GDEVAL_MAX_GRADE:
                raise DataError(
                    f"{limited[0]} supports grades up to {_GDEVAL_MAX_GRADE}; query {query_id!r} has {grade} for "
                    f"document {doc_id!r}; remove {' and '.join(limited)} from the measures"
                )


def limit_grades(measures: Mapping[str, Measure]) -> list[str]:
    """The spellings of the measures that do not support every grade."""
    return [spelling for spelling, measure in measures.items() if _is_gdeval(measure)]


def _is_gdeval(measure: Measure) -> bool:
    return measure.NAME == "ERR" or "exp" in str(measure.params.get("dcg", ""))


def _parse(spelling: str) -> Measure:
    from ir_measures import DefaultPipeline, parse_measure
    from ir_measures.measures import registry

    # Ignore case: gradret's judged@10 is Judged@10 in ir_measures.
    names = {name.lower(): name for name in registry} | {name: name for name in registry}
    name = re.match(r"\w*", spelling)[0]  # type: ignore[index]
    known = names.get(name) or names.get(name.lower())
    if not known:
        raise ValueError(unknown(name or spelling, sorted(registry), "a measure of ir_measures"))
    try:
        measure = parse_measure(known + spelling[len(name) :])
        supported = DefaultPipeline.supports(measure)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AssertionError, KeyError):
        raise ValueError("parameters are missing or invalid; expected a form such as nDCG@10 or P(rel=2)@5") from None
    cutoff = measure.params.get("cutoff", 1)
    # trec_eval terminates the process if a cutoff is 0.
    if not isinstance(cutoff, int) or cutoff < 1:
        raise ValueError(f"the cutoff must be a whole number of at least 1, got {cutoff}")
    if not supported:
        raise ValueError("no installed package computes it")
    return measure


def _with_judged(measures: dict[str, Measure]) -> dict[str, Measure]:
    """Add ``judged@k`` for every nDCG@k: the share of the first k documents that have a judgment."""
    cutoffs = [each.params["cutoff"] for each in measures.values() if each.NAME == "nDCG" and "cutoff" in each.params]
    asked = set(measures.values())
    more = {f"judged@{cutoff}": _parse(f"judged@{cutoff}") for cutoff in cutoffs}
    return measures | {spelling: measure for spelling, measure in more.items() if measure not in asked}


def _blocks(part: pa.Table, name: str) -> Iterator[Run]:
    """Yield blocks of queries, so that a long run is never in memory as Python objects.

    Scores are negative ranks: they have no ties, which providers break differently.
    """
    rows = part.sort_by([("query_id", "ascending"), ("rank", "ascending")])
    run: Run = {}
    for query_id, group in itertools.groupby(_rows(rows), key=itemgetter(0)):
        if len(run) == _QUERIES_PER_BLOCK:
            yield run
            run = {}
        docs: dict[str, float] = {}
        for _, doc_id, rank in group:
            if doc_id in docs:
                raise ContractError(f"{name}: query {query_id!r} lists document {doc_id!r} twice")
            docs[doc_id] = -float(rank)
        run[query_id] = docs
    yield run


def _rows(rows: pa.Table) -> Iterator[tuple[str, str, int]]:
    for batch in rows.to_batches(max_chunksize=1 << 16):
        yield from zip(*(batch.column(name).to_pylist() for name in ("query_id", "doc_id", "rank")), strict=True)


def _values(measures: Mapping[str, Measure], judgments: Judgments, run: Run) -> pa.Table:
    import pyarrow as pa

    from gradret.store.contracts import schema

    # The provider of ERR only accepts numbers as query ids.
    query_ids = list(judgments)
    numbered = {query_id: str(number) for number, query_id in enumerate(query_ids)}
    spellings = _spellings(measures)
    grades, ranked = (
        {numbered[query_id]: _escape_ids(docs) for query_id, docs in by_query.items()} for by_query in (judgments, run)
    )
    metrics = _compute(spellings, grades, ranked)
    rows = [
        {"query_id": query_ids[int(metric.query_id)], "measure": spelling, "value": float(metric.value)}
        for metric in metrics
        for spelling in spellings[metric.measure]
    ]
    return pa.Table.from_pylist(rows, schema("metrics"))


def _compute(measures: Iterable[Measure], grades: Judgments, run: Run) -> list[Metric]:
    """Compute every measure of every judged query.

    Raises:
        ConfigError: a package that computes one of them fails.
    """
    from ir_measures import DefaultPipeline

    try:
        return list(DefaultPipeline.iter_calc(list(measures), grades, run)) if grades else []
    except (ArithmeticError, RuntimeError, ValueError, SubprocessError) as error:
        names = ", ".join(map(str, measures))
        raise ConfigError(
            f"evaluate.measures: a package of ir_measures fails on these judgments: {error!r}; remove one of {names}"
        ) from error


def _spellings(measures: Mapping[str, Measure]) -> dict[Measure, list[str]]:
    """Return the spellings of each measure: MAP and AP are the same measure."""
    spellings: dict[Measure, list[str]] = {}
    for spelling, measure in measures.items():
        spellings.setdefault(measure, []).append(spelling)
    return spellings


def _escape_ids(docs: dict[str, Any]) -> dict[str, Any]:
    """Escape spaces in document ids: the provider of ERR writes a file with columns separated by spaces."""
    return {doc_id.replace("%", "%25").replace(" ", "%20"): value for doc_id, value in docs.items()}


def _concat(parts: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(parts).sort_by([("query_id", "ascending"), ("measure", "ascending")])
