"""Training lists of passages: what belongs to the document of a relevant passage is no negative."""

import random

import pyarrow as pa
import pytest

from gradret.config.run import Passages
from gradret.config.select import Select
from gradret.lists.candidates import Candidate
from gradret.lists.siblings import best_judged, siblings, without_siblings

from . import scored, tiny
from .scored import Asked, Found


def made(doc_id, score=None, **ranks):
    return Candidate(doc_id, score, ranks)


def ids(candidates):
    return [one.doc_id for one in candidates]


def test_of_a_judged_document_the_best_passage_stays():
    pool = [
        made("d#0", 0.1, positives=1),
        made("d#1", 0.9, positives=2, bm25=1),
        made("d#10", None, positives=3),
        made("e#10", None, positives=4),
        made("e#9", None, positives=5),
        made("f#0", 2.0, bm25=2),
        made("f#1", 1.0, bm25=3),
        made("generated~q#0~1", 3.0, generated=1),
        made("generated~q#0~2", 3.0, generated=2),
    ]
    assert ids(best_judged(pool)) == ["d#1", "e#9", "f#0", "f#1", "generated~q#0~1", "generated~q#0~2"]


def test_what_is_relevant_stays_and_its_siblings_go():
    listed = [made(doc_id) for doc_id in ("d#0", "d#1", "d#2", "e#0", "d#0#0", "generated~d#0")]
    assert ids(without_siblings(listed, {"d#1", "d#2"})) == ["d#1", "d#2", "e#0", "d#0#0", "generated~d#0"]


def test_siblings_are_all_passages_of_a_document():
    lengths = pa.table({"doc_id": ["d", "e", "d#0"], "passages": pa.array([3, 1, 2], pa.int32())})
    found = siblings(lengths, ["d#1", "d#0#0", "generated~d#0"])
    assert found == {"d": ["d#0", "d#1", "d#2"], "d#0": ["d#0#0", "d#0#1"]}


def world(seed):
    """Queries with candidates among the passages of 8 documents; every third judges documents, the others have one."""
    draw = random.Random(seed)
    lengths = {f"d{n}": draw.randint(1, 5) for n in range(8)}
    passages = [f"{doc}#{n}" for doc, number in lengths.items() for n in range(number)]
    queries = {}
    for number in range(60):
        ranks = {passage: {"bm25": rank} for rank, passage in enumerate(draw.sample(passages, 9), 1)}
        source = draw.choice(passages) if number % 3 else None
        if source:
            ranks.setdefault(source, {})["source"] = 1
        else:
            judged = draw.sample(sorted(lengths), 2)
            for rank, passage in enumerate((p for p in passages if p.split("#")[0] in judged), 1):
                ranks.setdefault(passage, {})["positives"] = rank
        pool = {passage: Found(found, draw.random()) for passage, found in sorted(ranks.items())}
        queries[f"q{number:03d}"] = Asked(f"query {number}", None, source, pool)
    return queries, lengths


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("seed", range(2))
def test_no_list_has_a_sibling_of_a_relevant_passage_as_a_negative(settings, tmp_path, seed):
    queries, lengths = world(seed)
    copies = [("d1#0", "d0#0")]
    config = settings(passages=Passages(size=5), select=Select(dev_share=0.3))
    rows = [{"doc_id": doc, "passages": number} for doc, number in lengths.items()]
    docs = tiny.artifact(tmp_path, "cut", {"lengths": [rows]})
    made = scored.selected(config, queries, copies=copies, docs=docs)
    sides = {}
    for row in made.table("groups").to_pylist():
        asked = queries[row["query_id"]]
        pool = {passage: found.score for passage, found in asked.pool.items()}
        if asked.source:
            relevant = {asked.source}
            sides.setdefault(asked.source.split("#")[0], set()).add(row["split"])
        else:
            judged = [p for p, found in asked.pool.items() if "positives" in found.ranks]
            documents = {p.split("#")[0] for p in judged}
            relevant = {max((p for p in judged if p.split("#")[0] == doc), key=pool.get) for doc in documents}
            pool = {p: score for p, score in pool.items() if p in relevant or p not in judged}
        if relevant & {"d0#0", "d1#0"}:
            relevant |= {"d0#0", "d1#0"}
        families = {p.split("#")[0] for p in relevant}
        assert set(row["relevant_doc_ids"]) == {f"{doc}#{n}" for doc in families for n in range(lengths[doc])}
        listed = dict(zip(row["doc_ids"], row["positives"], strict=True))
        assert {p for p, positive in listed.items() if positive} == relevant & pool.keys()
        negatives = {p for p, positive in listed.items() if not positive}
        assert negatives == {p for p in pool if p.split("#")[0] not in families}
    assert set().union(*sides.values()) == {"train", "dev"}
    assert all(len(found) == 1 for found in sides.values())
