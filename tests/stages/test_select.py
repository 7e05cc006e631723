import numpy as np
import pytest

from gradret.config.run import Label
from gradret.config.select import Select
from gradret.errors import DataError
from gradret.pairs import pair_id
from gradret.stages.select import select
from gradret.teachers.judge import Judge

from . import tiny

pytestmark = pytest.mark.usefixtures("ray_session")
QUERIES, DOCS = 60, 20


def scores():
    """Raw scores by query and document; every query has a list of six, its source among them."""
    draw = np.random.default_rng(0)
    found = {}
    for q in range(QUERIES):
        docs = {q // 3, *draw.permutation(DOCS)[:5].tolist()}
        found[q] = {d: np.float32(draw.normal()) for d in sorted(docs)}
    return found


def selected(settings, tmp_path, found=None, sources=True, copies=(), teacher=None, **keys):
    found = scores() if found is None else found
    queries = [tiny.query(q, f"text {q}", source=f"d{q // 3:03d}" if sources else None) for q in found]
    shards, labels = [], []
    for part in np.array_split(list(found), 3):
        rows = [(f"q{q:03d}", f"d{d:03d}", found[q][d]) for q in part.tolist() for d in found[q]]
        ids = [{"pair_id": pair_id(q, d), "query_id": q, "doc_id": d} for q, d, _ in rows]
        shards.append([{**row, "origins": ["x"], "ranks": [1]} for row in ids])
        labels.append(
            [
                {**row, "source": "t", "score": float(score)}
                for row, (_, _, score) in zip(ids, rows, strict=True)
                if np.isfinite(score)
            ]
        )
    pairs = [{"doc_id": copy, "kept_doc_id": kept, "reason": "equal"} for copy, kept in copies]
    blocks = {"label": Label(teacher=teacher)} if teacher else {}
    return select(
        settings(select=Select(**({"dev_share": 0.3} | keys)), **blocks),
        tiny.artifact(tmp_path, "dedupe", {"copies": [pairs]}),
        tiny.artifact(tmp_path, "generate", {"queries": [queries]}),
        tiny.artifact(tmp_path, "mine", {"pairs": shards}),
        tiny.artifact(tmp_path, "label", {"labels": labels}),
    )


def test_grades_are_scores_between_two_percentiles(settings, tmp_path):
    groups = selected(settings, tmp_path, low=10, high=90)
    whole = np.sort(np.array([score for row in scores().values() for score in row.values()], np.float64))
    low, high = (quantile(whole, share) for share in (0.1, 0.9))
    rows = groups.table("groups").to_pylist()
    assert len(rows) == QUERIES
    for row in rows:
        raw = scores()[int(row["query_id"][1:])]
        assert dict(zip(row["doc_ids"], row["scores"], strict=True)) == {f"d{d:03d}": float(raw[d]) for d in raw}
        want = [min(1, max(0, (score - low) / (high - low))) for score in row["scores"]]
        np.testing.assert_allclose(row["grades"], want, atol=1e-6)
    grades = [grade for row in rows for grade in row["grades"]]
    assert min(grades) == 0
    assert max(grades) == 1
    assert groups.manifest["notes"]["percentiles"]["all"] == pytest.approx({"10": low, "90": high})


def quantile(whole, share):
    place = share * (len(whole) - 1)
    below = int(place)
    return whole[below] + (place - below) * (whole[min(below + 1, len(whole) - 1)] - whole[below])


def test_positives_come_first_and_copies_of_the_source_are_known(settings, tmp_path):
    groups = selected(settings, tmp_path, copies=[("d007", "d001"), ("d900", "d001")])
    for row in groups.table("groups").to_pylist():
        # A copy is relevant to what its original is relevant to, and the other way round.
        known = {row["source_doc_id"]} | (
            {"d001", "d007", "d900"} if row["source_doc_id"] in ("d001", "d007") else set()
        )
        assert row["relevant_doc_ids"] == sorted(known)
        assert row["positives"] == [doc_id in known for doc_id in row["doc_ids"]]
        flags = row["positives"]
        assert flags == sorted(flags, reverse=True)
        for kept in (True, False):
            part = [score for score, flag in zip(row["scores"], flags, strict=True) if flag is kept]
            assert part == sorted(part, reverse=True)


def test_documents_that_score_above_the_teachers_bar_are_positives(settings, tmp_path):
    copies = [("d007", "d001"), ("d900", "d002")]
    judge = Judge(engine=None, positive_above=0.5)
    groups = selected(settings, tmp_path, copies=copies, teacher=judge).table("groups").to_pylist()
    for row in groups:
        raw = scores()[int(row["query_id"][1:])]
        named = {f"d{d:03d}" for d, score in raw.items() if score > 0.5} | {row["source_doc_id"]}
        known = named.union(*(pair for pair in copies if named.intersection(pair)))
        assert row["relevant_doc_ids"] == sorted(known)
        best_first = sorted(raw, key=lambda d: (-raw[d], d))
        assert row["doc_ids"] == sorted((f"d{d:03d}" for d in best_first), key=lambda doc_id: doc_id not in known)
        assert row["positives"] == [doc_id in known for doc_id in row["doc_ids"]]
    assert max(sum(row["positives"]) for row in groups) > 2


def test_a_score_at_the_bar_is_none_and_the_bar_is_part_of_the_name(settings, tmp_path):
    found = scores() | {0: {0: np.float32(0.0), 1: np.float32(0.5), 2: np.float32(0.75)}}
    bars = [0.5, 0.25, None]
    made = [selected(settings, tmp_path, found, teacher=Judge(engine=None, positive_above=bar)) for bar in bars]
    rows = [next(row for row in one.table("groups").to_pylist() if row["query_id"] == "q000") for one in made]
    assert [row["relevant_doc_ids"] for row in rows] == [["d000", "d002"], ["d000", "d001", "d002"], ["d000"]]
    assert rows[0]["doc_ids"] == ["d002", "d000", "d001"]
    assert len({one.fingerprint for one in made}) == 3


def test_one_source_is_on_one_side_of_the_dev_split(settings, tmp_path):
    groups = selected(settings, tmp_path)
    sides = {}
    for row in groups.table("groups").to_pylist():
        sides.setdefault(row["source_doc_id"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert {"train"} in sides.values()
    assert {"dev"} in sides.values()
    assert groups.counts["train"] + groups.counts["dev"] == QUERIES
    assert groups.counts["dev"] == 3 * list(sides.values()).count({"dev"})


def test_queries_without_a_source_are_split_one_by_one_and_kept(settings, tmp_path):
    groups = selected(settings, tmp_path, sources=False, source_within=1)
    assert groups.counts["rows_out"] == QUERIES
    assert 0 < groups.counts["dev"] < QUERIES / 2
    assert not any(any(row) for row in groups.table("groups")["positives"].to_pylist())


def test_the_filter_quarantines_with_its_reason(settings, tmp_path):
    groups = selected(settings, tmp_path, source_within=3, dev_share=0.5)
    ranks = {f"q{q:03d}": sorted(row, key=lambda d: (-row[d], d)).index(q // 3) + 1 for q, row in scores().items()}
    kept = {row["query_id"] for row in groups.table("groups").to_pylist()}
    assert kept == {query_id for query_id, rank in ranks.items() if rank <= 3}
    dropped = groups.table("quarantine").to_pylist()
    reason = "source document not in the teacher's first 3"
    assert {row["where"]: row["raw"].split(":")[0] for row in dropped} == {
        query_id: f"rank {rank}" for query_id, rank in ranks.items() if rank > 3
    }
    assert {row["reason"] for row in dropped} == {reason}
    counts = groups.counts
    assert counts["rows_in"] == QUERIES == counts["rows_out"] + counts["quarantined"]
    assert counts["rows_out"] == counts["train"] + counts["dev"] == len(kept)
    assert groups.manifest["quarantined"] == {reason: len(dropped)}


def test_a_list_that_lost_its_scores_is_quarantined(settings, tmp_path):
    found = scores()
    for doc_id in list(found[7])[1:]:
        found[7][doc_id] = np.float32(np.nan)
    found[8] = dict.fromkeys(found[8], np.float32(np.nan))
    groups = selected(settings, tmp_path, found)
    dropped = groups.table("quarantine").to_pylist()
    assert {row["where"]: row["reason"] for row in dropped} == {"q008": "no document scored"}
    assert groups.counts["rows_out"] == QUERIES - 1
    (one,) = [row for row in groups.table("groups").to_pylist() if row["query_id"] == "q007"]
    assert len(one["doc_ids"]) == len(one["grades"]) == 1


def test_what_leaves_nothing_to_learn_is_refused(settings, tmp_path):
    same = {q: dict.fromkeys(row, np.float32(0.5)) for q, row in scores().items()}
    with pytest.raises(DataError, match=r"the same score, 0\.5"):
        selected(settings, tmp_path, same)
    nothing = {q: dict.fromkeys(row, np.float32(np.nan)) for q, row in scores().items()}
    with pytest.raises(DataError, match="scored no pair"):
        selected(settings, tmp_path, nothing)
    with pytest.raises(DataError, match="no list is left for train"):
        selected(settings, tmp_path, dev_share=1 - 1e-9)


def test_a_share_that_would_hold_out_no_document_holds_out_one(settings, tmp_path):
    few = selected(settings, tmp_path, dev_share=1e-9).table("groups").to_pylist()
    assert len({row["source_doc_id"] for row in few if row["split"] == "dev"}) == 1
    assert {row["split"] for row in few} == {"train", "dev"}
