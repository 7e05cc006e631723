import math
import sys
from dataclasses import dataclass, replace

import pytest

from gradret.config.run import Label
from gradret.encoders.pretrained import Pretrained
from gradret.engines import Engine
from gradret.errors import ConfigError, StageError
from gradret.pairs import pair_id
from gradret.prompts import digests
from gradret.stages.label import label
from gradret.teachers.annotator import Annotator
from gradret.teachers.cross_encoder import CrossEncoder
from gradret.teachers.decoder_reranker import DecoderReranker
from gradret.teachers.file import File
from gradret.teachers.fusion import Fusion
from gradret.teachers.judge import Judge

from ..teachers import tiny_models
from . import tiny
from .outside import Numbers

pytestmark = pytest.mark.usefixtures("ray_session")

NAME = "tests.stages.outside:Numbers"


@dataclass(frozen=True)
class Reader(Engine):
    """An engine without a model: what it answers stands in the documents of the prompt."""

    model: str = "reader"

    def check(self):
        if not self.model:
            raise ConfigError("engine: no model")

    def load(self):
        return lambda prompt, seed: {"user": prompt.user(prompt.texts), "cut": 0}

    def answer(self, rows):
        return rows.map(_read)


def _read(row):
    """``p2=0.5`` in a document is the probability of grade 2, ``yes`` makes it relevant, ``silent`` fails."""
    words = row["user"].split()
    told = {word[1]: float(word[3:]) for word in words if word[0] == "p" and word[2:3] == "="}
    relevant = [number for number, part in enumerate(row["user"].split("<document")[1:], 1) if " yes" in part]
    bad = "silent" in words
    return row | {
        "text": "" if bad else f'{{"relevant": {relevant}}}',
        "finish": "error" if bad else "stop",
        "tokens_in": len(words),
        "tokens_out": 1,
        "logprobs": [] if bad else [math.log(told[grade]) if grade in told else -math.inf for grade in "0123"],
        "error": "it died" if bad else "",
    }


@pytest.fixture(autouse=True)
def sent_with_the_tests():
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def labelled(settings, tmp_path, teacher, texts=None, **keys):
    """Two shards of pairs; the queries come in no order of their names, the lists differ in length."""
    lists = [{5: [0, 3, 4], 2: [9, 7]}, {8: [1], 0: [6, 2, 8, 0], 1: [3, 5]}]
    shards = [
        [
            {
                "pair_id": pair_id(f"q{q:03d}", f"d{d:03d}"),
                "query_id": f"q{q:03d}",
                "doc_id": f"d{d:03d}",
                "origins": ["x"],
                "ranks": [1],
            }
            for q, docs in part.items()
            for d in docs
        ]
        for part in lists
    ]
    texts = texts or ["text"] * 10
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(n, text) for n, text in enumerate(texts)]]})
    generated = tiny.artifact(tmp_path, "generate", {"queries": [[tiny.query(n, "a") for n in range(10)]]})
    mined = tiny.artifact(tmp_path, "mine", {"pairs": shards}, rows_in=5, rows_out=12)
    return mined, label(settings(label=Label(teacher=teacher, **keys)), ingested, generated, mined)


def test_every_pair_gets_its_own_score(settings, tmp_path):
    mined, labels = labelled(settings, tmp_path, Numbers())
    rows = labels.table("labels").to_pylist()
    assert len(rows) == 12
    for row in rows:
        assert row["score"] == 1000 * int(row["query_id"][1:]) + int(row["doc_id"][1:])
        assert row["pair_id"] == pair_id(row["query_id"], row["doc_id"])
        assert row["source"] == NAME
    assert sorted(row["pair_id"] for row in rows) == sorted(mined.table("pairs")["pair_id"].to_pylist())
    assert labels.counts == {"rows_in": 12, "rows_out": 12, "quarantined": 0}


def test_scores_that_are_not_finite_are_quarantined(settings, tmp_path):
    _, labels = labelled(settings, tmp_path, Numbers(broken="q000 d002 nan,q005 d003 inf"))
    rows = labels.table("labels").to_pylist()
    assert len(rows) == 10
    assert all(row["score"] == 1000 * int(row["query_id"][1:]) + int(row["doc_id"][1:]) for row in rows)
    dropped = labels.table("quarantine").to_pylist()
    assert {(row["where"], row["reason"], row["raw"]) for row in dropped} == {
        ("q000 d002", "the teacher has no score for it", "nan"),
        ("q005 d003", "score is not finite", "inf"),
    }
    assert labels.counts == {"rows_in": 12, "rows_out": 10, "quarantined": 2}


def test_a_teacher_that_forgets_a_score_is_named(settings, tmp_path):
    with pytest.raises(
        StageError, match=rf"teacher {NAME}: score\(\) must return one score for each document of each query"
    ):
        labelled(settings, tmp_path, Numbers(short=True))


# Documents 0 to 9: what the engine says of each.
JUDGED = ["p3=1", "p0=0.5 p1=0.5", "p2=0.75", "p1=0.25 p2=0.5", "p3=0.4", "silent", "p0=1", "p1=1", "p3=0.9", "p2=1"]
SCORES = {0: 1, 1: 1 / 6, 2: 2 / 3, 3: (0.25 + 1) / 0.75 / 3, 6: 0, 7: 1 / 3, 8: 1, 9: 2 / 3}


def test_an_llm_judges_every_pair(settings, tmp_path):
    mined, labels = labelled(settings, tmp_path, Judge(engine=Reader()), JUDGED, max_bad_share=0.5)
    pairs = {row["pair_id"]: int(row["doc_id"][1:]) for row in mined.table("pairs").to_pylist()}
    rows = labels.table("labels").to_pylist()
    want = {pair: SCORES[doc] for pair, doc in pairs.items() if doc in SCORES}
    assert {row["pair_id"]: row["score"] for row in rows} == pytest.approx(want, abs=1e-6)
    assert {row["source"] for row in rows} == {"judge"}
    dropped = labels.table("quarantine").to_pylist()
    reasons = {4: "no grade among the likely tokens", 5: "engine error"}
    assert sorted((row["where"], row["reason"]) for row in dropped) == sorted(
        (f"{row['query_id']} {row['doc_id']}", reasons[doc])
        for row in mined.table("pairs").to_pylist()
        if (doc := int(row["doc_id"][1:])) in reasons
    )
    assert labels.counts["rows_in"] == 12 == labels.counts["rows_out"] + labels.counts["quarantined"]
    assert labels.counts["prompts"] == 24
    outside = [1 - sum(float(word[3:]) for word in JUDGED[doc].split()) for doc in pairs.values() if doc != 5]
    assert labels.manifest["notes"]["outside_mean"] == pytest.approx(sum(outside) / len(outside), abs=1e-6)
    # Lists with two scores or more: documents 0 and 3; 9 and 7; 6, 2, 8 and 0. Query 1 keeps document 3 alone.
    found = labels.manifest["notes"]["signal"]
    assert (found["queries"], found["told_apart"], found["sources"]) == (3, 3, 0)
    assert found["grades"] == {"0": 1, "1": 1, "2": 3, "3": 3}
    # The engine reads documents alone, so both orders agree.
    assert labels.manifest["notes"]["orders"] == {"queries": 3, "correlation": pytest.approx(1.0)}


def test_a_judge_of_one_order_has_none_to_compare(settings, tmp_path):
    judge = Judge(engine=Reader(), orders="query_first")
    _, labels = labelled(settings, tmp_path, judge, JUDGED, max_bad_share=0.5)
    assert "orders" not in labels.manifest["notes"]


@dataclass(frozen=True)
class First(Reader):
    """Picks the first documents that it sees: it grades places."""

    def answer(self, rows):
        return rows.map(_read).map(lambda row: row | {"text": '{"relevant": [1]}'})


@pytest.mark.parametrize(("engine", "correlation"), [(Reader(), 1.0), (First(), None)])
def test_an_annotator_that_picks_places_does_not_agree_with_itself(settings, tmp_path, engine, correlation):
    texts = [f"text {'yes' if n % 3 == 0 else 'no'}" for n in range(10)]
    _, labels = labelled(settings, tmp_path, Annotator(engine=engine).for_check(), texts)
    assert labels.counts["prompts"] == 10
    assert labels.counts["rows_out"] == 12
    found = labels.manifest["notes"]["orders"]
    assert found["queries"] == 4  # those with two documents or more
    if correlation:
        assert found["correlation"] == pytest.approx(correlation)
    else:
        # By hand: of lists of 3, 2, 4 and 2 documents, the first is picked in one order, and the last in the other.
        sizes = (3, 2, 4, 2)
        assert found["correlation"] == pytest.approx(-sum(1 / n for n in sizes) / sum(1 - 1 / n for n in sizes))


def test_an_llm_annotates_every_query(settings, tmp_path):
    texts = [f"text {'yes' if n % 3 == 0 else 'no'}" for n in range(10)]
    mined, labels = labelled(settings, tmp_path, Annotator(engine=Reader()), texts)
    rows = labels.table("labels").to_pylist()
    assert {(row["pair_id"], row["score"]) for row in rows} == {
        (row["pair_id"], float(int(row["doc_id"][1:]) % 3 == 0)) for row in mined.table("pairs").to_pylist()
    }
    assert labels.counts["prompts"] == 5


def test_too_many_answers_that_cannot_be_used_stop_the_run(settings, tmp_path):
    with pytest.raises(StageError, match=r"no grade among the likely tokens|engine error"):
        labelled(settings, tmp_path, Judge(engine=Reader()), JUDGED, max_bad_share=0.05)


def test_what_decides_an_llms_labels_names_them(settings, tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text(
        "{% set system = 'Grade!' %}"
        "{% macro user(query, document, query_first) %}<document {{ query }} {{ document }}{% endmacro %}"
    )
    judge = Judge(engine=Reader(), template=str(path), orders="query_first")
    texts = ["p1=1"] * 10
    _, first = labelled(settings, tmp_path, judge, texts)
    assert first.manifest["settings"]["templates"] == digests([str(path)])
    again = [
        labelled(settings, tmp_path, judge, texts, max_bad_share=0.9)[1],
        labelled(settings, tmp_path, replace(judge, engine=Reader("other")), texts)[1],
        labelled(settings, tmp_path, replace(judge, max_doc_tokens=99), texts)[1],
    ]
    path.write_text(path.read_text().replace("Grade!", "Grade now!"))
    again.append(labelled(settings, tmp_path, judge, texts)[1])
    assert again[0].fingerprint == first.fingerprint
    assert len({one.fingerprint for one in again}) == 4


def test_a_cross_encoder_scores_what_the_documents_say(settings, tmp_path):
    import sentence_transformers

    folder = tiny_models.bert(tmp_path / "bert")
    texts = [" ".join(tiny_models.WORDS[n : 3 * n]) for n in range(10)]  # the first one is empty
    mined, labels = labelled(settings, tmp_path, CrossEncoder(str(folder), activation="sigmoid"), texts)
    pairs = mined.table("pairs").to_pylist()
    reference = sentence_transformers.CrossEncoder(str(folder), device="cpu")
    wanted = reference.predict([("a", texts[int(pair["doc_id"][1:])]) for pair in pairs])
    scores = {row["pair_id"]: row["score"] for row in labels.table("labels").to_pylist()}
    assert scores == pytest.approx(
        {pair["pair_id"]: score for pair, score in zip(pairs, wanted, strict=True)}, abs=1e-4
    )
    assert labels.counts == {"rows_in": 12, "rows_out": 12, "quarantined": 0}
    assert labels.manifest["settings"]["teacher"]["activation"] == "sigmoid"


def test_documents_that_were_written_are_scored_too(settings, tmp_path):
    folder = tiny_models.bert(tmp_path / "bert")
    rows = [tiny.doc(0, "bal"), tiny.doc(1, "kun dim")]
    pairs = [{"pair_id": pair_id("q000", row["doc_id"]), "query_id": "q000", "doc_id": row["doc_id"]} for row in rows]
    mined = tiny.artifact(
        tmp_path, "mine", {"pairs": [[{"origins": [], "ranks": [], **pair} for pair in pairs]]}, rows_out=2
    )
    config = settings(label=Label(teacher=CrossEncoder(str(folder))))
    apart = label(
        config,
        tiny.artifact(tmp_path, "ingest", {"docs": [rows[:1]]}),
        tiny.artifact(tmp_path, "generate", {"queries": [[tiny.query(0, "gom")]], "docs": [rows[1:]]}),
        mined,
    )
    whole = label(
        config,
        tiny.artifact(tmp_path, "ingest", {"docs": [rows]}),
        tiny.artifact(tmp_path, "generate", {"queries": [[tiny.query(0, "gom")]]}),
        mined,
    )
    assert apart.fingerprint != whole.fingerprint
    assert apart.table("labels").equals(whole.table("labels"))
    assert apart.counts["rows_out"] == 2


@pytest.mark.parametrize("kind", ["fusion", "cross_encoder"])
def test_human_queries_are_labelled_as_others_are(world, tmp_path, kind):
    """As the check of a teacher and its rank of others' results ask for them."""
    config, ingested, models = world
    folder = tiny_models.bert(tmp_path / "bert")
    encoder = Pretrained(model=str(models["transformer"].path / "model"))
    teacher = Fusion(encoder=encoder) if kind == "fusion" else CrossEncoder(str(folder))
    config = replace(config, label=Label(teacher=teacher), storage_path=str(tmp_path))
    human = tiny.artifact(
        tmp_path, "check_queries", {"queries": [[tiny.query(n, f"bal dim {n}", split="test")] for n in range(3)]}
    )
    pairs = [
        {"pair_id": pair_id(f"q{q:03d}", f"d{d:03d}"), "query_id": f"q{q:03d}", "doc_id": f"d{d:03d}"}
        for q in range(3)
        for d in range(q, 60, 7)
    ]
    rows = [{"origins": ["x"], "ranks": [1], **pair} for pair in pairs]
    found = tiny.artifact(tmp_path, "found", {"pairs": [rows]}, rows_out=len(rows))
    labels = label(config, ingested, human, found)
    assert [(row["query_id"], row["doc_id"]) for row in labels.table("labels").to_pylist()] == sorted(
        (pair["query_id"], pair["doc_id"]) for pair in pairs
    )


def test_a_file_has_some_pairs_and_others_beside(settings, tmp_path):
    lines = [
        "q005 0 d003 2",
        "q008 0 d001 0.5",
        "q999 0 d003 1",
        "q005 0 d999 1",
        "q001 0 d003 -3",
    ]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    _, labels = labelled(settings, tmp_path, File(str(tmp_path / "labels.txt")))
    assert {(row["query_id"], row["doc_id"]): row["score"] for row in labels.table("labels").to_pylist()} == {
        ("q005", "d003"): 2.0,
        ("q008", "d001"): 0.5,
        ("q001", "d003"): -3.0,
    }
    assert labels.counts == {"rows_in": 12, "rows_out": 3, "quarantined": 9, "unknown_pairs": 2}
    assert labels.manifest["notes"] == {"unknown_pairs": ["q999 d003", "q005 d999"]}
    assert labels.manifest["quarantined"] == {"the teacher has no score for it": 9}
    (tmp_path / "labels.txt").write_text("\n".join(lines[:1]))
    _, fewer = labelled(settings, tmp_path, File(str(tmp_path / "labels.txt")))
    assert (fewer.counts["rows_out"], fewer.counts["unknown_pairs"]) == (1, 0)


def test_the_text_of_a_rerankers_template_names_its_labels(settings, tmp_path):
    folder, path = tiny_models.decoder(tmp_path / "qwen3"), tmp_path / "own.jinja"
    path.write_text(
        "{% set system = 'Grade' %}{% macro user(query, document, instruction) %}{{ document }}{% endmacro %}"
    )
    teacher = DecoderReranker(str(folder), template=str(path))
    texts = [tiny_models.WORDS[n] for n in range(10)]
    _, first = labelled(settings, tmp_path, teacher, texts)
    assert first.manifest["settings"]["templates"] == digests([str(path)])
    path.write_text(path.read_text().replace("Grade", "Judge"))
    _, other = labelled(settings, tmp_path, teacher, texts)
    assert other.fingerprint != first.fingerprint
    assert not other.table("labels").equals(first.table("labels"))
