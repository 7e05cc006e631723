"""Filters of training queries, against a loop over plain rows, for any sharding."""

import re
from collections import Counter

import numpy as np
import pytest

from gradret.config.select import Rule, Select
from gradret.lists.candidates import Candidate
from gradret.lists.filters import Seen, failed

from . import scored

SEARCHING = ("bm25", "dense.2")


def seen(text="bal dim kun", source="d1", pool=(), repeats=None, floor=0.0):
    return Seen(text, source, pool, repeats, floor, frozenset(SEARCHING))


def of(doc_id, score=None, **ranks):
    return Candidate(doc_id, score, ranks)


def fails(name, value, **keys):
    found = failed(Select(**{name: value}), seen(**keys))
    return found[1] if found else None


@pytest.mark.parametrize(
    ("text", "least", "most", "found"),
    [
        ("bal dim kun", 3, 3, None),
        ("bal, dim!", 3, 3, ("min_words", "2 words")),
        ("what's it", 2, 3, None),
        ("bal - dim - kun - lel", 3, 3, ("max_words", "4 words")),
        ("", 1, 3, ("min_words", "0 words")),
    ],
)
def test_words_are_counted_without_punctuation(text, least, most, found):
    assert failed(Select(min_words=least, max_words=most), seen(text)) == found


def test_the_round_trip_takes_the_best_rank_of_a_search():
    pool = [of("d0", bm25=1), of("d1", bm25=9, **{"dense.2": 4}, source=1, random=1, positives=1, generated=1)]
    assert fails("round_trip", 4, pool=pool) is None
    assert fails("round_trip", 3, pool=pool) == "rank 4"
    assert fails("round_trip", 4, pool=[of("d1", source=1, **{"random.2": 1})]) == "rank None"
    assert fails("round_trip", 4, pool=[of("d0", bm25=1)]) == "rank None"
    assert fails("round_trip", 1, pool=[of("d0", bm25=1)], source=None) is None


def test_the_teachers_rank_of_the_source_is_among_scored_documents_with_ties_by_id():
    pool = [of("d0", 1.0), of("d1", 1.0), of("d2", 2.0), of("d3"), of("d4", 0.0)]
    assert [fails("source_within", 1, pool=pool, source=source) for source in ("d2", "d0", "d1", "d3", "x", None)] == [
        None, "rank 2", "rank 3", "rank None", "rank None", None,
    ]  # fmt: skip


def test_the_floor_is_for_the_best_document():
    pool = [of("d0", -1.0), of("d1", 0.25), of("d2")]
    assert fails("score_floor", 25, pool=pool, floor=0.25) is None
    assert fails("score_floor", 25, pool=pool, floor=0.5) == "best score 0.25"
    assert fails("score_floor", 25, pool=[of("d2")], floor=-9.0) == "best score None"


ALL = {
    "unique": True, "min_words": 2, "max_words": 6, "round_trip": 5, "source_within": 5, "score_floor": 60.0,
}  # fmt: skip


def plain(text):
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def verdicts(world, rules):
    """Why each query is dropped; None for one that stays."""
    first: dict[str, str] = {}
    for query_id in sorted(world):
        first.setdefault(" ".join(plain(world[query_id].text)), query_id)
    floors = {}
    if "score_floor" in rules:
        others = {name: value for name, value in rules.items() if name != "score_floor"}
        passing = [world[query_id] for query_id, why in verdicts(world, others).items() if not why]
        for kind in scored.KINDS:
            by_kind = rules.get("normalise") == "kind"
            counted = [one for one in passing if not by_kind or one.kind == kind]
            scores = [found.score for one in counted for found in one.pool.values() if found.score is not None]
            floors[kind] = np.quantile(scores, rules["score_floor"] / 100)

    def why(query_id, one):
        words = plain(one.text)
        own = {doc_id: found.score for doc_id, found in one.pool.items() if found.score is not None}
        if not own:
            return "no document scored"
        if rules.get("unique") and first[" ".join(words)] != query_id:
            return "the words of a query with a smaller query_id"
        if len(words) < rules.get("min_words", 0):
            return "fewer than 2 words"
        if len(words) > rules.get("max_words", 99):
            return "more than 6 words"
        if one.source and "round_trip" in rules:
            ranks = one.pool[one.source].ranks
            if not any(ranks.get(origin, 99) <= 5 for origin in SEARCHING):
                return "source document not in a retriever's first 5"
        if one.source and "source_within" in rules:
            own_score = own.get(one.source)
            better = [
                d
                for d, s in own.items()
                if own_score is not None and (s > own_score or (s == own_score and d < one.source))
            ]
            if own_score is None or len(better) >= 5:
                return "source document not in the teacher's first 5"
        if "score_floor" in rules and max(own.values()) < floors[one.kind]:
            return "best document below percentile 60 of the scores"
        return None

    return {query_id: why(query_id, one) for query_id, one in world.items()}


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    "rules",
    [ALL, ALL | {"normalise": "kind"}, *({name: value} for name, value in ALL.items() if name != "max_words")],
)
def test_queries_are_dropped_by_the_first_filter_that_they_fail(settings, rules):
    world = scored.world(300)
    found = scored.selected(settings(select=Select(**rules, dev_share=0.3)), world)
    want = verdicts(world, rules)
    assert {query_id: reason for query_id, (reason, _) in scored.dropped(found).items()} == {
        query_id: reason for query_id, reason in want.items() if reason
    }
    assert scored.lists(found).keys() == {query_id for query_id, reason in want.items() if not reason}
    assert len(Counter(want.values())) >= min(len(rules) + 1, 6)
    counts = found.counts
    assert counts["rows_in"] == len(world) == counts["rows_out"] + counts["quarantined"]
    assert counts["rows_out"] == counts["train"] + counts["dev"]


@pytest.mark.usefixtures("ray_session")
def test_what_is_dropped_says_what_was_found_and_the_text(settings):
    world = scored.world(60)
    found = scored.dropped(scored.selected(settings(select=Select(unique=True, dev_share=0.3)), world))
    for query_id, (_, raw) in found.items():
        head, _, text = raw.partition(": ")
        assert text == world[query_id].text
        first = re.fullmatch(r"same words as (q\d+)", head)[1]
        assert first < query_id
        assert plain(world[first].text) == plain(text)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    "keys",
    [
        ALL | {"normalise": "kind", "max_per_kind": 9, "absolute_margin": 0.1},
        {"normalise": "query", "grades": "quantiles"}
        | {"mix": (Rule("bm25", limit=3), Rule("source", grade=1.0, positive=True))},
    ],
)  # fmt: skip
def test_lists_do_not_depend_on_the_sharding(settings, tmp_path, keys):
    world = scored.world(300)
    made = [
        scored.selected(
            settings(select=Select(**keys, dev_share=0.3), storage_path=str(tmp_path / str(shards))), world, shards
        )
        for shards in (1, 7)
    ]
    one, seven = (found.table("groups") for found in made)
    assert one.num_rows > 10
    assert one.equals(seven)
    assert scored.dropped(made[0]) == scored.dropped(made[1])
    assert made[0].manifest["quarantined"] == made[1].manifest["quarantined"]
    sums = [Counter(), Counter()]
    for found, total in zip(made, sums, strict=True):
        for row in found.table("audit").to_pylist():
            place = row.pop("origin"), row.pop("first_rank")
            total.update({(*place, name): number for name, number in row.items()})
    assert sums[0] == sums[1]


@pytest.mark.usefixtures("ray_session")
def test_a_quota_keeps_so_many_of_every_kind_of_those_that_pass(settings):
    world = scored.world(300)
    rules = {"min_words": 2, "dev_share": 0.3}
    passing = scored.lists(scored.selected(settings(select=Select(**rules)), world))
    kinds = Counter(row["kind"] for row in passing.values())
    most = min(kinds.values()) + 1
    kept = []
    for seed in (0, 1):
        found = scored.selected(settings(select=Select(**rules, max_per_kind=most), seed=seed), world)
        rows = scored.lists(found)
        assert Counter(row["kind"] for row in rows.values()) == {kind: min(most, n) for kind, n in kinds.items()}
        assert rows.keys() <= passing.keys()
        for query_id, row in rows.items():
            assert row["grades"] == passing[query_id]["grades"]
        over = {
            query_id
            for query_id, (why, _) in scored.dropped(found).items()
            if why == f"over {most} queries of the kind"
        }
        assert over == passing.keys() - rows.keys()
        kept.append(set(rows))
        # The audit is of the queries that are kept.
        negatives = [
            len(world[query_id].pool[doc_id].ranks)
            for query_id, row in rows.items()
            if any(row["positives"])
            for doc_id, positive in zip(row["doc_ids"], row["positives"], strict=True)
            if not positive
        ]
        assert sum(found.table("audit")["negatives"].to_pylist()) == sum(negatives)
    assert kept[0] != kept[1]
    # A draw, not the first ones.
    assert kept[0] != {
        query_id for kind in kinds for query_id in [q for q in sorted(passing) if passing[q]["kind"] == kind][:most]
    }
