"""The config of a run: one frozen dataclass per stage.

Blocks called ``resources`` affect speed only; everything else affects the result and is fingerprinted.
``gradret.config.loading`` reads a config from YAML and the command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from gradret.config.experiments import Compare, Tune
from gradret.config.fields import (
    at_least,
    component,
    folder_name,
    location,
    require,
    set_home,
    share,
    storage_folder,
)
from gradret.config.resources import EncodeResources, IndexResources, Workers
from gradret.config.search import Search
from gradret.config.select import Select
from gradret.config.train import Train
from gradret.config.train_teacher import TrainTeacher
from gradret.errors import ConfigError

__all__ = ["Config", "Encode", "Evaluate", "Index", "Passages", "Search"]


@dataclass(frozen=True)
class Ingest:
    """Read the dataset."""

    max_words: int = 512
    """The report counts documents with more words, which a model may truncate."""
    max_bad_share: float = 0.1
    """Stop if more than this share of the rows cannot be used."""

    def __post_init__(self) -> None:
        require(max_words=at_least(1, self.max_words), max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Passages:
    """Cut long documents into passages, which are then trained on, indexed and searched.

    Evaluation stays that of documents: a document's score is that of its best passage.
    """

    size: int = 0
    """Largest number of words of a passage; longer documents are cut, at the ends of sentences where one is near. 0
    cuts none."""
    overlap: int = 0
    """Words that a passage repeats from the one before; at most half of ``size``."""

    def __post_init__(self) -> None:
        small = 0 <= self.overlap <= self.size // 2
        require(
            size=at_least(0, self.size),
            overlap="" if small else f"must be from 0 to half of passages.size={self.size}, got {self.overlap}",
        )


@dataclass(frozen=True)
class Dedupe:
    """Choose the documents to write queries about."""

    max_docs: int = 100_000
    """Largest number of documents, drawn by a hash of seed and doc_id."""
    min_chars: int = 10
    """Documents whose normalised text is shorter get no queries."""
    window: int = 9
    """A document contained in one of its next ``window`` neighbours in sorted order is a copy."""
    near: float = 0.0
    """Documents whose sets of word 5-grams have at least this Jaccard similarity (estimated by MinHash) are copies
    too; 0 turns this off."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        require(
            max_docs=at_least(1, self.max_docs),
            min_chars=at_least(1, self.min_chars),
            window=at_least(0, self.window),
            near=share(self.near),
        )


@dataclass(frozen=True)
class Generate:
    """Write queries about documents."""

    generator: Any = component("generators", {"name": "extractive"})
    """What writes the queries."""
    training_queries: bool = False
    """Add the dataset's human training queries, if it has any. With the retriever ``positives``, their lists contain
    the documents that people judged relevant."""
    max_bad_share: float = 0.2
    """Stop if more than this share of a language model's answers cannot be used."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        require(max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Mine:
    """Choose the documents that the teacher grades for each query."""

    retrievers: Any = component(
        "retrievers",
        [{"name": "source"}, {"name": "teacher"}, {"name": "random"}],
        many=True,
    )
    """Each adds its documents to a query's candidates."""
    leak_similarity: float = 0.8
    """Drop training queries this similar or more to a test query (Jaccard of character 4-grams); 0 keeps all."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        require(leak_similarity=share(self.leak_similarity))


@dataclass(frozen=True)
class Check:
    """Check that the teacher outranks the student, before labels are paid for."""

    queries: int = 200
    """Largest number of judged queries: the dataset's dev queries, else its training queries, else generated queries
    with their source document as the only relevant one; 0 skips the check."""
    retriever: Any = component("retrievers", {"name": "dense", "k": 100})
    """The retriever that the teacher reranks and must beat in nDCG@10; by default the student before training."""
    stop: bool = True
    """Stop the run if the teacher is not better, or if a language model's labels do not tell documents apart; on fewer
    than 20 queries, only if it is significantly worse."""

    def __post_init__(self) -> None:
        require(queries=at_least(0, self.queries))


@dataclass(frozen=True)
class Label:
    """Score every pair with a teacher."""

    teacher: Any = component("teachers", {"name": "fusion"})
    """What scores the pairs."""
    max_bad_share: float = 0.2
    """Stop if more than this share of a language model's answers cannot be used."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        require(max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Encode:
    """Encode documents and queries."""

    precision: Literal["float16", "float32"] = "float32"
    """Precision of stored vectors; float16 halves their size."""
    compute: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of the model's matrix products, under autocast; weights, pooling and vectors stay float32. ``auto`` is
    bfloat16 with ``resources.gpus``, else float32. Decides the result, so it is fingerprinted as what it comes to."""
    resources: EncodeResources = EncodeResources()

    @property
    def computed_in(self) -> Literal["bfloat16", "float32"]:
        """What ``compute`` comes to."""
        if self.compute == "auto":
            return "bfloat16" if self.resources.gpus else "float32"
        return self.compute


@dataclass(frozen=True)
class Index:
    """Build the FAISS index."""

    factory: str = "Flat"
    """A FAISS factory string; Flat is exact search. ``auto`` chooses one by corpus size and memory, and logs why."""
    num_shards: int = 1
    """Number of parts of the index, searched in parallel."""
    resources: IndexResources = IndexResources()

    def __post_init__(self) -> None:
        require(factory=self._factory_problem(), num_shards=at_least(1, self.num_shards))

    def _factory_problem(self) -> str:
        if not self.factory.strip():
            return "must not be empty; set Flat for exact search"
        if self.factory in ("Flat", "auto"):  # known to be valid, so FAISS need not be imported
            return ""
        from gradret.search.factory import misspelt

        return misspelt(self.factory)


_MEASURES = ("nDCG@10", "Recall@100", "MRR@10", "MAP", "judged@10")


@dataclass(frozen=True)
class Evaluate:
    """Compute the measures."""

    measures: tuple[str, ...] = _MEASURES
    """Measures in the notation of ir_measures: nDCG, Recall, MRR, MAP, P, judged; @k is the cutoff, (rel=2) the lowest
    relevant grade. judged@k is added for every nDCG@k."""
    test: Literal["two-sided", "one-sided"] = "two-sided"
    """The paired t-test: whether two systems differ, or whether one is better than the other."""

    def __post_init__(self) -> None:
        if self.measures == _MEASURES:  # known to be valid, so ir_measures need not be imported
            return
        from gradret.measures import parse_measures

        try:
            parse_measures(self.measures)
        except ConfigError as error:
            raise ConfigError.of([problem.removeprefix("evaluate.") for problem in error.problems]) from None


def _retriever_problems(mine: Mine, select: Select) -> dict[str, str]:
    """Settings of ``select`` that no retriever of ``mine`` satisfies, with the problem, by key."""
    if not mine.retrievers or not (select.mix or select.round_trip):
        return {}
    from gradret.components import unknown
    from gradret.origins import origins, searching

    known, search_origins = origins(mine.retrievers), searching(mine.retrievers)
    problems = {
        f"select.mix[{number}].origin": unknown(rule.origin, known, "one of mine.retrievers")
        for number, rule in enumerate(select.mix)
        if rule.origin not in known
    }
    if select.round_trip and not search_origins:
        problems["select.round_trip"] = (
            f"requires one of mine.retrievers that searches, and there are only {', '.join(known)}"
        )
    return problems


def _teacher_problems(label: Label, select: Select) -> dict[str, str]:
    """Settings of ``select`` that ``label.teacher`` does not satisfy, with the problem, by key."""
    named = select.positive_from is not None or any(rule.positive for rule in select.mix)
    if select.positives_by != "teacher" or named or not label.teacher or label.teacher.positive_above is not None:
        return {}
    return {
        "select.positives_by": "is teacher, but no threshold makes a document positive: "
        "set label.teacher.positive_above, if the teacher has it, or select.positive_from"
    }


_NEED_TWO_DOCUMENTS = {"two graded", "two grades", "teacher scores"}
"""Needs of a loss, keys of ``gradret.losses.NEEDS``, that no list of one document meets."""


def _loss_problems(train: Train) -> dict[str, str]:
    """Losses that cannot be trained on lists of one document, with the problem, by key."""
    if train.list_length > 1:
        return {}
    from gradret.components import name_of

    losses = [
        name_of(loss) for loss in train.loss or () if _NEED_TWO_DOCUMENTS.intersection(getattr(loss, "needs", ()))
    ]
    return {"train.list_length": f"must be at least 2 for {' and '.join(losses)}, got 1"} if losses else {}


def _license_problem(name: str) -> str:
    plain = not name or re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", name)
    return "" if plain else f"must be an identifier of the Hub, such as apache-2.0 or cc-by-4.0, got {name!r}"


def _search_problems(search: Search, index: Index, passages: Passages) -> dict[str, str]:
    """Settings of ``search`` that do not go with ``index`` or ``passages``, with the problem, by key."""
    if search.smaller and passages.size:
        return {"search.smaller": "compares rankings of whole documents, but passages.size cuts them; leave one unset"}
    if search.vectors == "float32" or index.factory.strip() in ("Flat", "auto"):
        return {}
    stored = f"is {search.vectors}, which is stored in place of a FAISS index, but index.factory is {index.factory}"
    return {"search.vectors": f"{stored}; leave one of them at its default"}


@dataclass(frozen=True)
class Config:
    """The config of a run."""

    name: str
    """Name of the run, and of its folder ``STORAGE/runs/NAME``."""
    dataset: Any = component("datasets")
    """Where documents, queries and judgments come from."""
    storage_path: str = location("storage")
    """The folder of all artifacts and runs."""
    license: str = ""
    """License of the tuned model, an identifier of the Hugging Face Hub such as ``apache-2.0``. The model card states
    it, or that there is none."""
    seed: int = 0
    """Seed of everything that is drawn: the same config and seed give the same model."""
    ingest: Ingest = Ingest()
    passages: Passages = Passages()
    dedupe: Dedupe = Dedupe()
    generate: Generate = Generate()
    mine: Mine = Mine()
    check: Check = Check()
    label: Label = Label()
    select: Select = Select()
    train: Train = Train()
    train_teacher: TrainTeacher = TrainTeacher()
    encode: Encode = Encode()
    index: Index = Index()
    search: Search = Search()
    evaluate: Evaluate = Evaluate()
    compare: Compare = Compare()
    tune: Tune = Tune()

    def __post_init__(self) -> None:
        set_home(self)
        require(
            name=folder_name(self.name),
            storage_path=storage_folder(self.storage_path),
            license=_license_problem(self.license),
            seed=at_least(0, self.seed),
            **_retriever_problems(self.mine, self.select),
            **_teacher_problems(self.label, self.select),
            **_loss_problems(self.train),
            **_search_problems(self.search, self.index, self.passages),
        )

    @property
    def exclude_same_ids(self) -> bool:
        """Whether a search leaves out what has the query's id; of passages, ``max_passage`` leaves out the document."""
        return bool(self.dataset.exclude_same_ids and not self.passages.size)
