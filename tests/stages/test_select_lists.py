"""From a query's candidates to a list: rules, order, positives, margins, and the audit."""

import dataclasses
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from gradret.config.run import Label
from gradret.config.select import Rule, Select
from gradret.lists.audit import SAMPLED
from gradret.lists.candidates import Candidate, in_order, mixed, within_margins
from gradret.losses.infonce import InfoNCE
from gradret.pairs import pair_id
from gradret.teachers.judge import Judge
from gradret.training.batches import Groups
from gradret.training.usable import broken, unusable

from . import scored
from .scored import Asked, Found


def made(doc_id, score=None, grade=None, positive=False, **ranks):
    return Candidate(doc_id, score, ranks, None, grade, positive)


def ids(candidates):
    return [one.doc_id for one in candidates]


# Rules


def taken(pool, rules):
    """doc_id to the number of the rule that has it, by going through the documents a rank at a time."""
    owner = {}
    for number in range(len(rules) - 1, -1, -1):
        rule, left = rules[number], rules[number].limit or len(pool)
        for rank in range(1, 100):
            for one in sorted(pool, key=lambda one: one.doc_id):
                usable = one.score is not None or rule.grade is not None
                if left and usable and one.ranks.get(rule.origin) == rank and one.doc_id not in owner:
                    owner[one.doc_id] = number
                    left -= 1
    return owner


@pytest.mark.parametrize("seed", range(20))
def test_the_last_rule_takes_first_and_leaves_the_rest_to_those_before(seed):
    draw = random.Random(seed)
    origins = ("bm25", "dense", "positives")
    rules = [
        Rule(draw.choice(origins), grade=draw.choice([None, 0.5]), limit=draw.choice([0, 1, 2, 5])) for _ in range(4)
    ]
    pool = [
        made(
            f"d{n}",
            draw.choice([None, 1.0]),
            **{origin: draw.randint(1, 9) for origin in origins if draw.random() < 0.5},
        )
        for n in range(25)
    ]
    want = taken(pool, rules)
    assert {one.doc_id: rules.index(one.rule) for one in mixed(pool, rules)} == {
        doc_id: rules.index(rules[number]) for doc_id, number in want.items()
    }


def test_without_rules_all_scored_documents_are_taken():
    assert ids(mixed([made("a", 0.0, bm25=1), made("b", bm25=2), made("c", -1.0, dense=1)], ())) == ["a", "c"]


def test_positives_come_first_by_the_first_rule_that_names_them_and_then_by_score():
    rules = [Rule("positives"), Rule("dense"), Rule("bm25", grade=0.0)]
    listed = [
        made("a", 3.0, dense=1),
        made("b", 1.0, positive=True, positives=2, dense=9, bm25=1),
        made("c", 9.0, positive=True, dense=2),
        made("d", 2.0, positive=True, positives=1),
        made("e", bm25=2),
        made("f", bm25=1),
        made("g", -5.0, bm25=3),
    ]
    assert ids(in_order(listed, rules)) == ["d", "b", "c", "a", "g", "f", "e"]
    assert ids(in_order(listed, ())) == ["c", "d", "b", "a", "g", "f", "e"]


pytest_ray = pytest.mark.usefixtures("ray_session")


def sycl():
    """Two queries like SyCL's: an LLM's documents of four grades, what people judged, and BM25's, unscored."""
    world = {}
    for query in ("q0", "q1"):
        pool = {f"{query}~{grade}": Found({"generated": 4 - grade}, float(grade)) for grade in range(4)}
        pool |= {"h1": Found({"positives": 1, "bm25": 1}, None), "h2": Found({"positives": 2}, None)}
        pool |= {f"n{rank}": Found({"bm25": rank}, None) for rank in (40, 7, 300)}
        world[query] = Asked("text", None, None, dict(sorted(pool.items())))
    return world


@pytest_ray
def test_sycls_mixture(settings):
    rules = (Rule("generated"), Rule("bm25", grade=1 / 3, limit=2), Rule("positives", grade=1.0, positive=True))
    found = scored.selected(settings(select=Select(mix=rules, low=0, high=100, dev_share=0.5), seed=0), sycl())
    for query, row in scored.lists(found).items():
        # The synthetic ones keep their grades of 3, people's are 3, BM25's 1; people's are not among BM25's two.
        graded = dict(zip(row["doc_ids"], [3 * grade for grade in row["grades"]], strict=True))
        assert graded == pytest.approx(
            {f"{query}~{grade}": grade for grade in range(4)} | {"h1": 3, "h2": 3} | {"n7": 1, "n40": 1}
        )
        assert row["doc_ids"][:2] == ["h1", "h2"]
        assert row["positives"] == [True] * 2 + [False] * 6
        assert row["scores"][:2] == [None, None]
        assert row["relevant_doc_ids"] == ["h1", "h2"]
    assert found.counts["rows_out"] == 2


@pytest_ray
def test_lists_without_scores_of_some_documents_can_be_trained_on(settings):
    rules = (Rule("generated"), Rule("bm25", grade=1 / 3), Rule("positives", grade=1.0, positive=True))
    config = settings(select=Select(mix=rules, dev_share=0.5), seed=0)
    groups = scored.selected(config, sycl()).table("groups")
    docs = sorted({doc_id for row in groups["doc_ids"].to_pylist() for doc_id in row})
    for row in groups.to_pylist():
        assert not broken(row, frozenset())
        assert not unusable(row, [InfoNCE()])
    batch = next(Groups(groups, pa.array(docs), 24, 0, max_positives=1).in_order(2))
    assert batch.positives_QG.sum(1).tolist() == [1, 1]
    assert batch.grades_QG.shape == (2, 8)


@pytest_ray
def test_a_query_of_which_no_rule_takes_a_document_is_set_aside(settings):
    world = sycl() | {"q2": Asked("text", None, None, {"n1": Found({"bm25": 1}, None)})}
    rules = (Rule("generated"), Rule("bm25"), Rule("positives", grade=1.0))
    found = scored.selected(settings(select=Select(mix=rules, dev_share=0.5), seed=0), world)
    assert scored.dropped(found) == {"q2": ("no document accepted by a rule", "none: text")}


# Positives


@pytest_ray
@pytest.mark.parametrize("positive", [None, True, False])
def test_who_is_a_positive(settings, positive):
    world, copies = scored.world(), [("d007", "d001"), ("d003", "d002"), ("d900", "d002")]
    rules = (Rule("source"), Rule("dense.2"), Rule("random"), Rule("positives"), Rule("bm25", positive=positive))
    label = Label(teacher=Judge(engine=None, positive_above=0.75))
    select = Select(mix=rules, dev_share=0.3)
    rows = scored.lists(scored.selected(settings(select=select, label=label), world, copies=copies))
    assert len(rows) == len(world)
    for query_id, row in rows.items():
        pool, source = world[query_id].pool, world[query_id].source
        known = {source} - {None}
        for doc_id, one in pool.items():
            ruled = positive is True and "bm25" in one.ranks and one.score is not None
            if "positives" in one.ranks or ruled or (one.score is not None and one.score > 0.75):
                known.add(doc_id)
        # d003 and d900 have the text of d002.
        families = ({"d001", "d007"}, {"d002", "d003", "d900"})
        known = known.union(*(family for family in families if known & family))
        assert row["relevant_doc_ids"] == sorted(known)
        assert set(row["doc_ids"]) == {doc_id for doc_id, one in pool.items() if one.score is not None}
        for doc_id, flag in zip(row["doc_ids"], row["positives"], strict=True):
            ruled = None if "bm25" not in pool[doc_id].ranks else positive
            assert flag == (doc_id in known if ruled is None else ruled), (query_id, doc_id)
        assert row["positives"] == sorted(row["positives"], reverse=True)


@pytest_ray
def test_homogeneous_labels_are_the_teachers_alone(settings):
    """A source or judged document that the teacher does not name is a negative."""
    world, copies = scored.world(), [("d007", "d001"), ("d900", "d002")]
    select = Select(positives_by="teacher", dev_share=0.3)
    label = Label(teacher=Judge(engine=None, positive_above=0.75))
    rows = scored.lists(scored.selected(settings(select=select, label=label), world, copies=copies))
    rejected = 0
    for query_id, row in rows.items():
        pool, source = world[query_id].pool, world[query_id].source
        named = {doc_id for doc_id, one in pool.items() if one.score is not None and one.score > 0.75}
        known = named.union(*(pair for pair in copies if named.intersection(pair)))
        assert row["relevant_doc_ids"] == sorted(known)
        assert dict(zip(row["doc_ids"], row["positives"], strict=True)) == {
            doc_id: doc_id in known for doc_id, one in pool.items() if one.score is not None
        }
        judged = {doc_id for doc_id, one in pool.items() if "positives" in one.ranks} | ({source} - {None})
        rejected += bool(judged.intersection(row["doc_ids"]) - known)
    assert len(rows) == len(world)
    assert rejected > 20


@pytest_ray
def test_the_best_first_positive_of_ranked_labels_is_single_lhs(settings):
    """Lists of ``max_positives: 1`` have the highest score's document and no other positive of the query."""
    world = scored.world()
    select = Select(positives_by="teacher", dev_share=0.3)
    label = Label(teacher=Judge(engine=None, positive_above=0.0))
    groups = scored.selected(settings(select=select, label=label), world).table("groups")
    docs = sorted({f"d{number:03d}" for number in range(30)})
    lists = Groups(groups, pa.array(docs), 8, 0, max_positives=1)
    batch = lists.batch(np.arange(len(lists)), 0)
    assert batch.positives_QG.sum(1).max() == 1
    for row, query_id in enumerate(lists.query_ids):
        scores = {doc_id: one.score for doc_id, one in world[query_id].pool.items() if one.score is not None}
        named = {doc_id for doc_id, score in scores.items() if score > 0}
        listed = [docs[batch.docs_N[column]] for column in batch.columns_QG[row][batch.present_QG[row]]]
        assert batch.positives_QG[row, 0] == bool(named)
        if named:
            assert listed[0] == max(named, key=scores.get)
        assert not named.intersection(listed[1:])


# Margins


@pytest.mark.parametrize(
    ("margins", "left"),
    [
        ({}, "abcdef"),
        ({"absolute_margin": 0.0}, "abcef"),
        ({"absolute_margin": 0.125}, "abef"),
        ({"relative_margin": 0.5}, "abf"),
        ({"relative_margin": 0.0, "absolute_margin": 0.5}, "abf"),
        ({"relative_margin": 1.0}, "ab"),
    ],
)  # fmt: skip
def test_margins_are_below_the_best_positive(margins, left):
    grades = {"a": 0.75, "b": 0.125, "c": 0.75, "d": 0.875, "e": 0.625, "f": 0.25}
    listed = [made(doc_id, 1.0, grade, positive=doc_id in "ab") for doc_id, grade in grades.items()]
    assert "".join(ids(within_margins(listed, Select(**margins)))) == left


def test_without_a_positive_no_margin_leaves_anything_out():
    listed = [made("a", 1.0, 1.0), made("b", 1.0, 0.0)]
    assert within_margins(listed, Select(absolute_margin=1.0, relative_margin=1.0)) == listed


@pytest.mark.parametrize("margin", [{"absolute_margin": 0.2}, {"relative_margin": 0.35}, {"absolute_margin": 0.0}])
def test_margins_are_those_of_sentence_transformers(tmp_path, margin):
    """Of one positive; its ``mine_hard_negatives`` keeps the same documents as negatives."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    from . import tiny

    draw = random.Random(1)
    model = SentenceTransformer(str(tiny.model(tmp_path, "static").path / "model"), device="cpu")
    docs = [tiny.sentence(draw, 6) for _ in range(40)]
    asked = [f"{tiny.sentence(draw, 4)} {doc.split()[0]}" for doc in docs[:30]]
    # Grades are not negative, so neither is the similarity of a positive here.
    places = [place for place, one in enumerate(model.encode(asked) @ model.encode(docs).T) if one[place] > 0]
    queries = [asked[place] for place in places]
    pairs = Dataset.from_dict({"query": queries, "answer": [docs[place] for place in places]})
    rows = mine_hard_negatives(
        pairs, model, corpus=docs, range_max=39, num_negatives=39, sampling_strategy="top", output_format="triplet",
        use_faiss=False, verbose=False, **margin,
    )  # fmt: skip
    theirs = {(row["query"], row["negative"]) for row in rows}
    similar = (model.encode(queries) @ model.encode(docs).T).tolist()
    ours = set()
    for query, own, scores in zip(queries, places, similar, strict=True):
        listed = [made(doc, 0.0, scores[place], positive=place == own) for place, doc in enumerate(docs)]
        ours |= {(query, one.doc_id) for one in within_margins(listed, Select(**margin)) if not one.positive}
    assert 0 < len(ours) < len(queries) * 39
    assert ours == theirs


@pytest_ray
def test_margins_leave_documents_out_and_positives_in(settings):
    world = scored.world()
    select = Select(low=10, high=85, dev_share=0.3)
    whole = scored.lists(scored.selected(settings(select=select), world))
    found = scored.selected(settings(select=dataclasses.replace(select, absolute_margin=0.2)), world)
    rows, short = scored.lists(found), 0
    for query_id, row in whole.items():
        listed = list(zip(row["doc_ids"], row["grades"], row["positives"], strict=True))
        best = max((grade for _, grade, positive in listed if positive), default=9.0)
        want = [doc_id for doc_id, grade, positive in listed if positive or grade <= best - 0.2]
        assert rows[query_id]["doc_ids"] == want
        short += len(want) == 1
    assert short  # a list of one positive is a list for losses that need no more
    assert not scored.dropped(found)
    assert sum(len(row["doc_ids"]) for row in rows.values()) < sum(len(whole[query_id]["doc_ids"]) for query_id in rows)


# The audit


def band(rank):
    return max(first for first in (1, 6, 11, 21, 51, 101) if first <= rank)


def deep(world):
    """The world with ranks that reach into every band."""
    draw = random.Random(9)
    return {
        query_id: dataclasses.replace(
            one,
            pool={
                doc_id: dataclasses.replace(
                    found,
                    ranks={
                        origin: rank if origin != "bm25" else draw.randint(1, 200)
                        for origin, rank in found.ranks.items()
                    },
                )
                for doc_id, found in one.pool.items()
            },
        )
        for query_id, one in world.items()
    }


@pytest_ray
def test_the_audit_counts_what_the_teacher_takes_for_positives(settings):
    world = deep(scored.world(300))
    found = scored.selected(settings(select=Select(low=0, high=100, absolute_margin=0.05, dev_share=0.3)), world)
    want, suspects = Counter(), set()
    for query_id, one in world.items():
        positives = {one.source} | {doc_id for doc_id, at in one.pool.items() if "positives" in at.ranks}
        best = max(
            (at.score for doc_id, at in one.pool.items() if doc_id in positives and at.score is not None), default=None
        )
        for doc_id, at in one.pool.items():
            if best is None or at.score is None or doc_id in positives:
                continue
            for origin, rank in at.ranks.items():
                want[origin, band(rank), "negatives"] += 1
                if at.score >= best:
                    want[origin, band(rank), "suspects"] += 1
                    suspects.add((query_id, doc_id, origin, rank, at.score, best))
    for query_id, row in scored.lists(found).items():
        for doc_id, positive in zip(row["doc_ids"], row["positives"], strict=True):
            for origin, rank in world[query_id].pool[doc_id].ranks.items():
                want[origin, band(rank), "listed"] += 1
                want[origin, band(rank), "positives"] += positive
    counted = Counter()
    for row in found.table("audit").to_pylist():
        place = row.pop("origin"), row.pop("first_rank")
        counted.update({(*place, name): number for name, number in row.items()})
    assert +counted == +want
    assert {place[1] for place in want} == {1, 6, 11, 21, 51, 101}

    shown = found.table("suspects").to_pylist()
    assert all(world[row["query_id"]].pool[row["positive_doc_id"]].score == row["positive_score"] for row in shown)
    names = ("query_id", "doc_id", "origin", "rank", "score", "positive_score")
    rows = {tuple(row[name] for name in names) for row in shown}
    assert len(rows) == len(shown)
    assert rows <= suspects
    # Of every origin and band those that are first by pair_id, in which no shard has a say.
    places = {}
    for row in suspects:
        places.setdefault((row[2], band(row[3])), []).append(row)
    for at in places.values():
        assert set(sorted(at, key=lambda row: pair_id(row[0], row[1]))[:SAMPLED]) <= rows
    assert len(rows) <= 3 * SAMPLED * len(places)
