"""Copies are removed from retrieved lists, and later documents are ranked anew."""

import random
from dataclasses import replace

import pytest

from gradret.config.run import Mine
from gradret.config.select import Select
from gradret.config.train import Train
from gradret.encoders.pretrained import Pretrained
from gradret.retrievers.bm25 import Bm25
from gradret.retrievers.dense import Dense
from gradret.retrievers.ranks import Ranks
from gradret.retrievers.rrf import Rrf
from gradret.retrievers.source import Source
from gradret.retrievers.teacher import Teacher
from gradret.stages.dedupe import dedupe
from gradret.stages.label import label
from gradret.stages.mine import mine
from gradret.stages.select import select
from gradret.teachers.fusion import Fusion
from tests.stages import tiny

pytestmark = pytest.mark.usefixtures("ray_session")

ORIGINALS, COPIES = 24, 3
FUSION = Fusion(dense_weight=0.0)


@pytest.fixture
def world(settings, tmp_path):
    """24 documents, each three times more under greater ids, which win every tie; a query about each."""
    draw = random.Random(0)
    texts = [f"{tiny.sentence(draw, 9)} in {2000 + number}" for number in range(ORIGINALS)]
    docs = [tiny.doc(number, texts[number % ORIGINALS]) for number in range(ORIGINALS * (COPIES + 1))]
    queries = [
        tiny.query(number, " ".join(text.split()[:5]), source=f"d{number:03d}") for number, text in enumerate(texts)
    ]
    student = Pretrained(model=str(tiny.model(tmp_path, "transformer").path / "model"), precision="float32")
    config = replace(settings(), train=Train(encoder=student))
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [docs[40:], docs[:40]]}, rows_out=len(docs))
    return config, ingested, tiny.artifact(tmp_path, "generate", {"queries": [queries]})


def found(world, retriever, copies):
    """What is found for each query: all of it, or what is left without copies."""
    config, ingested, generated = world
    prepared = retriever.prepare(config, ingested, generated)
    kept = prepared if copies else {name: one for name, one in prepared.items() if name != "deduped"}
    return retriever.load(kept, 0)(generated.table("queries").to_pylist())


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (Bm25(k=7), Bm25(k=96)),
        (Dense(k=7), Dense(k=96)),
        (Teacher(FUSION, top=7, sampled=0, within=7), Teacher(FUSION, top=96, sampled=0, within=96)),
    ],
    ids=["bm25", "dense", "teacher"],
)
def test_the_first_k_that_are_no_copies_with_new_ranks(world, short, long):
    """The whole ranking less the documents with a greater id and the same text, which are 24 and more apart."""
    for ours, whole in zip(found(world, short, copies=True), found(world, long, copies=False), strict=True):
        left = [doc_id for doc_id, _ in whole if int(doc_id[1:]) < ORIGINALS][:7]
        assert ours == [(doc_id, rank) for rank, doc_id in enumerate(left, 1)]
        assert [doc_id for doc_id, _ in whole[:7]] != left


def test_ranges_and_fusions_are_of_rankings_without_copies(world):
    bm25 = found(world, Bm25(k=7), copies=True)
    assert found(world, Ranks(Bm25(k=7), first=3, last=6), copies=True) == [ranked[2:6] for ranked in bm25]
    assert found(world, Rrf((Bm25(k=7),), k=7), copies=True) == bm25


def test_no_query_is_lost_because_copies_outrank_its_source(world):
    """Each source's three copies come before it in every retrieved list; without them it is first."""
    config, ingested, generated = world
    outranked = found(world, Bm25(k=4), copies=False)
    assert sum(f"d{number:03d}" != ranked[0][0] for number, ranked in enumerate(outranked)) == ORIGINALS
    config = replace(
        config,
        mine=Mine(retrievers=(Source(), Bm25(k=8))),
        label=replace(config.label, teacher=FUSION),
        select=Select(round_trip=1, source_within=1, dev_share=0.3),
    )
    leaks = tiny.artifact(ingested.path.parents[1], "leaks", {"leaks": [[]]})
    mined = mine(config, ingested, generated, leaks)
    labels = label(config, ingested, generated, mined)
    groups = select(config, dedupe(config, ingested), generated, mined, labels)
    assert groups.counts["rows_out"] == ORIGINALS
    for row in groups.table("groups").to_pylist():
        number = int(row["source_doc_id"][1:])
        family = [f"d{number + ORIGINALS * copy:03d}" for copy in range(COPIES + 1)]
        assert row["relevant_doc_ids"] == family
        assert row["positives"] == [True] + [False] * (len(row["doc_ids"]) - 1)
        assert not set(family[1:]).intersection(row["doc_ids"])
