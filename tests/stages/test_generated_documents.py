"""Documents that an engine writes, from the queries to a trained model, and where they must not be found."""

import dataclasses
import json
import random

import numpy as np
import pytest

from gradret.config.resources import TrainResources
from gradret.config.run import Config, Dedupe, Generate, Label, Mine
from gradret.config.select import Select
from gradret.config.train import Train
from gradret.datasets.beir import Beir
from gradret.encoders.static import Static
from gradret.errors import ConfigError, DataError
from gradret.flow import Flow
from gradret.generators._filters import DocumentFilters
from gradret.generators.extractive import Extractive
from gradret.generators.graded_documents import GradedDocuments
from gradret.losses.wasserstein import Wasserstein
from gradret.retrievers import generated as retriever
from gradret.retrievers.random import Random
from gradret.stages.dedupe import dedupe
from gradret.stages.generate import generate
from gradret.stages.ingest import ingest
from gradret.stages.label import label
from gradret.stages.leaks import leaks
from gradret.stages.mine import mine
from gradret.stages.select import select
from gradret.stages.train import train
from gradret.store.contracts import GENERATED
from gradret.teachers import generated as teacher

from . import tiny
from .outside import Overlap

pytestmark = pytest.mark.usefixtures("ray_session")


def write(beir, name="data", test_text="what is tested", train=True):
    """30 documents, 48 training queries, 2 test queries."""
    draw = random.Random(0)
    docs = [{"_id": f"d{n}", "title": "", "text": tiny.sentence(draw, 12)} for n in range(30)]
    queries = [{"_id": f"q{n}", "text": tiny.sentence(draw, 6)} for n in range(48)]
    tests = [{"_id": f"t{n}", "text": f"{test_text} {n}"} for n in range(2)]
    qrels = {"test": [(row["_id"], "d1", 1 + ("poison" in test_text)) for row in tests]}
    if train:
        qrels["train"] = [(row["_id"], "d2", 1) for row in queries]
    return beir(docs=docs, queries=[*queries, *tests], qrels=qrels, name=name)


@pytest.fixture
def config(tmp_path):
    def make(folder, mode="joint", broken="", queries=None, **blocks):
        # The engine's documents of two grades are nearly the same text.
        settings = GradedDocuments(
            engine=Overlap(broken),
            queries=queries,
            mode=mode,
            lengths=(0, 2),
            difficulties=("",),
            filters=DocumentFilters(similar=0),
        )
        resources = TrainResources(threads=1, chunk_size=16)
        student = Train(
            encoder=Static(), loss=(Wasserstein(temperature=0.1),), epochs=2, batch_size=16, learning_rate=1e-2,
            choose_by="dev_loss", dev_docs=20, resources=resources,
        )  # fmt: skip
        return Config(
            name="toy",
            dataset=Beir(path=str(folder)),
            storage_path=str(tmp_path / "storage"),
            dedupe=Dedupe(min_chars=1),
            generate=Generate(generator=settings),
            mine=Mine(retrievers=blocks.pop("retrievers", (retriever.Generated(),))),
            label=Label(teacher=teacher.Generated(**blocks)),
            select=Select(dev_share=0.3),
            train=student,
        )

    return make


def until_select(config):
    ingested = ingest(config)
    sample = dedupe(config, ingested)
    generated = generate(config, ingested, sample)
    pairs = mine(config, ingested, generated, leaks(config, generated, None))
    labels = label(config, ingested, generated, pairs)
    return ingested, generated, pairs, labels, select(config, sample, generated, pairs, labels)


def test_synthetic_documents_alone_train_a_model(beir, config, tmp_path):
    settings = config(write(beir), broken="q3,q7")
    ingested, generated, pairs, labels, groups = until_select(settings)

    counts = generated.counts
    assert (counts["rows_in"], counts["quarantined"], counts["queries"], counts["docs"]) == (48, 2, 46, 184)
    assert {row["where"]: row["reason"] for row in generated.table("quarantine").to_pylist()} == dict.fromkeys(
        ("q3", "q7"), "not JSON"
    )
    facts = [json.loads(row["facts"]) for row in generated.table("answers").to_pylist()]
    assert len(facts) == 48
    assert {each["length"] for each in facts} == {0, 2}

    assert pairs.counts["rows_out"] == labels.counts["rows_out"] == 184
    assert set(labels.table("labels")["source"].to_pylist()) == {"generated"}
    for row in pairs.table("pairs").to_pylist():
        assert (row["origins"], row["ranks"]) == (["generated"], [4 - int(row["doc_id"][-1])])
    rows = groups.table("groups").to_pylist()
    assert len(rows) == 46
    for row in rows:
        assert row["doc_ids"] == [f"{GENERATED}{row['query_id']}~{grade}" for grade in (3, 2, 1, 0)]
        np.testing.assert_allclose(row["grades"], [1, 2 / 3, 1 / 3, 0], atol=1e-6)
        assert row["positives"] == [True, False, False, False]

    base = tiny.model(tmp_path / "storage", "static")
    tuned = train(settings, base, ingested, generated, groups)
    curve = [json.loads(line) for line in (tuned.path / "metrics.jsonl").read_text().splitlines()]
    dev = [line["dev_loss"] for line in curve if "dev_loss" in line]
    assert min(dev[1:]) < dev[0]
    assert (tuned.counts["rows_in"], tuned.counts["quarantined"]) == (46, 0)

    # They stay out of the corpus: nothing that indexes or searches reads the artifact that holds them.
    assert not any(doc_id.startswith(GENERATED) for doc_id in ingested.table("docs")["doc_id"].to_pylist())
    flow = Flow(settings)
    flow.index, flow.base, flow.train = {}, base, tuned
    assert set(flow.search) == {"bm25"}  # no teacher: it cannot search
    assert not any(doc_id.startswith(GENERATED) for doc_id in flow.search["bm25"].table("run")["doc_id"].to_pylist())


def test_a_completion_a_grade_gives_the_same_lists(beir, config):
    folder = write(beir)
    joint, separate = (until_select(config(folder, mode))[-1].table("groups") for mode in ("joint", "separate"))
    assert joint.drop_columns(["scores"]).equals(separate.drop_columns(["scores"]))


def test_poisoned_test_queries_and_judgments_give_the_same_training_lists(beir, config):
    clean, poisoned = (write(beir, name, text) for name, text in {"a": "what is tested", "b": "poison"}.items())
    paths = [[artifact.path for artifact in until_select(config(folder))] for folder in (clean, poisoned)]
    assert paths[0] == paths[1]


def test_another_corpus_leaves_what_was_written(beir, config):
    folders = [write(beir, name) for name in ("a", "b")]
    with (folders[1] / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "new", "title": "", "text": "one more"}\n')
    made = []
    for folder in folders:
        ingested = ingest(config(folder))
        made.append((ingested.path, generate(config(folder), ingested, dedupe(config(folder), ingested)).path))
    assert made[0][0] != made[1][0]
    assert made[0][1] == made[1][1]


def test_queries_may_be_written_first(beir, config):
    folder = write(beir, train=False)
    with pytest.raises(DataError, match="no training queries"):
        until_select(config(folder))
    writer = Extractive(queries=60, per_doc=2)
    settings = config(folder, queries=writer)
    ingested = ingest(settings)
    sample = dedupe(settings, ingested)
    written = generate(dataclasses.replace(settings, generate=Generate(writer)), ingested, sample)
    queries = generate(settings, ingested, sample).table("queries")
    columns = ["query_id", "text", "kind", "generator"]
    assert queries.select(columns).equals(written.table("queries", columns))
    for row in queries.to_pylist():
        assert row["source_doc_id"] == f"{GENERATED}{row['query_id']}~3"


def test_a_pair_that_no_document_was_written_for_is_quarantined(beir, config):
    settings = config(write(beir), retrievers=(retriever.Generated(), Random(k=2)))
    _, _, pairs, labels, groups = until_select(settings)
    assert pairs.counts["rows_out"] == 48 * 6
    assert (labels.counts["rows_out"], labels.counts["quarantined"]) == (48 * 4, 48 * 2)
    assert {len(row["doc_ids"]) for row in groups.table("groups").to_pylist()} == {4}


def test_documents_above_a_grade_are_positives(beir, config):
    groups = until_select(config(write(beir), positive_above=1.0))[-1].table("groups").to_pylist()
    assert all(row["positives"] == [True, True, False, False] for row in groups)


def test_generated_documents_are_asked_for_where_there_are_none(beir, config):
    settings = config(write(beir))
    extractive = dataclasses.replace(settings, generate=Generate(Extractive(queries=60)))
    with pytest.raises(ConfigError, match=r"^mine\.retrievers: .*set generate\.generator to graded_documents"):
        until_select(extractive)
    with pytest.raises(ConfigError, match=r"^label\.teacher: .*set generate\.generator to graded_documents"):
        until_select(dataclasses.replace(extractive, mine=Mine(retrievers=(Random(),))))


def test_a_corpus_whose_ids_look_generated_is_told_so(beir, config):
    folder = write(beir)
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "generated~q1~3", "title": "", "text": "x"}\n')
    ingested = ingest(config(folder))
    (row,) = ingested.table("quarantine").to_pylist()
    assert row["reason"] == "doc_id begins with generated~, which is reserved for generated documents"
    assert row["where"].endswith("corpus.jsonl:31")
    assert (ingested.counts["rows_in"], ingested.counts["rows_out"], ingested.counts["quarantined"]) == (31, 30, 1)
