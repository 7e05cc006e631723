import json

import jsonschema
import pytest

from gradret.engines import Answer, Unusable
from gradret.pairs import pair_id
from gradret.store.results import Quarantined
from gradret.teachers.annotator import Annotator

RANKS = {
    "q0": {"d1": [4, 9], "d2": [2], "d3": [1, 7], "d4": [5, 3], "d5": [9]},
    "q2": {"d1": [1], "d7": [2]},
}


@pytest.fixture
def loaded(world):
    """The task of an annotator, and its shard of pairs."""

    def load(**settings):
        ingested, queries, shard = world(RANKS)
        annotator = Annotator(engine=None, **settings)
        return annotator.load(annotator.prepare(None, ingested, queries)), shard

    return load


def answer(text, shown="abcde", finish="stop"):
    return Answer("q0", text, finish, 10, 10, facts={"shown": list(shown)})


def named(*numbers, shown="abcde"):
    return answer(json.dumps({"relevant": numbers}), shown)


def test_what_is_selected_scores_1_and_the_rest_0(loaded):
    annotating, _ = loaded()
    assert annotating.read(named(4, 2)) == {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}
    assert annotating.read(named()) == dict.fromkeys("abcde", 0)


def test_what_is_ranked_scores_by_its_place(loaded):
    annotating, _ = loaded(task="rank")
    assert annotating.read(named(4, 2, 5)) == pytest.approx({"a": 0, "b": 0.8, "c": 0, "d": 1, "e": 0.6})
    # All of them: the last still scores above what is not named at all.
    assert annotating.read(named(3, 2, 1, shown="abc")) == pytest.approx({"a": 1 / 3, "b": 2 / 3, "c": 1})


def test_a_number_given_twice_counts_once(loaded):
    annotating, _ = loaded(task="rank")
    assert annotating.read(named(4, 4, 2, 4)) == annotating.read(named(4, 2))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"relevant": [0]}', "that is not in the prompt"),
        ('{"relevant": [1, 6]}', "that is not in the prompt"),
        ('{"relevant": [-1]}', "that is not in the prompt"),
        ("I cannot help with that.", "does not match the JSON schema"),
        ("", "does not match the JSON schema"),
        ("[1, 2]", "does not match the JSON schema"),
        ("7", "does not match the JSON schema"),
        ('{"other": [1]}', "does not match the JSON schema"),
        ('{"relevant": 1}', "does not match the JSON schema"),
        ('{"relevant": {"1": 2}}', "does not match the JSON schema"),
        ('{"relevant": ["1"]}', "does not match the JSON schema"),
        ('{"relevant": [1.0]}', "does not match the JSON schema"),
        ('{"relevant": [true]}', "does not match the JSON schema"),
        ('{"relevant": [null]}', "does not match the JSON schema"),
    ],
)
def test_an_answer_that_says_something_else_is_unusable(loaded, text, reason):
    annotating, _ = loaded()
    with pytest.raises(Unusable, match=reason):
        annotating.read(answer(text))


def test_an_answer_that_was_cut_off_says_so(loaded):
    annotating, _ = loaded()
    with pytest.raises(Unusable, match="cut off"):
        annotating.read(answer('{"relevant": [1, 2', finish="length"))
    assert annotating.read(answer('{"relevant": [1]}', finish="length"))["a"] == 1


def test_a_prompt_shows_a_query_with_all_its_candidates(loaded):
    annotating, shard = loaded(max_doc_tokens=77)
    prompts = {prompt.prompt_id: prompt for prompt in annotating.prompts(shard)}
    assert list(prompts) == ["q0", "q2"]
    texts = {d: "Title about 1" if d == "d1" else f"about {d[1:]}" for docs in RANKS.values() for d in docs}
    for query_id, prompt in prompts.items():
        by_pair = {pair_id(query_id, doc_id): texts[doc_id] for doc_id in RANKS[query_id]}
        assert prompt.facts == {"shown": sorted(by_pair)}
        assert prompt.texts == tuple(by_pair[pair] for pair in sorted(by_pair))
        assert prompt.max_text_tokens == 77
        cut = [f"left of {n}" for n in range(1, len(by_pair) + 1)]
        message = prompt.user(cut)
        places = [message.index(f'number="{n}">\nleft of {n}\n') for n in range(1, len(cut) + 1)]
        places.append(message.index(f"what is {query_id[1:]}"))
        assert places == sorted(places)


def test_the_order_shown_is_not_that_of_ids_or_ranks(loaded):
    annotating, shard = loaded()
    shown = next(iter(annotating.prompts(shard))).texts
    by_rank = sorted(RANKS["q0"], key=lambda d: min(RANKS["q0"][d]))
    assert [text.split()[-1] for text in shown] not in ([d[1:] for d in RANKS["q0"]], [d[1:] for d in by_rank])


def test_the_schema_takes_just_what_can_be_read(loaded):
    annotating, shard = loaded()
    schema = next(iter(annotating.prompts(shard))).sampling.json_schema
    for good in ([], [1], [5, 1, 2, 3, 4]):
        jsonschema.validate({"relevant": good}, schema)
    for bad in ({"relevant": [0]}, {"relevant": [6]}, {"relevant": ["1"]}, {"relevant": [1] * 6}, {}, [1]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"relevant": [], "why": "because"}, schema)


def test_every_pair_gets_what_was_read_of_its_query(loaded):
    annotating, shard = loaded()
    read = {query_id: {pair_id(query_id, d): 0.0 for d in docs} for query_id, docs in RANKS.items()}
    read["q0"] |= {pair_id("q0", "d3"): 1.0, pair_id("q0", "d5"): 1.0}
    result = annotating.result(shard, read)
    scores = {(row["query_id"], row["doc_id"]): row["score"] for row in result.tables["labels"].to_pylist()}
    assert scores == {(q, d): float(d in {"d3", "d5"}) for q, docs in RANKS.items() for d in docs}
    assert set(result.tables["labels"]["source"].to_pylist()) == {"annotator"}
    assert (result.rows_in, result.rows_kept, result.quarantined) == (7, 7, [])


def test_all_pairs_of_a_query_without_an_answer_are_quarantined(loaded):
    annotating, shard = loaded()
    read = {"q0": Quarantined("q0", "prompt too long", "9 tokens")}
    read |= {"q2": {pair_id("q2", d): 1.0 for d in RANKS["q2"]}}
    result = annotating.result(shard, read)
    assert result.quarantined == [Quarantined(f"q0 {d}", "prompt too long", "9 tokens") for d in RANKS["q0"]]
    assert (result.rows_in, result.rows_kept) == (7, 2)
    assert result.tables["labels"]["doc_id"].to_pylist() == ["d1", "d7"]


def test_candidates_that_a_prompt_has_no_room_for_are_quarantined(loaded):
    annotating, shard = loaded(max_candidates=3)
    prompts = list(annotating.prompts(shard))
    best = {"d3", "d2", "d4"}  # ranks 1, 2 and 3 at some retriever
    assert prompts[0].facts["shown"] == sorted(pair_id("q0", d) for d in best)
    read = {prompt.prompt_id: dict.fromkeys(prompt.facts["shown"], 1.0) for prompt in prompts}
    result = annotating.result(shard, read)
    assert {(q.where, q.reason) for q in result.quarantined} == {
        (f"q0 {d}", "not among the query's top 3 candidates") for d in ("d1", "d5")
    }
    assert (result.rows_in, result.rows_kept, result.tables["labels"].num_rows) == (7, 5, 5)


@pytest.mark.parametrize("wrong", [{"max_candidates": 1}, {"max_doc_tokens": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}:? must be"):
        Annotator(engine=None, **wrong)
