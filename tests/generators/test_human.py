"""The dataset's training queries, unchanged."""

from dataclasses import replace

import pytest

from gradret.config.run import Generate
from gradret.errors import DataError
from gradret.generators.extractive import Extractive
from gradret.generators.human import Human
from gradret.stages.dedupe import dedupe
from gradret.stages.generate import generate
from gradret.stages.ingest import ingest
from gradret.stages.training_queries import training_queries

pytestmark = pytest.mark.usefixtures("ray_session")

QUERIES = [{"_id": f"q{number:02d}", "text": f"query {number}"} for number in range(40)]
QRELS = {"train": [(f"q{n:02d}", "d1", 1) for n in range(30)], "test": [(f"q{n:02d}", "d1", 1) for n in range(25, 40)]}


def generated(config, folder, **keys):
    settings = replace(config(folder), generate=Generate(generator=Human(**keys)))
    return settings, generate(settings, None, None)


def test_all_of_them_and_none_of_the_evaluated_split(beir, config):
    settings, made = generated(config, beir(queries=QUERIES, qrels=QRELS))
    rows = made.table("queries")
    assert rows.equals(training_queries(settings).table("queries"))
    assert rows["query_id"].to_pylist() == [f"q{n:02d}" for n in range(25)]
    assert set(rows["generator"].to_pylist()) == set(rows["kind"].to_pylist()) == {"human"}
    assert rows["source_doc_id"].null_count == 25
    assert made.counts == {"rows_in": 25, "rows_out": 25, "quarantined": 0}


def test_a_draw_does_not_depend_on_which_others_there_are(beir, config):
    def drawn(queries, number):
        qrels = QRELS | {"train": [(row["_id"], "d1", 1) for row in queries]}
        _, made = generated(
            config, beir(queries=[*queries, *QUERIES[25:]], qrels=qrels, name=str(len(queries))), **number
        )
        return made.table("queries")["query_id"].to_pylist()

    of_all = drawn(QUERIES[:25], {"max_queries": 10})
    assert len(of_all) == 10
    assert of_all != sorted(row["_id"] for row in QUERIES[:10])
    # Drawn again out of half: those of the ten that are there, first of all.
    of_half = drawn(QUERIES[:12], {"max_queries": 6})
    there = [query_id for query_id in of_all if query_id < "q12"]
    assert set(there[:6]) <= set(of_half) or set(of_half) <= set(there)


def test_test_queries_change_nothing(beir, config):
    poison = [row | ({"text": "poison"} if row["_id"] >= "q25" else {}) for row in QUERIES]
    folders = [beir(queries=queries, qrels=QRELS, name=name) for queries, name in ((QUERIES, "a"), (poison, "b"))]
    clean, poisoned = (generated(config, folder)[1] for folder in folders)
    assert clean.path == poisoned.path


def test_a_dataset_without_training_queries(beir, config):
    with pytest.raises(DataError, match=r"no training queries.* generator human needs"):
        generated(config, beir(queries=QUERIES, qrels={"test": QRELS["test"]}))


DOCS = [{"_id": f"d{n}", "text": " ".join(f"word{n + m}" for m in range(9)) + "."} for n in range(12)]


@pytest.mark.parametrize("generator", [Extractive(queries=24), Human(max_queries=4)])
def test_training_queries_beside_what_a_generator_gives(beir, config, generator):
    settings = config(beir(docs=DOCS, queries=QUERIES, qrels=QRELS))
    docs = ingest(settings)
    sample = dedupe(settings, docs)
    alone, both = (
        generate(replace(settings, generate=Generate(generator, training_queries=flag)), docs, sample)
        for flag in (False, True)
    )
    own, people = alone.table("queries"), training_queries(settings).table("queries")
    added = [row for row in people.to_pylist() if row["query_id"] not in own["query_id"].to_pylist()]
    rows = sorted([*own.to_pylist(), *added], key=lambda row: row["query_id"])
    assert both.table("queries").to_pylist() == rows
    assert len(rows) == len({row["query_id"] for row in rows})
    assert both.counts["training_queries"] == len(added) == 25 - 4 * isinstance(generator, Human)
    assert both.counts["rows_out"] == alone.counts["rows_out"] + len(added)


def test_where_there_are_none_the_generated_ones_stay_what_they_are(beir, config):
    settings = config(beir(docs=DOCS, queries=QUERIES, qrels={"test": QRELS["test"]}))
    docs = ingest(settings)
    sample = dedupe(settings, docs)
    blocks = [Generate(Extractive(queries=24), training_queries=flag) for flag in (False, True)]
    one, other = (generate(replace(settings, generate=block), docs, sample) for block in blocks)
    assert one.path == other.path


def test_a_wrong_number():
    with pytest.raises(ValueError, match=r"max_queries: must be at least 0"):
        Human(max_queries=-1)
