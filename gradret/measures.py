"""Measures of a run: trec_eval's, through ir_measures, one value a query.

Measures keep the config's spelling, which ir_measures would change (Recall@100 to R@100, MRR@10 to RR@10, MAP to
AP). Shares of judged documents come beside every nDCG: what is not judged counts as not relevant.
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

__all__ = ["Judgments", "check_grades", "measured", "parse_measures"]


_QUERIES_AT_ONCE = 500
_GDEVAL_HIGHEST = 4

Judgments = dict[str, dict[str, int]]
"""Relevance by doc_id by query_id."""
Found = dict[str, dict[str, float]]


def parse_measures(spellings: Sequence[str]) -> dict[str, Measure]:
    """Each spelling with the measure it names, in order; a spelling given twice counts once.

    ``judged@k`` comes last for every nDCG@k, if it was not asked for.

    Raises:
        ConfigError: a spelling names no measure, has a bad parameter, or needs a package that is
            not installed; all are named.
    """
    measures, problems = {}, []
    for spelling in spellings:
        try:
            measures[spelling] = _parse(spelling)
        except ValueError as error:
            problems.append(f"evaluate.measures: {spelling!r}: {error}")
    if not spellings:
        problems.append("evaluate.measures: is empty; name at least one, such as nDCG@10")
    if problems:
        raise ConfigError.of(problems)
    return _with_judged(measures)


def measured(
    measures: Mapping[str, Measure], judgments: Judgments, parts: Iterable[pa.Table], name: str
) -> tuple[pa.Table, dict[str, int]]:
    """METRICS of a run, for every judged query, and what was counted.

    Args:
        measures: as ``parse_measures`` gives them.
        judgments: all that count; a query that the run lacks has the value 0, as with ``trec_eval -c``.
        parts: the run, a part of its rows at a time, in any order; all rows of a query stand in one part.
        name: of the run, for messages.

    Raises:
        ContractError: a query lists a document twice, or stands in two parts.
        DataError: as ``check_grades``.
    """
    check_grades(measures, judgments)
    left, seen, unjudged = dict(judgments), set[str](), 0
    values = []
    for found in (block for part in parts for block in _blocks(part, name)):
        again = seen & found.keys()
        if again:
            raise ContractError(f"{name}: rows of query {min(again)!r} stand in two places")
        seen |= found.keys()
        judged = {query_id: docs for query_id, docs in found.items() if query_id in left}
        unjudged += len(found) - len(judged)
        values.append(_values(measures, {query_id: left.pop(query_id) for query_id in judged}, judged))
    values.append(_values(measures, left, {}))
    rows = _concat(values)
    counts = {"judged_queries": len(judgments), "without_results": len(left), "rows_out": rows.num_rows}
    return rows, counts | ({"unjudged_queries": unjudged} if unjudged else {})


def check_grades(measures: Mapping[str, Measure], judgments: Judgments) -> None:
    """Refuse grades that a measure cannot take.

    Raises:
        DataError: a grade is above 4, and a measure is gdeval's, whose gain is ``2**grade / 16``.
    """
    limited = [spelling for spelling, measure in measures.items() if _is_gdeval(measure)]
    if not limited:
        return
    for query_id, docs in judgments.items():
        for doc_id, grade in docs.items():
            if grade > _GDEVAL_HIGHEST:
                raise DataError(
                    f"{limited[0]} takes grades up to {_GDEVAL_HIGHEST}; query {query_id!r} has {grade} for document "
                    f"{doc_id!r}; leave {' and '.join(limited)} out of the measures"
                )


def _is_gdeval(measure: Measure) -> bool:
    return measure.NAME == "ERR" or "exp" in str(measure.params.get("dcg", ""))


def _parse(spelling: str) -> Measure:
    from ir_measures import DefaultPipeline, parse_measure
    from ir_measures.measures import registry

    # Our judged@10 is their Judged@10: capitals do not count.
    names = {name.lower(): name for name in registry} | {name: name for name in registry}
    name = re.match(r"\w*", spelling)[0]  # type: ignore[index]
    known = names.get(name) or names.get(name.lower())
    if not known:
        raise ValueError(unknown(name or spelling, sorted(registry), "a measure of ir_measures"))
    try:
        measure = parse_measure(known + spelling[len(name) :])
        supported = DefaultPipeline.supports(measure)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AssertionError, KeyError):
        raise ValueError("its parameters are missing or wrong; write it like nDCG@10 or P(rel=2)@5") from None
    cutoff = measure.params.get("cutoff", 1)
    # trec_eval ends the whole process over a cutoff of 0.
    if not isinstance(cutoff, int) or cutoff < 1:
        raise ValueError(f"the cutoff {cutoff} is not a whole number of at least 1")
    if not supported:
        raise ValueError("no installed package computes it")
    return measure


def _with_judged(measures: dict[str, Measure]) -> dict[str, Measure]:
    """``judged@k`` beside every nDCG@k: how many of the first k documents have a judgment at all."""
    cutoffs = [one.params["cutoff"] for one in measures.values() if one.NAME == "nDCG" and "cutoff" in one.params]
    asked = set(measures.values())
    more = {f"judged@{cutoff}": _parse(f"judged@{cutoff}") for cutoff in cutoffs}
    return measures | {spelling: measure for spelling, measure in more.items() if measure not in asked}


def _blocks(part: pa.Table, name: str) -> Iterator[Found]:
    """Some queries at a time, so that a long run never stands in memory as Python objects.

    The score is made from the rank: providers break ties differently, and so there are none.
    """
    rows = part.sort_by([("query_id", "ascending"), ("rank", "ascending")])
    found: Found = {}
    for query_id, group in itertools.groupby(_rows(rows), key=itemgetter(0)):
        if len(found) == _QUERIES_AT_ONCE:
            yield found
            found = {}
        docs: dict[str, float] = {}
        for _, doc_id, rank in group:
            if doc_id in docs:
                raise ContractError(f"{name}: query {query_id!r} lists document {doc_id!r} twice")
            docs[doc_id] = -float(rank)
        found[query_id] = docs
    yield found


def _rows(rows: pa.Table) -> Iterator[tuple[str, str, int]]:
    for batch in rows.to_batches(max_chunksize=1 << 16):
        yield from zip(*(batch.column(name).to_pylist() for name in ("query_id", "doc_id", "rank")), strict=True)


def _values(measures: Mapping[str, Measure], judgments: Judgments, found: Found) -> pa.Table:
    import pyarrow as pa

    from gradret.store.contracts import schema

    # The provider of ERR takes numbers for query ids, and no others.
    query_ids = list(judgments)
    numbered = {query_id: str(number) for number, query_id in enumerate(query_ids)}
    spellings = _spellings(measures)
    grades, ranked = (
        {numbered[query_id]: _written(docs) for query_id, docs in by_query.items()} for by_query in (judgments, found)
    )
    metrics = _calculated(spellings, grades, ranked)
    rows = [
        {"query_id": query_ids[int(metric.query_id)], "measure": spelling, "value": float(metric.value)}
        for metric in metrics
        for spelling in spellings[metric.measure]
    ]
    return pa.Table.from_pylist(rows, schema("metrics"))


def _calculated(measures: Iterable[Measure], grades: Judgments, found: Found) -> list[Metric]:
    """Every measure of every judged query.

    Raises:
        ConfigError: the package that computes one of them fails.
    """
    from ir_measures import DefaultPipeline

    try:
        return list(DefaultPipeline.iter_calc(list(measures), grades, found)) if grades else []
    except (ArithmeticError, RuntimeError, ValueError, SubprocessError) as error:
        names = ", ".join(map(str, measures))
        raise ConfigError(
            f"evaluate.measures: a package of ir_measures fails on these judgments: {error!r}; leave out one of {names}"
        ) from error


def _spellings(measures: Mapping[str, Measure]) -> dict[Measure, list[str]]:
    """Spellings of each measure: MAP and AP are one."""
    spellings: dict[Measure, list[str]] = {}
    for spelling, measure in measures.items():
        spellings.setdefault(measure, []).append(spelling)
    return spellings


def _written(docs: dict[str, Any]) -> dict[str, Any]:
    """Ids without blanks: the provider of ERR writes a file of columns that blanks separate."""
    return {doc_id.replace("%", "%25").replace(" ", "%20"): value for doc_id, value in docs.items()}


def _concat(parts: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(parts).sort_by([("query_id", "ascending"), ("measure", "ascending")])
