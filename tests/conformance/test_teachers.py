"""Laws for every teacher without an LLM: a score equals the reference's and does not depend on other pairs.

For a class of another package: GRADRET_TEACHERS="package.module:Class" pytest tests/conformance/test_teachers.py
"""

import functools
import json
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from gradret import components
from gradret.config.loading import parse
from gradret.config.run import Config
from gradret.datasets.lists import Lists
from gradret.encoders.pretrained import Pretrained
from gradret.pairs import pair_id
from gradret.store.contracts import GENERATED
from gradret.teachers._forward import ForwardResources
from gradret.teachers.bi_encoder import BiEncoder
from gradret.teachers.cross_encoder import CrossEncoder
from gradret.teachers.decoder_reranker import DecoderReranker
from gradret.teachers.file import File
from gradret.teachers.fusion import Fusion
from gradret.teachers.generated import Generated
from gradret.teachers.lists import Lists as ListsTeacher
from gradret.teachers.mono_t5 import MonoT5
from gradret.teachers.rank_t5 import RankT5
from gradret.teachers.weighted_sum import WeightedSum
from gradret.text import passage

from ..stages import tiny
from ..teachers import tiny_models
from .made import outside, placed, used

pytestmark = pytest.mark.usefixtures("ray_session")

MODELS = {
    "bert": tiny_models.bert,
    "roberta": tiny_models.roberta,
    "t5": tiny_models.t5,
    "qwen3": tiny_models.decoder,
    "right": functools.partial(tiny_models.decoder, padding_side="right"),
    "llama": functools.partial(tiny_models.decoder, chat_template=None, kind="llama"),
    # Its positions are absolute: padding must not move them.
    "gpt2": functools.partial(tiny_models.decoder, kind="gpt2", padding_side="right"),
}
# Those of a length that cuts some documents.
FORWARD = {
    "cross_encoder": lambda models: CrossEncoder(str(models["bert"])),
    "cross_encoder-sigmoid": lambda models: CrossEncoder(str(models["bert"]), activation="sigmoid", max_length=24),
    "cross_encoder-roberta": lambda models: CrossEncoder(str(models["roberta"])),
    "rank_t5": lambda models: RankT5(str(models["t5"]), max_length=32),
    "mono_t5": lambda models: MonoT5(str(models["t5"]), max_length=32),
    "decoder_reranker": lambda models: DecoderReranker(str(models["qwen3"]), max_doc_tokens=50),
    "decoder_reranker-right": lambda models: DecoderReranker(str(models["right"]), score="probability"),
    "decoder_reranker-absolute": lambda models: DecoderReranker(str(models["gpt2"])),
    "decoder_reranker-plain": lambda models: DecoderReranker(str(models["llama"])),
}


def as_lists(labels):
    """The labels as rows of Tevatron's format."""
    for query_id in sorted({row["query_id"] for row in labels}):
        passages = [
            {"docid": row["doc_id"], "text": f"text of {row['doc_id']}", "score": row["score"]}
            for row in labels
            if row["query_id"] == query_id
        ]
        yield {"query_id": query_id, "query": f"text of {query_id}"} | {
            "positive_passages": passages[:1],
            "negative_passages": passages[1:],
        }


class World:
    """40 documents, one of them empty, 6 queries, and a folder for each model."""

    def __init__(self, storage):
        draw = random.Random(0)
        lists = Lists(path=str(storage / "lists.jsonl"), test=str(storage / "test.jsonl"))
        self.config = Config(name="toy", dataset=lists, storage_path=str(storage))
        self.docs = [
            tiny.doc(n, tiny_models.sentence(draw, draw.randint(1, 70)), "bal" if n % 2 else None) for n in range(39)
        ]
        self.docs.append(tiny.doc(39, ""))
        self.rows = [tiny.query(n, tiny_models.sentence(draw, 2 + n)) for n in range(6)]
        self.ids = [[*draw.sample([row["doc_id"] for row in self.docs[:39]], 3 + n), "d039"] for n in range(6)]
        labels = [
            {
                "pair_id": pair_id(query["query_id"], doc_id),
                "query_id": query["query_id"],
                "doc_id": doc_id,
                "source": "generated",
                "score": draw.random(),
            }
            for query, ids in zip(self.rows, self.ids, strict=True)
            for doc_id in ids
        ]
        self.ingested = tiny.artifact(storage, "ingest", {"docs": [self.docs[:30], self.docs[30:]]}, rows_out=40)
        self.queries = tiny.artifact(storage, "generate", {"queries": [self.rows], "labels": [labels]})
        self.models = {name: make(storage / name) for name, make in MODELS.items()}
        self.file = storage / "labels.tsv"
        lines = [f"{row['query_id']}\t{row['doc_id']}\t{row['score']}\n" for row in labels]
        self.file.write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
        (storage / "lists.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in as_lists(labels)))
        (storage / "test.jsonl").write_text('{"query": "other", "pos": ["text"]}\n')
        self.graders, self.scored = {}, {}
        self.texts = {row["doc_id"]: passage(row["title"], row["text"]) for row in self.docs}

    def teacher(self, name):
        if name in FORWARD:
            return FORWARD[name](self.models)
        if name in OUTSIDE:
            return used(parse(placed("teachers", OUTSIDE[name])), components.find("teachers", name))
        encoder = Pretrained(model=str(tiny.model(self.config.storage_path, "transformer").path / "model"))
        others = {
            "bi_encoder": BiEncoder(encoder=encoder),
            "file": File(str(self.file)),
            "fusion": Fusion(encoder=encoder),
            "generated": Generated(),
            "lists": ListsTeacher(),
            "weighted_sum": WeightedSum((Fusion(encoder=encoder), FORWARD["cross_encoder"](self.models)), (1.0, 0.5)),
        }
        return others[name]

    def grader(self, teacher):
        if teacher not in self.graders:
            self.graders[teacher] = teacher.load(teacher.prepare(self.config, self.ingested, self.queries))
        return self.graders[teacher]

    def scores(self, teacher):
        if teacher not in self.scored:
            self.scored[teacher] = self.grader(teacher).score(self.rows, self.ids)
        return self.scored[teacher]

    def pairs(self):
        for query, ids in zip(self.rows, self.ids, strict=True):
            for doc_id in ids:
                yield query["text"], self.texts[doc_id]


@pytest.fixture(scope="module")
def world(tmp_path_factory, ray_session):
    return World(tmp_path_factory.mktemp("teachers"))


INSIDE = [*FORWARD, "bi_encoder", "file", "fusion", "generated", "lists", "weighted_sum"]
# Those that ask an LLM are tested as tasks.
OUTSIDE = {node["name"]: node for node in outside("teachers") if not components.find("teachers", node["name"]).asks_llm}
NAMES = [*INSIDE, *OUTSIDE]


@pytest.fixture(params=NAMES)
def teacher(request, world):
    return world.teacher(request.param)


@pytest.fixture
def scores(world, teacher):
    return world.scores(teacher)


def same(found, wanted):
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(wanted), rtol=1e-5, atol=1e-5)


def test_every_teacher_without_an_engine_is_here():
    classes = {name: components.find("teachers", name) for name in components.names("teachers")}
    own = {name for name, cls in classes.items() if "engine" not in components.field_docs(cls)}
    assert {name.partition("-")[0] for name in INSIDE} == own


def test_it_says_what_it_can_do(teacher):
    assert isinstance(type(teacher).searches, bool)
    assert isinstance(type(teacher).reranks, bool)


def test_one_finite_score_a_pair(world, scores):
    assert [len(row) for row in scores] == [len(ids) for ids in world.ids]
    assert {row.dtype for row in scores} == {np.dtype(np.float32)}
    assert np.isfinite(np.concatenate(scores)).all()
    assert len(set(np.concatenate(scores).tolist())) > 15
    assert np.concatenate(scores).std() > 0.01


def test_the_order_is_the_askers(world, teacher, scores):
    found = world.grader(teacher).score(world.rows[::-1], [ids[::-1] for ids in world.ids[::-1]])
    same([row[::-1] for row in found[::-1]], scores)


def test_a_pair_asked_alone(world, teacher, scores):
    grader = world.grader(teacher)
    for query, ids, row in zip(world.rows, world.ids, scores, strict=True):
        same(grader.score([query], [ids[:1]]), [row[:1]])
        same(grader.score([query], [ids[-1:]]), [row[-1:]])


def test_a_document_that_is_not_in_the_corpus_has_no_score(world):
    for name in ("fusion", "bi_encoder"):
        first = [world.ids[0][0], f"{GENERATED}x", world.ids[0][1]]
        (found,) = world.grader(world.teacher(name)).score(world.rows[:1], [first])
        assert np.isnan(found).tolist() == [False, True, False]


def test_nothing_asked(world, teacher):
    assert world.grader(teacher).score([], []) == []


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("tokens", [1, 100, 1_000_000])
def test_batches_decide_nothing(world, name, tokens):
    teacher = world.teacher(name)
    other = replace(teacher, resources=ForwardResources(threads=1, batch_tokens=tokens))
    same(world.scores(other), world.scores(teacher))


def test_the_side_of_the_padding_decides_nothing(world):
    teachers = [DecoderReranker(str(world.models[name])) for name in ("qwen3", "right")]
    left, right = (world.scores(teacher) for teacher in teachers)
    same(left, right)


def test_bfloat16_is_near(world):
    for name in ("cross_encoder", "rank_t5", "decoder_reranker"):
        teacher = world.teacher(name)
        exact, rough = (
            np.concatenate(world.scores(each)) for each in (teacher, replace(teacher, precision="bfloat16"))
        )
        assert (exact != rough).any()
        assert np.corrcoef(exact, rough)[0, 1] > 0.99


def test_it_travels(world, teacher, scores):
    load = functools.partial(teacher.load, teacher.prepare(world.config, world.ingested, world.queries))
    same(pickle.loads(pickle.dumps(load))().score(world.rows, world.ids), scores)


def near(found, wanted):
    np.testing.assert_allclose(np.concatenate(found), np.array(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "roberta"])
@pytest.mark.parametrize("activation", ["logit", "sigmoid"])
@pytest.mark.parametrize("length", [None, 20])
def test_cross_encoders_against_sentence_transformers(world, name, activation, length):
    import sentence_transformers

    folder = str(world.models[name])
    reference = sentence_transformers.CrossEncoder(
        folder, device="cpu", max_length=length or {"bert": 64}.get(name, 62)
    )
    function = torch.nn.Sigmoid() if activation == "sigmoid" else torch.nn.Identity()
    wanted = reference.predict(list(world.pairs()), batch_size=4, activation_fn=function)
    teacher = CrossEncoder(folder, activation=activation, max_length=length)
    near(world.scores(teacher), wanted)


@pytest.fixture
def first_logits(world):
    """By token, of the first one that transformers' own generation comes to."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world.models["t5"])
    model = AutoModelForSeq2SeqLM.from_pretrained(world.models["t5"])
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))

    def generate(prompt, longest=None):
        inputs = tokenizer(prompt, return_tensors="pt", truncation=longest is not None, max_length=longest)
        made = model.generate(**inputs, max_new_tokens=1, output_logits=True, return_dict_in_generate=True)
        return dict(zip(tokens, made.logits[0][0].tolist(), strict=True))

    return generate


def test_rank_t5_against_transformers(world, first_logits):
    prompts = [f"Query: {query} Document: {document}" for query, document in world.pairs()]
    wanted = [first_logits(prompt, 32)["<extra_id_10>"] for prompt in prompts]
    near(world.grader(RankT5(str(world.models["t5"]), max_length=32)).score(world.rows, world.ids), wanted)


def test_mono_t5_against_transformers(world, first_logits):
    wanted = []
    for query, document in world.pairs():
        # A token a word: Query:, Document:, Relevant: and the end of the text take four of the 32.
        kept = " ".join(document.split()[: 32 - 4 - len(query.split())])
        logits = first_logits(f"Query: {query} Document: {kept} Relevant:")
        true, false = np.exp(logits["▁true"]), np.exp(logits["▁false"])
        wanted.append(np.log(true / (true + false)))
    near(world.grader(MonoT5(str(world.models["t5"]), max_length=32)).score(world.rows, world.ids), wanted)


@pytest.mark.parametrize("name", ["qwen3", "llama", "gpt2"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_decoders_against_transformers(world, tmp_path, name, score):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tmp_path / "own.jinja"
    path.write_text(
        "{% set system %}bal{% endset %}{% macro user(query, document, instruction) %}"
        "{{ instruction }} Q {{ query }} D {{ document }} E{% endmacro %}"
    )
    folder = world.models[name]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    wanted = []
    for query, document in world.pairs():
        user = f"dun Q {query} D {document} E"
        prompt = f"<|system|>bal</s><|user|>{user}</s><|assistant|><|quiet|>"
        prompt = prompt if name != "llama" else f"<s>bal\n\n{user}\n\n"
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            yes, no = model(ids).logits[0, -1, tokenizer.convert_tokens_to_ids(["yes", "no"])].tolist()
        wanted.append(yes - no if score == "logit" else np.exp(yes) / (np.exp(yes) + np.exp(no)))
    teacher = DecoderReranker(str(folder), template=str(path), instruction="dun", score=score)
    near(world.scores(teacher), wanted)


@pytest.mark.parametrize("own", ["cosine", "dot"])
@pytest.mark.parametrize("similarity", [None, "cosine"])
def test_bi_encoders_against_sentence_transformers(world, tmp_path, own, similarity):
    import sentence_transformers

    # Without a layer that normalises: the two similarities differ.
    folder = tmp_path / "own"
    whole = sentence_transformers.SentenceTransformer(
        str(tiny.plain(tmp_path / "plain", "bert")), device="cpu", similarity_fn_name=own
    )
    whole.save(str(folder), create_model_card=False)
    reference = sentence_transformers.SentenceTransformer(
        str(folder), device="cpu", similarity_fn_name=similarity or own
    )
    reference.max_seq_length = 30
    queries, documents = zip(*world.pairs(), strict=True)
    wanted = reference.similarity_pairwise(
        reference.encode_query(list(queries), convert_to_tensor=True),
        reference.encode_document(list(documents), convert_to_tensor=True),
    )
    teacher = BiEncoder(Pretrained(str(folder), max_length=30, precision="float32"), similarity)
    near(world.scores(teacher), wanted.numpy())
